package commandapi

import (
	"errors"

	"github.com/ebrahem-outlook/customer-service/api"
	"github.com/ebrahem-outlook/customer-service/internal/command"
	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/httpapi"
)

// refusalOf is what the errors of commands are answered with.
func refusalOf(err error) *httpapi.Refusal {
	if mismatch, ok := errors.AsType[*command.VersionMismatch](err); ok {
		return &httpapi.Refusal{Code: api.VersionMismatch, Current: mismatch.Current}
	}
	return httpapi.Match(err, []httpapi.Row{
		{Err: command.ErrEmailTaken, Code: api.EmailTaken, Faults: taken("/email")},
		{Err: command.ErrExternalIDTaken, Code: api.ExternalIDTaken, Faults: taken("/external_id")},
		{Err: command.ErrIdempotencyKeyReused, Code: api.IdempotencyKeyReused},
		{Err: command.ErrIdempotencyInFlight, Code: api.IdempotencyInFlight},
		{Err: command.ErrOverloaded, Code: api.Overloaded},
		{Err: command.ErrUnavailable, Code: api.Unavailable},
	})
}

func taken(pointer string) customer.Violations {
	return customer.Violations{{Pointer: pointer, Code: "taken", Detail: "is in use by another customer"}}
}
