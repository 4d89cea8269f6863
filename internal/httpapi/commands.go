package httpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/ebrahem-outlook/customer-service/internal/command"
	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
	"github.com/ebrahem-outlook/customer-service/internal/httpapi/commandapi"
	"github.com/ebrahem-outlook/customer-service/internal/query"
)

// Commands is what the command API serves; *command.Service is one.
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

// commandRoutes are the guards of the commands, by operation.
func commandRoutes() map[string]route {
	once := []string{headerIdempotencyKey, headerCorrelation}
	dryRun := []string{"dry_run"}
	return map[string]route{
		"registerCustomer": {offers: mediaJSON, bodies: []string{mediaJSON}, params: dryRun, once: once, lists: []string{"Prefer"}},
		"changeCustomer": {offers: mediaJSON, bodies: []string{mediaMergePatch, mediaJSON}, params: dryRun, once: once,
			lists: []string{"If-Match", "Prefer"}},
		"deleteCustomer": {params: dryRun, once: once, lists: []string{"If-Match", "Prefer"}},
	}
}

// commandServer implements the generated interface.
type commandServer struct {
	commands Commands
	digester Digester
}

var _ commandapi.StrictServerInterface = (*commandServer)(nil)

func (s *commandServer) RegisterCustomer(ctx context.Context, in commandapi.RegisterCustomerRequestObject) (commandapi.RegisterCustomerResponseObject, error) {
	args, broken := registration(in.Body)
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

func (s *commandServer) ChangeCustomer(ctx context.Context, in commandapi.ChangeCustomerRequestObject) (commandapi.ChangeCustomerResponseObject, error) {
	body := in.ApplicationMergePatchPlusJSONBody
	if body == nil {
		body = in.JSONBody
	}
	args, broken := change(body)
	if err := broken.Err(); err != nil {
		return nil, err
	}
	id, err := parseID(in.Id)
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

func (s *commandServer) DeleteCustomer(ctx context.Context, in commandapi.DeleteCustomerRequestObject) (commandapi.DeleteCustomerResponseObject, error) {
	id, err := parseID(in.Id)
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

func (s *commandServer) run(ctx context.Context, a asked, do func(context.Context, command.Request) (command.Result, error)) (*commandAnswer, error) {
	req := command.Request{
		Principal:     principalOf(ctx),
		CorrelationID: value(a.correlation),
		TraceParent:   traceOf(ctx).Parent,
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
	return newCommandAnswer(result, parsePrefer(a.prefer), req.DryRun)
}

// commandAnswer is the success of any command.
type commandAnswer struct {
	status int
	header map[string]string
	body   []byte
}

func newCommandAnswer(r command.Result, prefer preferences, dryRun bool) (*commandAnswer, error) {
	a := &commandAnswer{status: r.Status, header: map[string]string{"ETag": etag(r.Data.Version)}}
	if dryRun {
		a.header[headerDryRun] = "true"
	} else {
		// What was not written has nothing to wait for.
		a.header[headerToken] = eventlog.Token{CustomerID: r.Data.ID, Version: r.Data.Version}.String()
	}
	if prefer.returns != "" {
		a.header[headerPreferenceApplied] = "return=" + prefer.returns
	}
	if a.status == http.StatusCreated {
		a.header["Location"] = "/v1/customers/" + r.Data.ID.String()
	}
	if a.status == http.StatusNoContent || prefer.returns == "minimal" {
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
		w.Header().Set("Content-Type", mediaJSON)
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
