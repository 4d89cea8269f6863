package query

import (
	"context"
	"encoding/json"
	"time"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
)

type (
	// HistoryEvent is one event of a customer in the contract's JSON.
	HistoryEvent struct {
		Version       customer.Version `json:"version"`
		Type          string           `json:"type"`
		At            Time             `json:"at"`
		Actor         *string          `json:"actor"`          // nil once erased
		CorrelationID *string          `json:"correlation_id"` // nil when there was none, and once erased
		Changes       []Change         `json:"changes"`        // never nil; empty once erased
	}

	// Change is one field an event changed, in the contract's JSON. Elements of
	// collections are fields of their own: addresses.<id>, metadata.<key>,
	// consents.<channel>; tags change as a whole. An element that was not there
	// before, or is not any more, is null.
	Change struct {
		Field string          `json:"field"`
		Old   json.RawMessage `json:"old"`
		New   json.RawMessage `json:"new"`
	}

	// HistoryPage is some of a customer's events, in order.
	HistoryPage struct {
		Events []HistoryEvent
		More   bool // there are more behind the last one
	}
)

// PastReader reads what customers were, from the read model.
//
// History answers up to limit events of a customer after a version, in order,
// and where the customer is in its life now; both are of one moment.
//
// Past calls visit with the rows that one version of a customer is put together
// from, in order of version, and answers what the customer is now; all of it is
// of one moment. The first row has a keyframe, or is version 1. It visits nothing
// of an erased customer, of one that has not come to the version, or had not
// begun by the time asked for. An error of visit ends it and is returned as it is.
//
// Both answer ErrNotFound for a customer that there is not. Every other error
// wraps ErrUnavailable.
type PastReader interface {
	History(ctx context.Context, id customer.ID, after customer.Version, limit int) (customer.Status, []HistoryEvent, error)
	Past(ctx context.Context, id customer.ID, m Moment, visit func(PastRow) error) (Present, error)
}

// Archive answers what customers were. Nothing stands between it and the read
// model: the past is asked for seldom, and any of it at most once or twice.
type Archive struct {
	service *Service
	reader  PastReader
	now     func() time.Time
}

// NewArchive reads through reader, and waits for tokens and follows freshness
// with service.
func NewArchive(service *Service, reader PastReader) *Archive {
	return &Archive{service: service, reader: reader, now: time.Now}
}

// History answers a page of a customer's events after a version, at least as new
// as every token asks. That of a deleted customer stays; that of an erased one
// has types and times alone. Its error is ErrNotFound, or as with Service.Get
// *Behind, ErrOverloaded, ErrTooManyTokens, ErrUnavailable or ctx's own.
func (a *Archive) History(
	ctx context.Context, id customer.ID, after customer.Version, limit int, tokens []eventlog.Token, wait time.Duration,
) (HistoryPage, error) {
	if err := a.service.Await(ctx, tokens, wait); err != nil {
		return HistoryPage{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, a.service.cfg.ReadTimeout)
	defer cancel()
	// One more than asked for tells whether there are more.
	status, events, err := a.reader.History(ctx, id, after, limit+1)
	if err != nil {
		return HistoryPage{}, err
	}
	page := HistoryPage{Events: events, More: len(events) > limit}
	page.Events = events[:min(limit, len(events))]
	for i := range page.Events {
		e := &page.Events[i]
		if status == customer.StatusErased {
			// The rows were blanked with the erasure; this holds whatever they say.
			e.Actor, e.CorrelationID, e.Changes = nil, nil, nil
		}
		if e.Changes == nil {
			e.Changes = []Change{}
		}
	}
	return page, nil
}
