package query

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
	"github.com/ebrahem-outlook/customer-service/internal/lifecycle"
)

// FeedReader reads the event feed.
//
// Events returns up to limit notices after a position, ascending and without
// holes; none that precedes one it returned ever appears later. FeedPosition is
// that of the last one, 0 for none. EventVersions answers, for those among the
// customers named that the feed has, the highest version in it. Every error wraps
// ErrUnavailable.
type FeedReader interface {
	Events(ctx context.Context, after eventlog.Position, limit int) ([]eventlog.Notice, error)
	FeedPosition(ctx context.Context) (eventlog.Position, error)
	EventVersions(ctx context.Context, ids []customer.ID) (map[customer.ID]customer.Version, error)
}

// ErrFollowingEnds tells that the process stops; whoever follows goes on
// elsewhere from where it is.
var ErrFollowingEnds = errors.New("the process stops")

// FeedConfig is how a Feed behaves. Zero values take the defaults named.
type FeedConfig struct {
	// MaxFollowers bounds those who follow live, each of whom is a connection
	// with two goroutines and about 50 kB: 4,096.
	MaxFollowers int
	MaxWaiters   int           // reads that wait for their tokens; 1,024
	ReadTimeout  time.Duration // of one question to the read model; 2 s
	PollFloor    time.Duration // between looks for new events while there are some; 20 ms
	PollCeiling  time.Duration // and while there are none; 100 ms
	// Kept is how many of the newest events are held for those who follow, all
	// of them together, some 350 bytes each: 8,192.
	Kept int
}

const (
	// feedPage is how many events are read at once for those who follow.
	feedPage = 500
	// handful is how many events a follower is handed at once: 90 kB.
	handful = 256
	// historians bounds the followers that read the past at once: after a
	// restart all of them come back together, and other reads need connections.
	historians = 4
)

func (c FeedConfig) withDefaults() FeedConfig {
	for _, n := range []struct {
		field *int
		value int
	}{{&c.MaxFollowers, 4096}, {&c.MaxWaiters, 1024}, {&c.Kept, 8192}} {
		if *n.field == 0 {
			*n.field = n.value
		}
	}
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{{&c.ReadTimeout, 2 * time.Second}, {&c.PollFloor, 20 * time.Millisecond}, {&c.PollCeiling, 100 * time.Millisecond}} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	return c
}

func (c FeedConfig) validate() error {
	var errs []error
	if c.MaxFollowers < 1 || c.MaxWaiters < 1 || c.Kept < 1 {
		errs = append(errs, errors.New("query: a limit of the feed is below 1"))
	}
	if c.ReadTimeout <= 0 || c.PollFloor <= 0 || c.PollCeiling < c.PollFloor {
		errs = append(errs, fmt.Errorf("query: the feed is polled from %s to %s, within %s", c.PollFloor, c.PollCeiling, c.ReadTimeout))
	}
	return errors.Join(errs...)
}

// FeedItem is one event as everybody gets it.
type FeedItem struct {
	Position eventlog.Position
	Body     []byte // JSON, shared: nobody may write to it
}

// Feed answers the event feed and lets clients follow it. However many follow,
// one loop asks the read model for what is new, and none while nobody does.
type Feed struct {
	reader  FeedReader
	lag     func() time.Duration
	log     *slog.Logger
	cfg     FeedConfig
	waiters *waiters
	poller  *poller
	watch   *lifecycle.Loop
	past    *semaphore.Weighted

	mu        sync.Mutex
	followers int
	watching  bool              // base and kept are those of the followers of now
	base      eventlog.Position // the position before the first that is kept
	kept      []FeedItem        // consecutive; never written to once it is in
	news      chan struct{}     // closed and replaced whenever there is something new
	rest      time.Duration     // after the last look; the watch loop's own

	ending       context.Context // ends when following does
	endFollowing context.CancelFunc

	stopPolls context.CancelFunc
	polling   sync.WaitGroup
}

var _ lifecycle.Service = (*Feed)(nil)

// NewFeed returns a feed that nobody follows yet. lag tells how long it is
// behind the log.
func NewFeed(reader FeedReader, lag func() time.Duration, log *slog.Logger, c FeedConfig) (*Feed, error) {
	c = c.withDefaults()
	if err := c.validate(); err != nil {
		return nil, err
	}
	w := newWaiters(c.MaxWaiters)
	ending, endFollowing := context.WithCancel(context.Background())
	f := &Feed{
		reader: reader, lag: lag, log: log, cfg: c, waiters: w, past: semaphore.NewWeighted(historians),
		news: make(chan struct{}), ending: ending, endFollowing: endFollowing,
		poller: &poller{
			reader: feedVersions{reader}, waiters: w, log: log, timeout: c.ReadTimeout,
			floor: c.PollFloor / 2, ceiling: c.PollCeiling, poke: make(chan struct{}, 1),
		},
	}
	f.watch = lifecycle.NewLoop("event feed watch", log, f.watchOnce)
	return f, nil
}

// feedVersions is how far customers are in the feed, as the poller asks it.
type feedVersions struct{ FeedReader }

func (v feedVersions) Versions(ctx context.Context, ids []customer.ID) (map[customer.ID]customer.Version, error) {
	return v.EventVersions(ctx, ids)
}

// Start begins to watch.
func (f *Feed) Start(ctx context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stopPolls != nil {
		return nil
	}
	polls, cancel := context.WithCancel(ctx)
	f.stopPolls = cancel
	f.polling.Go(func() { f.poller.run(polls) })
	return f.watch.Start(ctx)
}

// Stop ends following, if it has not ended, and watching.
func (f *Feed) Stop(ctx context.Context) error {
	f.EndFollowing()
	f.mu.Lock()
	stop := f.stopPolls
	f.mu.Unlock()
	if stop == nil {
		return nil
	}
	stop()
	err := f.watch.Stop(ctx)
	f.polling.Wait()
	return err
}

// EndFollowing sends every follower away and takes no more.
func (f *Feed) EndFollowing() { f.endFollowing() }

// Await returns once the feed has every customer that tokens name at least at
// the version named. Its errors are Service.Get's.
func (f *Feed) Await(ctx context.Context, tokens []eventlog.Token, wait time.Duration) error {
	if len(tokens) > MaxTokens {
		return ErrTooManyTokens
	}
	if len(tokens) == 0 {
		return nil
	}
	w, err := f.waiters.add(tokens)
	if err != nil {
		return err
	}
	defer f.waiters.remove(w)
	f.poller.begin()
	// A read that will not wait still gets the answer to one look.
	timer := time.NewTimer(max(min(wait, MaxWait), 2*f.cfg.PollCeiling))
	defer timer.Stop()
	select {
	case <-w.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		select {
		case <-w.done: // at the very last moment
			return nil
		default:
		}
		if f.poller.failing.Load() {
			return ErrUnavailable
		}
		return &Behind{RetryAfter: min(max(f.lag(), time.Second), MaxWait)}
	}
}

// Lag is how long the feed is behind the log.
func (f *Feed) Lag() time.Duration { return f.lag() }

// Page answers up to limit events after a position.
func (f *Feed) Page(ctx context.Context, after eventlog.Position, limit int) ([]eventlog.Notice, error) {
	ctx, cancel := context.WithTimeout(ctx, f.cfg.ReadTimeout)
	defer cancel()
	return f.reader.Events(ctx, after, limit)
}

// watchOnce looks once for what is new, if anybody follows.
func (f *Feed) watchOnce(ctx context.Context) (time.Duration, error) {
	f.mu.Lock()
	if f.followers == 0 {
		f.watching, f.kept = false, nil
		f.mu.Unlock()
		return time.Hour, nil // whoever begins to follow wakes us
	}
	watching, last := f.watching, f.last()
	f.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, f.cfg.ReadTimeout)
	defer cancel()
	if !watching {
		at, err := f.reader.FeedPosition(ctx)
		if err != nil {
			return 0, err
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		f.watching, f.base, f.kept, f.rest = true, at, nil, f.cfg.PollFloor
		f.announce() // to those who came before
		return f.rest, nil
	}
	notices, err := f.reader.Events(ctx, last, feedPage)
	if err != nil {
		return 0, err
	}
	if len(notices) == 0 {
		f.rest = min(f.rest*3/2, f.cfg.PollCeiling)
		return f.rest, nil
	}
	items, err := render(notices)
	if err != nil {
		return 0, err
	}
	f.mu.Lock()
	f.keep(items)
	f.announce()
	f.mu.Unlock()
	f.rest = f.cfg.PollFloor
	if len(notices) == feedPage {
		return 0, nil
	}
	return f.rest, nil
}

// last is the newest position kept. It is called with mu held.
func (f *Feed) last() eventlog.Position {
	if n := len(f.kept); n > 0 {
		return f.kept[n-1].Position
	}
	return f.base
}

// keep adds items and lets go of the oldest. It is called with mu held.
func (f *Feed) keep(items []FeedItem) {
	f.kept = append(f.kept, items...)
	if len(f.kept) <= 2*f.cfg.Kept {
		return
	}
	// Followers may still read the old array, so the rest moves to a new one.
	cut := len(f.kept) - f.cfg.Kept
	f.base = f.kept[cut-1].Position
	f.kept = append(make([]FeedItem, 0, 2*f.cfg.Kept+feedPage), f.kept[cut:]...)
}

// announce is called with mu held.
func (f *Feed) announce() {
	close(f.news)
	f.news = make(chan struct{})
}

func render(notices []eventlog.Notice) ([]FeedItem, error) {
	items := make([]FeedItem, len(notices))
	for i, n := range notices {
		body, err := json.Marshal(n)
		if err != nil {
			return nil, fmt.Errorf("render the event at %d: %w", n.Position, err)
		}
		items[i] = FeedItem{Position: n.Position, Body: body}
	}
	return items, nil
}
