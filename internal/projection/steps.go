package projection

import (
	"context"
	"time"
)

// Step is one run of something that repeats. It tells how long to rest.
type Step func(context.Context) (time.Duration, error)

// Steps are what Start runs in loops, for whoever decides the order of
// everything, as the simulation does. Messages go to the Handlers either way. No
// step may run twice at a time.
type Steps struct {
	Sweep, Beat, Cache Step
	Feed               Step // nil when the event feed is left alone
}

// Steps returns p's. It is asked for once, instead of starting p.
func (p *Projector) Steps() Steps {
	s := Steps{Sweep: p.sweepOnce, Beat: p.beatOnce, Cache: (&keeper{p: p}).once}
	if p.feed != nil {
		s.Feed = p.feed.sweepOnce
	}
	return s
}
