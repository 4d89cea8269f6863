package workload

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/ebrahem-outlook/customer-service/e2e/history"
)

// prober is the number of the client that sends probes. They are in the
// history, because they are in the log, and in no figures.
const prober = 0

// ReadBack registers a fresh customer at every command process and reads each
// with its token from every process that answers reads. It tries again until
// that works or ctx ends. It is how a recovery is told, and no part of
// the load.
func (w *Workload) ReadBack(ctx context.Context) error {
	w.probeTurn.Lock()
	defer w.probeTurn.Unlock()
	for _, to := range w.cfg.Commands() {
		if err := w.probes.readBack(ctx, to); err != nil {
			return err
		}
	}
	return nil
}

func (c *client) readBack(ctx context.Context, to Endpoint) error {
	var s *seen
	if err := until(ctx, func() error {
		email := c.ownEmail()
		f := fields{"first_name": "Probe", "last_name": c.unique(), "email": email}
		op, req := c.address(&intent{}, nil, plan{kind: history.Register, method: http.MethodPost, body: f, email: email})
		c.rec.Begin(op)
		op.Attempts = 1
		r := c.attempt(ctx, to, req, commandTimeout)
		c.take(op, r)
		c.settleOnce(op, r)
		c.end(op)
		if op.Outcome != history.OK {
			return fmt.Errorf("register at %s: %s %d %s %s", to.Name, op.Outcome, op.Status, op.Code, op.Error)
		}
		s = &seen{id: op.Customer}
		c.tokens[s.id] = token{op.Version, op.AnswerToken}
		return nil
	}); err != nil {
		return err
	}
	for _, from := range c.w.cfg.Reads() {
		if err := until(ctx, func() error {
			op, req := c.reading(history.Get, customers+"/"+s.id, c.tokens[s.id].text)
			op.Customer, op.Attempts = s.id, 1
			c.rec.Begin(op)
			r := c.attempt(ctx, from, req, readTimeout)
			c.take(op, r)
			c.settleOnce(op, r)
			c.end(op)
			if op.Outcome != history.OK {
				return fmt.Errorf("read back from %s: %s %d %s %s", from.Name, op.Outcome, op.Status, op.Code, op.Error)
			}
			return nil
		}); err != nil {
			return err
		}
	}
	delete(c.tokens, s.id)
	return nil
}

// until tries again, a moment after each failure, until ctx ends.
func until(ctx context.Context, try func() error) error {
	for {
		err := try()
		if err == nil {
			return nil
		}
		pause(ctx, nil, 20*time.Millisecond)
		if ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
	}
}
