package projection

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/cenkalti/backoff/v5"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/ebrahem-outlook/customer-service/internal/crash"
	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
	"github.com/ebrahem-outlook/customer-service/internal/lifecycle"
	"github.com/ebrahem-outlook/customer-service/internal/query"
)

// healers bounds how many lanes one process heals at a time: each holds a
// connection to both databases and up to a page of events.
const healers = 4

// Deps are what a Projector works with.
type Deps struct {
	Log     eventlog.Reader
	Codec   Codec
	Keyring Keyring
	Store   Store
	Ledger  CacheLedger
	Cache   Cache
	Logger  *slog.Logger

	// Notices are copied to Events, which is the event feed. Without both, as in
	// a task beside the projector, the feed is left alone.
	Notices eventlog.NoticeReader
	Events  FeedStore
}

// Config is how a Projector behaves. Zero values take the defaults named.
type Config struct {
	Lanes     int           // as the sequencer has them; eventlog.DefaultLanes
	Sweep     time.Duration // between looks for what no message announced; 2 s
	Heartbeat time.Duration // 500 ms
}

// Projector applies the log's events to the read model. Each lane's messages
// go to its Handler; Start adds what heals lost messages, the heartbeat and the
// care for the cache.
type Projector struct {
	log    eventlog.Reader
	opener *opener
	store  Store
	ledger CacheLedger
	cache  Cache
	logger *slog.Logger
	lanes  []*lane
	feed   *feed // nil when it is left alone
	cfg    Config

	sweep *lifecycle.Loop
	beat  *lifecycle.Loop
	keep  *lifecycle.Loop

	sweepMu sync.Mutex
	swept   map[eventlog.Lane]eventlog.Position // checkpoints at the last sweep
	rest    time.Duration                       // after it; the sweep's own
}

// New returns a projector that applies nothing yet.
func New(d Deps, c Config) (*Projector, error) {
	if c.Lanes == 0 {
		c.Lanes = eventlog.DefaultLanes
	}
	if c.Sweep == 0 {
		c.Sweep = 2 * time.Second
	}
	if c.Heartbeat == 0 {
		c.Heartbeat = 500 * time.Millisecond
	}
	var errs []error
	if c.Lanes < 1 || c.Lanes > eventlog.Slots {
		errs = append(errs, fmt.Errorf("projection: %d lanes, want 1 to %d", c.Lanes, eventlog.Slots))
	}
	if c.Sweep < 0 || c.Heartbeat < 0 {
		errs = append(errs, errors.New("projection: periods must be positive"))
	}
	if d.Log == nil || d.Codec == nil || d.Keyring == nil || d.Store == nil || d.Ledger == nil || d.Cache == nil || d.Logger == nil {
		errs = append(errs, errors.New("projection: something to work with is missing"))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	o, err := newOpener(d.Log, d.Codec, d.Keyring)
	if err != nil {
		return nil, err
	}
	p := &Projector{
		log: d.Log, opener: o, store: d.Store, ledger: d.Ledger, cache: d.Cache, logger: d.Logger, cfg: c,
		lanes: make([]*lane, c.Lanes),
	}
	for i := range p.lanes {
		p.lanes[i] = &lane{
			id: eventlog.Lane(i), p: p, log: d.Logger.With("lane", i), //nolint:gosec // at most 1024
			turn: semaphore.NewWeighted(1),
		}
	}
	if d.Notices != nil && d.Events != nil {
		p.feed = newFeed(d.Notices, d.Events, d.Logger, c.Sweep)
	}
	k := &keeper{p: p}
	p.rest = c.Sweep
	p.sweep = lifecycle.NewLoop("projection sweep", d.Logger, p.sweepOnce)
	p.beat = lifecycle.NewLoop("projection heartbeat", d.Logger, p.beatOnce)
	p.keep = lifecycle.NewLoop("projection cache", d.Logger, k.once)
	return p, nil
}

// Start begins to sweep, to beat and to look after the cache.
func (p *Projector) Start(ctx context.Context) error {
	var err error
	if p.feed != nil {
		err = p.feed.sweep.Start(ctx)
	}
	return errors.Join(err, p.keep.Start(ctx), p.sweep.Start(ctx), p.beat.Start(ctx))
}

// Stop ends what Start began; handlers are ended by their router, before.
func (p *Projector) Stop(ctx context.Context) error {
	err := errors.Join(p.sweep.Stop(ctx), p.beat.Stop(ctx), p.keep.Stop(ctx))
	if p.feed != nil {
		err = errors.Join(err, p.feed.sweep.Stop(ctx))
	}
	// Saves the next projector the repair of what is written already.
	for _, l := range p.lanes {
		l.cacheMu.Lock()
		c := l.cached
		l.cacheMu.Unlock()
		if c.through == 0 {
			continue
		}
		if err := p.ledger.MarkCached(ctx, l.id, c.through, c.rewinds); err != nil {
			p.logger.DebugContext(ctx, "cached position was not saved", "lane", l.id, "error", err)
			break
		}
	}
	return err
}

// Handler returns what consumes one lane's messages, one at a time. It returns
// nil, which acknowledges, once the message's events are committed or turn out
// to be nothing this log said; what may succeed later it tries again until the
// message's context ends.
func (p *Projector) Handler(of eventlog.Lane) message.NoPublishHandlerFunc {
	l := p.lanes[of]
	return func(msg *message.Message) error {
		if msg.UUID == "" && len(msg.Payload) == 0 {
			return nil // what the subscriber hands over when its queue is deleted
		}
		ctx := msg.Context()
		b, err := eventlog.UnmarshalBatch(msg.Payload)
		if err == nil && b.Lane != of {
			err = fmt.Errorf("batch is of lane %d", b.Lane)
		}
		if err != nil {
			l.log.ErrorContext(ctx, "message dropped, its events will be read from the log", "error", err)
			return nil
		}
		policy := backoff.NewExponentialBackOff()
		policy.InitialInterval, policy.MaxInterval = 50*time.Millisecond, 5*time.Second
		_, err = backoff.Retry(ctx, func() (struct{}, error) {
			err := l.batch(ctx, b)
			if errors.Is(err, errForeign) {
				err = backoff.Permanent(err)
			}
			return struct{}{}, err
		}, backoff.WithBackOff(policy), backoff.WithMaxElapsedTime(0), backoff.WithNotify(func(err error, after time.Duration) {
			l.log.WarnContext(ctx, "applying a message failed, will try again", "error", err, "retry_in_ms", after.Milliseconds())
		}))
		if errors.Is(err, errForeign) {
			l.log.ErrorContext(ctx, "message dropped, the log does not know it", "error", err)
			return nil
		}
		crash.Here(crash.ProjectBeforeAck)
		return err
	}
}

// eagerSweep is how soon after a sweep that healed something the next begins.
// Each costs two look-ups in small indexes.
const eagerSweep = 100 * time.Millisecond

// backlog is how far behind, in positions of all lanes, a lane that moves is
// brought up to date from the log all the same. Messages are as small as the
// rate they were sent at was low, and each costs a transaction; a page of the
// log holds a thousand events. 1,000 are half a second of 2,000 events a second.
const backlog = 1000

// sweepOnce heals the lanes that are behind the log and have not moved since
// the last sweep: nothing announces the last message when that one is lost. It
// also helps those that are far behind.
func (p *Projector) sweepOnce(ctx context.Context) (time.Duration, error) {
	p.opener.forget()
	heads, at, err := p.positions(ctx)
	if err != nil {
		return 0, err
	}
	p.sweepMu.Lock()
	before, rest := p.swept, p.rest
	p.swept = at
	p.sweepMu.Unlock()
	level := slog.LevelDebug
	if rest >= p.cfg.Sweep { // news only when it begins
		level = slog.LevelInfo
	}
	var healed atomic.Int64
	var group errgroup.Group // without a context of its own: a lane that fails must not end the healing of others
	group.SetLimit(healers)
	for _, l := range p.lanes {
		was, known := before[l.id]
		if !known || heads[l.id] <= at[l.id] || at[l.id] != was && heads[l.id]-at[l.id] < backlog {
			continue
		}
		group.Go(func() error {
			n, err := l.catchUp(ctx, at[l.id])
			healed.Add(int64(n))
			if n > 0 {
				l.log.Log(ctx, level, "lane healed from the log", "after", at[l.id], "events", n)
			}
			return err
		})
	}
	err = group.Wait()
	// While the broker is away everything comes from here, so what was needed
	// once is looked for again soon, and then ever less often.
	rest = min(2*rest, p.cfg.Sweep)
	if healed.Load() > 0 {
		rest = min(eagerSweep, p.cfg.Sweep)
	}
	p.sweepMu.Lock()
	p.rest = rest
	p.sweepMu.Unlock()
	return rest, err
}

// positions returns each lane's head in the log and its checkpoint.
func (p *Projector) positions(ctx context.Context) (heads, at map[eventlog.Lane]eventlog.Position, err error) {
	checkpoints, err := p.store.Checkpoints(ctx)
	if err != nil {
		return nil, nil, err
	}
	at = make(map[eventlog.Lane]eventlog.Position, len(p.lanes))
	for _, l := range p.lanes {
		at[l.id] = 0
	}
	for _, c := range checkpoints {
		at[c.Lane] = c.Position
	}
	// After the checkpoints, so that no head is behind its checkpoint.
	heads, err = p.log.LaneHeads(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("read lane heads: %w", err)
	}
	return heads, at, nil
}

// countable is up to how many events that wait are counted with each beat: one
// lane's distance in positions counts other lanes' events too, and says more the
// less there is.
const countable = 100

// beatOnce tells query processes how far the read model is.
func (p *Projector) beatOnce(ctx context.Context) (time.Duration, error) {
	heads, at, err := p.positions(ctx)
	if err != nil {
		return 0, err
	}
	var h Heartbeat
	if h.Head, err = p.log.Head(ctx); err != nil {
		return 0, fmt.Errorf("read head: %w", err)
	}
	for _, l := range p.lanes {
		f := query.LaneFreshness{Lane: l.id, Head: max(heads[l.id], at[l.id]), Applied: at[l.id]}
		if at[l.id] > heads[l.id] && !l.ahead.Swap(true) {
			l.log.ErrorContext(ctx, "the read model is ahead of the log, which was probably restored from a backup: "+
				"drop the schema readmodel and run 'projector migrate' to fill it anew", "applied", at[l.id], "head", heads[l.id])
		}
		if f.Head > f.Applied {
			waiting, err := p.log.ReadLane(ctx, l.id, f.Applied, f.Head, countable)
			if err != nil {
				return 0, fmt.Errorf("read lane %d: %w", l.id, err)
			}
			if len(waiting) > 0 {
				f.Waiting = max(0, time.Since(waiting[0].RecordedAt))
			}
			if len(waiting) < countable {
				f.Behind = int64(len(waiting))
			}
		}
		h.Lanes = append(h.Lanes, f)
	}
	if p.feed != nil {
		if h.Feed, err = p.feed.freshness(ctx, p.log.Head); err != nil {
			return 0, err
		}
	}
	return p.cfg.Heartbeat, p.store.Beat(ctx, h)
}

// readStream returns a customer's events after a version, to the stream's end.
func (p *Projector) readStream(ctx context.Context, id customer.ID, after customer.Version) ([]opened, error) {
	var all []opened
	for {
		events, err := p.log.ReadStream(ctx, id, after, healPage)
		if err != nil {
			return nil, fmt.Errorf("read stream %s after %d: %w", id, after, err)
		}
		ready, err := p.opener.open(ctx, events)
		if err != nil {
			return nil, err
		}
		all = append(all, ready...)
		if len(events) < healPage {
			return all, nil
		}
		after = events[len(events)-1].Version
	}
}
