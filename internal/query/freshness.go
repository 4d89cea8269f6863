package query

import (
	"time"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
)

// HeartbeatGrace is how old a heartbeat may be before its age counts as lag, and
// before the next one ends a silence. Projectors beat every 500 ms and readers
// look once a second, so a healthy system shows ages up to 1.5 s.
const HeartbeatGrace = 2 * time.Second

// projectorGrace is how old it may be before the cache is not trusted any more:
// the last projector may have ended between what it committed and what it wrote
// there. With a refresh a second, five seconds pass at most.
const projectorGrace = 4 * time.Second

// LaneFreshness is how far one lane is.
type LaneFreshness struct {
	Lane    eventlog.Lane
	Head    eventlog.Position // of the lane in the log, as last seen
	Applied eventlog.Position
	// Behind is how many of the lane's events were beyond Applied; from a
	// projector that does not count them, or finds too many, it is 0.
	Behind int64
	// Waiting is how long the oldest event beyond Applied had been waiting when
	// the heart beat; 0 when nothing is beyond it.
	Waiting time.Duration
}

// AppliedNow is l after more of it was applied than when the heart beat.
func (l LaneFreshness) AppliedNow(to eventlog.Position) LaneFreshness {
	if to <= l.Applied {
		return l
	}
	// Positions are shared by all lanes, so of how many events were between the
	// two only the bounds are known.
	l.Behind = max(min(l.Behind, int64(l.Head-to)), 0)
	l.Applied, l.Head = to, max(l.Head, to)
	return l
}

// LagEvents is how many of the lane's events are not applied. Where nobody
// counted it is an upper bound: positions are shared by all lanes.
func (l LaneFreshness) LagEvents() int64 {
	switch {
	case l.Head <= l.Applied:
		return 0
	case l.Behind > 0:
		return l.Behind
	default:
		return int64(l.Head - l.Applied)
	}
}

// Rebuild is how far the next generation of the read model is.
type Rebuild struct {
	Generation  int
	Done, Total int64 // events
	StartedAt   time.Time
}

// FeedFreshness is how far the event feed is.
type FeedFreshness struct {
	Applied eventlog.Position
	Behind  bool          // the log had more when the heart beat
	Waiting time.Duration // how long the oldest of that had been waiting
}

// Freshness is how far the read model was when the projector last looked.
type Freshness struct {
	Head       eventlog.Position // of the whole log
	Lanes      []LaneFreshness   // ascending by lane
	Feed       FeedFreshness     // of the event feed
	Beat       time.Time         // by the read model's clock; zero before the first
	Age        time.Duration     // of the beat, by the same clock; since the reader began when there was none
	Generation int
	Parked     int // customers that are halted because an event could not be applied
	Cache      CacheState
	Rebuild    *Rebuild // nil when there is none under way
}

// Lag is how long the read model is behind the log. A lane with nothing beyond
// its checkpoint is not behind, and an old heartbeat is itself lag: nobody knows
// what happened since.
func (f Freshness) Lag() time.Duration {
	var lag time.Duration
	for _, l := range f.Lanes {
		if l.Head > l.Applied {
			lag = max(lag, l.Waiting+f.Age)
		}
	}
	if f.Age > HeartbeatGrace {
		lag = max(lag, f.Age)
	}
	return lag
}

// FeedLag is how long the event feed, which is written by itself, is behind the
// log.
func (f Freshness) FeedLag() time.Duration {
	var lag time.Duration
	if f.Feed.Behind {
		lag = f.Feed.Waiting + f.Age
	}
	if f.Age > HeartbeatGrace {
		lag = max(lag, f.Age)
	}
	return lag
}

// LagEvents is how many events are not applied: as many as the lanes lack, and
// never more than there are positions beyond the lane that is furthest behind.
func (f Freshness) LagEvents() int64 {
	var sum, furthest int64
	for _, l := range f.Lanes {
		if lag := l.LagEvents(); lag > 0 {
			sum += lag
			furthest = max(furthest, int64(max(f.Head, l.Head)-l.Applied))
		}
	}
	return min(sum, furthest)
}

// versionOf is the highest version tokens ask of one customer, 0 for none.
func versionOf(id customer.ID, tokens []eventlog.Token) customer.Version {
	var v customer.Version
	for _, t := range tokens {
		if t.CustomerID == id {
			v = max(v, t.Version)
		}
	}
	return v
}
