package queryapi

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
	"github.com/ebrahem-outlook/customer-service/internal/httpapi"
	"github.com/ebrahem-outlook/customer-service/internal/query"
)

// Reads are what the API serves; all of them are required.
type Reads struct {
	Queries Queries
	Archive Archive
	Events  Events
	Lists   Lists
	Exports Exports
}

func (r Reads) validate() error {
	if r.Queries == nil || r.Archive == nil || r.Events == nil || r.Lists == nil || r.Exports == nil {
		return errors.New("queryapi: queries, archive, events, lists or exports missing")
	}
	return nil
}

// Queries are answered from the present; *query.Service is one.
type Queries interface {
	Get(ctx context.Context, id customer.ID, tokens []eventlog.Token, wait time.Duration) (query.Entry, error)
	Erasure(ctx context.Context, id customer.ID, tokens []eventlog.Token, wait time.Duration) (query.Erasure, error)
	Status(ctx context.Context, tokens []eventlog.Token, wait time.Duration) (query.Freshness, error)
	Lag() time.Duration
}

// Archive answers what customers were; *query.Archive is one.
type Archive interface {
	At(ctx context.Context, id customer.ID, m query.Moment, tokens []eventlog.Token, wait time.Duration) (query.Entry, error)
	History(ctx context.Context, r query.HistoryRequest) (query.HistoryPage, error)
}

// New returns the query API. Reads wait for their tokens for defaultWait unless
// they say otherwise.
func New(reads Reads, defaultWait time.Duration, o httpapi.Options) (*httpapi.App, error) {
	if err := reads.validate(); err != nil {
		return nil, err
	}
	o.Errors, o.Check = refusalOf, check
	return httpapi.New(o, func(e *echo.Echo, guarded httpapi.Guarded) {
		handler := NewStrictHandler(&server{
			queries: reads.Queries, archive: reads.Archive, events: reads.Events, lists: reads.Lists, exports: reads.Exports,
			log: o.Log, defaultWait: defaultWait,
		}, nil)
		guards := guarded(routes())
		RegisterHandlersWithOptions(e, handler, RegisterHandlersOptions{OperationMiddlewares: guards})
		// The contract has HEAD wherever it has GET; the generated routes do not.
		w := ServerInterfaceWrapper{Handler: handler}
		for path, head := range map[string]struct {
			operation string
			handler   echo.HandlerFunc
		}{
			"/v1/customers":             {"listCustomers", w.ListCustomers},
			"/v1/customers/export":      {"exportCustomers", withoutFollowing(w.ExportCustomers)},
			"/v1/customers/:id":         {"getCustomer", w.GetCustomer},
			"/v1/customers/:id/erasure": {"getErasure", w.GetErasure},
			"/v1/customers/:id/history": {"getHistory", w.GetHistory},
			"/v1/events":                {"getEvents", withoutFollowing(w.GetEvents)},
			"/v1/status":                {"getStatus", w.GetStatus},
		} {
			e.HEAD(path, head.handler, guards[head.operation]...)
		}
	})
}

// routes are the guards of the queries, by operation.
func routes() map[string]httpapi.Route {
	filters := []string{"status", "tag", "external_id", "created_after", "created_before", "updated_after"}
	read := httpapi.Route{
		Offers: []string{httpapi.MediaJSON}, Once: []string{httpapi.HeaderCorrelation}, Lists: []string{httpapi.HeaderToken, "Prefer"},
	}
	with := func(change func(*httpapi.Route)) httpapi.Route {
		r := read
		change(&r)
		return r
	}
	return map[string]httpapi.Route{
		"getCustomer": with(func(r *httpapi.Route) {
			r.Params = []string{"version", "as_of"}
			r.Lists = append([]string{"If-None-Match"}, read.Lists...)
		}),
		"getErasure":    read,
		"getStatus":     read,
		"getHistory":    with(func(r *httpapi.Route) { r.Params = []string{"limit", "cursor"} }),
		"listCustomers": with(func(r *httpapi.Route) { r.Params = append([]string{"sort", "limit", "cursor"}, filters...) }),
		"searchCustomers": with(func(r *httpapi.Route) {
			r.Bodies = []string{httpapi.MediaJSON}
		}),
		"exportCustomers": with(func(r *httpapi.Route) {
			r.Offers = []string{httpapi.MediaNDJSON, httpapi.MediaCSV}
			r.Params = filters
		}),
		"getEvents": with(func(r *httpapi.Route) {
			r.Offers = []string{httpapi.MediaJSON, httpapi.MediaEvents}
			r.Params = []string{"after", "limit"}
			r.Once = append([]string{"Last-Event-ID"}, read.Once...)
		}),
	}
}

// server implements the generated interface.
type server struct {
	queries     Queries
	archive     Archive
	events      Events
	lists       Lists
	exports     Exports
	log         *slog.Logger
	defaultWait time.Duration
}

var _ StrictServerInterface = (*server)(nil)

func (s *server) GetCustomer(ctx context.Context, in GetCustomerRequestObject) (GetCustomerResponseObject, error) {
	id, err := httpapi.ParseID(in.Id)
	if err != nil {
		return nil, err
	}
	has, err := parseIfNoneMatch(in.Params.IfNoneMatch)
	if err != nil {
		return nil, err
	}
	moment, past, err := parseMoment(in.Params.Version, in.Params.AsOf)
	if err != nil {
		return nil, err
	}
	p, err := s.patience(in.Params.ConsistencyToken, in.Params.Prefer)
	if err != nil {
		return nil, err
	}
	var entry query.Entry
	if past {
		entry, err = s.archive.At(ctx, id, moment, p.tokens, p.wait)
	} else {
		entry, err = s.queries.Get(ctx, id, p.tokens, p.wait)
	}
	if err != nil {
		return nil, err
	}
	a := &readAnswer{entry: entry, lag: s.queries.Lag(), wait: p.applied, unchanged: has(entry.Version)}
	if !past {
		a.token = eventlog.Token{CustomerID: id, Version: entry.Version}.String()
	}
	return a, nil
}

// readAnswer is one customer, or that the client has it already.
type readAnswer struct {
	entry     query.Entry
	token     string // who sends it along reads nothing older; of the past there is none
	lag       time.Duration
	wait      *time.Duration
	unchanged bool
}

// VisitGetCustomerResponse writes the answer.
func (a *readAnswer) VisitGetCustomerResponse(w http.ResponseWriter) error {
	h := w.Header()
	h.Set("ETag", httpapi.ETag(a.entry.Version))
	if a.token != "" {
		h.Set(httpapi.HeaderToken, a.token)
	}
	setReadHeaders(h, a.lag, a.wait)
	if a.unchanged {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	h.Set("Content-Type", httpapi.MediaJSON)
	// Said, because the answer to HEAD has no body to count.
	h.Set("Content-Length", strconv.Itoa(len(a.entry.Body)))
	w.WriteHeader(http.StatusOK)
	_, err := w.Write(a.entry.Body)
	return err
}
