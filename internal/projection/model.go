package projection

import (
	"encoding/json"
	"time"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
	"github.com/ebrahem-outlook/customer-service/internal/query"
)

type (
	// Row is one customer in the read model: everything needed to fold on.
	Row struct {
		Data     customer.Data
		Position eventlog.Position // of the last event applied
		// Shredded tells that the customer's key is gone: Data holds no personal
		// value and reads answer erased, whether or not the erasure itself has
		// been applied yet.
		Shredded bool
		// Document is Data rendered, made once for the store and the cache; nil
		// in rows that were read.
		Document []byte
	}

	// Change is one field an event changed, in the contract's JSON. Elements of
	// collections are fields of their own: addresses.<id>, metadata.<key>,
	// consents.<channel>; tags change as a whole.
	Change struct {
		Field string          `json:"field"`
		Old   json.RawMessage `json:"old"`
		New   json.RawMessage `json:"new"`
	}

	// HistoryRow is one event of a customer as the history shows it.
	HistoryRow struct {
		CustomerID    customer.ID
		Version       customer.Version
		Position      eventlog.Position
		Type          string
		At            time.Time
		Actor         string
		CorrelationID string
		Changes       []Change
		// Keyframe is the whole document after the event, beside every
		// keyframeEvery-th event; nil beside the others. Rows written before there
		// were keyframes have none.
		Keyframe []byte
	}

	// Parked is a customer that is halted because an event could not be
	// applied. Nothing after that event is applied either.
	Parked struct {
		CustomerID  customer.ID
		Lane        eventlog.Lane
		Position    eventlog.Position // of the first event left out
		Version     customer.Version  // of the first event left out
		LastVersion customer.Version  // of the last event left out so far
		Type        string            // of the first event left out
		Reason      string            // says nothing about the person
		Attempts    int
		Since       time.Time // set by the store
	}

	// PassedOver is an event that an operator decided to do without.
	PassedOver struct {
		CustomerID customer.ID
		Version    customer.Version
		Type       string
		Reason     string // says nothing about the person
	}

	// Checkpoint is how far one lane is.
	Checkpoint struct {
		Lane     eventlog.Lane
		Position eventlog.Position // of the last event applied or left out
		Cached   eventlog.Position // the cache is known to hold nothing older up to here
		// Rewinds counts how often Cached was set back: what was known to be
		// cached before is not known any more.
		Rewinds int64
	}

	// View is what a fold starts from: one lane's locked checkpoint and the
	// customers asked for.
	View struct {
		Checkpoint
		Rows   map[customer.ID]Row
		Parked map[customer.ID]Parked
		Cache  query.CacheState
	}

	// Delta is what a fold changes, committed together or not at all.
	Delta struct {
		Position eventlog.Position // the checkpoint from now on; at least View's
		Cached   eventlog.Position // at most Position; below View's only with Rewind
		Rewind   bool
		Rows     []Row
		History  []HistoryRow
		Blank    []customer.ID // whose earlier history loses its values
		Park     []Parked      // inserted or updated
		Unpark   []customer.ID
		// PassedOver is kept for good: a rebuild is to decide as the operator did.
		PassedOver []PassedOver
		Probe      bool // do everything and then undo it, to learn whether it is possible
	}

	// Heartbeat is what a projector saw of the log and the read model.
	Heartbeat struct {
		Head  eventlog.Position
		Lanes []query.LaneFreshness
		Feed  *query.FeedFreshness // nil from a projector that leaves the event feed alone
	}
)

// Entry is r as reads answer it.
func (r Row) Entry() (query.Entry, error) {
	e := query.Entry{Version: r.Data.Version, Status: r.Status()}
	if !e.Live() {
		return e, nil
	}
	if e.Body = r.Document; e.Body != nil {
		return e, nil
	}
	var err error
	e.Body, err = query.Render(r.Data)
	return e, err
}

// Status is where reads see the customer in its life.
func (r Row) Status() customer.Status {
	if r.Shredded {
		return customer.StatusErased
	}
	return r.Data.Status
}

// isZero tells that there is no such row.
func (r Row) isZero() bool { return r.Data.Version == 0 }

// shred is d without anything that describes the person, by naming what stays.
func shred(d customer.Data) customer.Data {
	return customer.Data{
		ID: d.ID, Version: d.Version, Status: d.Status, StatusBeforeDeletion: d.StatusBeforeDeletion,
		CreatedAt: d.CreatedAt, UpdatedAt: d.UpdatedAt, Erasure: d.Erasure,
	}
}
