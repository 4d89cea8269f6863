package projection

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
	"github.com/ebrahem-outlook/customer-service/internal/query"
)

// opened is one event of the log, ready to be applied.
type opened struct {
	position eventlog.Position
	kind     string
	at       time.Time // as recorded, for an event that does not decode
	entry    eventlog.Entry
	shredded bool   // the customer's key is gone
	poison   string // why it can never be applied; empty when it can
	passOver bool   // and then counts as one that changed nothing, instead of halting its customer
	orphan   bool   // the log has not all events before it; poison says so too
}

// part is consecutive events of one lane: all there are after previous, up to
// and including last.
type part struct {
	previous, last eventlog.Position
	events         []opened
}

// errMissing tells that the lane's checkpoint is before the part's beginning.
type errMissing struct{ at eventlog.Position }

func (e *errMissing) Error() string {
	return fmt.Sprintf("events after position %d are missing", e.at)
}

// errGap tells that a customer's row is not at the version before its next event.
type errGap struct {
	customer customer.ID
	after    customer.Version // of the row
}

func (e *errGap) Error() string {
	return fmt.Sprintf("events of %s after version %d are missing", e.customer, e.after)
}

// keyframeEvery is how many events of a customer share a keyframe. A past
// version costs one document and fewer changes than this; writing costs a
// thirty-second of a document an event, and nothing for the many customers that
// never get that far.
const keyframeEvery = 32

// errNothing tells that the lane is past the part already.
var errNothing = errors.New("nothing to apply")

// foldLane is what applying p changes. fetched has events of some customers
// read from their streams, to close gaps. It is a pure function.
func foldLane(v View, p part, fetched map[customer.ID][]opened) (Delta, error) {
	if v.Position >= p.last {
		return Delta{}, errNothing
	}
	if v.Position < p.previous {
		return Delta{}, &errMissing{at: v.Position}
	}
	var order []customer.ID
	byCustomer := map[customer.ID][]opened{}
	for _, e := range p.events {
		if e.position <= v.Position {
			continue
		}
		id := e.entry.CustomerID
		if byCustomer[id] == nil {
			order = append(order, id)
		}
		byCustomer[id] = append(byCustomer[id], e)
	}
	d := Delta{Position: p.last, Cached: v.Cached}
	for _, id := range order {
		if err := d.foldCustomer(v, id, merge(fetched[id], byCustomer[id])); err != nil {
			return Delta{}, err
		}
	}
	return d, nil
}

// merge is both in order of version, each version once.
func merge(a, b []opened) []opened {
	if len(a) == 0 {
		return b
	}
	all := slices.Concat(a, b)
	slices.SortStableFunc(all, func(x, y opened) int { return int(x.entry.Version - y.entry.Version) })
	return slices.CompactFunc(all, func(x, y opened) bool { return x.entry.Version == y.entry.Version })
}

// foldCustomer adds one customer's events, which ascend by version.
func (d *Delta) foldCustomer(v View, id customer.ID, events []opened) error {
	row := v.Rows[id]
	if row.isZero() {
		row.Data.ID = id
	}
	before := row
	parked, halted := v.Parked[id]
	if halted && slices.ContainsFunc(events, func(e opened) bool { return e.shredded }) {
		// Nothing of an erased customer can be read any more, so nothing of it is
		// worth halting for; and it must not keep its values because it is parked.
		halted = false
		d.Unpark = append(d.Unpark, id)
	}
	for _, e := range events {
		version := e.entry.Version
		switch {
		case version <= row.Data.Version:
			continue // applied before
		case halted:
			parked.LastVersion = max(parked.LastVersion, version)
			continue
		case version > row.Data.Version+1 && !e.orphan:
			return &errGap{customer: id, after: row.Data.Version}
		}
		next, history, err := apply(row, e)
		if err != nil && e.passOver {
			e.poison = err.Error()
			next, history, err = apply(row, e)
		}
		if err != nil {
			halted = true
			parked = Parked{
				CustomerID: id, Lane: v.Lane, Position: e.position, Version: version, LastVersion: version,
				Type: e.kind, Reason: err.Error(), Attempts: parked.Attempts + 1,
			}
			continue
		}
		if next.Shredded && !row.Shredded {
			d.Blank = append(d.Blank, id)
			blankAll(d.History, id)
		}
		if e.poison != "" && !e.shredded {
			d.PassedOver = append(d.PassedOver, PassedOver{CustomerID: id, Version: version, Type: e.kind, Reason: e.poison})
		}
		row = next
		d.History = append(d.History, history)
	}
	if row.Data.Version > before.Data.Version {
		var err error
		if row.Document, err = query.Render(row.Data); err != nil {
			return err
		}
		d.Rows = append(d.Rows, row)
	}
	if halted && parked != v.Parked[id] {
		d.Park = append(d.Park, parked)
	}
	return nil
}

// apply is row after e, with what the history says of it. Its error is why the
// event can never be applied, in words that may be kept and logged.
func apply(row Row, e opened) (next Row, h HistoryRow, err error) {
	defer func() {
		if p := recover(); p != nil { // its value may hold what describes a person
			err = fmt.Errorf("applying it panics (%T)", p)
		}
	}()
	h = HistoryRow{CustomerID: e.entry.CustomerID, Version: e.entry.Version, Position: e.position, Type: e.kind}
	next = Row{Position: e.position, Shredded: row.Shredded || e.shredded}
	switch {
	case e.poison == "":
		next.Data = customer.FromData(row.Data).Evolve(e.entry.Event).Data()
	case e.passOver || e.shredded:
		// What the domain does with an event that makes no sense where it stands.
		next.Data = row.Data
		next.Data.Version, next.Data.UpdatedAt = e.entry.Version, e.at
		if e.entry.Version == 1 {
			next.Data.CreatedAt = e.at
		}
	default:
		return Row{}, HistoryRow{}, errors.New(e.poison)
	}
	next.Shredded = next.Shredded || next.Data.Status == customer.StatusErased
	h.At = next.Data.UpdatedAt
	if next.Shredded {
		// Types and times are all that is left to tell.
		next.Data = shred(next.Data)
		return next, h, nil
	}
	h.Actor, h.CorrelationID = e.entry.Metadata.Actor, e.entry.Metadata.CorrelationID
	h.Changes, err = changes(row.Data, next.Data, e.entry.Event)
	if err == nil && h.Version%keyframeEvery == 0 {
		h.Keyframe, err = query.Render(next.Data)
	}
	if err != nil {
		return Row{}, HistoryRow{}, errors.New("its changes cannot be written down")
	}
	return next, h, nil
}

// blankAll takes a customer's values out of history that is not yet written.
func blankAll(history []HistoryRow, id customer.ID) {
	for i := range history {
		if history[i].CustomerID == id {
			history[i].Actor, history[i].CorrelationID, history[i].Changes, history[i].Keyframe = "", "", nil, nil
		}
	}
}
