package httpapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/ebrahem-outlook/customer-service/api"
)

// requestTimeout ends work on a request while its answer can still be written:
// the server cuts a connection 15 s after the request began.
const requestTimeout = 13 * time.Second

// edge is what every request passes first and last.
type edge struct {
	log      *slog.Logger
	problems problemTypes
	own      func(error) *Refusal // the API's own table of errors
	inFlight chan struct{}        // one place for each request being worked on
	draining *atomic.Bool
}

// trace places the request in a trace, logs it when it has been answered and
// answers what went wrong, panics included.
func (e *edge) trace() echo.MiddlewareFunc {
	pattern := traceparentPattern()
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			begun := time.Now()
			r := c.Request()
			trace := newTrace(r.Header.Values("Traceparent"), pattern)
			unbounded := context.WithValue(r.Context(), traceKey, trace)
			ctx, cancel := context.WithTimeout(context.WithValue(unbounded, unboundedKey, unbounded), requestTimeout)
			defer cancel()
			c.SetRequest(r.WithContext(ctx))
			setHeaders(c.Response().Header())
			if e.draining.Load() {
				c.Response().Header().Set("Connection", "close") // the next request goes to another process
			}
			err := e.recovered(c, next)
			if err != nil {
				e.answer(c, err)
			}
			e.access(c, begun, err)
			return nil
		}
	}
}

// recovered turns a panic into an error. http.ErrAbortHandler stays a panic: it
// is how a handler asks net/http to cut the connection.
func (e *edge) recovered(c echo.Context, next echo.HandlerFunc) (err error) {
	defer func() {
		cause := recover()
		if cause == nil {
			return
		}
		if cause == http.ErrAbortHandler { //nolint:errorlint // compared as net/http does
			panic(cause)
		}
		stack := make([]byte, 8<<10)
		stack = stack[:runtime.Stack(stack, false)]
		e.log.ErrorContext(c.Request().Context(), "handler panicked", "panic_type", fmt.Sprintf("%T", cause), "stack", string(stack),
			"trace_id", TraceOf(c.Request().Context()).ID)
		err = errPanicked
	}()
	return next(c)
}

var errPanicked = errors.New("handler panicked")

// answer writes err as a problem, unless an answer has begun.
func (e *edge) answer(c echo.Context, err error) {
	ctx := c.Request().Context()
	r := refusalOf(err, e.own)
	if r.Code == api.InternalError && !errors.Is(err, errPanicked) {
		e.log.ErrorContext(ctx, "request failed", "error", err, "trace_id", TraceOf(ctx).ID)
	}
	if c.Response().Committed {
		return
	}
	if err := e.problems.write(c, r); err != nil {
		e.log.DebugContext(ctx, "answer was not written", "error", err, "trace_id", TraceOf(ctx).ID)
	}
}

// access logs ids and figures: never a query, a header's value or a body.
func (e *edge) access(c echo.Context, begun time.Time, err error) {
	r, status := c.Request(), c.Response().Status
	attrs := []slog.Attr{
		slog.String("trace_id", TraceOf(r.Context()).ID),
		slog.String("method", method(r.Method)),
		slog.String("route", c.Path()), // the pattern, not what was asked for
		slog.Int("status", status),
		slog.Int64("duration_us", time.Since(begun).Microseconds()),
		slog.Int64("bytes_out", c.Response().Size),
		slog.String("principal", PrincipalOf(r.Context())),
	}
	text, _ := pathParam(c, "id") // what cannot be read is no id
	if id, idErr := ParseID(text); idErr == nil {
		attrs = append(attrs, slog.String("customer_id", id.String()))
	}
	if err != nil {
		code := refusalOf(err, e.own).Code
		attrs = append(attrs, slog.String("code", string(code)))
		if code == api.Unavailable { // clients are not told why, so it is said here
			attrs = append(attrs, slog.String("error", err.Error()))
		}
	}
	level := slog.LevelInfo
	if status < http.StatusBadRequest && (c.Path() == "/livez" || c.Path() == "/readyz") {
		level = slog.LevelDebug // probes would drown the rest
	}
	e.log.LogAttrs(r.Context(), level, "request", attrs...)
}

// method keeps invented methods out of the log.
func method(m string) string {
	switch m {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions, http.MethodTrace, http.MethodConnect:
		return m
	}
	return "other"
}

// setHeaders is for every answer, errors included.
func setHeaders(h http.Header) {
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("Referrer-Policy", "no-referrer")
}

// limit turns away what comes while as much is being worked on as may be, at
// once: whoever waits here would wait in vain later.
func (e *edge) limit(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		select {
		case e.inFlight <- struct{}{}:
			leave := sync.OnceFunc(func() { <-e.inFlight })
			defer leave()
			r := c.Request()
			c.SetRequest(r.WithContext(context.WithValue(r.Context(), placeKey, leave)))
			return next(c)
		default:
			return Refuse(api.Overloaded, "")
		}
	}
}

// LeavePlace gives back the place that ctx's request has among those that are
// worked on at once: for a stream, which takes hours and next to no work. Whoever
// uses it bounds the number of streams.
func LeavePlace(ctx context.Context) {
	if leave, ok := ctx.Value(placeKey).(func()); ok {
		leave()
	}
}

// framed refuses messages whose length can be read in two ways.
func framed(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if ambiguous(c.Request().Context()) {
			return &Refusal{Code: api.MalformedRequest, Close: true}
		}
		return next(c)
	}
}

// Authenticate tells who sends a request. Its error is answered as it is by
// the table of errors.
type Authenticate func(*http.Request) (principal string, err error)

// Trusting takes every request as the principal dev. It is for development on
// a loopback listener and nothing else.
func Trusting(*http.Request) (string, error) { return "dev", nil }

func authenticated(auth Authenticate) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			r := c.Request()
			principal, err := auth(r)
			if err != nil {
				return err
			}
			c.SetRequest(r.WithContext(context.WithValue(r.Context(), principalKey, principal)))
			return next(c)
		}
	}
}
