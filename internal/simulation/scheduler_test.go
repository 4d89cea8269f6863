package simulation_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ebrahem-outlook/customer-service/internal/query"
)

// errFault is what a port answers when the scheduler wants it to fail.
var errFault = errors.New("simulated fault")

// world is one run: everything there is, and the one who decides.
type world struct {
	t      testing.TB
	seed   uint64
	rnd    *rand.Rand
	cfg    scenario
	counts counts
	faults bool // faults may still happen
	failed string

	mu       sync.Mutex // guards what processes hand over to the scheduler
	parked   []*call
	finished []*task
	tasks    int // so far, which numbers them

	trace []moment
	procs []*proc

	log   *log
	seq   *sequence
	mq    *broker
	model *model
	redis *redis
	life  *life
	reads *reads
}

// proc is one process. When it dies its goroutines do not go on, and what it
// has in memory is lost; another proc takes its role.
type proc struct {
	w      *world
	name   string
	role   role
	ctx    context.Context
	cancel context.CancelFunc
	dead   atomic.Bool
	idle   int // moments in which it is not let go on, as if stopped
	loops  []*loop
	parts  parts
}

// role makes what a process runs.
type role func(p *proc) parts

// parts are what the scheduler knows of a process.
type parts struct {
	loops   []*loop
	stop    func() // of what would outlive a run
	lanes   []handler
	feed    handler
	service *query.Service
}

// loop is something that repeats. The scheduler decides when.
type loop struct {
	name  string
	once  func(context.Context) error
	begin func()      // instead, for what may overlap
	ready func() bool // nil: always
	busy  bool
}

// task is one goroutine's work.
type task struct {
	p      *proc
	n      int
	name   string
	cancel context.CancelFunc
	ended  func(err error, died bool)
	err    error
	died   bool
}

// call is a goroutine that waits at a port.
type call struct {
	p       *proc
	task    int
	op      string
	detail  int64
	ready   func() bool
	verdict chan verdict
}

// verdict is what becomes of a call.
type verdict struct {
	err  error
	stop bool // after the effect too, before the answer
	die  bool
}

// moment is one line of the trace.
type moment struct {
	who, what string
	detail    int64
	fate      string
}

type taskKey struct{}

// park waits until the scheduler lets the calling goroutine go on, or ctx ends.
func (p *proc) park(ctx context.Context, op string, detail int64, ready func() bool) (verdict, error) {
	if p.dead.Load() {
		runtime.Goexit()
	}
	if err := ctx.Err(); err != nil {
		return verdict{}, err
	}
	c := &call{p: p, op: op, detail: detail, ready: ready, verdict: make(chan verdict)}
	c.task, _ = ctx.Value(taskKey{}).(int)
	p.w.mu.Lock()
	p.w.parked = append(p.w.parked, c)
	p.w.mu.Unlock()
	select {
	case v := <-c.verdict:
		if v.die {
			runtime.Goexit()
		}
		return v, v.err
	case <-ctx.Done():
		p.w.mu.Lock()
		p.w.parked = slices.DeleteFunc(p.w.parked, func(o *call) bool { return o == c })
		p.w.mu.Unlock()
		if p.dead.Load() {
			runtime.Goexit()
		}
		return verdict{}, ctx.Err()
	}
}

// at is one call to a port: it stops before the effect and, when the scheduler
// likes, once more before the answer. An error then means that the caller does
// not learn of an effect that took place.
func at[T any](ctx context.Context, p *proc, op string, detail int64, ready func() bool, effect func() (T, error)) (T, error) {
	var none T
	v, err := p.park(ctx, op, detail, ready)
	if err != nil {
		return none, err
	}
	out, err := effect()
	if v.stop && err == nil {
		if _, err := p.park(ctx, op+"'", detail, nil); err != nil {
			return none, err
		}
	}
	return out, err
}

// start runs f as a task of p.
func (w *world) start(p *proc, name string, f func(context.Context) error, ended func(err error, died bool)) *task {
	w.tasks++
	t := &task{p: p, n: w.tasks, name: name, ended: ended, died: true}
	ctx, cancel := context.WithCancel(context.WithValue(p.ctx, taskKey{}, t.n))
	t.cancel = cancel
	w.note(p.name, "begins "+name, int64(t.n), "")
	go func() {
		defer func() {
			cancel()
			w.mu.Lock()
			w.finished = append(w.finished, t)
			w.mu.Unlock()
		}()
		t.err = f(ctx)
		t.died = p.dead.Load()
	}()
	return t
}

// settle waits until nobody can go on without the scheduler, and takes in what
// has ended.
func (w *world) settle() {
	for {
		synctest.Wait()
		w.mu.Lock()
		done := w.finished
		w.finished = nil
		w.mu.Unlock()
		if len(done) == 0 {
			return
		}
		slices.SortFunc(done, func(a, b *task) int { return a.n - b.n })
		for _, t := range done {
			w.note(t.p.name, "ends "+t.name, int64(t.n), fate(t))
			if t.ended != nil {
				t.ended(t.err, t.died)
			}
		}
	}
}

func fate(t *task) string {
	switch {
	case t.died:
		return "died"
	case t.err != nil:
		return t.err.Error()
	}
	return ""
}

// waiting lists the calls that could go on, in an order that is the same in
// every run of a seed.
func (w *world) waiting(all bool) []*call {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []*call
	for _, c := range w.parked {
		if (all || c.p.idle == 0) && (c.ready == nil || c.ready()) {
			out = append(out, c)
		}
	}
	inOrder(out)
	return out
}

// inOrder sorts calls. Several processes' goroutines may have come to theirs at
// once, and those who ask for one customer at once ask through one of them,
// whichever was first: its number comes last.
func inOrder(calls []*call) {
	slices.SortStableFunc(calls, func(a, b *call) int {
		return cmp.Or(
			strings.Compare(a.p.name, b.p.name), strings.Compare(a.op, b.op),
			cmp.Compare(a.detail, b.detail), cmp.Compare(a.task, b.task),
		)
	})
}

// release lets a call go on, or not.
func (w *world) release(c *call, v verdict) {
	w.mu.Lock()
	i := slices.Index(w.parked, c)
	if i >= 0 {
		w.parked = slices.Delete(w.parked, i, i+1)
	}
	w.mu.Unlock()
	if i < 0 {
		return // its context has ended
	}
	if w.keeping() {
		how := ""
		switch {
		case v.die:
			how = "dies"
		case v.err != nil:
			how = "fails"
		case v.stop:
			how = "and stops before the answer"
		}
		w.note(c.p.name, c.op, c.detail, how)
	}
	c.verdict <- v
}

// kill ends a process at one of its calls, or wherever it is.
func (w *world) kill(p *proc) {
	if p.dead.Swap(true) {
		return
	}
	w.note(p.name, "dies", 0, "")
	w.counts.crashes++
	w.mu.Lock()
	var own []*call
	for _, c := range w.parked {
		if c.p == p {
			own = append(own, c)
		}
	}
	w.mu.Unlock()
	inOrder(own)
	for _, c := range own {
		w.release(c, verdict{die: true})
	}
	p.cancel()
	w.settle()
	if p.parts.stop != nil {
		p.parts.stop()
	}
	w.mq.disconnect(p)
	w.redis.disconnect(p)
	w.settle()
}

// spawn begins a process.
func (w *world) spawn(name string, r role) *proc {
	p := &proc{w: w, name: name, role: r}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.parts = r(p)
	p.loops = p.parts.loops
	w.procs = append(w.procs, p)
	w.settle()
	return p
}

// respawn puts a new process in a dead one's place.
func (w *world) respawn(i int) {
	old := w.procs[i]
	base, _, _ := strings.Cut(old.name, "/")
	p := w.spawn(fmt.Sprintf("%s/%d", base, w.tasks), old.role)
	w.procs = w.procs[:len(w.procs)-1]
	w.procs[i] = p
}

// sleep lets virtual time pass. Timers that end at one moment fire in a random
// order, so none may end when this one does: whole milliseconds are what all
// others last, and the nanoseconds count how often time has passed.
func (w *world) sleep(d time.Duration) {
	w.note("time", "passes", int64(d), "")
	<-time.After(d + time.Nanosecond)
	w.settle()
}

func (w *world) keeping() bool { return w.cfg.trace > 0 }

// note adds to the trace, of which the end is kept.
func (w *world) note(who, what string, detail int64, how string) {
	if !w.keeping() {
		return
	}
	if len(w.trace) >= 2*w.cfg.trace {
		w.trace = slices.Delete(w.trace, 0, w.cfg.trace)
	}
	w.trace = append(w.trace, moment{who, what, detail, how})
}

// fail ends the run: something is not as promised.
func (w *world) fail(format string, args ...any) {
	if w.failed == "" {
		w.failed = fmt.Sprintf(format, args...)
		w.note("checker", w.failed, 0, "")
	}
}

// story is the trace, a line each.
func (w *world) story() string {
	var b strings.Builder
	for _, m := range w.trace[max(0, len(w.trace)-w.cfg.trace):] {
		fmt.Fprintf(&b, "%-14s %s %d %s\n", m.who, m.what, m.detail, m.fate)
	}
	return b.String()
}
