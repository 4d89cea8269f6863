package httpapi

import (
	"context"
	"errors"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/ebrahem-outlook/customer-service/api"
	"github.com/ebrahem-outlook/customer-service/internal/command"
	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
	"github.com/ebrahem-outlook/customer-service/internal/httpapi/strictjson"
	"github.com/ebrahem-outlook/customer-service/internal/query"
)

// refusalOf is the one table from errors to answers. What is not in it is a
// fault of ours: 500, and the answer says nothing of the cause.
func refusalOf(err error) *refusal {
	if r, ok := errors.AsType[*refusal](err); ok {
		return r
	}
	if syntax, ok := errors.AsType[*strictjson.SyntaxError](err); ok {
		return &refusal{code: api.MalformedJSON, detail: syntax.Error() + " Send one JSON object in UTF-8 and nothing else."}
	}
	if faults, ok := errors.AsType[customer.Violations](err); ok {
		return &refusal{code: api.ValidationFailed, faults: faults}
	}
	if mismatch, ok := errors.AsType[*command.VersionMismatch](err); ok {
		return &refusal{code: api.VersionMismatch, current: mismatch.Current}
	}
	if behind, ok := errors.AsType[*query.Behind](err); ok {
		return &refusal{code: api.ReadModelBehind, retryAfter: behind.RetryAfter}
	}
	if router, ok := errors.AsType[*echo.HTTPError](err); ok {
		return routerRefusal(router)
	}
	for _, row := range []struct {
		err    error
		code   api.Code
		faults customer.Violations
	}{
		{command.ErrEmailTaken, api.EmailTaken, taken("/email")},
		{command.ErrExternalIDTaken, api.ExternalIDTaken, taken("/external_id")},
		{command.ErrIdempotencyKeyReused, api.IdempotencyKeyReused, nil},
		{command.ErrIdempotencyInFlight, api.IdempotencyInFlight, nil},
		{command.ErrOverloaded, api.Overloaded, nil},
		{query.ErrNotFound, api.CustomerNotFound, nil},
		{query.ErrDeleted, api.CustomerDeleted, nil},
		{query.ErrErased, api.CustomerErased, nil},
		{query.ErrOverloaded, api.Overloaded, nil},
		{query.ErrTooManyTokens, api.InvalidToken, nil},
		{query.ErrUnavailable, api.Unavailable, nil},
		{customer.ErrNotFound, api.CustomerNotFound, nil},
		{customer.ErrDeleted, api.CustomerDeleted, nil},
		{customer.ErrErased, api.CustomerErased, nil},
		{customer.ErrAddressNotFound, api.AddressNotFound, nil},
		{customer.ErrStateConflict, api.StateConflict, nil},
		{eventlog.ErrInvalidToken, api.InvalidToken, nil},
		{eventlog.ErrUnavailable, api.Unavailable, nil},
		{context.DeadlineExceeded, api.Unavailable, nil},
		{context.Canceled, api.Unavailable, nil}, // the client is gone, or the process is ending
	} {
		if errors.Is(err, row.err) {
			return &refusal{code: row.code, faults: row.faults}
		}
	}
	return &refusal{code: api.InternalError}
}

func taken(pointer string) customer.Violations {
	return customer.Violations{{Pointer: pointer, Code: "taken", Detail: "is in use by another customer"}}
}

// routerRefusal is for what Echo and the generated wrappers refuse. Their texts
// may quote the request and are not repeated.
func routerRefusal(err *echo.HTTPError) *refusal {
	switch err.Code {
	case http.StatusNotFound:
		return &refusal{code: api.RouteNotFound}
	case http.StatusMethodNotAllowed:
		return &refusal{code: api.MethodNotAllowed}
	case http.StatusBadRequest:
		return &refusal{code: api.InvalidParameter}
	default:
		return &refusal{code: api.InternalError}
	}
}
