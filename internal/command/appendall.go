package command

import (
	"context"
	"fmt"
	"time"

	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
)

// AppendAll has each of items committed as Append does, and costs less than as
// many calls of it: one lock, one timer, and no goroutine for each.
func (a *Appender) AppendAll(ctx context.Context, items []eventlog.Append) ([]eventlog.Outcome, []error) {
	outcomes, errs := make([]eventlog.Outcome, len(items)), make([]error, len(items))
	if err := ctx.Err(); err != nil {
		for i := range errs {
			errs[i] = fmt.Errorf("%w: %w", ErrOverloaded, err)
		}
		return outcomes, errs
	}
	all := make([]*submission, len(items))
	for i := range items {
		all[i] = &submission{item: items[i], touches: touchesOf(items[i]), done: make(chan struct{})}
	}
	refused := a.enqueueAll(all)
	patience := time.NewTimer(a.cfg.MaxWait)
	defer patience.Stop()
	var gaveUp error
	for i, s := range all {
		if refused[i] != nil {
			errs[i] = refused[i]
			continue
		}
		if gaveUp == nil {
			select {
			case <-s.done:
			case <-ctx.Done():
				gaveUp = fmt.Errorf("%w: %w while queued", ErrOverloaded, ctx.Err())
			case <-patience.C:
				gaveUp = fmt.Errorf("%w: queued for %s", ErrOverloaded, a.cfg.MaxWait)
			}
		}
		if gaveUp != nil && a.withdraw(s) {
			errs[i] = gaveUp
			continue
		}
		<-s.done
		outcomes[i], errs[i] = s.outcome, s.err
	}
	return outcomes, errs
}

// enqueueAll tells for each why it is not in the queue.
func (a *Appender) enqueueAll(all []*submission) []error {
	refused := make([]error, len(all))
	a.mu.Lock()
	defer a.mu.Unlock()
	for i, s := range all {
		switch {
		case a.state != appenderRunning:
			refused[i] = errStopping
		case len(a.queue) >= a.cfg.MaxQueue:
			refused[i] = fmt.Errorf("%w: %d commands are queued", ErrOverloaded, len(a.queue))
		default:
			a.queue = append(a.queue, s)
		}
	}
	a.changed.Broadcast()
	return refused
}
