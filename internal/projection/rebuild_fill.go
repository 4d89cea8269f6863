package projection

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
	"github.com/ebrahem-outlook/customer-service/internal/query"
)

// chunkEvents is how many events are folded and written at once. A customer is
// never divided, so that its history is written once and as it ends: memory is
// bounded by this and the longest stream there is.
const chunkEvents = 2_000

// inChunks hands over whole customers of a range, at least chunkEvents events at
// a time until the last.
func inChunks(ctx context.Context, log CustomerLog, first, last customer.ID, each func([]eventlog.Sequenced) error) error {
	var chunk []eventlog.Sequenced
	err := log.Scan(ctx, first, last, func(e eventlog.Sequenced) error {
		if len(chunk) >= chunkEvents && chunk[len(chunk)-1].CustomerID != e.CustomerID {
			if err := each(chunk); err != nil {
				return err
			}
			chunk = chunk[:0]
		}
		chunk = append(chunk, e)
		return nil
	})
	if err != nil || len(chunk) == 0 {
		return err
	}
	return each(chunk)
}

// perCustomer divides events in order of customer.
func perCustomer(events []opened, each func(customer.ID, []opened) error) error {
	for len(events) > 0 {
		id := events[0].entry.CustomerID
		n := 1
		for n < len(events) && events[n].entry.CustomerID == id {
			n++
		}
		if err := each(id, events[:n]); err != nil {
			return err
		}
		events = events[n:]
	}
	return nil
}

func (r *Rebuild) fillPart(ctx context.Context, part Part) error {
	var read Census
	err := r.next.Fill(ctx, part, func(write func(Delta) error) (int64, error) {
		events := int64(0)
		err := inChunks(ctx, r.log, part.First, part.Last, func(chunk []eventlog.Sequenced) error {
			// Keys are looked for after the events were read: a customer without one
			// is erased, and never one that is too new.
			ready, err := r.p.opener.open(ctx, chunk)
			if err != nil {
				return err
			}
			r.markPassedOver(ready)
			if err := r.fillChunk(ctx, ready, write); err != nil {
				return err
			}
			events += int64(len(chunk))
			r.done.Add(int64(len(chunk)))
			read.add(chunk, r.read.through)
			return nil
		})
		return events, err
	})
	if err == nil {
		r.read.set(part, read)
	}
	return err
}

func (r *Rebuild) markPassedOver(events []opened) {
	if len(r.passed) == 0 {
		return
	}
	for i := range events {
		e := &events[i]
		e.passOver = slices.Contains(r.passed[e.entry.CustomerID], e.entry.Version)
	}
}

// fillChunk writes customers, each once. If the tables refuse them together, it
// writes them one by one and halts those that are refused alone.
func (r *Rebuild) fillChunk(ctx context.Context, events []opened, write func(Delta) error) error {
	var all Delta
	if err := perCustomer(events, func(id customer.ID, own []opened) error {
		return all.foldWhole(id, len(r.p.lanes), own)
	}); err != nil {
		return err
	}
	err := write(all)
	if !errors.Is(err, ErrRejected) {
		return err
	}
	return perCustomer(events, func(id customer.ID, own []opened) error {
		var d Delta
		if err := d.foldWhole(id, len(r.p.lanes), own); err != nil {
			return err
		}
		err := write(d)
		// As much of the customer as they take.
		for from := len(own) - 1; errors.Is(err, ErrRejected) && from >= 0; from-- {
			if own[from].poison == "" {
				own[from].poison = "read model refuses the values"
			}
			d = Delta{}
			if err := d.foldWhole(id, len(r.p.lanes), own); err != nil {
				return err
			}
			err = write(d)
		}
		return err
	})
}

// foldWhole adds a customer's events, from its first on.
func (d *Delta) foldWhole(id customer.ID, lanes int, events []opened) error {
	v := View{Checkpoint: Checkpoint{Lane: eventlog.LaneOf(eventlog.SlotOf(id), lanes)}}
	for {
		rows, history, park, over := len(d.Rows), len(d.History), len(d.Park), len(d.PassedOver)
		err := d.foldCustomer(v, id, events)
		gap := (*errGap)(nil)
		if !errors.As(err, &gap) {
			return err
		}
		// The log itself lacks them, so nothing comes before what follows.
		d.Rows, d.History, d.Park, d.PassedOver = d.Rows[:rows], d.History[:history], d.Park[:park], d.PassedOver[:over]
		orphan(events, gap)
	}
}

// compareIDs orders customers as the store does.
func compareIDs(a, b customer.ID) int { return slices.Compare(a[:], b[:]) }

// before is the customer before id, which is not the first there can be.
func before(id customer.ID) customer.ID {
	for i := len(id) - 1; i >= 0; i-- {
		id[i]--
		if id[i] != 0xff {
			break
		}
	}
	return id
}

// noCache takes the place of a cache and its ledger where nothing is cached.
type noCache struct{}

func (noCache) Store(context.Context, query.CacheState, []CacheEntry) error { return errNoCache }
func (noCache) RunID(context.Context) (string, error)                       { return "", errNoCache }
func (noCache) Sweep(context.Context, int64) error                          { return errNoCache }

func (noCache) State(context.Context) (query.CacheState, error) { return query.CacheState{}, nil }

func (noCache) Renew(context.Context, query.CacheState, string) (query.CacheState, error) {
	return query.CacheState{}, errNoCache
}
func (noCache) Suspend(context.Context) error { return errNoCache }

func (noCache) ChangedAfter(context.Context, eventlog.Lane, eventlog.Position, int) ([]Row, eventlog.Position, bool, error) {
	return nil, 0, false, errNoCache
}

func (noCache) MarkCached(context.Context, eventlog.Lane, eventlog.Position, int64) error {
	return errNoCache
}

var errNoCache = fmt.Errorf("nothing is cached here")
