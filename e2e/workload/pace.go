package workload

import (
	"context"
	"sync"
	"time"
)

// burst is how much of what was not used clients may catch up with.
const burst = 100 * time.Millisecond

// pace spaces ops out evenly.
type pace struct {
	every time.Duration
	mu    sync.Mutex
	next  time.Time
}

func newPace(rate float64) *pace { return &pace{every: time.Duration(float64(time.Second) / rate)} }

// wait returns when n ops may begin, or when ctx or stopping ends.
func (p *pace) wait(ctx context.Context, stopping <-chan struct{}, n int) {
	pause(ctx, stopping, p.reserve(time.Now(), n))
}

// reserve takes the next n places and answers how long it is until the first.
func (p *pace) reserve(now time.Time, n int) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if earliest := now.Add(-burst); p.next.Before(earliest) {
		p.next = earliest
	}
	at := p.next
	p.next = p.next.Add(time.Duration(n) * p.every)
	return at.Sub(now)
}

// pause waits for d, or less when ctx or stopping ends.
func pause(ctx context.Context, stopping <-chan struct{}, d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	case <-stopping:
	}
}
