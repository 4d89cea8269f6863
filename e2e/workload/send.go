package workload

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/ebrahem-outlook/customer-service/e2e/history"
)

const (
	maxPatience = 8 * time.Second
	// maxPause is the longest pause between two attempts, whatever Retry-After
	// says: a run is short, and its load must not be idle.
	maxPause = 300 * time.Millisecond
)

// command sends a command until its outcome is known or patience is over, each
// time to another process, always under op's key, and writes it down.
func (c *client) command(ctx context.Context, op *history.Op, req *request, patience time.Duration) *reply {
	c.w.pace.wait(ctx, c.w.stopping, 1)
	c.rec.Begin(op)
	until := time.Now().Add(patience)
	var left bool // an attempt before whose outcome is open
	for {
		op.Attempts++
		r := c.attempt(ctx, c.nextCommand(), req, commandTimeout)
		c.take(op, r)
		how := classify(op, r)
		switch how {
		case done:
			op.Outcome = history.OK
		case refused:
			op.Outcome = settled(left)
		case unexpected:
			c.unexpected(op, r)
		case open:
			left = true
		}
		wait := c.wait(r)
		over := ctx.Err() != nil || time.Now().Add(wait).After(until)
		if op.Outcome == "" && over {
			op.Outcome = settled(left)
		}
		if op.Outcome != "" {
			c.end(op)
			return r
		}
		pause(ctx, nil, wait)
	}
}

// settled is the outcome of an op that was refused, or shed to its end.
func settled(left bool) history.Outcome {
	if left {
		return history.Unknown
	}
	return history.Refused
}

// read sends a read once and writes it down.
func (c *client) read(ctx context.Context, op *history.Op, req *request) *reply {
	c.w.pace.wait(ctx, c.w.stopping, 1)
	c.rec.Begin(op)
	op.Attempts = 1
	r := c.attempt(ctx, c.nextRead(), req, readTimeout)
	c.take(op, r)
	c.settleOnce(op, r)
	if op.Outcome == history.Unknown && r.err == nil && r.status == http.StatusServiceUnavailable {
		op.Outcome = history.Refused // a read has no effect that could come later
	}
	return r
}

// take writes into op what came back.
func (c *client) take(op *history.Op, r *reply) {
	op.Return = c.rec.Now()
	op.Process, op.Status, op.Code, op.Error = r.process, r.status, r.code, ""
	op.Version, op.AnswerToken, op.Answer = r.version(), r.header.Get("Consistency-Token"), nil
	if r.err != nil {
		op.Error = r.err.Error()
	}
	if c.number != prober {
		c.w.stats.attempt(op.Return, r.status, r.code, op.Attempts > 1)
	}
	if r.status < http.StatusMultipleChoices && r.json() {
		op.Answer = json.RawMessage(r.body)
	}
	if op.Kind == history.Register && !op.DryRun && r.status == http.StatusCreated {
		op.Customer = idIn(r.body)
	}
}

// idIn is the id of the customer that answer is, or empty.
func idIn(answer []byte) string {
	var d document
	if json.Unmarshal(answer, &d) != nil {
		return ""
	}
	return d.ID
}

// end writes op down as it ended.
func (c *client) end(op *history.Op) {
	c.rec.End(op)
	if c.number != prober {
		c.w.stats.ended(op)
	}
}

// settleOnce gives op the outcome of its only attempt.
func (c *client) settleOnce(op *history.Op, r *reply) {
	switch classify(op, r) {
	case done:
		op.Outcome = history.OK
	case refused, shed:
		op.Outcome = history.Refused
	case open:
		op.Outcome = history.Unknown
	case unexpected:
		c.unexpected(op, r)
	}
}

// unexpected marks an op whose answer the contract does not have.
func (c *client) unexpected(op *history.Op, r *reply) {
	op.Outcome = history.Unknown
	op.Error = fmt.Sprintf("unexpected status %d %s, ETag %q: %.300s", r.status, r.code, r.header.Get("ETag"), r.body)
	c.w.stats.unexpected(op)
}

// wait is how long to pause after r. It is not part of what a client means to
// do, so it has randomness of its own.
func (c *client) wait(r *reply) time.Duration {
	if asked := r.retryAfter(maxPause); asked > 0 {
		return asked/2 + time.Duration(c.jitter.Int64N(int64(asked/2)))
	}
	return 20*time.Millisecond + time.Duration(c.jitter.Int64N(int64(60*time.Millisecond)))
}
