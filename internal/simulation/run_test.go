package simulation_test

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// scenario is what a run is like, drawn from its seed.
type scenario struct {
	lanes, customers, events int
	tickLimit, batch         int
	heal                     bool            // else nothing is lost in the broker, and nobody sweeps
	poison                   bool            // there are events that cannot be read
	faulty                   int             // out of 1000 steps how many are a fault's
	faults                   [faultKinds]int // how often each kind of fault is picked
	slow                     string          // the call that takes longer than any other
	bug                      bug
	trace                    int // moments that are kept; 0: none
}

// exact tells that a version's document cannot change: nobody is passed over.
func (s scenario) exact() bool { return !s.poison }

// result is what came of a run.
type result struct {
	failed string
	story  string
	counts counts
}

// slowCalls are those of which one may be slow: what then overtakes it is what
// an order chosen evenly would seldom show.
var slowCalls = []string{
	"append.commit", "append.commit", "append.insert", "tick.snapshot", "tick.find", "tick.commit", "tick.commit'",
	"broker.publish", "broker.publish'", "checkpoints.advance", "lease.renew", "log.read_lane'", "log.keys'", "tx.lock",
	"tx.read", "tx.commit", "tx.commit'", "cache.store", "cache.store", "cache.store'", "renew.commit", "renew.commit'",
	"ledger.rows'", "ledger.mark", "feed.lock", "feed.commit", "feed.commit'", "read.entry", "read.entry'", "cache.get'", "cache.fill",
	"cache.lease'", "listen.next", "read.freshness", "read.versions", "none",
}

// simulate runs one seed.
func simulate(t *testing.T, seed uint64, b bug, trace int) (out result) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, seed, b, trace)
		defer w.close()
		w.run()
		out = result{failed: w.failed, story: w.story(), counts: w.counts}
	})
	return out
}

func newWorld(t testing.TB, seed uint64, b bug, trace int) *world {
	rnd := rand.New(rand.NewPCG(seed, 0x5eed)) //nolint:gosec // a seed decides everything
	w := &world{t: t, seed: seed, rnd: rnd, faults: true, cfg: scenario{
		lanes: 1 + rnd.IntN(3), customers: 3 + rnd.IntN(4), events: 20 + rnd.IntN(30),
		tickLimit: []int{1, 2, 5, 100}[rnd.IntN(4)], batch: []int{1, 3, 256}[rnd.IntN(3)],
		heal: rnd.IntN(4) > 0, poison: rnd.IntN(4) == 0, faulty: []int{0, 6, 15, 40}[rnd.IntN(4)],
		bug: b, trace: trace,
	}}
	for i := range w.cfg.faults {
		w.cfg.faults[i] = rnd.IntN(4)
	}
	w.cfg.faults[faultRestart] += 2
	if rnd.IntN(4) == 0 {
		w.cfg.faults[faultCache] += 6 // the cache has a bad day
	}
	w.cfg.slow = slowCalls[rnd.IntN(len(slowCalls))]
	b.provoke(&w.cfg)
	w.counts.died = map[string]int{}
	w.log = newLog(w)
	w.seq = newSequence(w, w.log)
	w.mq = newBroker(w)
	w.life = newLife(w)
	w.model = newModel(w)
	w.redis = newRedis(w)
	w.reads = newReads(w)
	for _, one := range []struct {
		name string
		role role
	}{
		{"writer-1", w.writer},
		{"writer-2", w.writer},
		{"writer-3", w.writer},
		{"relay-1", w.leader},
		{"relay-2", w.leader},
		{"projector-1", w.projector},
		{"projector-2", w.projector},
		{"query-1", w.reader},
	} {
		w.spawn(one.name, one.role)
	}
	return w
}

// close ends every process, so that nothing of a run outlives it.
func (w *world) close() {
	for _, p := range w.procs {
		w.kill(p)
	}
}

const (
	busySteps = 6000
	restSteps = 30000
)

func (w *world) run() {
	for n := 0; n < busySteps && w.failed == ""; n++ {
		if w.life.left <= 0 && n%16 == 0 && w.rnd.IntN(12) == 0 {
			break
		}
		w.step()
	}
	w.counts.steps++
	w.rest()
	if w.failed == "" {
		w.verify()
	}
}

// step is one decision.
func (w *world) step() {
	w.counts.steps++
	if w.faults {
		if w.rnd.IntN(1000) < w.cfg.faulty {
			w.fault()
			w.settle()
			return
		}
		for _, p := range w.procs {
			if p.idle > 0 {
				p.idle--
			}
		}
	}
	n := w.rnd.IntN(100)
	if !w.faults && n >= 90 && len(w.waiting(false)) > 0 {
		n = 0
	}
	switch {
	case n < 62:
		if calls := w.waiting(false); len(calls) > 0 {
			c := calls[w.rnd.IntN(len(calls))]
			if w.faults && (c.op == w.cfg.slow && w.rnd.IntN(16) > 0 || c.op == "append.commit" && w.rnd.IntN(4) > 0) {
				return
			}
			w.let(c)
			return
		}
		w.pass()
	case n < 78:
		w.begin()
	case n < 90:
		w.message()
	default:
		w.pass()
	}
}

// let decides what becomes of a call.
func (w *world) let(c *call) {
	v := verdict{}
	if w.faults {
		n := w.rnd.IntN(1000)
		v.stop = w.rnd.IntN(3) == 0
		switch fails := w.cfg.faulty; {
		case n < fails && !strings.HasPrefix(c.op, "read.freshness") && !strings.HasPrefix(c.op, "listen."):
			v.err = errFault
			w.counts.failures++
		case n < fails+fails/3:
			w.counts.died[c.op]++
			w.kill(c.p)
			return
		}
	}
	w.release(c, v)
	w.settle()
}

// begin starts something that a process does by itself.
func (w *world) begin() {
	var ready []*loop
	var whose []*proc
	for _, p := range w.procs {
		if p.dead.Load() || p.idle > 0 {
			continue
		}
		for _, l := range p.loops {
			if !l.busy && (l.ready == nil || l.ready()) {
				ready, whose = append(ready, l), append(whose, p)
			}
		}
	}
	if len(ready) == 0 {
		return
	}
	i := w.rnd.IntN(len(ready))
	w.do(whose[i], ready[i])
}

func (w *world) do(p *proc, l *loop) {
	if l.begin != nil {
		l.begin()
	} else {
		l.busy = true
		w.start(p, l.name, l.once, func(error, bool) { l.busy = false })
	}
	w.settle()
}

// message moves what is between the broker and its consumers.
func (w *world) message() {
	if done := w.mq.unacknowledged(); len(done) > 0 && w.rnd.IntN(2) == 0 {
		d := done[w.rnd.IntN(len(done))]
		if w.faults && w.rnd.IntN(20) == 0 {
			w.mq.back(d)
			return
		}
		w.mq.acknowledge(d)
		return
	}
	if queues := w.mq.deliverable(); len(queues) > 0 {
		w.mq.deliver(queues[w.rnd.IntN(len(queues))])
		w.settle()
	}
}

// pass lets time pass: a moment, or as long as leases and waits last.
func (w *world) pass() {
	w.mq.giveUp()
	d := time.Duration(1+w.rnd.IntN(20)) * time.Millisecond
	if w.rnd.IntN(30) == 0 {
		d = time.Duration(w.rnd.IntN(1500)) * time.Millisecond
	}
	w.redis.ping()
	w.settle()
	w.sleep(d)
}

// What happens to whole processes and services.
const (
	faultCrash = iota
	faultRestart
	faultPause
	faultConsumer
	faultQueue
	faultCache
	faultKinds
)

// fault is something that happens to whole processes and services.
func (w *world) fault() {
	p := w.procs[w.rnd.IntN(len(w.procs))]
	kind, sum := 0, 0
	for _, n := range w.cfg.faults {
		sum += n
	}
	for n := w.rnd.IntN(sum); n >= w.cfg.faults[kind]; kind++ {
		n -= w.cfg.faults[kind]
	}
	switch kind {
	case faultCrash:
		if !p.dead.Load() {
			w.kill(p)
		}
	case faultRestart:
		for i, p := range w.procs {
			if p.dead.Load() {
				w.respawn(i)
				w.counts.restarts++
				break
			}
		}
	case faultPause:
		p.idle = 1 + w.rnd.IntN(400) // it is stopped and goes on later
		w.counts.pauses++
	case faultConsumer:
		w.mq.move(w.mq.queues[w.rnd.IntN(len(w.mq.queues))])
	case faultQueue:
		w.mq.spoil(w.mq.queues[w.rnd.IntN(len(w.mq.queues))])
	case faultCache:
		w.redis.spoil()
	}
}

// rest ends the faults and goes on until nothing is left to do.
func (w *world) rest() {
	w.faults = false
	w.life.left = 0
	w.redis.away.readers, w.redis.away.writers = false, false
	for id := range w.life.unknown {
		if !w.life.never[id] {
			delete(w.life.unknown, id) // the release that knows them is out
		}
	}
	for i, p := range w.procs {
		p.idle = 0
		if p.dead.Load() {
			w.respawn(i)
		}
	}
	for n := 0; n < restSteps && w.failed == ""; n++ {
		if n%64 == 0 && w.resting() {
			return
		}
		if n%40 == 39 {
			w.mq.giveUp()
			w.redis.ping()
			w.settle()
			w.sleep(400 * time.Millisecond)
		}
		w.step()
	}
	if w.failed == "" {
		w.fail("it does not come to rest: %s", w.unfinished())
	}
}

func (w *world) resting() bool { return w.unfinished() == "" }

// unfinished says what is still to be done.
func (w *world) unfinished() string {
	switch last := len(w.log.positions); {
	case len(w.log.locks) > 0 || w.seq.lock != nil:
		return "transactions are open"
	case w.unsequenced() > 0:
		return "events have no position"
	case int(w.mq.others.seen) != last:
		return "another service was not told of everything"
	case int(w.model.feedPosition()) != last:
		return "the event feed is behind"
	case slices.ContainsFunc(w.mq.queues, func(q *queue) bool { return len(q.messages) > 0 || q.inflight != nil }):
		return "messages are not consumed"
	case len(w.model.parked) > 0:
		return "customers are parked"
	case w.model.cache.RunID != w.redis.runID:
		return "the cache is not trusted"
	case slices.ContainsFunc(w.redis.subs, (*subscription).pending):
		return "announcements are on the way"
	case int(w.reads.follower) != last:
		return "a follower was not told of everything"
	}
	heads := make([]int, w.cfg.lanes)
	for n, p := range w.log.positions {
		heads[p.lane] = n + 1
	}
	for lane, c := range w.model.checkpoints {
		if int(c.Position) != heads[lane] {
			return "a lane is behind"
		}
		if c.Cached != c.Position {
			return "the cache is not repaired"
		}
	}
	return ""
}

func (w *world) unsequenced() (n int) {
	for _, r := range w.log.rows {
		if w.log.visible(r) && !w.log.placed[r.id] {
			n++
		}
	}
	return n
}

// atPort tells whether a task waits for the scheduler.
func (w *world) atPort(t *task) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.ContainsFunc(w.parked, func(c *call) bool { return c.task == t.n })
}
