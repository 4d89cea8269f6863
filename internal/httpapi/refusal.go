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
)

// maxFaults is how many faults one answer lists. 64 KiB of body can hold tens
// of thousands, and listing each would answer it with megabytes.
const maxFaults = 100

// refusal is an error that knows its answer.
type refusal struct {
	code       api.Code
	detail     string // the type's advice unless said
	faults     customer.Violations
	current    customer.Version // with version-mismatch
	retryAfter time.Duration    // at least; jittered 1–3 s unless said
	close      bool             // the connection is of no further use
}

func (r *refusal) Error() string { return string(r.code) }

func refuse(code api.Code, detail string) error { return &refusal{code: code, detail: detail} }

// problem is RFC 9457's document with the contract's extensions.
type problem struct {
	Type           string            `json:"type"`
	Title          string            `json:"title"`
	Status         int               `json:"status"`
	Detail         string            `json:"detail"`
	Code           api.Code          `json:"code"`
	TraceID        string            `json:"trace_id"`
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

func (types problemTypes) write(c echo.Context, r *refusal) error {
	t := types[r.code]
	p := problem{Type: t.URI(), Title: t.Title, Status: t.Status, Detail: r.detail, Code: t.Code, TraceID: traceOf(c.Request().Context()).ID}
	if p.Detail == "" {
		p.Detail = t.Advice
	}
	for _, v := range r.faults[:min(len(r.faults), maxFaults)] {
		p.Errors = append(p.Errors, fault{Pointer: v.Pointer, Code: v.Code, Detail: v.Detail})
	}
	if more := len(r.faults) - maxFaults; more > 0 {
		p.Detail += " There are " + strconv.Itoa(more) + " more."
	}
	h := c.Response().Header()
	// Nothing that the handler prepared for its success belongs to an error.
	for _, name := range []string{"ETag", "Location", headerToken, headerPreferenceApplied, headerLag, headerDryRun} {
		h.Del(name)
	}
	switch t.Status {
	case http.StatusPreconditionFailed:
		p.CurrentVersion = &r.current
		h.Set("ETag", etag(r.current))
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		h.Set("Retry-After", retryAfter(r.retryAfter))
	case http.StatusUnauthorized:
		h.Set("WWW-Authenticate", "Bearer")
	}
	if t.Code == api.IdempotencyInFlight {
		h.Set("Retry-After", retryAfter(r.retryAfter))
	}
	if r.close {
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

func etag(v customer.Version) string { return `"` + strconv.FormatInt(int64(v), 10) + `"` }
