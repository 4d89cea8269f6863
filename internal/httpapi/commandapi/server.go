package commandapi

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/ebrahem-outlook/customer-service/internal/command"
	"github.com/ebrahem-outlook/customer-service/internal/crash"
	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/httpapi"
)

// Digester makes keyed digests; *privacy.Keyring is one. A plain hash of a
// request would be a hash of the personal data in it.
type Digester interface {
	Digest(domain string, parts ...[]byte) [32]byte
}

const digestRequest = "http request"

// New returns the command API.
func New(commands *command.Service, digester Digester, o httpapi.Options) (*httpapi.App, error) {
	if commands == nil || digester == nil {
		return nil, errors.New("commandapi: commands or digester missing")
	}
	o.Check, o.Errors = check, refusalOf
	importing, err := newImporting(commands, o.Log)
	if err != nil {
		return nil, err
	}
	return httpapi.New(o, func(e *echo.Echo, guarded httpapi.Guarded) {
		handler := NewStrictHandler(&server{commands: commands, digester: digester, importing: importing}, nil)
		RegisterHandlersWithOptions(e, handler, RegisterHandlersOptions{OperationMiddlewares: guarded(routes())})
	})
}

// routes are the guards of the commands, by operation.
func routes() map[string]httpapi.Route {
	// What a command on a customer takes, without a body and with one.
	bare := httpapi.Route{
		Offers: []string{httpapi.MediaJSON}, Params: []string{"dry_run"}, Once: []string{httpapi.HeaderIdempotencyKey, httpapi.HeaderCorrelation},
		Lists: []string{"If-Match", "Prefer"},
	}
	document := bare
	document.Bodies = []string{httpapi.MediaJSON}
	patch := bare
	patch.Bodies = []string{httpapi.MediaMergePatch, httpapi.MediaJSON}
	register := document
	register.Lists = []string{"Prefer"}
	remove := bare
	remove.Offers = nil
	return map[string]httpapi.Route{
		"registerCustomer":  register,
		"changeCustomer":    patch,
		"deleteCustomer":    remove,
		"addAddress":        document,
		"changeAddress":     document,
		"removeAddress":     bare,
		"addTag":            bare,
		"removeTag":         bare,
		"setConsent":        document,
		"suspendCustomer":   document,
		"reinstateCustomer": bare,
		"restoreCustomer":   bare,
		"eraseCustomer":     document,
		"importCustomers": {
			Offers: []string{httpapi.MediaNDJSON}, Bodies: []string{httpapi.MediaNDJSON}, Params: bare.Params, Once: []string{httpapi.HeaderCorrelation},
		},
	}
}

// server implements the generated interface.
type server struct {
	commands  *command.Service
	digester  Digester
	importing *importing
}

var _ StrictServerInterface = (*server)(nil)

// params are the parameters of every command on a customer. The generated types
// of all of them are alike.
type params ChangeCustomerParams

// asked is what a command's request says besides the command's own arguments.
type asked struct {
	params
	operation string
	id        string // of the customer, as in the path; empty to register one
	part      string // what else the path names
	body      any
	success   int                                 // 200 unless said
	location  func(customer.Data) string          // of what was created
	render    func(customer.Data) ([]byte, error) // query.Render unless said
}

// do is a command with its arguments bound.
type do func(context.Context, command.Request, customer.ID) (command.Result, error)

func (s *server) run(ctx context.Context, a asked, do do) (*commandAnswer, error) {
	req := command.Request{
		Principal:     httpapi.PrincipalOf(ctx),
		CorrelationID: value(a.XCorrelationID),
		TraceParent:   httpapi.TraceOf(ctx).Parent,
		SuccessStatus: cmp.Or(a.success, http.StatusOK),
		DryRun:        value(a.DryRun),
	}
	var (
		id  customer.ID
		err error
	)
	if a.id != "" {
		if id, err = httpapi.ParseID(a.id); err != nil {
			return nil, err
		}
	}
	if req.IfMatch, err = parseIfMatch(a.IfMatch); err != nil {
		return nil, err
	}
	if req.IdempotencyKey, err = parseIdempotencyKey(a.IdempotencyKey); err != nil {
		return nil, err
	}
	if req.IdempotencyKey != "" {
		// Marshalled again, so that white space and the order of names make no
		// other request of it.
		body, err := json.Marshal(a.body)
		if err != nil {
			return nil, fmt.Errorf("marshal the request for its digest: %w", err)
		}
		req.RequestDigest = s.digester.Digest(digestRequest, []byte(a.operation), id[:], []byte(a.part), body)
	}
	result, err := do(ctx, req, id)
	if err != nil {
		return nil, err
	}
	crash.Here(crash.CommandBeforeReply)
	return newCommandAnswer(result, a)
}
