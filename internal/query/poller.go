package query

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
)

// versioner is the part of Reader that a poller needs.
type versioner interface {
	Versions(ctx context.Context, ids []customer.ID) (map[customer.ID]customer.Version, error)
}

// poller asks the read model, once for everybody, whether what is waited for
// has been reached. It is the backstop of the announcements: without them a
// wait takes at most pollCeiling longer. It rests while nobody waits.
type poller struct {
	reader  versioner
	waiters *waiters
	log     *slog.Logger
	timeout time.Duration
	floor   time.Duration // between two polls, however many begin to wait
	ceiling time.Duration
	poke    chan struct{}
	failing atomic.Bool // the latest poll failed
}

// begin makes a poll happen soon, because somebody began to wait.
func (p *poller) begin() {
	select {
	case p.poke <- struct{}{}:
	default: // one pending poke says it all
	}
}

func (p *poller) run(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	timer.Stop()
	defer timer.Stop()
	var last time.Time
	rest := p.floor
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.poke:
			rest = p.floor
			if wait := p.floor - time.Since(last); wait > 0 {
				timer.Reset(wait)
				continue
			}
		case <-timer.C:
		}
		ids := p.waiters.wanted()
		if len(ids) == 0 {
			timer.Stop()
			continue
		}
		last = time.Now()
		ctxPoll, cancel := context.WithTimeout(ctx, p.timeout)
		versions, err := p.reader.Versions(ctxPoll, ids)
		cancel()
		if failed := err != nil; p.failing.Swap(failed) != failed && ctx.Err() == nil {
			p.log.WarnContext(ctx, "polling for awaited versions changed state", "failing", failed, "error", err)
		}
		for id, v := range versions {
			p.waiters.reached(id, v)
		}
		timer.Reset(rest)
		rest = min(rest*3/2, p.ceiling)
	}
}
