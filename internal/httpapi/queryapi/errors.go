package queryapi

import (
	"errors"

	"github.com/ebrahem-outlook/customer-service/api"
	"github.com/ebrahem-outlook/customer-service/internal/httpapi"
	"github.com/ebrahem-outlook/customer-service/internal/query"
)

// refusalOf is what the errors of reads are answered with.
func refusalOf(err error) *httpapi.Refusal {
	if behind, ok := errors.AsType[*query.Behind](err); ok {
		return &httpapi.Refusal{Code: api.ReadModelBehind, RetryAfter: behind.RetryAfter}
	}
	if r := exportRefusal(err); r != nil {
		return r
	}
	switch {
	case errors.Is(err, query.ErrFuture):
		return &httpapi.Refusal{Code: api.InvalidParameter, Detail: "The time as_of is in the future. Ask without it for the customer as it is now."}
	case errors.Is(err, query.ErrNoVersion):
		return &httpapi.Refusal{Code: api.CustomerNotFound, Detail: "The customer has not come to this version. If a command answered it, send its Consistency-Token along."}
	case errors.Is(err, query.ErrBeforeRegistration):
		return &httpapi.Refusal{Code: api.CustomerNotFound, Detail: "The customer was not registered yet at this time."}
	}
	return httpapi.Match(err, []httpapi.Row{
		{Err: query.ErrNotFound, Code: api.CustomerNotFound},
		{Err: query.ErrDeleted, Code: api.CustomerDeleted},
		{Err: query.ErrErased, Code: api.CustomerErased},
		{Err: query.ErrNotErased, Code: api.StateConflict},
		{Err: query.ErrOverloaded, Code: api.Overloaded},
		{Err: query.ErrTooManyTokens, Code: api.InvalidToken},
		{Err: query.ErrInvalidCursor, Code: api.InvalidCursor},
		{Err: query.ErrUnavailable, Code: api.Unavailable},
		{Err: query.ErrFollowingEnds, Code: api.Unavailable},
	})
}
