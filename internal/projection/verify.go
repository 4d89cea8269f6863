package projection

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
)

const (
	// erasurePatience is how long an erasure may take to get its position after
	// it was committed: another sequencer takes over from a dead one in some 3 s.
	erasurePatience = 5 * time.Second
	erasurePoll     = 50 * time.Millisecond
)

// Difference is one way in which a customer's rows are not what the log says.
type Difference struct {
	CustomerID customer.ID
	What       string // holds nothing that describes the person
}

// Report is what a verification found.
type Report struct {
	Customers   int // compared
	Events      int // folded for it
	Differences []Difference
}

// Standing is how far a customer is in the read model.
type Standing struct {
	Version  customer.Version
	Shredded bool
}

// Wanted is what a customer's rows should be like. Those of Others are not
// compared: there is something else to say about them, or nothing.
type Wanted struct {
	Delta  Delta
	Others []customer.ID
}

// Comparer holds the rows of a generation to what they should be.
//
// Compare takes the customers from first to last as of one moment: it tells want
// how far each is and who of them is halted, and compares every row of every
// derived table with those that want hands over, in as many pieces as it likes.
// It returns no more than limit differences (0: all). Columns which earlier
// releases did not write may be empty unless strict.
type Comparer interface {
	Checkpoints(ctx context.Context) ([]Checkpoint, error)
	Compare(
		ctx context.Context, first, last customer.ID, limit int, strict bool,
		want func(have map[customer.ID]Standing, parked map[customer.ID]Parked, piece func(Wanted) error) error,
	) ([]Difference, error)
}

// VerifyConfig is how a verification runs. Zero values take the defaults named.
type VerifyConfig struct {
	Limit    int  // differences after which it stops; 0: never
	Workers  int  // 4
	Strict   bool // columns that earlier releases did not write have to be there
	Progress func(events int64)

	read *counted // is told what was read of each part; nil for nobody
}

// ErrNotComparable tells that a store cannot compare what it keeps.
var ErrNotComparable = errors.New("the store cannot compare what it keeps")

// Verify folds every customer's events anew and compares the outcome with all
// derived tables of the read model, at the version the read model has. It
// changes nothing, and may run while events are applied.
func (p *Projector) Verify(ctx context.Context, log CustomerLog, c VerifyConfig) (Report, error) {
	comparer, ok := p.store.(Comparer)
	if !ok {
		return Report{}, ErrNotComparable
	}
	head, err := p.log.Head(ctx)
	if err != nil {
		return Report{}, fmt.Errorf("read head: %w", err)
	}
	parts, err := cut(ctx, log, int64(head))
	if err != nil {
		return Report{}, err
	}
	return p.verifyParts(ctx, comparer, log, parts, c)
}

func (p *Projector) verifyParts(ctx context.Context, store Comparer, log CustomerLog, parts []Part, c VerifyConfig) (Report, error) {
	if c.Workers == 0 {
		c.Workers = 4
	}
	// Read before any row: the rows are at least that far.
	checkpoints, err := store.Checkpoints(ctx)
	if err != nil {
		return Report{}, err
	}
	v := &verification{p: p, store: store, log: log, cfg: c, due: map[eventlog.Lane]eventlog.Position{}}
	for _, one := range checkpoints {
		v.due[one.Lane] = one.Position
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(c.Workers)
	for _, part := range parts {
		group.Go(func() error {
			if v.full() {
				return nil
			}
			return v.part(ctx, part)
		})
	}
	err = group.Wait()
	slices.SortFunc(v.report.Differences, func(a, b Difference) int { return compareIDs(a.CustomerID, b.CustomerID) })
	if c.Limit > 0 && len(v.report.Differences) > c.Limit {
		v.report.Differences = v.report.Differences[:c.Limit]
	}
	return v.report, err
}

type verification struct {
	p     *Projector
	store Comparer
	log   CustomerLog
	cfg   VerifyConfig
	due   map[eventlog.Lane]eventlog.Position

	mu     sync.Mutex
	report Report
}

func (v *verification) full() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.cfg.Limit > 0 && len(v.report.Differences) >= v.cfg.Limit
}

func (v *verification) add(customers, events int, found ...Difference) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.report.Customers += customers
	v.report.Events += events
	v.report.Differences = append(v.report.Differences, found...)
	if v.cfg.Progress != nil {
		v.cfg.Progress(int64(events))
	}
}

func (v *verification) part(ctx context.Context, part Part) error {
	var read Census
	found, err := v.store.Compare(ctx, part.First, part.Last, v.cfg.Limit, v.cfg.Strict,
		func(have map[customer.ID]Standing, parked map[customer.ID]Parked, piece func(Wanted) error) error {
			err := inChunks(ctx, v.log, part.First, part.Last, func(chunk []eventlog.Sequenced) error {
				ready, err := v.p.opener.open(ctx, chunk)
				if err != nil {
					return err
				}
				// Events passed over on an operator's decision are no difference.
				for i := range ready {
					ready[i].passOver = true
				}
				readAt := time.Now()
				var w Wanted
				customers := 0
				if err := perCustomer(ready, func(id customer.ID, own []opened) error {
					row, known := have[id]
					delete(have, id)
					what, err := v.want(ctx, &w, id, row, parked[id], own, readAt)
					if err != nil {
						return err
					}
					if known {
						customers++
					}
					if what != "" {
						w.Others = append(w.Others, id)
						v.add(0, 0, Difference{CustomerID: id, What: what})
					}
					return nil
				}); err != nil {
					return err
				}
				v.add(customers, len(chunk))
				if v.cfg.read != nil {
					read.add(chunk, v.cfg.read.through)
				}
				return piece(w)
			})
			if err != nil {
				return err
			}
			var w Wanted
			for id := range have {
				w.Others = append(w.Others, id)
				v.add(1, 0, Difference{CustomerID: id, What: "is not in the log"})
			}
			return piece(w)
		})
	if err != nil {
		return fmt.Errorf("compare customers from %s: %w", part.First, err)
	}
	if v.cfg.read != nil {
		v.cfg.read.set(part, read)
	}
	v.add(0, 0, found...)
	return nil
}

// want adds what a customer's rows should be like to w, or says what is wrong
// with how far it is. Their keys were read by readAt.
func (v *verification) want(
	ctx context.Context, w *Wanted, id customer.ID, have Standing, parked Parked, events []opened, readAt time.Time,
) (string, error) {
	lane := eventlog.LaneOf(eventlog.SlotOf(id), len(v.p.lanes))
	due := customer.Version(0)
	for _, e := range events {
		if e.position <= v.due[lane] {
			due = e.entry.Version
		}
	}
	last := events[len(events)-1].entry.Version
	switch {
	case have.Version > last:
		return "is ahead of the log", nil
	case have.Version < due && (parked.Version == 0 || parked.Version != have.Version+1 && !events[0].orphan):
		if have.Version == 0 {
			return "is missing", nil
		}
		return fmt.Sprintf("is at version %d, should be at %d", have.Version, due), nil
	case have.Version == 0:
		return "", nil
	}
	n := 0
	for n < len(events) && events[n].entry.Version <= have.Version {
		n++
	}
	upTo := events[:n]
	if n > 0 && upTo[0].shredded && !have.Shredded {
		erasing := n < len(events)
		if !erasing {
			var err error
			if erasing, err = v.erasing(ctx, id, last, readAt); err != nil {
				return "", err
			}
		}
		if erasing {
			w.Others = append(w.Others, id) // its erasure is on the way
			return "", nil
		}
	}
	if err := w.Delta.foldWhole(id, len(v.p.lanes), upTo); err != nil {
		return err.Error(), nil
	}
	return "", nil
}

// erasing tells whether a customer whose key was gone at a time has an event
// after last. A key goes together with the event that says so, but keys are read
// after events, and an event can be read once it has a position.
func (v *verification) erasing(ctx context.Context, id customer.ID, last customer.Version, gone time.Time) (bool, error) {
	again := time.NewTicker(erasurePoll)
	defer again.Stop()
	for {
		later, err := v.p.log.ReadStream(ctx, id, last, 1)
		if err != nil {
			return false, fmt.Errorf("look for the erasure of %s: %w", id, err)
		}
		if len(later) > 0 || time.Since(gone) > erasurePatience {
			return len(later) > 0, nil
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
}
