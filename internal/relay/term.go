package relay

import (
	"context"
	"time"
)

// Step is one run of something that repeats. It tells how long to rest.
type Step func(context.Context) (time.Duration, error)

// Term is one term of a Relay in single steps, for whoever decides the order of
// everything, as the simulation does. A relay that is started runs the same
// functions in loops. No step may run twice at a time.
type Term struct {
	Sequence    Step
	Lanes       []Step // of the feed
	Integration Step   // nil when other services are not told

	relay *Relay
	fence Fence
	began time.Time
	ctx   context.Context // ends with the term
	end   context.CancelCauseFunc
}

// Begin begins the term of a lease that was asked for at began.
func (r *Relay) Begin(ctx context.Context, f Fence, began time.Time) (*Term, error) {
	t := &Term{relay: r, fence: f, began: began}
	t.ctx, t.end = context.WithCancelCause(ctx)
	s, err := r.begin(t.ctx, f, t.end)
	if err != nil {
		t.end(err)
		return nil, err
	}
	t.Sequence = s.once
	for _, c := range s.carriers {
		switch c := c.(type) {
		case *feed:
			for _, l := range c.lanes {
				t.Lanes = append(t.Lanes, l.once)
			}
		case *integration:
			t.Integration = c.once
		}
	}
	return t, nil
}

// Keep renews the lease until the term ends. What is under way when that happens
// is to end too.
func (t *Term) Keep() { t.end(t.relay.keepLease(t.ctx, t.fence, t.began)) }

// End ends the term. The lease may be released once Keep has returned.
func (t *Term) End() { t.end(nil) }

// Context is the term's; its cause says why the term ended.
func (t *Term) Context() context.Context { return t.ctx }
