package client

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// Error is an answer that is no success. With a problem of the service's,
// Code says which; without one (a proxy's answer, say) Code is empty.
type Error struct {
	Problem
	StatusCode int
	Header     http.Header
}

func (e *Error) Error() string {
	if e.Code == "" {
		return "customer service answered " + strconv.Itoa(e.StatusCode)
	}
	var faults strings.Builder
	for _, f := range e.Faults()[:min(len(e.Faults()), mostTold)] {
		fmt.Fprintf(&faults, " %s %s;", cmp.Or(f.Pointer, "(body)"), f.Code)
	}
	return fmt.Sprintf("customer service answered %d %s: %s%s (trace %s)", e.StatusCode, e.Code, e.Detail, faults.String(), e.TraceId)
}

// mostTold is how many faults an error's text names; Faults has them all.
const mostTold = 5

// Faults are all the places that are wrong in what was sent, none unless Code
// is about such a place.
func (e *Error) Faults() []Fault {
	if e.Errors == nil {
		return nil
	}
	return *e.Errors
}

// CodeOf is the code of the problem that err is, or wraps; empty if it is none.
func CodeOf(err error) ProblemCode {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return ""
}

func failure(res *http.Response) error {
	e := &Error{StatusCode: res.StatusCode, Header: res.Header}
	body, err := io.ReadAll(io.LimitReader(res.Body, maxDocument))
	if err != nil || json.Unmarshal(body, &e.Problem) != nil {
		e.Problem = Problem{}
	}
	return e
}
