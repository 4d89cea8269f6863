package projection

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
)

// verifyPage is how many customers are compared at once.
const verifyPage = 200

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

// Verify folds every customer's events anew and compares the outcome with the
// read model, history included, at the version the read model has. It reads
// only, and may run while events are applied. It stops after limit differences
// (0: never).
//
// It holds 24 bytes or so a customer: the version each must have reached.
func (p *Projector) Verify(ctx context.Context, limit int) (Report, error) {
	var r Report
	due, err := p.dueVersions(ctx)
	if err != nil {
		return r, err
	}
	parked := map[customer.ID]bool{}
	list, err := p.store.Parked(ctx)
	if err != nil {
		return r, err
	}
	for _, one := range list {
		parked[one.CustomerID] = true
	}
	full := func() bool { return limit > 0 && len(r.Differences) >= limit }
	var after customer.ID
	for !full() {
		ids, err := p.store.Customers(ctx, after, verifyPage)
		if err != nil {
			return r, err
		}
		if len(ids) == 0 {
			break
		}
		after = ids[len(ids)-1]
		rows, history, err := p.store.Rows(ctx, ids)
		if err != nil {
			return r, err
		}
		for _, id := range ids {
			want := due[id]
			delete(due, id)
			what, events, err := p.compare(ctx, rows[id], history[id])
			if err != nil {
				return r, err
			}
			r.Customers++
			r.Events += events
			if what == "" && rows[id].Data.Version < want && !parked[id] {
				what = fmt.Sprintf("is at version %d, should be at %d", rows[id].Data.Version, want)
			}
			if what != "" {
				r.Differences = append(r.Differences, Difference{CustomerID: id, What: what})
			}
		}
	}
	for _, id := range slices.SortedFunc(maps.Keys(due), func(a, b customer.ID) int { return slices.Compare(a[:], b[:]) }) {
		if full() {
			break
		}
		if !parked[id] {
			r.Differences = append(r.Differences, Difference{CustomerID: id, What: "is missing"})
		}
	}
	return r, nil
}

// dueVersions is what each customer must have reached, by the checkpoints.
func (p *Projector) dueVersions(ctx context.Context) (map[customer.ID]customer.Version, error) {
	checkpoints, err := p.store.Checkpoints(ctx)
	if err != nil {
		return nil, err
	}
	due := map[customer.ID]customer.Version{}
	for _, c := range checkpoints {
		for after := eventlog.Position(0); after < c.Position; {
			events, err := p.log.ReadLane(ctx, c.Lane, after, c.Position, healPage)
			if err != nil {
				return nil, fmt.Errorf("read lane %d after %d: %w", c.Lane, after, err)
			}
			if len(events) == 0 {
				break
			}
			for _, e := range events {
				due[e.CustomerID] = max(due[e.CustomerID], e.Version)
			}
			after = events[len(events)-1].Position
		}
	}
	return due, nil
}

// compare says how one customer's rows differ from the fold of its events.
func (p *Projector) compare(ctx context.Context, row Row, history []HistoryRow) (what string, events int, err error) {
	id := row.Data.ID
	stream, err := p.readStream(ctx, id, 0)
	if err != nil {
		return "", 0, err
	}
	if len(stream) < int(row.Data.Version) {
		return "is ahead of the log", len(stream), nil
	}
	if row.isZero() {
		return "has no version", len(stream), nil
	}
	upTo := stream[:row.Data.Version]
	if upTo[0].shredded && !row.Shredded && len(stream) > len(upTo) {
		return "", len(stream), nil // its erasure is on the way
	}
	var d Delta
	// Events passed over on an operator's decision are no difference.
	if err := d.foldCustomer(View{}, id, upTo, true); err != nil {
		return err.Error(), len(stream), nil
	}
	if len(d.Rows) != 1 {
		return "cannot be folded", len(stream), nil
	}
	if fields := differing(d.Rows[0], row); len(fields) > 0 {
		return fmt.Sprintf("at version %d differs in %v", row.Data.Version, fields), len(stream), nil
	}
	if len(history) != len(d.History) {
		return fmt.Sprintf("has %d entries of history, should have %d", len(history), len(d.History)), len(stream), nil
	}
	for i := range history {
		if !sameHistory(history[i], d.History[i]) {
			return fmt.Sprintf("has other history at version %d", d.History[i].Version), len(stream), nil
		}
	}
	return "", len(stream), nil
}

// differing names the fields in which two rows differ, without their values.
func differing(want, have Row) []string {
	var fields []string
	if want.Position != have.Position {
		fields = append(fields, "Position")
	}
	if want.Shredded != have.Shredded {
		fields = append(fields, "Shredded")
	}
	// Through the same codec: nil and empty are one, and times lose their location.
	a, b := reflect.ValueOf(customer.FromData(want.Data).Data()), reflect.ValueOf(customer.FromData(have.Data).Data())
	for i := range a.NumField() {
		if !reflect.DeepEqual(a.Field(i).Interface(), b.Field(i).Interface()) {
			fields = append(fields, a.Type().Field(i).Name)
		}
	}
	return fields
}

func sameHistory(a, b HistoryRow) bool {
	if a.Version != b.Version || a.Position != b.Position || a.Type != b.Type || !a.At.Equal(b.At) ||
		a.Actor != b.Actor || a.CorrelationID != b.CorrelationID || len(a.Changes) != len(b.Changes) {
		return false
	}
	for i := range a.Changes {
		if a.Changes[i].Field != b.Changes[i].Field ||
			!sameJSON(a.Changes[i].Old, b.Changes[i].Old) || !sameJSON(a.Changes[i].New, b.Changes[i].New) {
			return false
		}
	}
	// A row from before there were keyframes lacks it, and is none the worse.
	return a.Keyframe == nil || bytes.Equal(a.Keyframe, b.Keyframe)
}
