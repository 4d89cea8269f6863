package query

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"io"
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

	// HistoryRequest asks for a page of a customer's history. A cursor belongs to
	// the customer and the principal it was given for; the limit may change.
	HistoryRequest struct {
		CustomerID customer.ID
		Principal  string
		Limit      int
		Cursor     string // empty for the first page
		Tokens     []eventlog.Token
		Wait       time.Duration
	}

	// HistoryPage is some of a customer's events, in order, and the cursor of the
	// next page or nothing.
	HistoryPage struct {
		Events []HistoryEvent
		Next   string
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
	cursors *Lists
	now     func() time.Time
}

// NewArchive reads through reader, waits for tokens and follows freshness with
// service, and seals cursors as lists do.
func NewArchive(service *Service, reader PastReader, lists *Lists) *Archive {
	return &Archive{service: service, reader: reader, cursors: lists, now: time.Now}
}

// binding is what a cursor is good for.
func (r HistoryRequest) binding() []byte {
	h := sha256.New()
	_, _ = io.WriteString(h, "history") // a hash never fails
	_, _ = h.Write(r.CustomerID[:])
	_, _ = io.WriteString(h, r.Principal)
	return h.Sum(nil)
}

// History answers a page of a customer's events, at least as new as every token
// asks. That of a deleted customer stays; that of an erased one has types and
// times alone. Its error is ErrNotFound, ErrInvalidCursor, or as with Service.Get
// *Behind, ErrOverloaded, ErrTooManyTokens, ErrUnavailable or ctx's own.
func (a *Archive) History(ctx context.Context, r HistoryRequest) (HistoryPage, error) {
	reading, cancel := context.WithTimeout(ctx, a.service.cfg.ReadTimeout)
	defer cancel()
	var after customer.Version
	if r.Cursor != "" {
		plain, err := a.cursors.openPlain(reading, r.Cursor, r.binding())
		switch {
		case err != nil:
			return HistoryPage{}, err
		case len(plain) != 8:
			return HistoryPage{}, ErrInvalidCursor
		}
		after = customer.Version(binary.BigEndian.Uint64(plain)) //nolint:gosec // as it was sealed below
	}
	if err := a.service.Await(ctx, r.Tokens, r.Wait); err != nil {
		return HistoryPage{}, err
	}
	// The time spent waiting is not the read model's.
	reading, cancelPage := context.WithTimeout(ctx, a.service.cfg.ReadTimeout)
	defer cancelPage()
	// One more than asked for tells whether there are more.
	limit := min(max(r.Limit, 1), MaxPage)
	status, events, err := a.reader.History(reading, r.CustomerID, after, limit+1)
	if err != nil {
		return HistoryPage{}, err
	}
	page := HistoryPage{Events: append([]HistoryEvent{}, events[:min(limit, len(events))]...)}
	if len(events) > limit {
		last := binary.BigEndian.AppendUint64(nil, uint64(events[limit-1].Version)) //nolint:gosec // versions are not negative
		if page.Next, err = a.cursors.sealPlain(reading, last, r.binding()); err != nil {
			return HistoryPage{}, err
		}
	}
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
