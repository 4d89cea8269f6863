package httpapi

import (
	"context"
	"errors"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/ebrahem-outlook/customer-service/api"
	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
	"github.com/ebrahem-outlook/customer-service/internal/httpapi/strictjson"
)

// Row says which code an error is answered with.
type Row struct {
	Err    error
	Code   api.Code
	Faults customer.Violations
}

// refusalOf is the one way from errors to answers. What neither the API's own
// table nor the one here has is a fault of ours: 500, and the answer says
// nothing of the cause.
func refusalOf(err error, own func(error) *Refusal) *Refusal {
	if r, ok := errors.AsType[*Refusal](err); ok {
		return r
	}
	if own != nil {
		if r := own(err); r != nil {
			return r
		}
	}
	if syntax, ok := errors.AsType[*strictjson.SyntaxError](err); ok {
		return &Refusal{Code: api.MalformedJSON, Detail: syntax.Error() + " Send one JSON object in UTF-8 and nothing else."}
	}
	if faults, ok := errors.AsType[customer.Violations](err); ok {
		return &Refusal{Code: api.ValidationFailed, Faults: faults}
	}
	if router, ok := errors.AsType[*echo.HTTPError](err); ok {
		return routerRefusal(router)
	}
	shared := []Row{
		{Err: customer.ErrNotFound, Code: api.CustomerNotFound},
		{Err: customer.ErrDeleted, Code: api.CustomerDeleted},
		{Err: customer.ErrErased, Code: api.CustomerErased},
		{Err: customer.ErrAddressNotFound, Code: api.AddressNotFound},
		{Err: customer.ErrStateConflict, Code: api.StateConflict},
		{Err: eventlog.ErrInvalidToken, Code: api.InvalidToken},
		{Err: eventlog.ErrUnavailable, Code: api.Unavailable},
		{Err: context.DeadlineExceeded, Code: api.Unavailable},
		{Err: context.Canceled, Code: api.Unavailable}, // the client is gone, or the process is ending
	}
	if r := Match(err, shared); r != nil {
		return r
	}
	return &Refusal{Code: api.InternalError}
}

// Match is the answer of the first row whose error err is, or nil.
func Match(err error, rows []Row) *Refusal {
	for _, row := range rows {
		if errors.Is(err, row.Err) {
			return &Refusal{Code: row.Code, Faults: row.Faults}
		}
	}
	return nil
}

// routerRefusal is for what Echo and the generated wrappers refuse. Their texts
// may quote the request and are not repeated.
func routerRefusal(err *echo.HTTPError) *Refusal {
	switch err.Code {
	case http.StatusNotFound:
		return &Refusal{Code: api.RouteNotFound}
	case http.StatusMethodNotAllowed:
		return &Refusal{Code: api.MethodNotAllowed}
	case http.StatusBadRequest:
		return &Refusal{Code: api.InvalidParameter}
	default:
		return &Refusal{Code: api.InternalError}
	}
}
