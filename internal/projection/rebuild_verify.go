package projection

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
)

// Check is how a rebuild is verified before it is switched to.
type Check string

const (
	// CheckRows reads every row back and holds it to what was written, byte for
	// byte; parts in which something differs, those that an earlier process
	// filled, and one in sampledParts of the others are compared with a second
	// fold of the log. Every event of the log has to have been folded once.
	CheckRows Check = "rows"
	// CheckAll folds the whole log a second time and compares every row.
	CheckAll Check = "full"
	// CheckNone trusts.
	CheckNone Check = "none"
)

// sampledParts is how many parts there are for each that is folded again
// although its rows are those that were written.
const sampledParts = 100

// ErrDiffers tells that the next generation is not the fold of the log.
var ErrDiffers = errors.New("the next generation is not the fold of the log")

// DiffersError names the first differences.
type DiffersError struct{ Report Report }

func (e *DiffersError) Error() string { return ErrDiffers.Error() }

// Is makes it ErrDiffers.
func (e *DiffersError) Is(target error) bool { return target == ErrDiffers }

// MiscountError tells that not every event of the log was folded exactly once.
type MiscountError struct{ Folded, Logged Census }

func (e *MiscountError) Error() string {
	return fmt.Sprintf("%d events were folded, and the log has %d (sums of positions %d and %d)",
		e.Folded.Events, e.Logged.Events, e.Folded.Positions, e.Logged.Positions)
}

// Is makes it ErrDiffers.
func (e *MiscountError) Is(target error) bool { return target == ErrDiffers }

// Census is how many events there are up to a position, and the sum of their
// positions: an event left out and another one read twice shows in it.
type Census struct{ Events, Positions int64 }

// counted is the events up to a position that were read in parts of the log.
type counted struct {
	through eventlog.Position
	mu      sync.Mutex
	of      map[Part]Census
}

// set says which events of p were read.
func (c *counted) set(p Part, n Census) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.of[p] = n
}

func (c *counted) has(p Part) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, ok := c.of[p]
	return ok
}

func (c *counted) all() (n Census) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, one := range c.of {
		n.Events += one.Events
		n.Positions += one.Positions
	}
	return n
}

// add counts those of events that are not beyond a position.
func (n *Census) add(events []eventlog.Sequenced, through eventlog.Position) {
	for _, e := range events {
		if e.Position <= through {
			n.Events++
			n.Positions += int64(e.Position)
		}
	}
}

// readBack finds the parts in which the tables do not hold what was written.
func (r *Rebuild) readBack(ctx context.Context) (err error) {
	if r.cfg.Check == CheckRows {
		r.altered, err = r.next.Altered(ctx)
	}
	return err
}

func (r *Rebuild) check(ctx context.Context) error {
	comparer, ok := r.next.Store().(Comparer)
	if r.cfg.Check == CheckNone || !ok {
		return nil
	}
	parts, err := r.suspects(ctx)
	if err != nil {
		return err
	}
	r.enter(PhaseVerifying, 0, r.state.Total*int64(len(parts))/int64(max(1, len(r.parts))))
	report, err := r.p.verifyParts(ctx, comparer, r.log, parts, VerifyConfig{
		Limit: 10, Workers: r.cfg.Workers, Strict: true, Progress: func(events int64) { r.done.Add(events) }, read: &r.read,
	})
	if err != nil {
		return err
	}
	if len(report.Differences) > 0 {
		return &DiffersError{Report: report}
	}
	return r.recount(ctx)
}

// suspects are the parts to fold again.
func (r *Rebuild) suspects(ctx context.Context) ([]Part, error) {
	if r.cfg.Check == CheckAll {
		return r.parts, nil
	}
	again := slices.Clone(r.altered)
	var rest []Part
	known := map[Part]bool{}
	for _, p := range again {
		known[p] = true
		if r.read.has(p) {
			r.deps.Logger.WarnContext(ctx, "rows differ from those that were written, will compare them with the log", "part", p.Number)
		}
	}
	for _, p := range r.parts {
		if !known[p] {
			rest = append(rest, p)
		}
	}
	rand.Shuffle(len(rest), func(i, j int) { rest[i], rest[j] = rest[j], rest[i] }) //nolint:gosec // nobody has to be kept from guessing
	return append(again, rest[:(len(rest)+sampledParts-1)/sampledParts]...), nil
}

// recount holds the events that were folded to those there are. Positions are
// dense, so that it seldom has to ask how many those are.
func (r *Rebuild) recount(ctx context.Context) error {
	folded, total := r.read.all(), r.state.Total
	if folded == (Census{Events: total, Positions: total * (total + 1) / 2}) {
		return nil
	}
	// As after somebody took events out of the log by hand.
	logged, err := r.log.Census(ctx, r.read.through)
	if err != nil {
		return err
	}
	if folded != logged {
		return &MiscountError{Folded: folded, Logged: logged}
	}
	return nil
}
