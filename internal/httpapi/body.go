package httpapi

import (
	"errors"
	"io"
	"net/http"
	"os"

	"github.com/labstack/echo/v4"

	"github.com/ebrahem-outlook/customer-service/api"
	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/httpapi/strictjson"
)

// maxBody is how many bytes a body may have.
const maxBody = 64 << 10

// binder reads bodies for the generated handlers, which hand it the type of the
// operation's body. It leaves nothing to find in them: shape and values are
// checked together, so that one answer names every fault.
type binder struct{ check Check }

// Check says what is wrong with the values of a body of one of the API's types,
// of whose shape the faults are known.
type Check func(body any, shape customer.Violations) (customer.Violations, error)

func (b binder) Bind(target any, c echo.Context) error {
	data, err := readBody(c)
	if err != nil {
		return err
	}
	shape, err := strictjson.Decode(data, target)
	if err != nil {
		return err
	}
	for _, f := range shape {
		if f.Pointer == "" && f.Code == strictjson.CodeWrongType {
			return shape // it is no object, so it has no values
		}
	}
	values, err := b.check(target, shape)
	if err != nil {
		return err
	}
	return merge(shape, values).Err()
}

func readBody(c echo.Context) ([]byte, error) {
	r := c.Request()
	if r.ContentLength > maxBody {
		return nil, Refuse(api.BodyTooLarge, "")
	}
	data, err := io.ReadAll(http.MaxBytesReader(c.Response(), r.Body, maxBody))
	if err == nil {
		return data, nil
	}
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, Refuse(api.BodyTooLarge, "")
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil, &Refusal{Code: api.RequestTimeout, Close: true}
	}
	// Cut off or badly framed: whatever it is, it is not what was announced.
	return nil, &Refusal{Code: api.MalformedRequest, Detail: "The body ends before it should, or its framing is broken.", Close: true}
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
