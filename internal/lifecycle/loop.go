// Package lifecycle gives every background part of a process one shape: Start
// does not block, Stop waits and may be called twice, and what runs in between
// is one function that tests call by itself. It knows nothing of what runs.
package lifecycle

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"sync"
	"time"
)

// Service is a background part of a process.
//
// Start begins the work and returns; an error means that nothing runs. Stop
// ends it and waits until it has ended or ctx is done; stopping what was never
// started, or twice, does nothing.
type Service interface {
	Start(ctx context.Context) error
	Stop(ctx context.Context) error
}

const (
	backoffFloor   = 50 * time.Millisecond
	backoffCeiling = 2 * time.Second // with jitter 3 s at most: recovery after an outage has 10 s in all
)

// Loop is a Service that runs one function again and again.
//
// The function returns how long to rest before its next run; Wake cuts a rest
// short. After an error the loop rests for a jittered, doubling time between
// 50 ms and 3 s and Wake is not heard, so that a failing dependency is not hammered.
type Loop struct {
	name string
	log  *slog.Logger
	once func(context.Context) (time.Duration, error)
	wake chan struct{}

	mu     sync.Mutex
	cancel context.CancelFunc
	done   chan struct{}
}

// NewLoop returns a loop that is not running yet.
func NewLoop(name string, log *slog.Logger, once func(context.Context) (time.Duration, error)) *Loop {
	return &Loop{name: name, log: log, once: once, wake: make(chan struct{}, 1)}
}

// Wake makes a resting loop run now; while it runs, it makes it run again.
func (l *Loop) Wake() {
	select {
	case l.wake <- struct{}{}:
	default: // one pending wake-up says it all
	}
}

// Start begins the loop. It ends with ctx or with Stop, whichever is first.
func (l *Loop) Start(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cancel != nil {
		return nil
	}
	ctx, l.cancel = context.WithCancel(ctx)
	l.done = make(chan struct{})
	go l.run(ctx, l.done)
	return nil
}

// Stop ends the loop and waits for the run under way.
func (l *Loop) Stop(ctx context.Context) error {
	l.mu.Lock()
	cancel, done := l.cancel, l.done
	l.mu.Unlock()
	if cancel == nil {
		return nil
	}
	cancel()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// guarded is one run, whose panic is an error like others: one broken part must
// not take the process's other parts with it.
func (l *Loop) guarded(ctx context.Context) (rest time.Duration, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			// A panic's value may be anything that was being worked on.
			err = fmt.Errorf("panic: %T", cause)
			l.log.ErrorContext(ctx, "loop panicked", "loop", l.name, "stack", string(debug.Stack()))
		}
	}()
	return l.once(ctx)
}

func (l *Loop) run(ctx context.Context, done chan<- struct{}) {
	defer close(done)
	backoff := backoffFloor
	for ctx.Err() == nil {
		rest, err := l.guarded(ctx)
		wake := l.wake
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			rest, wake = backoff/2+rand.N(backoff), nil //nolint:gosec // jitter needs no secrecy
			backoff = min(2*backoff, backoffCeiling)
			l.log.WarnContext(ctx, "loop failed, will run again",
				"loop", l.name, "error", err, "retry_in_ms", rest.Milliseconds())
		default:
			backoff = backoffFloor
		}
		if rest <= 0 {
			continue
		}
		timer := time.NewTimer(rest)
		select {
		case <-ctx.Done():
		case <-wake:
		case <-timer.C:
		}
		timer.Stop()
	}
}
