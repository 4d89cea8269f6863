package queryapi

import (
	"context"
	"net/http"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/httpapi"
	"github.com/ebrahem-outlook/customer-service/internal/query"
)

// GetErasure answers what stays known of an erased customer.
func (s *server) GetErasure(ctx context.Context, in GetErasureRequestObject) (GetErasureResponseObject, error) {
	id, err := httpapi.ParseID(in.Id)
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
	e, err := s.queries.Erasure(ctx, id, tokens, wait)
	if err != nil {
		return nil, err
	}
	body, err := e.Render()
	if err != nil {
		return nil, err
	}
	return &erasureAnswer{readAnswer{
		entry: query.Entry{Version: e.Version, Status: customer.StatusErased, Body: body}, lag: s.queries.Lag(), wait: prefer.Wait,
	}}, nil
}

// erasureAnswer is one erasure record.
type erasureAnswer struct{ readAnswer }

// VisitGetErasureResponse writes the answer.
func (a *erasureAnswer) VisitGetErasureResponse(w http.ResponseWriter) error {
	return a.VisitGetCustomerResponse(w)
}
