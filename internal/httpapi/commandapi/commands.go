package commandapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/google/uuid"

	"github.com/ebrahem-outlook/customer-service/internal/command"
	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/httpapi"
)

// The operations. Each reads its own arguments; run does what they have in
// common. The guards have refused what the path cannot name, and the binder
// what a body cannot say, so that an error from reading either again is never
// seen by a client.

func (s *server) RegisterCustomer(ctx context.Context, in RegisterCustomerRequestObject) (RegisterCustomerResponseObject, error) {
	args, broken := registration(in.Body, nil)
	if err := broken.Err(); err != nil {
		return nil, err
	}
	p := in.Params
	return s.run(ctx, asked{
		operation: "registerCustomer", body: in.Body, success: http.StatusCreated, location: customerAt,
		params: params{IdempotencyKey: p.IdempotencyKey, Prefer: p.Prefer, DryRun: p.DryRun, XCorrelationID: p.XCorrelationID},
	}, func(ctx context.Context, req command.Request, _ customer.ID) (command.Result, error) {
		return s.commands.Register(ctx, req, args)
	})
}

func (s *server) ChangeCustomer(ctx context.Context, in ChangeCustomerRequestObject) (ChangeCustomerResponseObject, error) {
	body := in.ApplicationMergePatchPlusJSONBody
	if body == nil {
		body = in.JSONBody
	}
	args, broken := change(body)
	if err := broken.Err(); err != nil {
		return nil, err
	}
	return s.run(ctx, asked{operation: "changeCustomer", id: in.Id, params: params(in.Params), body: body},
		func(ctx context.Context, req command.Request, id customer.ID) (command.Result, error) {
			return s.commands.Change(ctx, req, id, args)
		})
}

func (s *server) DeleteCustomer(ctx context.Context, in DeleteCustomerRequestObject) (DeleteCustomerResponseObject, error) {
	return s.run(ctx, asked{
		operation: "deleteCustomer", id: in.Id, params: params(in.Params), success: http.StatusNoContent,
	}, s.commands.Delete)
}

func (s *server) AddAddress(ctx context.Context, in AddAddressRequestObject) (AddAddressResponseObject, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return nil, fmt.Errorf("choose an address id: %w", err)
	}
	args, err := address(id, *in.Body)
	if err != nil {
		return nil, err
	}
	return s.run(ctx, asked{
		operation: "addAddress", id: in.Id, params: params(in.Params), body: in.Body, success: http.StatusCreated, location: lastAddressAt,
	}, func(ctx context.Context, req command.Request, id customer.ID) (command.Result, error) {
		res, err := s.commands.AddAddress(ctx, req, id, args)
		return res, aboutTheWhole(err)
	})
}

func (s *server) ChangeAddress(ctx context.Context, in ChangeAddressRequestObject) (ChangeAddressResponseObject, error) {
	id, err := httpapi.ParseAddressID(in.AddressId)
	if err != nil {
		return nil, err
	}
	args, err := address(id, *in.Body)
	if err != nil {
		return nil, err
	}
	return s.run(ctx, asked{operation: "changeAddress", id: in.Id, part: id.String(), params: params(in.Params), body: in.Body},
		func(ctx context.Context, req command.Request, id customer.ID) (command.Result, error) {
			return s.commands.ChangeAddress(ctx, req, id, args)
		})
}

func (s *server) RemoveAddress(ctx context.Context, in RemoveAddressRequestObject) (RemoveAddressResponseObject, error) {
	address, err := httpapi.ParseAddressID(in.AddressId)
	if err != nil {
		return nil, err
	}
	return s.run(ctx, asked{operation: "removeAddress", id: in.Id, part: address.String(), params: params(in.Params)},
		func(ctx context.Context, req command.Request, id customer.ID) (command.Result, error) {
			return s.commands.RemoveAddress(ctx, req, id, address)
		})
}

func (s *server) AddTag(ctx context.Context, in AddTagRequestObject) (AddTagResponseObject, error) {
	tag, err := httpapi.ParseTag(in.Tag)
	if err != nil {
		return nil, err
	}
	return s.run(ctx, asked{operation: "addTag", id: in.Id, part: in.Tag, params: params(in.Params)},
		func(ctx context.Context, req command.Request, id customer.ID) (command.Result, error) {
			return s.commands.Tag(ctx, req, id, tag)
		})
}

func (s *server) RemoveTag(ctx context.Context, in RemoveTagRequestObject) (RemoveTagResponseObject, error) {
	tag, err := httpapi.ParseTag(in.Tag)
	if err != nil {
		return nil, err
	}
	return s.run(ctx, asked{operation: "removeTag", id: in.Id, part: in.Tag, params: params(in.Params)},
		func(ctx context.Context, req command.Request, id customer.ID) (command.Result, error) {
			return s.commands.Untag(ctx, req, id, tag)
		})
}

func (s *server) SetConsent(ctx context.Context, in SetConsentRequestObject) (SetConsentResponseObject, error) {
	channel, err := httpapi.ParseChannel(in.Channel)
	if err != nil {
		return nil, err
	}
	args, broken := consent(in.Body)
	if err := broken.Err(); err != nil {
		return nil, err
	}
	set := s.commands.WithdrawConsent
	if args.Granted {
		set = s.commands.GrantConsent
	}
	return s.run(ctx, asked{operation: "setConsent", id: in.Id, part: in.Channel, params: params(in.Params), body: in.Body},
		func(ctx context.Context, req command.Request, id customer.ID) (command.Result, error) {
			return set(ctx, req, id, channel, args.Source, args.Wording)
		})
}

func (s *server) SuspendCustomer(ctx context.Context, in SuspendCustomerRequestObject) (SuspendCustomerResponseObject, error) {
	why, broken := reason(in.Body)
	if err := broken.Err(); err != nil {
		return nil, err
	}
	return s.run(ctx, asked{operation: "suspendCustomer", id: in.Id, params: params(in.Params), body: in.Body},
		func(ctx context.Context, req command.Request, id customer.ID) (command.Result, error) {
			return s.commands.Suspend(ctx, req, id, why)
		})
}

func (s *server) ReinstateCustomer(ctx context.Context, in ReinstateCustomerRequestObject) (ReinstateCustomerResponseObject, error) {
	return s.run(ctx, asked{operation: "reinstateCustomer", id: in.Id, params: params(in.Params)}, s.commands.Reinstate)
}

func (s *server) RestoreCustomer(ctx context.Context, in RestoreCustomerRequestObject) (RestoreCustomerResponseObject, error) {
	return s.run(ctx, asked{operation: "restoreCustomer", id: in.Id, params: params(in.Params)}, s.commands.Restore)
}

func (s *server) EraseCustomer(ctx context.Context, in EraseCustomerRequestObject) (EraseCustomerResponseObject, error) {
	why, broken := reason(in.Body)
	if err := broken.Err(); err != nil {
		return nil, err
	}
	return s.run(ctx, asked{operation: "eraseCustomer", id: in.Id, params: params(in.Params), body: in.Body, render: renderErasure},
		func(ctx context.Context, req command.Request, id customer.ID) (command.Result, error) {
			return s.commands.Erase(ctx, req, id, why)
		})
}

// aboutTheWhole moves the domain's violations from the customer's addresses to
// the body, which is one of them.
func aboutTheWhole(err error) error {
	broken, ok := errors.AsType[customer.Violations](err)
	if !ok {
		return err
	}
	out := make(customer.Violations, len(broken))
	for i, v := range broken {
		v.Pointer = strings.TrimPrefix(v.Pointer, "/addresses")
		out[i] = v
	}
	return out
}
