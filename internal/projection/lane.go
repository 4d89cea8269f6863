package projection

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/ebrahem-outlook/customer-service/internal/crash"
	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
)

// healPage is how many events are read from the log and applied at once when
// catching up: beyond about 500 a transaction's fixed costs no longer show.
const healPage = 1000

// errForeign tells of a batch that names positions the log does not have.
var errForeign = errors.New("batch is not of this log")

// lane applies one lane's events.
type lane struct {
	id  eventlog.Lane
	p   *Projector
	log *slog.Logger

	ahead atomic.Bool // it was found beyond the log's head, and said so

	// turn lets one apply run at a time in this process; other processes are kept
	// out by the checkpoint's lock. A catch-up may hold it for minutes, so those
	// who wait for it can give up: a mutex would keep the process from stopping.
	turn *semaphore.Weighted
	hint eventlog.Position // where the checkpoint was last seen

	cacheMu sync.Mutex
	cached  cached
}

// cached is what this process knows of its own writes to the cache.
type cached struct {
	through eventlog.Position // everything up to here is written
	rewinds int64             // Checkpoint.Rewinds when that was so
	failing time.Time         // when writes began to fail; zero while they succeed
}

// batch applies one message of the feed, after whatever is missing before it.
func (l *lane) batch(ctx context.Context, b eventlog.Batch) error {
	if err := l.turn.Acquire(ctx, 1); err != nil {
		return err
	}
	defer l.turn.Release(1)
	if b.Last <= l.hint { // a checkpoint that has gone back since is found by the sweep
		l.log.DebugContext(ctx, "message was applied before", "through", b.Last)
		return nil
	}
	for {
		err := l.apply(ctx, b.Previous, b.Last, b.Events, false)
		missing := (*errMissing)(nil)
		if !errors.As(err, &missing) {
			return err
		}
		healed, err := l.heal(ctx, missing.at, b.Previous)
		if err != nil {
			return err
		}
		if healed == 0 {
			return fmt.Errorf("%w: nothing after %d up to %d", errForeign, missing.at, b.Previous)
		}
		l.log.DebugContext(ctx, "events before a message read from the log", "after", missing.at, "through", b.Previous, "events", healed)
	}
}

// catchUp applies everything the log has after a position and says how much.
func (l *lane) catchUp(ctx context.Context, after eventlog.Position) (int, error) {
	if err := l.turn.Acquire(ctx, 1); err != nil {
		return 0, err
	}
	defer l.turn.Release(1)
	return l.heal(ctx, after, 0)
}

// catchUpTo applies what the log has after a position and up to another.
func (l *lane) catchUpTo(ctx context.Context, after, through eventlog.Position) (int, error) {
	if through <= after {
		return 0, nil
	}
	if err := l.turn.Acquire(ctx, 1); err != nil {
		return 0, err
	}
	defer l.turn.Release(1)
	return l.heal(ctx, after, through)
}

// heal applies the log's events after one position and up to another (0: all).
// It ends early when another projector moves the lane.
func (l *lane) heal(ctx context.Context, after, through eventlog.Position) (int, error) {
	applied := 0
	for through == 0 || after < through {
		events, err := l.p.log.ReadLane(ctx, l.id, after, through, healPage)
		if err != nil {
			return applied, fmt.Errorf("read lane %d after %d: %w", l.id, after, err)
		}
		if len(events) == 0 {
			return applied, nil
		}
		last := events[len(events)-1].Position
		if err := l.apply(ctx, after, last, events, true); err != nil {
			return applied, err
		}
		applied += len(events)
		after = max(last, l.hint) // another projector may be ahead
	}
	return applied, nil
}

// apply applies events, which are all of the lane's after previous up to last.
// It returns *errMissing when the checkpoint is before previous. The cache is
// written after the commit; what it misses is repaired later. A customer whose
// events do not join is halted if the log itself said so, for it will not say
// anything else the next time; a message is only refused.
func (l *lane) apply(ctx context.Context, previous, last eventlog.Position, events []eventlog.Sequenced, fromLog bool) error {
	// What the checkpoint is known to be past is not worth opening.
	for len(events) > 0 && events[0].Position <= l.hint {
		previous, events = events[0].Position, events[1:]
	}
	ready, err := l.p.opener.open(ctx, events)
	if err != nil {
		return err
	}
	ids := customersOf(events)
	var (
		fetched  map[customer.ID][]opened
		from     View
		delta    Delta
		rejected bool
	)
	for {
		p := part{previous: previous, last: last, events: ready}
		err := l.p.store.Update(ctx, l.id, ids, func(v View) (d Delta, err error) {
			from = v
			if d, err = foldLane(v, p, fetched); err == nil {
				d.Cached = l.cachedThrough(v.Checkpoint)
			}
			delta = d
			return d, err
		})
		missing, gap := (*errMissing)(nil), (*errGap)(nil)
		switch {
		case err == nil:
			l.hint = delta.Position
			l.announceParked(ctx, from, delta)
			crash.Here(crash.ProjectBeforeCache)
			l.writeCache(ctx, from, delta)
			return nil
		case errors.Is(err, errNothing):
			l.hint = from.Position
			if !fromLog {
				l.log.DebugContext(ctx, "message was applied before", "through", last)
			}
			return nil
		case errors.As(err, &missing):
			l.hint = missing.at
			return err
		case errors.As(err, &gap):
			if fetched == nil {
				fetched = map[customer.ID][]opened{}
			}
			err := l.fetch(ctx, gap, fetched)
			switch {
			case errors.Is(err, errForeign) && fromLog:
				orphan(ready, gap)
				orphan(fetched[gap.customer], gap)
			case err != nil:
				return err
			}
		case errors.Is(err, ErrRejected) && !rejected:
			rejected = true // a second time would find nobody to blame
			if err := l.blame(ctx, err, ready, fetched, ids); err != nil {
				return err
			}
		default:
			return fmt.Errorf("apply lane %d after %d: %w", l.id, previous, err)
		}
	}
}

// fetch reads what a customer's row lacks from its stream. It reads to the
// stream's end: events that the lane brings later are skipped by version.
func (l *lane) fetch(ctx context.Context, gap *errGap, fetched map[customer.ID][]opened) error {
	events, err := l.p.readStream(ctx, gap.customer, gap.after)
	if err != nil {
		return err
	}
	if len(fetched[gap.customer]) > 0 || len(events) == 0 || events[0].entry.Version != gap.after+1 {
		return fmt.Errorf("the log has no version %d of %s: %w", gap.after+1, gap.customer, errForeign)
	}
	l.log.WarnContext(ctx, "gap in a customer's events closed from the log",
		"customer_id", gap.customer, "after_version", gap.after, "events", len(events))
	fetched[gap.customer] = events
	return nil
}

// orphan makes a customer's events behind a gap ones that nothing comes before.
func orphan(events []opened, gap *errGap) {
	for i := range events {
		if e := &events[i]; e.entry.CustomerID == gap.customer && e.entry.Version > gap.after {
			e.orphan, e.poison = true, "earlier events are missing from the log"
		}
	}
}

// blame finds the customers whose changes the store refuses, by trying each
// alone without committing, and makes their events poison. Finding nobody, it
// returns cause.
func (l *lane) blame(ctx context.Context, cause error, ready []opened, fetched map[customer.ID][]opened, ids []customer.ID) error {
	culprits := map[customer.ID]bool{}
	for _, id := range ids {
		var own []opened
		for _, e := range ready {
			if e.entry.CustomerID == id {
				own = append(own, e)
			}
		}
		err := l.p.store.Update(ctx, l.id, []customer.ID{id}, func(v View) (Delta, error) {
			d := Delta{Position: v.Position, Cached: v.Cached}
			if err := d.foldCustomer(v, id, merge(fetched[id], own)); err != nil {
				return Delta{}, err
			}
			// The store is to check everything and to keep nothing.
			d.Probe = true
			return d, nil
		})
		if errors.Is(err, ErrRejected) {
			culprits[id] = true
		}
	}
	if len(culprits) == 0 {
		return cause
	}
	poison := func(events []opened) {
		for i := range events {
			if culprits[events[i].entry.CustomerID] && events[i].poison == "" {
				events[i].poison = "read model refuses the values"
			}
		}
	}
	poison(ready)
	for id := range fetched {
		poison(fetched[id])
	}
	return nil
}

// announceParked raises the alarm for every customer that was halted.
func (l *lane) announceParked(ctx context.Context, from View, d Delta) {
	for _, p := range d.Park {
		if _, already := from.Parked[p.CustomerID]; already {
			continue
		}
		l.log.ErrorContext(ctx, "customer parked: an event cannot be applied",
			"customer_id", p.CustomerID, "version", p.Version, "position", p.Position,
			"type", p.Type, "reason", p.Reason)
	}
}
