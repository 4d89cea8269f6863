package simulation_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// counts are what happened, so that nobody takes a run in which nothing did for
// one that shows something.
type counts struct {
	steps, sequenced, late, parts, conflicts, rollbacks, doubts int
	leaders, fenced, unconfirmed, repeated                      int
	redelivered, duplicated, shuffled, purged, moves            int
	crashes, restarts, pauses, failures                         int
	parked, retried, released                                   int
	renewals, cacheFaults, olderWrites, fills, lostLeases       int
	cacheHits, announced, answers, behind, followed             int

	died map[string]int // processes, by the call they died at
}

type counted struct {
	name string
	n    *int
	of   int // least number in a thousand runs
}

func (c *counts) all() []counted {
	return []counted{
		{"steps", &c.steps, 500_000},
		{"events sequenced", &c.sequenced, 15_000},
		{"sequenced after one with a higher id", &c.late, 60},
		{"differences worked off in parts", &c.parts, 500},
		{"version conflicts", &c.conflicts, 300},
		{"transactions rolled back", &c.rollbacks, 300},
		{"commits whose answer was lost", &c.doubts, 50},
		{"changes of leader", &c.leaders, 500},
		{"writes fenced off", &c.fenced, 50},
		{"publishings not confirmed", &c.unconfirmed, 200},
		{"messages published again", &c.repeated, 500},
		{"messages redelivered", &c.redelivered, 500},
		{"messages doubled", &c.duplicated, 100},
		{"queues shuffled", &c.shuffled, 50},
		{"messages lost in the broker", &c.purged, 200},
		{"consumers moved", &c.moves, 300},
		{"processes that died", &c.crashes, 1000},
		{"processes that came back", &c.restarts, 500},
		{"processes stopped for a while", &c.pauses, 300},
		{"calls that failed", &c.failures, 2000},
		{"customers parked", &c.parked, 100},
		{"parked customers retried", &c.retried, 100},
		{"parked customers released", &c.released, 50},
		{"cache epochs", &c.renewals, 500},
		{"cache faults", &c.cacheFaults, 500},
		{"older entries refused by the cache", &c.olderWrites, 20},
		{"cache fills", &c.fills, 500},
		{"leases lost", &c.lostLeases, 50},
		{"answers of the cache", &c.cacheHits, 500},
		{"announcements", &c.announced, 1000},
		{"answers", &c.answers, 10_000},
		{"answers that the read model is behind", &c.behind, 50},
		{"events followed", &c.followed, 15_000},
	}
}

func (c *counts) add(o counts) {
	to, from := c.all(), o.all()
	for i := range to {
		*to[i].n += *from[i].n
	}
	if c.died == nil {
		c.died = map[string]int{}
	}
	for op, n := range o.died {
		c.died[op] += n
	}
}

// thin lists what happened too seldom in so many runs.
func (c *counts) thin(runs int) []string {
	var out []string
	for _, k := range c.all() {
		if *k.n*1000 < k.of*runs {
			out = append(out, fmt.Sprintf("%s: %d", k.name, *k.n))
		}
	}
	for _, op := range deadly {
		if runs >= 1000 && c.died[op] == 0 {
			out = append(out, "nobody died at "+op)
		}
	}
	return out
}

// deadly are the calls at which, before or after the effect, somebody has to
// have died. With a quote: after it.
var deadly = []string{
	"append.lock", "append.insert", "append.commit", "append.commit'", "lease.acquire", "lease.acquire'", "lease.renew",
	"sequencer.begin", "tick.snapshot", "tick.find", "tick.lock", "tick.commit", "tick.commit'", "broker.publish", "broker.publish'",
	"checkpoints.advance", "checkpoints.advance'", "log.keys", "log.read_lane", "tx.lock", "tx.read", "tx.commit", "tx.commit'",
	"cache.store", "cache.store'", "ledger.rows", "ledger.mark", "renew.lock", "renew.commit", "renew.commit'",
	"feed.lock", "feed.commit", "feed.commit'", "cache.lease", "read.entry", "read.entry'", "listen.next",
}

func (c *counts) String() string {
	var b strings.Builder
	for _, k := range c.all() {
		fmt.Fprintf(&b, "%10d %s\n", *k.n, k.name)
	}
	for _, op := range slices.Sorted(maps.Keys(c.died)) {
		fmt.Fprintf(&b, "%10d died at %s\n", c.died[op], op)
	}
	return b.String()
}
