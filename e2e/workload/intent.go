package workload

import (
	"math/rand/v2"
	"time"
)

// action is what a client means to do next.
type action int

const (
	register action = iota
	change
	address
	tag
	consent
	suspension
	deletion
	erasure
	contention // for an e-mail address that many want
	repetition // of a key
	rehearsal  // a dry run
	importing
	getOwn
	getAny // without a token
	getIfChanged
	getPast
	getHistory
	walk
	search
	actions // how many there are
)

// shares of the actions, in about a thousandth each. An import is many ops, a
// walk some, and commands are often followed by a read: together about 55 of
// 100 ops are commands.
func shares() [actions]int {
	return [actions]int{
		register: 80, change: 210, address: 60, tag: 60, consent: 40, suspension: 40, deletion: 40, erasure: 12,
		contention: 70, repetition: 20, rehearsal: 20, importing: 5,
		getOwn: 100, getAny: 110, getIfChanged: 40, getPast: 40, getHistory: 30, walk: 7, search: 40,
	}
}

// intent is one thing that a client means to do. It follows from the seed, the
// client's number and how many there were before, and from nothing that has
// happened: each is drawn with as many numbers, used or not.
type intent struct {
	action   action
	n        [8]uint64     // its details are chosen by them, in any way
	patience time.Duration // with a command that is not answered
	readBack bool          // whether a command is followed by a read with its token
}

// choose is the i-th number as one of 0 to n-1.
func (in *intent) choose(i, n int) int { return int(in.n[i] % uint64(n)) } //nolint:gosec // n is small

// intents draws what one client means to do.
type intents struct {
	rng    *rand.Rand
	shares [actions]int
	all    int
}

func newIntents(seed uint64, client int) *intents {
	d := &intents{rng: newRand(seed, client, 0), shares: shares()}
	for _, share := range d.shares {
		d.all += share
	}
	return d
}

// newRand is randomness for a client, another one for each purpose.
func newRand(seed uint64, client, purpose int) *rand.Rand {
	return rand.New(rand.NewPCG(seed, uint64(client)<<8|uint64(purpose))) //nolint:gosec // it is to be repeatable
}

func (d *intents) next() intent {
	var in intent
	at := d.rng.IntN(d.all)
	for ; at >= d.shares[in.action]; in.action++ {
		at -= d.shares[in.action]
	}
	for i := range in.n {
		in.n[i] = d.rng.Uint64() >> 1
	}
	patience := time.Duration(d.rng.Int64N(int64(maxPatience)))
	switch d.rng.IntN(8) {
	case 0: // gives up at the first failure, so that there are commands nobody knows about
	case 1, 2:
		in.patience = patience / 8
	default:
		in.patience = patience
	}
	in.readBack = d.rng.IntN(4) == 0
	return in
}
