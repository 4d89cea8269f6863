package command

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"time"

	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
)

const (
	resolvePauseFloor   = 10 * time.Millisecond
	resolvePauseCeiling = 500 * time.Millisecond
	// reachPatience is how long a log that cannot be reached is tried again
	// before its commands are answered: long enough for a connection that broke,
	// too short for clients to pile up while a server restarts.
	reachPatience = time.Second
)

// errPanicked is what a panic in the log comes back as: like a connection
// lost, it says nothing about what was committed.
var errPanicked = fmt.Errorf("%w: the log panicked", ErrUnavailable)

// commit hands batch to the log until the outcome of each submission is known
// or ResolveFor is over, and finishes all of them.
func (a *Appender) commit(ctx context.Context, batch []*submission) {
	ctx, cancel := context.WithTimeout(ctx, a.cfg.ResolveFor)
	defer cancel()
	a.settle(ctx, batch, nil)
}

// settle finishes batch. doubt is the error that left it open whether the
// batch was committed by an earlier call, or nil when it certainly was not.
//
// The log knows an item it has committed by its event ids, so calling again
// with the same items is safe, and so is splitting a batch.
func (a *Appender) settle(ctx context.Context, batch []*submission, doubt error) {
	pause, began := resolvePauseFloor, time.Now()
	for tries := 1; ; tries++ {
		if ctx.Err() != nil {
			a.fail(ctx, batch, fmt.Errorf("%w: no time left to commit: %w", ErrOverloaded, ctx.Err()), doubt)
			return
		}
		outcomes, err := a.call(ctx, batch)
		if err == nil {
			a.deliver(ctx, batch, outcomes)
			return
		}
		inDoubt, untouched := errors.Is(err, ErrUnavailable), errors.Is(err, eventlog.ErrUntouched)
		if inDoubt && !untouched {
			doubt = err
		}
		if untouched && doubt == nil && time.Since(began) > reachPatience {
			a.fail(ctx, batch, err, nil)
			return
		}
		// An error that is about one item must not fail the others, and only a
		// call without it tells which one it is about.
		if len(batch) > 1 && (!inDoubt || errors.Is(err, errPanicked)) {
			a.logger.WarnContext(ctx, "batch failed, will be committed in halves", "commands", len(batch), "error", err)
			half := len(batch) / 2
			a.settle(ctx, batch[:half], doubt)
			a.settle(ctx, batch[half:], doubt)
			return
		}
		if errors.Is(err, errPanicked) || (!inDoubt && tries > 1) {
			a.fail(ctx, batch, err, doubt)
			return
		}
		timer := time.NewTimer(pause/2 + rand.N(pause)) //nolint:gosec // jitter needs no secrecy
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
		pause = min(2*pause, resolvePauseCeiling)
	}
}

// fail ends batch with doubt, if there is any, and otherwise with err.
func (a *Appender) fail(ctx context.Context, batch []*submission, err, doubt error) {
	if doubt != nil {
		err = doubt
		a.logger.ErrorContext(ctx, "commands end with their outcome unknown", "commands", len(batch), "error", err)
	}
	for _, s := range batch {
		s.finish(eventlog.Outcome{}, err)
	}
}

func (a *Appender) deliver(ctx context.Context, batch []*submission, outcomes []eventlog.Outcome) {
	changed, earlier := false, 0
	for i, s := range batch {
		changed = changed || outcomes[i].Verdict == eventlog.Appended
		if outcomes[i].Earlier {
			earlier++
		}
		s.finish(outcomes[i], nil)
	}
	if earlier > 0 {
		a.logger.DebugContext(ctx, "commands were committed by an attempt whose answer was lost", "commands", earlier)
	}
	if changed && a.cfg.Committed != nil {
		a.cfg.Committed()
	}
}

// call is one call of the log, whose panics come back as errors.
func (a *Appender) call(ctx context.Context, batch []*submission) (outcomes []eventlog.Outcome, err error) {
	ctx, cancel := context.WithTimeout(ctx, a.cfg.AttemptTimeout)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			a.logger.ErrorContext(ctx, "log panicked", "panic", fmt.Sprintf("%T", p), "stack", string(debug.Stack()))
			err = errPanicked
		}
	}()
	items := make([]eventlog.Append, len(batch))
	for i, s := range batch {
		items[i] = s.item
	}
	outcomes, err = a.log.AppendBatch(ctx, items)
	if err == nil && len(outcomes) != len(items) {
		err = fmt.Errorf("%w: %d outcomes for %d commands", ErrUnavailable, len(outcomes), len(items))
	}
	return outcomes, err
}
