package queryapi

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
	"github.com/ebrahem-outlook/customer-service/internal/httpapi"
	"github.com/ebrahem-outlook/customer-service/internal/query"
)

// Queries is what the API serves; *query.Service is one.
type Queries interface {
	Get(ctx context.Context, id customer.ID, tokens []eventlog.Token, wait time.Duration) (query.Entry, error)
	Erasure(ctx context.Context, id customer.ID, tokens []eventlog.Token, wait time.Duration) (query.Erasure, error)
	Lag() time.Duration
}

// New returns the query API. Reads wait for their tokens for defaultWait unless
// they say otherwise.
func New(queries Queries, defaultWait time.Duration, o httpapi.Options) (*httpapi.App, error) {
	if queries == nil {
		return nil, errors.New("queryapi: queries missing")
	}
	o.Errors = refusalOf
	return httpapi.New(o, func(e *echo.Echo, guarded httpapi.Guarded) {
		handler := NewStrictHandler(&server{queries: queries, defaultWait: defaultWait}, nil)
		guards := guarded(routes())
		RegisterHandlersWithOptions(e, handler, RegisterHandlersOptions{OperationMiddlewares: guards})
		// The contract has HEAD wherever it has GET; the generated routes do not.
		w := ServerInterfaceWrapper{Handler: handler}
		for path, head := range map[string]struct {
			operation string
			handler   echo.HandlerFunc
		}{
			"/v1/customers":             {"listCustomers", w.ListCustomers},
			"/v1/customers/export":      {"exportCustomers", w.ExportCustomers},
			"/v1/customers/:id":         {"getCustomer", w.GetCustomer},
			"/v1/customers/:id/erasure": {"getErasure", w.GetErasure},
			"/v1/customers/:id/history": {"getHistory", w.GetHistory},
			"/v1/events":                {"getEvents", w.GetEvents},
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
	tokens, err := parseTokens(in.Params.ConsistencyToken)
	if err != nil {
		return nil, err
	}
	wait, prefer := s.defaultWait, httpapi.ParsePrefer(in.Params.Prefer)
	if prefer.Wait != nil {
		wait = min(*prefer.Wait, query.MaxWait)
		prefer.Wait = &wait // which is what Preference-Applied says
	}
	entry, err := s.queries.Get(ctx, id, tokens, wait)
	if err != nil {
		return nil, err
	}
	return &readAnswer{entry: entry, lag: s.queries.Lag(), wait: prefer.Wait, unchanged: has(entry.Version)}, nil
}

// readAnswer is one customer, or that the client has it already.
type readAnswer struct {
	entry     query.Entry
	lag       time.Duration
	wait      *time.Duration
	unchanged bool
}

// VisitGetCustomerResponse writes the answer.
func (a *readAnswer) VisitGetCustomerResponse(w http.ResponseWriter) error {
	h := w.Header()
	h.Set("ETag", httpapi.ETag(a.entry.Version))
	h.Set(httpapi.HeaderLag, strconv.FormatFloat(a.lag.Seconds(), 'f', 3, 64))
	if a.wait != nil {
		h.Set(httpapi.HeaderPreferenceApplied, "wait="+strconv.Itoa(int(*a.wait/time.Second)))
	}
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
