package client

import (
	"context"
	"net/http"
	"strconv"

	"github.com/google/uuid"
)

// Option says more about one call.
type Option func(*http.Request)

// IfVersion makes a command apply only to that version of the customer; at any
// other one it fails with ProblemCodeVersionMismatch and changes nothing.
func IfVersion(version int64) Option {
	return header("If-Match", `"`+strconv.FormatInt(version, 10)+`"`)
}

// WithIdempotencyKey replaces the key that a command has by itself. A key that
// outlives the program, an order's number say, makes the command safe to repeat
// after a crash of it.
func WithIdempotencyKey(key string) Option { return header("Idempotency-Key", key) }

// WithCorrelationID names the business transaction that the call is part of.
func WithCorrelationID(id string) Option { return header("X-Correlation-ID", id) }

// After makes a read answer nothing older than the consistency tokens say, and
// this client's own last command on the customer. At most 8 are taken in all.
func After(tokens ...string) Option {
	return func(r *http.Request) {
		for _, token := range tokens {
			r.Header.Add("Consistency-Token", token)
		}
	}
}

// WithPatience is how many seconds a read may wait for its tokens, 2 unless said,
// at most 10.
func WithPatience(seconds int) Option { return header("Prefer", "wait="+strconv.Itoa(seconds)) }

// WithDryRun has a command validated and answered without any effect.
func WithDryRun() Option {
	return func(r *http.Request) {
		q := r.URL.Query()
		q.Set("dry_run", "true")
		r.URL.RawQuery = q.Encode()
	}
}

func header(name, value string) Option {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

// keyed gives a command a key of its own, unless an option has another.
func keyed(options []Option) []Option {
	return append([]Option{WithIdempotencyKey(uuid.NewString())}, options...)
}

func editor(options []Option) RequestEditorFn {
	return func(_ context.Context, r *http.Request) error {
		for _, option := range options {
			option(r)
		}
		return nil
	}
}
