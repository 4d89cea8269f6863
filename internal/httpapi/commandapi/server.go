package commandapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/ebrahem-outlook/customer-service/internal/command"
	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
	"github.com/ebrahem-outlook/customer-service/internal/httpapi"
	"github.com/ebrahem-outlook/customer-service/internal/query"
)

// Commands is what the API serves; *command.Service is one.
type Commands interface {
	Register(context.Context, command.Request, customer.Registration) (command.Result, error)
	Change(context.Context, command.Request, customer.ID, customer.Change) (command.Result, error)
	Delete(context.Context, command.Request, customer.ID) (command.Result, error)
}

// Digester makes keyed digests; *privacy.Keyring is one. A plain hash of a
// request would be a hash of the personal data in it.
type Digester interface {
	Digest(domain string, parts ...[]byte) [32]byte
}

const digestRequest = "http request"

// New returns the command API.
func New(commands Commands, digester Digester, o httpapi.Options) (*httpapi.App, error) {
	if commands == nil || digester == nil {
		return nil, errors.New("commandapi: commands or digester missing")
	}
	o.Check, o.Errors = check, refusalOf
	return httpapi.New(o, func(e *echo.Echo, guarded httpapi.Guarded) {
		handler := NewStrictHandler(&server{commands: commands, digester: digester}, nil)
		RegisterHandlersWithOptions(e, handler, RegisterHandlersOptions{OperationMiddlewares: guarded(routes())})
	})
}

// routes are the guards of the commands, by operation.
func routes() map[string]httpapi.Route {
	once := []string{httpapi.HeaderIdempotencyKey, httpapi.HeaderCorrelation}
	dryRun := []string{"dry_run"}
	return map[string]httpapi.Route{
		"registerCustomer": {Offers: httpapi.MediaJSON, Bodies: []string{httpapi.MediaJSON}, Params: dryRun, Once: once, Lists: []string{"Prefer"}},
		"changeCustomer": {
			Offers: httpapi.MediaJSON, Bodies: []string{httpapi.MediaMergePatch, httpapi.MediaJSON}, Params: dryRun, Once: once,
			Lists: []string{"If-Match", "Prefer"},
		},
		"deleteCustomer": {Params: dryRun, Once: once, Lists: []string{"If-Match", "Prefer"}},
	}
}

// server implements the generated interface.
type server struct {
	commands Commands
	digester Digester
}

var _ StrictServerInterface = (*server)(nil)

func (s *server) RegisterCustomer(ctx context.Context, in RegisterCustomerRequestObject) (RegisterCustomerResponseObject, error) {
	args, broken := registration(in.Body, nil)
	if err := broken.Err(); err != nil {
		return nil, err
	}
	p := in.Params
	return s.run(ctx, asked{
		operation: "registerCustomer", body: in.Body, success: http.StatusCreated,
		key: p.IdempotencyKey, prefer: p.Prefer, correlation: p.XCorrelationID, dryRun: p.DryRun,
	}, func(ctx context.Context, req command.Request) (command.Result, error) {
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
	id, err := httpapi.ParseID(in.Id)
	if err != nil {
		return nil, err
	}
	p := in.Params
	return s.run(ctx, asked{
		operation: "changeCustomer", id: id, body: body, success: http.StatusOK,
		ifMatch: p.IfMatch, key: p.IdempotencyKey, prefer: p.Prefer, correlation: p.XCorrelationID, dryRun: p.DryRun,
	}, func(ctx context.Context, req command.Request) (command.Result, error) {
		return s.commands.Change(ctx, req, id, args)
	})
}

func (s *server) DeleteCustomer(ctx context.Context, in DeleteCustomerRequestObject) (DeleteCustomerResponseObject, error) {
	id, err := httpapi.ParseID(in.Id)
	if err != nil {
		return nil, err
	}
	p := in.Params
	return s.run(ctx, asked{
		operation: "deleteCustomer", id: id, success: http.StatusNoContent,
		ifMatch: p.IfMatch, key: p.IdempotencyKey, prefer: p.Prefer, correlation: p.XCorrelationID, dryRun: p.DryRun,
	}, func(ctx context.Context, req command.Request) (command.Result, error) {
		return s.commands.Delete(ctx, req, id)
	})
}

// asked is what a command's request says besides the command's own arguments.
type asked struct {
	operation                         string
	id                                customer.ID
	body                              any
	success                           int
	ifMatch, key, prefer, correlation *string
	dryRun                            *bool
}

func (s *server) run(ctx context.Context, a asked, do func(context.Context, command.Request) (command.Result, error)) (*commandAnswer, error) {
	req := command.Request{
		Principal:     httpapi.PrincipalOf(ctx),
		CorrelationID: value(a.correlation),
		TraceParent:   httpapi.TraceOf(ctx).Parent,
		SuccessStatus: a.success,
		DryRun:        value(a.dryRun),
	}
	var err error
	if req.IfMatch, err = parseIfMatch(a.ifMatch); err != nil {
		return nil, err
	}
	if req.IdempotencyKey, err = parseIdempotencyKey(a.key); err != nil {
		return nil, err
	}
	if req.IdempotencyKey != "" {
		// Marshalled again, so that white space and the order of names make no
		// other request of it.
		body, err := json.Marshal(a.body)
		if err != nil {
			return nil, fmt.Errorf("marshal the request for its digest: %w", err)
		}
		req.RequestDigest = s.digester.Digest(digestRequest, []byte(a.operation), a.id[:], body)
	}
	result, err := do(ctx, req)
	if err != nil {
		return nil, err
	}
	return newCommandAnswer(result, httpapi.ParsePrefer(a.prefer), req.DryRun)
}

// commandAnswer is the success of any command.
type commandAnswer struct {
	status int
	header map[string]string
	body   []byte
}

func newCommandAnswer(r command.Result, prefer httpapi.Preferences, dryRun bool) (*commandAnswer, error) {
	a := &commandAnswer{status: r.Status, header: map[string]string{"ETag": httpapi.ETag(r.Data.Version)}}
	if dryRun {
		a.header[httpapi.HeaderDryRun] = "true"
	} else {
		// What was not written has nothing to wait for.
		a.header[httpapi.HeaderToken] = eventlog.Token{CustomerID: r.Data.ID, Version: r.Data.Version}.String()
	}
	if prefer.Return != "" {
		a.header[httpapi.HeaderPreferenceApplied] = "return=" + prefer.Return
	}
	if a.status == http.StatusCreated {
		a.header["Location"] = "/v1/customers/" + r.Data.ID.String()
	}
	if a.status == http.StatusNoContent || prefer.Return == "minimal" {
		return a, nil
	}
	var err error
	a.body, err = query.Render(r.Data)
	return a, err
}

func (a *commandAnswer) write(w http.ResponseWriter) error {
	for name, value := range a.header {
		w.Header().Set(name, value)
	}
	if a.body != nil {
		w.Header().Set("Content-Type", httpapi.MediaJSON)
	}
	w.WriteHeader(a.status)
	_, err := w.Write(a.body)
	return err
}

// VisitRegisterCustomerResponse writes the answer.
func (a *commandAnswer) VisitRegisterCustomerResponse(w http.ResponseWriter) error { return a.write(w) }

// VisitChangeCustomerResponse writes the answer.
func (a *commandAnswer) VisitChangeCustomerResponse(w http.ResponseWriter) error { return a.write(w) }

// VisitDeleteCustomerResponse writes the answer.
func (a *commandAnswer) VisitDeleteCustomerResponse(w http.ResponseWriter) error { return a.write(w) }
