// Package contract makes requests out of the OpenAPI document that a process
// serves, right ones and wrong ones, and holds the answers to that document.
// It knows no operation by name, so that it covers new ones by itself.
package contract

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"

	"github.com/getkin/kin-openapi/openapi3"
)

// Document is the contract as a process serves it.
type Document struct {
	doc        *openapi3.T
	Operations []Operation // in a fixed order
}

// Operation is one method on one path.
type Operation struct {
	Method, Path string
	Tag          string // whose process serves it
	*openapi3.Operation
	params []*openapi3.Parameter // the path's too
}

// Name is the operation's id.
func (o Operation) Name() string { return o.OperationID }

// Read reads the document from a process.
func Read(ctx context.Context, base string) (*Document, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/openapi.json", http.NoBody)
	if err != nil {
		return nil, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	doc, err := openapi3.NewLoader().LoadFromIoReader(res.Body)
	if err != nil {
		return nil, fmt.Errorf("read the contract: %w", err)
	}
	if err := doc.Validate(ctx); err != nil {
		return nil, fmt.Errorf("the contract is not valid: %w", err)
	}
	d := &Document{doc: doc}
	for _, path := range doc.Paths.InMatchingOrder() {
		item := doc.Paths.Value(path)
		for _, method := range slices.Sorted(maps.Keys(item.Operations())) {
			op := Operation{Method: method, Path: path, Operation: item.Operations()[method]}
			if len(op.Tags) > 0 {
				op.Tag = op.Tags[0]
			}
			for _, p := range slices.Concat(item.Parameters, op.Parameters) {
				op.params = append(op.params, p.Value)
			}
			d.Operations = append(d.Operations, op)
		}
	}
	return d, nil
}

// valid tells whether a JSON text fits schema, and if not, why.
func valid(schema *openapi3.Schema, text []byte) error {
	errs, err := violations(schema, text)
	for _, e := range errs {
		err = errors.Join(err, e)
	}
	return err
}

// violations are the reasons for which a JSON value does not fit schema.
func violations(schema *openapi3.Schema, text []byte) ([]*openapi3.SchemaError, error) {
	var value any
	if err := json.Unmarshal(text, &value); err != nil {
		return nil, err
	}
	return schemaErrors(schema.VisitJSON(value, openapi3.EnableJSONSchema2020(), openapi3.MultiErrors())), nil
}

func schemaErrors(err error) (all []*openapi3.SchemaError) {
	switch e := err.(type) { //nolint:errorlint // the tree of errors is what is walked
	case nil:
	case openapi3.MultiError:
		for _, one := range e {
			all = append(all, schemaErrors(one)...)
		}
	case *openapi3.SchemaError:
		all = append(all, e)
	default:
		all = append(all, &openapi3.SchemaError{Reason: err.Error()})
	}
	return all
}
