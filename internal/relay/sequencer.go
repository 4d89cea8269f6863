package relay

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/ebrahem-outlook/customer-service/internal/crash"
)

// sequencer ticks for one term.
type sequencer struct {
	deps     Deps
	cfg      Config
	fence    Fence
	end      context.CancelCauseFunc
	carriers []carrier
	head     *atomic.Int64

	ticked time.Time // when the last tick began
	rest   time.Duration
}

// once runs one tick and tells how long to rest: not at all while a backlog is
// worked off, PollBusy after a find, and twice as long after each miss.
func (s *sequencer) once(ctx context.Context) (time.Duration, error) {
	// Under load every commit wakes us. A tick costs much the same for one
	// event as for a hundred, so a few milliseconds' worth are gathered.
	if early := s.cfg.PollBusy - time.Since(s.ticked); early > 0 && s.rest == s.cfg.PollBusy {
		return early, nil
	}
	s.ticked = time.Now()
	crash.Here(crash.SequenceBeforeCommit)
	tick, err := s.deps.Sequence.TickOnce(ctx, s.fence, s.cfg.TickLimit)
	if errors.Is(err, ErrFenced) || errors.Is(err, ErrSnapshotLost) {
		s.end(err)
		return s.cfg.PollIdle, nil
	}
	if err != nil {
		return 0, err
	}
	s.head.Store(int64(tick.Head))
	if tick.Sequenced > 0 {
		crash.Here(crash.SequenceAfterCommit)
		for _, c := range s.carriers {
			c.wake(tick.Lanes)
		}
	}
	switch {
	case tick.More:
		s.rest = 0
	case tick.Sequenced > 0:
		s.rest = s.cfg.PollBusy
	default:
		s.rest = min(max(2*s.rest, s.cfg.PollBusy), s.cfg.PollIdle)
	}
	return s.rest, nil
}
