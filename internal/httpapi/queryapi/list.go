package queryapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/ebrahem-outlook/customer-service/api"
	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/httpapi"
	"github.com/ebrahem-outlook/customer-service/internal/query"
)

// Lists are answered a page at a time; *query.Lists is one.
type Lists interface {
	List(ctx context.Context, r query.ListRequest) (query.List, error)
}

// ListCustomers answers a page of the customers that every filter admits.
func (s *server) ListCustomers(ctx context.Context, in ListCustomersRequestObject) (ListCustomersResponseObject, error) {
	r := query.ListRequest{Purpose: "list", Principal: httpapi.PrincipalOf(ctx), Limit: query.DefaultPage}
	var broken customer.Violations
	if in.Params.Limit != nil {
		r.Limit = customer.Parse(&broken, "/limit", *in.Params.Limit, parseLimit)
	}
	r.Sort = query.Sort{By: query.SortCreated}
	if in.Params.Sort != nil {
		r.Sort = customer.Parse(&broken, "/sort", *in.Params.Sort, query.ParseSort)
	}
	var err error
	r.Filter, err = query.ParseFilter(query.FilterText{
		Status: in.Params.Status, Tag: in.Params.Tag, ExternalID: in.Params.ExternalId,
		CreatedAfter: in.Params.CreatedAfter, CreatedBefore: in.Params.CreatedBefore, UpdatedAfter: in.Params.UpdatedAfter,
	})
	broken.Add("", err)
	if err := badParameters(broken.Err()); err != nil {
		return nil, err
	}
	if in.Params.Cursor != nil {
		if r.Cursor = *in.Params.Cursor; r.Cursor == "" {
			return nil, query.ErrInvalidCursor
		}
	}
	a, err := s.list(ctx, r, in.Params.ConsistencyToken, in.Params.Prefer)
	if err != nil {
		return nil, err
	}
	if a.next != "" {
		a.link = nextLink(in.Params, a.next)
	}
	return a, nil
}

// list answers a list or a search.
func (s *server) list(ctx context.Context, r query.ListRequest, token, prefer *string) (*listAnswer, error) {
	p, err := s.patience(token, prefer)
	if err != nil {
		return nil, err
	}
	r.Tokens, r.Wait = p.tokens, p.wait
	page, err := s.lists.List(ctx, r)
	if err != nil {
		return nil, err
	}
	return &listAnswer{documents: page.Documents, next: page.Next, lag: s.queries.Lag(), applied: p.applied}, nil
}

// badParameters is the refusal of a request whose parameters are at fault. The
// names are ours and the texts quote nothing.
func badParameters(err error) error {
	faults, ok := errors.AsType[customer.Violations](err)
	if !ok {
		return err
	}
	var b strings.Builder
	for i, f := range faults {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString("The parameter " + strings.TrimPrefix(f.Pointer, "/") + " " + f.Detail + ".")
	}
	return httpapi.Refuse(api.InvalidParameter, b.String())
}

func parseLimit(text string) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > query.MaxPage || strconv.Itoa(n) != text {
		return 0, errLimit()
	}
	return n, nil
}

func errLimit() error {
	return &customer.ValueError{Code: customer.CodeInvalid, Detail: "is no number from 1 to 100"}
}

// nextLink is the target of the link to the next page: what was asked, with the
// cursor. RFC 8288 lets it be relative to what was asked for.
func nextLink(p ListCustomersParams, cursor string) string {
	v := url.Values{"cursor": {cursor}}
	for name, value := range map[string]*string{
		"status": p.Status, "tag": p.Tag, "external_id": p.ExternalId, "created_after": p.CreatedAfter,
		"created_before": p.CreatedBefore, "updated_after": p.UpdatedAfter, "sort": p.Sort, "limit": p.Limit,
	} {
		if value != nil {
			v.Set(name, *value)
		}
	}
	return "</v1/customers?" + v.Encode() + `>; rel="next"`
}

// listAnswer is a page of documents, which are JSON already.
type listAnswer struct {
	documents [][]byte
	next      string
	link      string
	lag       time.Duration
	applied   *time.Duration
}

// VisitListCustomersResponse writes the answer.
func (a *listAnswer) VisitListCustomersResponse(w http.ResponseWriter) error {
	next := []byte("null")
	if a.next != "" {
		var err error
		if next, err = json.Marshal(a.next); err != nil {
			return err
		}
	}
	var b bytes.Buffer
	b.WriteString(`{"data":[`)
	b.Write(bytes.Join(a.documents, []byte(",")))
	b.WriteString(`],"next_cursor":`)
	b.Write(next)
	b.WriteString("}")
	h := w.Header()
	setReadHeaders(h, a.lag, a.applied)
	if a.link != "" {
		h.Set("Link", a.link)
	}
	h.Set("Content-Type", httpapi.MediaJSON)
	// Said, because the answer to HEAD has no body to count.
	h.Set("Content-Length", strconv.Itoa(b.Len()))
	w.WriteHeader(http.StatusOK)
	_, err := b.WriteTo(w)
	return err
}
