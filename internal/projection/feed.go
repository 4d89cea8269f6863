package projection

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/cenkalti/backoff/v5"
	"golang.org/x/sync/semaphore"

	"github.com/ebrahem-outlook/customer-service/internal/crash"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
	"github.com/ebrahem-outlook/customer-service/internal/lifecycle"
	"github.com/ebrahem-outlook/customer-service/internal/query"
)

// FeedStore keeps the event feed of the read model: every notice of the log in
// the order of positions, without holes.
//
// ExtendFeed appends those of notices, which are consecutive, that follow the
// last one kept, and passes over those that are kept already. It appends nothing
// when a notice between is missing. FeedPosition and ExtendFeed return the
// position of the last one kept, 0 for none. A notice becomes visible after all
// that precede it, whoever appends.
type FeedStore interface {
	FeedPosition(ctx context.Context) (eventlog.Position, error)
	ExtendFeed(ctx context.Context, notices []eventlog.Notice) (eventlog.Position, error)
}

// feed copies the log's notices into the read model. A message says only how
// far the log is: what is appended is read from the log, so that nobody can slip
// anything in between, and a burst of messages costs one read and one
// transaction, not one each.
type feed struct {
	log   eventlog.NoticeReader
	store FeedStore
	slog  *slog.Logger
	sweep *lifecycle.Loop
	every time.Duration // between sweeps

	turn *semaphore.Weighted // one copy at a time, which whoever waits for can give up

	mu    sync.Mutex
	at    eventlog.Position // where the feed was last seen
	ahead bool              // it was found beyond the log's head, and said so

	before eventlog.Position // where it was at the last sweep; the sweep's own
	rest   time.Duration     // after the last sweep; the sweep's own
}

func newFeed(log eventlog.NoticeReader, store FeedStore, logger *slog.Logger, every time.Duration) *feed {
	f := &feed{
		log: log, store: store, slog: logger.With("feed", "events"), every: every, rest: every,
		turn: semaphore.NewWeighted(1), before: -1,
	}
	f.sweep = lifecycle.NewLoop("event feed sweep", logger, f.sweepOnce)
	return f
}

// EventHandler returns what consumes the notices that other services are told.
// It returns nil, which acknowledges, once the event feed is at the message's
// position or the log turns out not to have it; what may succeed later it tries
// again until the message's context ends.
func (p *Projector) EventHandler() message.NoPublishHandlerFunc {
	f := p.feed
	return func(msg *message.Message) error {
		if msg.UUID == "" && len(msg.Payload) == 0 {
			return nil // what the subscriber hands over when its queue is deleted
		}
		ctx := msg.Context()
		var n eventlog.Notice
		if err := json.Unmarshal(msg.Payload, &n); err != nil {
			f.slog.ErrorContext(ctx, "message dropped, it is no notice", "error", eventlog.ErrMalformedNotice)
			return nil
		}
		policy := backoff.NewExponentialBackOff()
		policy.InitialInterval, policy.MaxInterval = 50*time.Millisecond, 5*time.Second
		at, err := backoff.Retry(ctx, func() (eventlog.Position, error) { return f.reach(ctx, n.Position) },
			backoff.WithBackOff(policy), backoff.WithMaxElapsedTime(0), backoff.WithNotify(func(err error, after time.Duration) {
				f.slog.WarnContext(ctx, "extending the event feed failed, will try again", "error", err, "retry_in_ms", after.Milliseconds())
			}))
		if err == nil && at < n.Position {
			f.slog.ErrorContext(ctx, "message dropped, the log does not know it", "position", n.Position, "at", at)
		}
		return err
	}
}

// reach copies until the feed is at a position or the log has no more, and
// returns where it is.
func (f *feed) reach(ctx context.Context, position eventlog.Position) (eventlog.Position, error) {
	if at := f.seen(); at >= position {
		return at, nil
	}
	if err := f.turn.Acquire(ctx, 1); err != nil {
		return 0, err
	}
	defer f.turn.Release(1)
	at := f.seen()
	for at < position {
		n, now, err := f.copyPage(ctx, at)
		if err != nil {
			return at, err
		}
		at = now
		if n == 0 {
			break
		}
	}
	return at, nil
}

// errHole tells that the log's positions are not dense.
var errHole = errors.New("the log has a hole between positions")

// copyPage appends the log's next page after a position, and returns how much
// that was and where the feed is now. The caller has the turn.
func (f *feed) copyPage(ctx context.Context, after eventlog.Position) (int, eventlog.Position, error) {
	notices, err := f.log.ReadNotices(ctx, after, healPage)
	if err != nil {
		return 0, after, err
	}
	if len(notices) == 0 {
		return 0, after, nil
	}
	for i, n := range notices {
		if n.Position != after+eventlog.Position(i)+1 {
			return 0, after, fmt.Errorf("%w: after %d", errHole, n.Position)
		}
	}
	crash.Here(crash.EventFeedBeforeCommit)
	at, err := f.store.ExtendFeed(ctx, notices)
	if err != nil {
		return 0, after, err
	}
	crash.Here(crash.EventFeedAfterCommit)
	f.see(at)
	return len(notices), at, nil
}

func (f *feed) seen() eventlog.Position {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.at
}

func (f *feed) see(at eventlog.Position) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.at = at
}

// sweepOnce heals the feed when it is behind the log and has not moved since
// the last sweep: nothing announces the last notice when that one is lost.
func (f *feed) sweepOnce(ctx context.Context) (time.Duration, error) {
	at, err := f.store.FeedPosition(ctx)
	if err != nil {
		return 0, err
	}
	f.see(at)
	stuck := at == f.before
	f.before = at
	if !stuck {
		f.rest = f.every
		return f.rest, nil
	}
	if err := f.turn.Acquire(ctx, 1); err != nil {
		return 0, err
	}
	defer f.turn.Release(1)
	healed, from := 0, at
	for {
		n, now, err := f.copyPage(ctx, at)
		healed += n
		if err != nil {
			return 0, err
		}
		at, f.before = now, now
		if n < healPage {
			break
		}
	}
	if healed == 0 {
		f.rest = min(2*f.rest, f.every)
		return f.rest, nil
	}
	level := slog.LevelDebug
	if f.rest >= f.every { // news only when it begins
		level = slog.LevelInfo
	}
	f.slog.Log(ctx, level, "event feed healed from the log", "after", from, "events", healed)
	f.rest = min(eagerSweep, f.every)
	return f.rest, nil
}

// freshness is how far the feed is behind the log's head.
func (f *feed) freshness(ctx context.Context, head func(context.Context) (eventlog.Position, error)) (*query.FeedFreshness, error) {
	at, err := f.store.FeedPosition(ctx)
	if err != nil {
		return nil, err
	}
	h, err := head(ctx) // afterwards, so that it is not behind the feed
	if err != nil {
		return nil, err
	}
	out := &query.FeedFreshness{Applied: at}
	if h < at {
		f.sayAhead(ctx, at, h)
		return out, nil
	}
	if h == at {
		return out, nil
	}
	oldest, err := f.log.ReadNotices(ctx, at, 1)
	if err != nil {
		return nil, err
	}
	out.Behind = true
	if len(oldest) > 0 {
		out.Waiting = max(0, time.Since(oldest[0].Time))
	}
	return out, nil
}

func (f *feed) sayAhead(ctx context.Context, at, head eventlog.Position) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ahead {
		return
	}
	f.ahead = true
	f.slog.ErrorContext(ctx, "the event feed is ahead of the log, which was probably restored from a backup: "+
		"drop the schema readmodel and run 'projector migrate' to fill it anew", "applied", at, "head", head)
}
