package chaos

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// overlapping is how many of a hundred steps are two faults at once.
const overlapping = 15

// planned is one fault of a schedule.
type planned struct {
	number int // from 1
	fault  *Fault
	target string
	after  time.Duration // the step's begin
	lasts  time.Duration
	seed   uint64 // of what the fault draws itself
}

func (p planned) String() string {
	return fmt.Sprintf("%d %s %s after %s for %s, %x", p.number, p.fault.Kind, p.target, p.after, p.lasts, p.seed)
}

// step is one fault, or two that overlap, and the rest before the next one.
type step struct {
	faults []planned
	rest   time.Duration
}

// schedule draws n faults. The same seed, catalogue and n yield the same
// schedule. Every fault of the catalogue comes before any comes again; when n
// is smaller, one of each kind in always comes in any case.
func schedule(seed uint64, catalogue []Fault, n int, always []string) []step {
	rnd := rand.New(rand.NewPCG(seed, 0x63_68_61_6f_73)) //nolint:gosec // reproducible, not secret
	var order []*Fault
	for len(order) < n {
		order = append(order, round(rnd, catalogue, n-len(order), always)...)
	}
	var steps []step
	for next := 0; next < n; {
		s := step{}
		first := draw(rnd, order[next], next+1)
		next++
		s.faults = append(s.faults, first)
		// Drawn whether it is of use or not, so that what follows does not depend on it.
		together, partner := rnd.IntN(100) < overlapping, rnd.Float64()
		if together && next < n {
			// Of the same round, so that none comes twice before all came once.
			rest := order[next:min(n, (next/len(catalogue)+1)*len(catalogue))]
			if i := slices.IndexFunc(rest, func(f *Fault) bool { return compatible(first, f) }); i >= 0 {
				order = slices.Insert(slices.Delete(slices.Clone(order), next+i, next+i+1), next, order[next+i])
				second := draw(rnd, order[next], next+1)
				if compatible(first, order[next], second.target) {
					second.after = time.Duration(partner * float64(first.lasts))
					s.faults = append(s.faults, second)
					next++
				}
			}
		}
		s.rest = 200*time.Millisecond + time.Duration(rnd.Int64N(int64(1300*time.Millisecond)))
		steps = append(steps, s)
	}
	return steps
}

// round is the catalogue in a random order, cut to n.
func round(rnd *rand.Rand, catalogue []Fault, n int, always []string) []*Fault {
	all := make([]*Fault, len(catalogue))
	for i, j := range rnd.Perm(len(catalogue)) {
		all[i] = &catalogue[j]
	}
	if n >= len(all) {
		return all
	}
	var must, may []*Fault
	for _, f := range all {
		if slices.Contains(always, f.Kind) && !slices.ContainsFunc(must, func(m *Fault) bool { return m.Kind == f.Kind }) {
			must = append(must, f)
		} else {
			may = append(may, f)
		}
	}
	all = append(must, may...)[:n]
	rnd.Shuffle(n, func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all
}

func draw(rnd *rand.Rand, f *Fault, number int) planned {
	return planned{
		number: number, fault: f, target: f.Targets[rnd.IntN(len(f.Targets))],
		lasts: f.lasts(rnd), seed: rnd.Uint64(),
	}
}

// compatible tells whether f may overlap with p, striking any of the targets.
func compatible(p planned, f *Fault, targets ...string) bool {
	if p.fault.Alone || f.Alone {
		return false
	}
	if targets == nil {
		targets = f.Targets
	}
	busy := p.fault.touches(p.target)
	return slices.ContainsFunc(targets, func(target string) bool {
		return !slices.ContainsFunc(f.touches(target), func(touched string) bool { return slices.Contains(busy, touched) })
	})
}
