package simulation_test

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
	"github.com/ebrahem-outlook/customer-service/internal/projection"
	"github.com/ebrahem-outlook/customer-service/internal/query"
	"github.com/ebrahem-outlook/customer-service/internal/relay"
)

var discard = slog.New(slog.DiscardHandler)

// writer is the part of a command process that appends.
func (w *world) writer(p *proc) parts {
	return parts{loops: []*loop{{
		name:  "write",
		once:  func(ctx context.Context) error { return w.life.write(ctx, p) },
		ready: func() bool { return w.life.left > 0 },
	}}}
}

// leader is the part of a command process that sequences and tells. The
// lease's own loop, which rests for random times, is the scheduler's.
type leader struct {
	p     *proc
	relay *relay.Relay
	port  seqPort
	fence relay.Fence
	term  *relay.Term
	keep  func()        // starts once the term has begun
	kept  chan struct{} // closed when the lease is not renewed any more
}

func (w *world) leader(p *proc) parts {
	port := seqPort{w.seq, p}
	l := &leader{p: p, port: port}
	var err error
	l.relay, err = relay.New(relay.Deps{
		Leases: port, Sequence: port, Checkpoints: port, Log: logPort{w.log, p}, Feed: mqPort{w.mq, p},
		Logger: discard, Notices: logPort{w.log, p}, Integration: mqPort{w.mq, p},
	}, relay.Config{
		Holder: p.name, Lanes: w.cfg.lanes, TickLimit: w.cfg.tickLimit, BatchEvents: w.cfg.batch, Window: 2,
	})
	if err != nil {
		panic(err)
	}
	leading := func() bool { return l.term != nil && l.term.Context().Err() == nil }
	loops := []*loop{
		{name: "acquire", once: l.acquire, ready: func() bool { return l.term == nil }},
		{name: "resign", once: l.resign, ready: func() bool { return l.term != nil && (!leading() || w.faults && w.rnd.IntN(40) == 0) }},
		{name: "lease", once: l.renew, ready: func() bool { return l.keep != nil }},
		{name: "sequence", once: l.step(func(t *relay.Term) relay.Step { return t.Sequence }), ready: leading},
		{name: "tell", once: l.step(func(t *relay.Term) relay.Step { return t.Integration }), ready: leading},
	}
	for lane := range w.cfg.lanes {
		loops = append(loops, &loop{
			name: eventlog.FeedTopic(eventlog.Lane(lane)), ready: leading, //nolint:gosec // a handful
			once: l.step(func(t *relay.Term) relay.Step { return t.Lanes[lane] }),
		})
	}
	return parts{loops: loops}
}

func (l *leader) acquire(ctx context.Context) error {
	began := time.Now()
	f, ok, err := l.port.Acquire(ctx, "relay", l.p.name, 3*time.Second)
	if err != nil || !ok {
		return err
	}
	// Under the process's context: a term outlives the task that begins it.
	term, err := l.relay.Begin(context.WithValue(l.p.ctx, taskKey{}, ctx.Value(taskKey{})), f, began)
	if err != nil {
		return err
	}
	l.fence, l.term, l.kept = f, term, make(chan struct{})
	l.keep = func() { term.Keep() }
	return nil
}

func (l *leader) renew(context.Context) error {
	keep, kept := l.keep, l.kept
	l.keep = nil
	defer close(kept)
	keep()
	return nil
}

// resign ends a term once it is over, or before, as a process that stops does.
func (l *leader) resign(ctx context.Context) error {
	term := l.term
	if l.busy() || l.keep != nil {
		return nil
	}
	term.End()
	<-l.kept
	l.term = nil
	if errors.Is(context.Cause(term.Context()), relay.ErrFenced) {
		return nil
	}
	return l.port.Release(ctx, l.fence)
}

// busy tells whether a step of the term is under way.
func (l *leader) busy() bool {
	for _, o := range l.p.loops {
		if o.busy && o.name != "resign" && o.name != "acquire" && o.name != "lease" {
			return true
		}
	}
	return false
}

func (l *leader) step(of func(*relay.Term) relay.Step) func(context.Context) error {
	return func(ctx context.Context) error {
		term := l.term
		if term == nil {
			return nil
		}
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(term.Context(), cancel)()
		_, err := of(term)(ctx)
		return err
	}
}

// projector is a projector.
func (w *world) projector(p *proc) parts {
	m := modelPort{w.model, p}
	pr, err := projection.New(projection.Deps{
		Log: logPort{w.log, p}, Codec: w.life, Keyring: keyring(), Store: m, Ledger: m,
		Cache: cacheWriter{w.redis, p}, Logger: discard, Notices: logPort{w.log, p}, Events: feedPort{m},
	}, projection.Config{Lanes: w.cfg.lanes})
	if err != nil {
		panic(err)
	}
	out := parts{feed: pr.EventHandler()}
	for lane := range w.cfg.lanes {
		out.lanes = append(out.lanes, pr.Handler(eventlog.Lane(lane))) //nolint:gosec // a handful
	}
	steps := pr.Steps()
	healing := func() bool { return w.cfg.heal }
	for _, s := range []struct {
		name  string
		step  projection.Step
		ready func() bool
	}{{"sweep", steps.Sweep, healing}, {"feed sweep", steps.Feed, healing}, {"beat", steps.Beat, nil}, {"cache", steps.Cache, nil}} {
		out.loops = append(out.loops, &loop{name: s.name, ready: s.ready, once: func(ctx context.Context) error {
			_, err := s.step(ctx)
			return err
		}})
	}
	out.loops = append(out.loops, &loop{
		name:  "operator",
		ready: func() bool { return len(w.model.parked) > 0 && w.rnd.IntN(4) == 0 },
		once:  func(ctx context.Context) error { return w.operate(ctx, pr) },
	})
	return out
}

// operate retries whoever is parked; once the faults are over, whoever cannot
// be helped is released.
func (w *world) operate(ctx context.Context, pr *projection.Projector) error {
	list, err := pr.Parked(ctx)
	if err != nil {
		return err
	}
	for _, one := range list {
		left, err := pr.Retry(ctx, one.CustomerID)
		if err != nil {
			return err
		}
		w.counts.retried++
		if left != nil && !w.faults {
			w.counts.released++
			if _, err := pr.Release(ctx, one.CustomerID); err != nil {
				return err
			}
		}
	}
	return nil
}

// reader is a query process.
func (w *world) reader(p *proc) parts {
	m := readPort{modelPort{w.model, p}}
	c := cacheReader{r: w.redis, p: p, state: &query.CacheState{}}
	// Time passes slowly here, and little is kept, lest every run allocates for millions.
	s, err := query.New(m, c, c, discard, query.Config{L1Bytes: 1 << 16, L1Entries: 64, Refresh: 30 * time.Millisecond})
	if err != nil {
		panic(err)
	}
	w.tasks++
	if err := s.Start(context.WithValue(p.ctx, taskKey{}, w.tasks)); err != nil {
		panic(err)
	}
	return parts{
		service: s,
		loops: []*loop{
			{name: "read", begin: func() { w.reads.begin(p, s) }, ready: func() bool { return w.reads.open < 6 }},
			{name: "follow", begin: func() { w.reads.follow(p, m) }, ready: func() bool { return !w.reads.busy }},
		},
		stop: func() { _ = s.Stop(context.Background()) },
	}
}
