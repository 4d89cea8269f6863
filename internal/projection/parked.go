package projection

import (
	"context"
	"errors"
	"fmt"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
)

// Parked lists the customers that are halted, the longest first.
func (p *Projector) Parked(ctx context.Context) ([]Parked, error) { return p.store.Parked(ctx) }

// Retry applies a parked customer's events again, from the log and from where
// it was halted. It returns nil when the customer is up to date and no longer
// parked, or how it is parked now. It fails with ErrNotParked.
func (p *Projector) Retry(ctx context.Context, id customer.ID) (*Parked, error) {
	return p.letGo(ctx, id, func([]opened) {})
}

// Release is Retry that passes over events which cannot be applied: they count
// as versions that changed nothing. The read model then differs from what the
// log means, by the operator's decision; each such event is logged as an error,
// and written down, so that a rebuild passes over it too.
func (p *Projector) Release(ctx context.Context, id customer.ID) (*Parked, error) {
	return p.letGo(ctx, id, func(events []opened) {
		for i := range events {
			events[i].passOver = true
		}
	})
}

// errRace tells that the customer's events were read too early.
var errRace = errors.New("more events were left out meanwhile")

// letGoAttempts bounds how often letGo reads again what changed under it; each
// time the customer must have had a new event within milliseconds.
const letGoAttempts = 10

func (p *Projector) letGo(ctx context.Context, id customer.ID, decide func([]opened)) (*Parked, error) {
	lane := eventlog.LaneOf(eventlog.SlotOf(id), len(p.lanes))
	for attempt := 1; ; attempt++ {
		rows, _, err := p.store.Rows(ctx, []customer.ID{id})
		if err != nil {
			return nil, err
		}
		events, err := p.readStream(ctx, id, rows[id].Data.Version)
		if err != nil {
			return nil, err
		}
		decide(events)
		var (
			from  View
			delta Delta
		)
		err = p.store.Update(ctx, lane, []customer.ID{id}, func(v View) (Delta, error) {
			var err error
			from = v
			delta, err = foldParked(v, id, events)
			return delta, err
		})
		gap := (*errGap)(nil)
		switch {
		case (errors.Is(err, errRace) || errors.As(err, &gap)) && attempt < letGoAttempts:
			continue
		case err != nil:
			return nil, fmt.Errorf("let go %s: %w", id, err)
		}
		for _, e := range delta.PassedOver {
			p.logger.ErrorContext(ctx, "event passed over: it cannot be applied", "customer_id", id,
				"version", e.Version, "type", e.Type, "reason", e.Reason)
		}
		if from.Cache.RunID != "" {
			if err := p.cacheRows(ctx, from.Cache, delta.Rows); err != nil {
				p.logger.WarnContext(ctx, "cache cannot be written, will be repaired", "error", err)
			}
		}
		if len(delta.Park) > 0 {
			return &delta.Park[0], nil
		}
		return nil, nil
	}
}

// foldParked is what letting a customer go changes.
func foldParked(v View, id customer.ID, events []opened) (Delta, error) {
	parked, ok := v.Parked[id]
	if !ok {
		return Delta{}, ErrNotParked
	}
	if len(events) == 0 || events[len(events)-1].entry.Version < parked.LastVersion {
		return Delta{}, errRace
	}
	d := Delta{Position: v.Position, Cached: v.Cached}
	if first := events[0].position; first <= v.Position {
		// The repair of the cache goes by position, and would not look back. Not
		// Cached but Position is compared: a process may know of more that is
		// cached than it has written down yet.
		d.Cached, d.Rewind = min(v.Cached, first-1), true
	}
	free := v
	free.Parked = nil
	if err := d.foldCustomer(free, id, events); err != nil {
		return Delta{}, err
	}
	if len(d.Park) == 0 {
		d.Unpark = []customer.ID{id}
		return d, nil
	}
	d.Park[0].Attempts, d.Park[0].Since = parked.Attempts+1, parked.Since
	d.Park[0].LastVersion = max(d.Park[0].LastVersion, parked.LastVersion)
	return d, nil
}
