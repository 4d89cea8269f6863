package queryapi

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"time"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/httpapi"
	"github.com/ebrahem-outlook/customer-service/internal/query"
)

// GetHistory answers a page of a customer's events.
func (s *server) GetHistory(ctx context.Context, in GetHistoryRequestObject) (GetHistoryResponseObject, error) {
	id, err := httpapi.ParseID(in.Id)
	if err != nil {
		return nil, err
	}
	r := query.HistoryRequest{CustomerID: id, Principal: httpapi.PrincipalOf(ctx), Limit: query.DefaultPage}
	var broken customer.Violations
	if in.Params.Limit != nil {
		r.Limit = customer.Parse(&broken, "/limit", *in.Params.Limit, parseLimit)
	}
	if err := badParameters(broken.Err()); err != nil {
		return nil, err
	}
	if in.Params.Cursor != nil {
		if r.Cursor = *in.Params.Cursor; r.Cursor == "" {
			return nil, query.ErrInvalidCursor
		}
	}
	p, err := s.patience(in.Params.ConsistencyToken, in.Params.Prefer)
	if err != nil {
		return nil, err
	}
	r.Tokens, r.Wait = p.tokens, p.wait
	page, err := s.archive.History(ctx, r)
	if err != nil {
		return nil, err
	}
	a := &historyAnswer{lag: s.queries.Lag(), applied: p.applied}
	document := struct {
		Data []query.HistoryEvent `json:"data"`
		Next *string              `json:"next_cursor"`
	}{Data: page.Events}
	if page.Next != "" {
		document.Next = &page.Next
		v := url.Values{"cursor": {page.Next}}
		if in.Params.Limit != nil {
			v.Set("limit", *in.Params.Limit)
		}
		a.link = "</v1/customers/" + id.String() + "/history?" + v.Encode() + `>; rel="next"`
	}
	if a.body, err = json.Marshal(document); err != nil {
		return nil, err
	}
	return a, nil
}

// historyAnswer is one page of a customer's events.
type historyAnswer struct {
	body    []byte
	link    string
	lag     time.Duration
	applied *time.Duration
}

// VisitGetHistoryResponse writes the answer.
func (a *historyAnswer) VisitGetHistoryResponse(w http.ResponseWriter) error {
	setReadHeaders(w.Header(), a.lag, a.applied)
	if a.link != "" {
		w.Header().Set("Link", a.link)
	}
	return writeJSON(w, a.body)
}
