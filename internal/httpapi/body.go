package httpapi

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"

	"github.com/labstack/echo/v4"

	"github.com/ebrahem-outlook/customer-service/api"
	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/httpapi/commandapi"
	"github.com/ebrahem-outlook/customer-service/internal/httpapi/strictjson"
)

// maxBody is how many bytes a body may have.
const maxBody = 64 << 10

// binder reads bodies for the generated handlers, which hand it the type of the
// operation's body. It leaves nothing to find in them: shape and values are
// checked together, so that one answer names every fault.
type binder struct{}

func (binder) Bind(target any, c echo.Context) error {
	data, err := readBody(c)
	if err != nil {
		return err
	}
	shape, err := strictjson.Decode(data, target)
	if err != nil {
		return err
	}
	var values customer.Violations
	switch body := target.(type) {
	case *commandapi.Registration:
		_, values = registration(body)
	case *commandapi.CustomerPatch:
		_, values = change(body)
	default:
		return fmt.Errorf("no rules for a body of type %T", target)
	}
	return merge(shape, values).Err()
}

func readBody(c echo.Context) ([]byte, error) {
	r := c.Request()
	if r.ContentLength > maxBody {
		return nil, refuse(api.BodyTooLarge, "")
	}
	data, err := io.ReadAll(http.MaxBytesReader(c.Response(), r.Body, maxBody))
	if err == nil {
		return data, nil
	}
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, refuse(api.BodyTooLarge, "")
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil, &refusal{code: api.RequestTimeout, close: true}
	}
	// Cut off or badly framed: whatever it is, it is not what was announced.
	return nil, &refusal{code: api.MalformedRequest, detail: "The body ends before it should, or its framing is broken.", close: true}
}

// merge adds to the faults of shape those of values, but for places that have
// a fault already: a number where an e-mail address belongs is no missing one.
func merge(shape, values customer.Violations) customer.Violations {
	seen := make(map[string]bool, len(shape))
	for _, f := range shape {
		seen[f.Pointer] = true
	}
	for _, f := range values {
		if !seen[f.Pointer] {
			shape = append(shape, f)
		}
	}
	return shape
}
