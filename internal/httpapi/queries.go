package httpapi

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
	"github.com/ebrahem-outlook/customer-service/internal/httpapi/queryapi"
	"github.com/ebrahem-outlook/customer-service/internal/query"
)

// Queries is what the query API serves; *query.Service is one.
type Queries interface {
	Get(ctx context.Context, id customer.ID, tokens []eventlog.Token, wait time.Duration) (query.Entry, error)
	Lag() time.Duration
}

// queryRoutes are the guards of the queries, by operation.
func queryRoutes() map[string]route {
	return map[string]route{
		"getCustomer": {offers: mediaJSON, once: []string{headerCorrelation}, lists: []string{"If-None-Match", headerToken, "Prefer"}},
	}
}

// queryServer implements the generated interface.
type queryServer struct {
	queries     Queries
	defaultWait time.Duration
}

var _ queryapi.StrictServerInterface = (*queryServer)(nil)

func (s *queryServer) GetCustomer(ctx context.Context, in queryapi.GetCustomerRequestObject) (queryapi.GetCustomerResponseObject, error) {
	id, err := parseID(in.Id)
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
	wait, prefer := s.defaultWait, parsePrefer(in.Params.Prefer)
	if prefer.wait != nil {
		wait = *prefer.wait
	}
	entry, err := s.queries.Get(ctx, id, tokens, wait)
	if err != nil {
		return nil, err
	}
	return &readAnswer{entry: entry, lag: s.queries.Lag(), wait: prefer.wait, unchanged: has(entry.Version)}, nil
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
	h.Set("ETag", etag(a.entry.Version))
	h.Set(headerLag, strconv.FormatFloat(a.lag.Seconds(), 'f', 3, 64))
	if a.wait != nil {
		h.Set(headerPreferenceApplied, "wait="+strconv.Itoa(int(*a.wait/time.Second)))
	}
	if a.unchanged {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	h.Set("Content-Type", mediaJSON)
	// Said, because the answer to HEAD has no body to count.
	h.Set("Content-Length", strconv.Itoa(len(a.entry.Body)))
	w.WriteHeader(http.StatusOK)
	_, err := w.Write(a.entry.Body)
	return err
}
