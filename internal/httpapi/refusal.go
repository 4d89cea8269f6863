package httpapi

import (
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/ebrahem-outlook/customer-service/api"
	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/httpapi/strictjson"
)

// maxFaults is how many faults one answer lists. 64 KiB of body can hold tens
// of thousands, and listing each would answer it with megabytes.
const maxFaults = 100

// Refusal is an error that knows its answer.
type Refusal struct {
	Code       api.Code
	Detail     string // the type's advice unless said
	Faults     customer.Violations
	Current    customer.Version // with version-mismatch
	RetryAfter time.Duration    // at least; a second unless said
	Close      bool             // the connection is of no further use
}

func (r *Refusal) Error() string { return string(r.Code) }

// Refuse is a Refusal with nothing but a code and, unless empty, a detail.
func Refuse(code api.Code, detail string) error { return &Refusal{Code: code, Detail: detail} }

// problem is RFC 9457's document with the contract's extensions.
type problem struct {
	Type           string            `json:"type"`
	Title          string            `json:"title"`
	Status         int               `json:"status"`
	Detail         string            `json:"detail"`
	Code           api.Code          `json:"code"`
	TraceID        string            `json:"trace_id,omitempty"`
	CurrentVersion *customer.Version `json:"current_version,omitempty"`
	Errors         []fault           `json:"errors,omitempty"`
}

type fault struct {
	Pointer string `json:"pointer"`
	Code    string `json:"code"`
	Detail  string `json:"detail"`
}

// problemTypes finds a type by its code.
type problemTypes map[api.Code]api.ProblemType

func newProblemTypes() problemTypes {
	types := make(problemTypes)
	for _, t := range api.Problems() {
		types[t.Code] = t
	}
	return types
}

// document is r as what a problem of its type says.
func (types problemTypes) document(r *Refusal, traceID string) problem {
	t := types[r.Code]
	p := problem{Type: t.URI(), Title: t.Title, Status: t.Status, Detail: r.Detail, Code: t.Code, TraceID: traceID}
	if p.Detail == "" {
		p.Detail = t.Advice
	}
	for _, v := range r.Faults[:min(len(r.Faults), maxFaults)] {
		// The names of metadata are the client's own and may be anybody's.
		p.Errors = append(p.Errors, fault{Pointer: strictjson.Discreet(v.Pointer), Code: v.Code, Detail: v.Detail})
	}
	if more := len(r.Faults) - maxFaults; more > 0 {
		p.Detail += " There are " + strconv.Itoa(more) + " more."
	}
	return p
}

func (types problemTypes) write(c echo.Context, r *Refusal) error {
	t := types[r.Code]
	p := types.document(r, TraceOf(c.Request().Context()).ID)
	h := c.Response().Header()
	switch t.Status {
	case http.StatusPreconditionFailed:
		p.CurrentVersion = &r.Current
		h.Set("ETag", ETag(r.Current))
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		h.Set("Retry-After", retryAfter(r.RetryAfter))
	case http.StatusUnauthorized:
		h.Set("WWW-Authenticate", "Bearer")
	}
	if t.Code == api.IdempotencyInFlight {
		h.Set("Retry-After", retryAfter(r.RetryAfter))
	}
	if r.Close {
		h.Set("Connection", "close")
	}
	body, err := json.Marshal(p)
	if err != nil {
		return err
	}
	return c.Blob(t.Status, "application/problem+json", body)
}

// retryAfter spreads those who were refused together over two seconds, so that
// they do not come back together.
func retryAfter(least time.Duration) string {
	seconds := max(int((least+time.Second-1)/time.Second), 1)
	return strconv.Itoa(seconds + rand.IntN(3)) //nolint:gosec // jitter needs no secrecy
}

// ETag is the entity tag of a version.
func ETag(v customer.Version) string { return `"` + strconv.FormatInt(int64(v), 10) + `"` }
