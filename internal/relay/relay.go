package relay

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
	"github.com/ebrahem-outlook/customer-service/internal/lifecycle"
)

// duty is the lease's name. Sequencing and carrying share one: each message
// follows the tick in the same process, with no poll between them.
const duty = "relay"

// Relay sequences the log and feeds the broker while it holds the lease, and
// waits for the lease while another process does.
type Relay struct {
	deps Deps
	cfg  Config

	sequencer atomic.Pointer[lifecycle.Loop] // of the present term
	epoch     atomic.Int64                   // of the present term; 0 while another leads
	head      atomic.Int64

	mu     sync.Mutex
	cancel context.CancelFunc
	done   chan struct{}
}

var _ lifecycle.Service = (*Relay)(nil)

// carrier takes sequenced events somewhere. The feed is one; each has a name
// under which its checkpoints are kept, and runs for one term.
type carrier interface {
	begin(ctx context.Context, f Fence) error
	start(ctx context.Context) error
	wake(lanes []eventlog.Lane)
	stop(ctx context.Context) error
}

// New returns a relay that is not running yet.
func New(deps Deps, cfg Config) (*Relay, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(deps); err != nil {
		return nil, err
	}
	return &Relay{deps: deps, cfg: cfg}, nil
}

// Wake tells that this process has just committed events. Only the leader
// listens; any other process's events it finds by polling.
func (r *Relay) Wake() {
	if loop := r.sequencer.Load(); loop != nil {
		loop.Wake()
	}
}

// Leading returns the epoch of the term under way, and 0 while another process
// leads or nobody does.
func (r *Relay) Leading() int64 { return r.epoch.Load() }

// Head returns the last position given out in this process's terms.
func (r *Relay) Head() eventlog.Position { return eventlog.Position(r.head.Load()) }

// Start implements lifecycle.Service.
func (r *Relay) Start(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cancel != nil {
		return nil
	}
	ctx, r.cancel = context.WithCancel(ctx)
	r.done = make(chan struct{})
	go r.run(ctx, r.done)
	return nil
}

// Stop implements lifecycle.Service. It gives the lease back, so that another
// process takes over at once.
func (r *Relay) Stop(ctx context.Context) error {
	r.mu.Lock()
	cancel, done := r.cancel, r.done
	r.mu.Unlock()
	if cancel == nil {
		return nil
	}
	cancel()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (r *Relay) run(ctx context.Context, done chan<- struct{}) {
	defer close(done)
	// Often enough that a lease given back is taken up at once, as people see it.
	poll := r.cfg.LeaseTTL / 15
	for ctx.Err() == nil {
		began := time.Now() // before the database's clock starts counting
		actx, cancel := context.WithTimeout(ctx, r.cfg.LeaseTTL)
		f, ok, err := r.deps.Leases.Acquire(actx, duty, r.cfg.Holder, r.cfg.LeaseTTL)
		cancel()
		rest := poll
		switch {
		case ctx.Err() != nil && !ok:
			return
		case err != nil:
			r.deps.Logger.WarnContext(ctx, "cannot look for the relay's lease", "error", err)
			rest = r.cfg.LeaseTTL / 3
		case ok:
			if err := r.lead(ctx, f, began); err != nil {
				rest = r.cfg.LeaseTTL / 3 // somebody else may fare better
			}
		}
		timer := time.NewTimer(rest/2 + rand.N(rest)) //nolint:gosec // jitter needs no secrecy
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
	}
}

// lead runs one term and returns why it ended, nil when ctx did.
func (r *Relay) lead(ctx context.Context, f Fence, began time.Time) error {
	log := r.deps.Logger.With("epoch", f.Epoch)
	log.InfoContext(ctx, "leading the relay")
	term, end := context.WithCancelCause(ctx)
	var keeping sync.WaitGroup
	keeping.Go(func() { end(r.keepLease(term, f, began)) })

	err := r.work(term, f, end)
	end(err)
	keeping.Wait()
	r.sequencer.Store(nil)
	r.epoch.Store(0)

	cause := context.Cause(term)
	if !errors.Is(cause, ErrFenced) {
		// What was under way is over, so a successor may begin. Not under ctx,
		// which has usually ended.
		rctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.cfg.LeaseTTL/3)
		defer cancel()
		if err := r.deps.Leases.Release(rctx, f); err != nil {
			log.WarnContext(ctx, "cannot give the relay's lease back, it will expire", "error", err)
		}
	}
	if ctx.Err() != nil {
		log.InfoContext(ctx, "stopped leading the relay")
		return nil
	}
	log.WarnContext(ctx, "no longer leading the relay", "cause", cause)
	return cause
}

// work sequences and carries until the term ends, and returns why it could not
// when it did not even begin.
func (r *Relay) work(term context.Context, f Fence, end context.CancelCauseFunc) error {
	s, err := r.begin(term, f, end)
	if err != nil {
		return err
	}
	loop := lifecycle.NewLoop("sequencer", r.deps.Logger, s.once)
	services := []func(context.Context) error{loop.Stop}
	defer func() {
		for _, stop := range services { // each ends with its term; this waits
			_ = stop(context.WithoutCancel(term))
		}
	}()
	for _, c := range s.carriers {
		if err := c.start(term); err != nil {
			return err
		}
		services = append(services, c.stop)
	}
	if err := loop.Start(term); err != nil {
		return err
	}
	r.sequencer.Store(loop)
	r.epoch.Store(f.Epoch)
	<-term.Done()
	return nil
}

// begin makes what sequences and what carries know where the term begins.
func (r *Relay) begin(term context.Context, f Fence, end context.CancelCauseFunc) (*sequencer, error) {
	carriers := []carrier{newFeed(r.deps, r.cfg, end)}
	if r.deps.Integration != nil {
		carriers = append(carriers, newIntegration(r.deps, end))
	}
	n, err := r.deps.Sequence.BeginTerm(term, f, r.cfg.Lanes)
	if err != nil {
		return nil, err
	}
	if n > 0 {
		r.deps.Logger.WarnContext(term, "sequenced a database that was not sequenced here before", "events", n)
	}
	for _, c := range carriers {
		if err := c.begin(term, f); err != nil {
			return nil, err
		}
	}
	return &sequencer{deps: r.deps, cfg: r.cfg, fence: f, end: end, carriers: carriers, head: &r.head}, nil
}

// keepLease renews until the term ends or cannot be known to last. The term
// lasts from before a renewal was asked for: a process that was paused finds on
// waking that its time is up, before it asks anybody.
func (r *Relay) keepLease(term context.Context, f Fence, began time.Time) error {
	until := began.Add(r.cfg.LeaseTTL)
	for {
		timer := time.NewTimer(r.cfg.LeaseTTL / 3)
		select {
		case <-term.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
		asked := time.Now()
		if asked.After(until) {
			return errExpired
		}
		ctx, cancel := context.WithDeadline(term, until)
		err := r.deps.Leases.Renew(ctx, f, r.cfg.LeaseTTL)
		cancel()
		switch {
		case err == nil:
			until = asked.Add(r.cfg.LeaseTTL)
		case errors.Is(err, ErrFenced):
			return err
		case term.Err() == nil:
			r.deps.Logger.WarnContext(term, "cannot renew the relay's lease", "error", err)
		}
	}
}

var errExpired = errors.New("the lease could not be renewed in time")
