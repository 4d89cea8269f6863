package relay

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/uuid"

	"github.com/ebrahem-outlook/customer-service/internal/crash"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
	"github.com/ebrahem-outlook/customer-service/internal/lifecycle"
)

// feedName is what the feed's checkpoints are kept under.
const feedName = "feed"

// The metadata of a feed message. The body says the same and more; these are
// for whoever looks at a queue.
const (
	HeaderLane     = "lane"
	HeaderFirst    = "first"
	HeaderLast     = "last"
	HeaderPrevious = "previous"

	headerContentType = "content_type" // becomes the message's property of that name
)

// feedNamespace makes the ids of feed messages, so that a message sent twice
// has one id.
var feedNamespace = uuid.MustParse("6f3f2c52-6f0b-5a53-9d0e-8f5a1d9c7b1e")

// feed carries each lane by itself: a lane that cannot be published waits
// alone. It runs for one term.
type feed struct {
	deps  Deps
	cfg   Config
	end   context.CancelCauseFunc
	fence Fence
	lanes []*laneFeed
}

type laneFeed struct {
	*feed
	lane eventlog.Lane
	at   eventlog.Position // the last position the broker confirmed
	loop *lifecycle.Loop
}

func newFeed(deps Deps, cfg Config, end context.CancelCauseFunc) *feed {
	return &feed{deps: deps, cfg: cfg, end: end}
}

func (f *feed) begin(ctx context.Context, fence Fence) error {
	at, err := f.deps.Checkpoints.BeginRelay(ctx, fence, feedName, f.cfg.Lanes)
	if err != nil {
		return err
	}
	f.fence = fence
	for n := range f.cfg.Lanes {
		lane := eventlog.Lane(n)
		l := &laneFeed{feed: f, lane: lane, at: at[lane]}
		l.loop = lifecycle.NewLoop("feed "+eventlog.FeedTopic(lane), f.deps.Logger, l.once)
		f.lanes = append(f.lanes, l)
	}
	return nil
}

func (f *feed) start(ctx context.Context) error {
	for _, l := range f.lanes {
		if err := l.loop.Start(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (f *feed) wake(lanes []eventlog.Lane) {
	for _, lane := range lanes {
		if int(lane) < len(f.lanes) {
			f.lanes[lane].loop.Wake()
		}
	}
}

func (f *feed) stop(ctx context.Context) error {
	var errs []error
	for _, l := range f.lanes {
		errs = append(errs, l.loop.Stop(ctx))
	}
	return errors.Join(errs...)
}

// once carries what is there, up to a window of full messages. The checkpoint
// moves only after all of them are confirmed; when it does not, the same events
// go out again, possibly cut otherwise, and their reader passes over them.
func (l *laneFeed) once(ctx context.Context) (time.Duration, error) {
	limit := l.cfg.BatchEvents * l.cfg.Window
	events, err := l.deps.Log.ReadLane(ctx, l.lane, l.at, 0, limit)
	if err != nil {
		return 0, err
	}
	if len(events) == 0 {
		return laneSweep, nil
	}
	batches := eventlog.SplitBatches(l.lane, l.at, events, l.cfg.BatchEvents, l.cfg.BatchBytes)
	messages := make([]*message.Message, len(batches))
	for i, b := range batches {
		if messages[i], err = newFeedMessage(ctx, b); err != nil {
			return 0, err
		}
	}
	crash.Here(crash.FeedBeforePublish)
	if err := l.deps.Feed.Publish(eventlog.FeedTopic(l.lane), messages...); err != nil {
		return 0, err
	}
	last := events[len(events)-1].Position
	crash.Here(crash.FeedAfterConfirm)
	err = l.deps.Checkpoints.Advance(ctx, l.fence, feedName, l.lane, last)
	if errors.Is(err, ErrFenced) {
		l.end(err)
		return laneSweep, nil
	}
	if err != nil {
		return 0, err
	}
	l.at = last
	if len(events) == limit {
		return 0, nil
	}
	return laneSweep, nil // what came meanwhile has woken the loop already
}

func newFeedMessage(ctx context.Context, b eventlog.Batch) (*message.Message, error) {
	body, err := eventlog.MarshalBatch(b)
	if err != nil {
		return nil, fmt.Errorf("lane %d from %d: %w", b.Lane, b.First, err)
	}
	id := uuid.NewSHA1(feedNamespace, fmt.Appendf(nil, "%d/%d/%d", b.Lane, b.First, b.Last))
	msg := message.NewMessageWithContext(ctx, id.String(), body)
	for k, v := range map[string]eventlog.Position{
		HeaderLane: eventlog.Position(b.Lane), HeaderFirst: b.First, HeaderLast: b.Last, HeaderPrevious: b.Previous,
	} {
		msg.Metadata.Set(k, strconv.FormatInt(int64(v), 10))
	}
	msg.Metadata.Set(headerContentType, eventlog.BatchContentType)
	return msg, nil
}
