package queryapi

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/httpapi"
	"github.com/ebrahem-outlook/customer-service/internal/query"
)

// SearchCustomers answers a page of the customers that everything in the body
// admits. It has no Link: one is followed without a body.
func (s *server) SearchCustomers(ctx context.Context, in SearchCustomersRequestObject) (SearchCustomersResponseObject, error) {
	r, broken := search(in.Body)
	if err := broken.Err(); err != nil {
		return nil, err
	}
	r.Purpose, r.Principal = "search", httpapi.PrincipalOf(ctx)
	a, err := s.list(ctx, r, in.Params.ConsistencyToken, in.Params.Prefer)
	if err != nil {
		return nil, err
	}
	return searchAnswer{a}, nil
}

type searchAnswer struct{ *listAnswer }

// VisitSearchCustomersResponse writes the answer.
func (a searchAnswer) VisitSearchCustomersResponse(w http.ResponseWriter) error {
	return a.VisitListCustomersResponse(w)
}

// check is an httpapi.Check.
func check(body any, _ customer.Violations) (customer.Violations, error) {
	in, ok := body.(*Search)
	if !ok {
		return nil, fmt.Errorf("no rules for a body of type %T", body)
	}
	_, broken := search(in)
	return broken, nil
}

// search is what in asks for, or what is wrong with it.
func search(in *Search) (query.ListRequest, customer.Violations) {
	r := query.ListRequest{Limit: query.DefaultPage, Sort: query.Sort{By: query.SortCreated}}
	var broken customer.Violations
	f := &r.Filter
	if in.Q != nil {
		f.Terms = customer.Parse(&broken, "/q", *in.Q, query.ParseTerms)
	}
	if in.Email != nil {
		f.Email = customer.Parse(&broken, "/email", *in.Email, customer.ParseEmail)
	}
	if in.Phone != nil {
		f.Phone = customer.Parse(&broken, "/phone", *in.Phone, customer.ParsePhone)
	}
	if in.ExternalId != nil {
		f.ExternalID = customer.Parse(&broken, "/external_id", *in.ExternalId, customer.ParseExternalID)
	}
	if in.Status != nil {
		f.Status = customer.Parse(&broken, "/status", string(*in.Status), customer.ParseStatus)
	}
	if in.Tag != nil {
		f.Tag = customer.Parse(&broken, "/tag", *in.Tag, customer.ParseTag)
	}
	for _, bound := range []struct {
		pointer string
		value   *time.Time
		to      *time.Time
	}{
		{"/created_after", in.CreatedAfter, &f.CreatedAfter},
		{"/created_before", in.CreatedBefore, &f.CreatedBefore},
		{"/updated_after", in.UpdatedAfter, &f.UpdatedAfter},
	} {
		if bound.value != nil {
			*bound.to = customer.Parse(&broken, bound.pointer, bound.value.Format(time.RFC3339Nano), query.ParseInstant)
		}
	}
	if in.Sort != nil {
		r.Sort = customer.Parse(&broken, "/sort", string(*in.Sort), query.ParseSort)
	}
	if in.Limit != nil {
		if r.Limit = *in.Limit; r.Limit < 1 || r.Limit > query.MaxPage {
			broken.Add("/limit", errLimit())
		}
	}
	if in.Cursor.IsSpecified() && !in.Cursor.IsNull() {
		if r.Cursor = in.Cursor.MustGet(); r.Cursor == "" {
			broken.Add("/cursor", &customer.ValueError{Code: customer.CodeInvalid, Detail: "is empty"})
		}
	}
	return r, broken
}
