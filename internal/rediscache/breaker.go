package rediscache

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

const (
	breakAfter = 3 // failures in a row: 300 ms of readers' time at most, then none
	breakFloor = 250 * time.Millisecond
	breakMost  = 2 * time.Second // recovery has to show within 5 s
)

// breaker keeps callers from a server that fails again and again, but for one
// at a time that tries. It logs when that changes, not each failure.
type breaker struct {
	log *slog.Logger
	now func() time.Time

	mu       sync.Mutex
	failures int
	open     bool
	rest     time.Duration
	until    time.Time // nobody tries before
}

func newBreaker(log *slog.Logger) *breaker {
	return &breaker{log: log, now: time.Now, rest: breakFloor}
}

// allow tells whether to try. Whoever is allowed must report.
func (b *breaker) allow() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.open {
		return true
	}
	if now := b.now(); now.After(b.until) {
		b.until = now.Add(b.rest) // the others wait for this one
		return true
	}
	return false
}

func (b *breaker) report(ctx context.Context, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err == nil {
		if b.open {
			b.log.InfoContext(ctx, "cache is used again")
		}
		b.failures, b.open, b.rest = 0, false, breakFloor
		return
	}
	b.failures++
	switch {
	case b.open:
		b.rest = min(2*b.rest, breakMost)
		b.until = b.now().Add(b.rest)
	case b.failures >= breakAfter:
		b.open = true
		b.until = b.now().Add(b.rest)
		b.log.WarnContext(ctx, "cache fails, reads go past it", "error", err)
	}
}
