package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	// defaultAttempts with the pauses below take 8 to 12 s in all: a process
	// that restarts, or another one that takes its place, is back by then.
	defaultAttempts = 12
	firstPause      = 50 * time.Millisecond
	longestPause    = 2 * time.Second
)

// WithAttempts makes a Customers try each request at most n times, 12 unless
// said; 1 never repeats. Give it after WithHTTPClient.
func WithAttempts(n int) ClientOption {
	return func(c *Client) error {
		if n < 1 {
			return fmt.Errorf("%d attempts, want at least 1", n)
		}
		c.Client = &retrying{next: c.Client, attempts: n}
		return nil
	}
}

// retrying repeats what may be repeated: reads, and commands with a key, whose
// body can be sent again.
type retrying struct {
	next     HttpRequestDoer
	attempts int
	timeout  time.Duration // of one attempt; 0: the one that next has
}

// Do returns the first answer that settles the request, or else the last one.
func (r *retrying) Do(req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	for attempt := 1; ; attempt++ {
		res, err := r.try(req)
		if attempt >= r.attempts || !repeatable(req) || !unsettled(ctx, res, err) {
			if err != nil && attempt > 1 {
				err = fmt.Errorf("after %d attempts: %w", attempt, err)
			}
			return res, err
		}
		pause := pauseAfter(attempt, res)
		if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < pause {
			return res, err // the caller learns more from it than from a deadline
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return res, err
		}
		if res != nil {
			_ = res.Body.Close()
		}
		if req, err = again(req); err != nil {
			return nil, err
		}
	}
}

// errAttempt tells that an attempt got no answer in its time.
var errAttempt = errors.New("no answer in time")

// try sends req once. A document is read to its end, because a process that
// dies while it answers is found out only there; what is streamed is not, and
// takes as long as it takes.
func (r *retrying) try(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(req.Context())
	timer := time.AfterFunc(1<<62, func() { cancel(errAttempt) })
	if streamed := req.Body != nil && req.Body != http.NoBody && req.GetBody == nil; r.timeout > 0 && !streamed {
		timer.Reset(r.timeout)
	}
	failed := func(err error) (*http.Response, error) {
		timer.Stop()
		if cause := context.Cause(ctx); errors.Is(cause, errAttempt) {
			err = cause // and not that of a caller who gave up
		}
		cancel(nil)
		return nil, err
	}
	res, err := r.next.Do(req.WithContext(ctx))
	if err != nil {
		return failed(err)
	}
	if media := res.Header.Get("Content-Type"); !strings.HasPrefix(media, "application/json") && !strings.HasPrefix(media, "application/problem+json") {
		timer.Stop()
		res.Body = &streamedBody{ReadCloser: res.Body, cancel: cancel}
		return res, nil
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, maxDocument))
	_ = res.Body.Close()
	if err != nil {
		return failed(fmt.Errorf("read the answer: %w", err))
	}
	timer.Stop()
	cancel(nil)
	res.Body = io.NopCloser(bytes.NewReader(body))
	return res, nil
}

// streamedBody ends its request when it is closed.
type streamedBody struct {
	io.ReadCloser
	cancel context.CancelCauseFunc
}

func (b *streamedBody) Close() error {
	err := b.ReadCloser.Close()
	b.cancel(nil)
	return err
}

func repeatable(req *http.Request) bool {
	if req.Body != nil && req.Body != http.NoBody && req.GetBody == nil {
		return false
	}
	search := req.Method == http.MethodPost && strings.HasSuffix(req.URL.Path, "/v1/customers/search")
	return search || req.Method == http.MethodGet || req.Method == http.MethodHead || req.Header.Get("Idempotency-Key") != ""
}

// again is req with its body from the beginning.
func again(req *http.Request) (*http.Request, error) {
	next := req.Clone(req.Context())
	if req.GetBody == nil {
		return next, nil
	}
	var err error
	next.Body, err = req.GetBody()
	return next, err
}

// unsettled tells whether the request may end otherwise the next time.
func unsettled(ctx context.Context, res *http.Response, err error) bool {
	if err != nil {
		return ctx.Err() == nil && !errors.Is(err, context.Canceled)
	}
	switch res.StatusCode {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable, http.StatusBadGateway, http.StatusGatewayTimeout:
		return true
	case http.StatusConflict: // the same command is being worked on
		return res.Header.Get("Retry-After") != ""
	default:
		return false
	}
}

// pauseAfter doubles from attempt to attempt, by chance up to half shorter so
// that clients spread out, and is never shorter than the answer asks for.
func pauseAfter(attempt int, res *http.Response) time.Duration {
	pause := longestPause
	if attempt < 7 {
		pause = min(pause, firstPause<<(attempt-1))
	}
	pause = pause/2 + rand.N(pause/2) //nolint:gosec // jitter needs no secrecy
	if res == nil {
		return pause
	}
	asked := retryAfter(res.Header.Get("Retry-After"), time.Now())
	if asked > pause {
		return asked + rand.N(asked/10+1) //nolint:gosec // jitter needs no secrecy
	}
	return pause
}

// retryAfter reads both forms of RFC 9110 §10.2.3; what it cannot read is none.
func retryAfter(text string, now time.Time) time.Duration {
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second //nolint:gosec // 31 bits
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}
