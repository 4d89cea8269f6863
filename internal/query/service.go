package query

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
	"github.com/ebrahem-outlook/customer-service/internal/lifecycle"
)

// Limits of the contract on consistency tokens.
const (
	MaxTokens   = 8                // a read may name
	DefaultWait = 2 * time.Second  // when a read does not say how long it waits
	MaxWait     = 10 * time.Second // and whatever it says
)

// Config is how a Service behaves. Zero values take the defaults named.
type Config struct {
	// MaxWaiters bounds the reads that wait at once: each holds a goroutine and
	// up to 8 ids, so 4096 of them ask at most 32,768 ids (0.5 MB) a poll.
	MaxWaiters int
	// L1Bytes bounds the documents kept in memory with what keeping them costs;
	// 64 MiB. Negative: none are kept. L1Entries bounds their number; 65,536.
	L1Bytes     int64
	L1Entries   int
	ReadTimeout time.Duration // of one question to the read model; 2 s
	PollFloor   time.Duration // between polls for awaited versions; 10 ms
	PollCeiling time.Duration // 100 ms
	Refresh     time.Duration // of freshness and of what the cache may be trusted with; 1 s
}

func (c Config) withDefaults() Config {
	if c.MaxWaiters == 0 {
		c.MaxWaiters = 4096
	}
	if c.L1Bytes == 0 {
		c.L1Bytes = 64 << 20
	}
	if c.L1Entries == 0 {
		c.L1Entries = 65536
	}
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&c.ReadTimeout, 2 * time.Second},
		{&c.PollFloor, 10 * time.Millisecond},
		{&c.PollCeiling, 100 * time.Millisecond},
		{&c.Refresh, time.Second},
	} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	return c
}

func (c Config) validate() error {
	var errs []error
	if c.MaxWaiters < 1 {
		errs = append(errs, fmt.Errorf("query: %d waiters, want at least 1", c.MaxWaiters))
	}
	if c.L1Entries < 1 {
		errs = append(errs, fmt.Errorf("query: L1 of %d entries, want at least 1", c.L1Entries))
	}
	if c.PollFloor <= 0 || c.PollCeiling < c.PollFloor {
		errs = append(errs, fmt.Errorf("query: polls from %s to %s", c.PollFloor, c.PollCeiling))
	}
	// Readers have to notice within a second or two that the cache is not to be trusted.
	if c.Refresh <= 0 || c.Refresh > 2*time.Second {
		errs = append(errs, fmt.Errorf("query: refresh every %s, want at most 2s", c.Refresh))
	}
	if c.ReadTimeout <= 0 {
		errs = append(errs, fmt.Errorf("query: read timeout %s", c.ReadTimeout))
	}
	return errors.Join(errs...)
}

// errMissed tells that the cache does not know.
var errMissed = errors.New("missed")

// Service answers reads. It needs to be started for waits to be short and for
// the cache to be used; unstarted it answers from the read model alone.
type Service struct {
	reader  Reader
	cache   Cache
	l1      *l1
	log     *slog.Logger
	cfg     Config
	waiters *waiters
	poller  *poller
	asks    singleflight.Group // of the cache
	fills   singleflight.Group
	refresh *lifecycle.Loop
	listen  *lifecycle.Loop

	born      time.Time
	mu        sync.RWMutex
	fresh     Freshness
	freshAt   time.Time // when fresh was read, or the Service was made
	stopPolls context.CancelFunc
	polling   sync.WaitGroup
}

// listenFine is how long announcements have to have been heard for their loss
// to be no sign of trouble: listening begins again without backing off.
const listenFine = 10 * time.Second

// New returns a service over a read model with a cache in front of it.
func New(reader Reader, cache Cache, announcements Announcements, log *slog.Logger, c Config) (*Service, error) {
	c = c.withDefaults()
	if err := c.validate(); err != nil {
		return nil, err
	}
	first, err := newL1(c.L1Bytes, c.L1Entries)
	if err != nil {
		return nil, err
	}
	w := newWaiters(c.MaxWaiters)
	s := &Service{
		reader: reader, cache: cache, l1: first, log: log, cfg: c, waiters: w, born: time.Now(), freshAt: time.Now(),
		poller: &poller{
			reader: reader, waiters: w, log: log, timeout: c.ReadTimeout,
			floor: c.PollFloor, ceiling: c.PollCeiling, poke: make(chan struct{}, 1),
		},
	}
	s.refresh = lifecycle.NewLoop("query freshness", log, s.refreshOnce)
	s.listen = lifecycle.NewLoop("query announcements", log, func(ctx context.Context) (time.Duration, error) {
		began := time.Now()
		err := announcements.Listen(ctx, listener{s})
		first.lost()
		if err != nil && ctx.Err() == nil && time.Since(began) > listenFine {
			log.WarnContext(ctx, "announcements were lost, listening again", "error", err)
			err = nil
		}
		return 0, err
	})
	return s, nil
}

// Start begins to listen, to poll for those who wait, and to follow freshness.
func (s *Service) Start(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopPolls != nil {
		return nil
	}
	polls, cancel := context.WithCancel(ctx)
	s.stopPolls = cancel
	s.polling.Go(func() { s.poller.run(polls) })
	return errors.Join(s.refresh.Start(ctx), s.listen.Start(ctx))
}

// Stop ends what Start began. Reads that wait run into their deadlines.
func (s *Service) Stop(ctx context.Context) error {
	s.mu.RLock()
	stop := s.stopPolls
	s.mu.RUnlock()
	if stop == nil {
		return nil
	}
	stop()
	err := errors.Join(s.listen.Stop(ctx), s.refresh.Stop(ctx))
	s.polling.Wait()
	s.l1.close()
	return err
}

// listener is a Service as Announcements know it.
type listener struct{ s *Service }

func (l listener) Connected(server string) { l.s.l1.connected(server) }
func (l listener) Heard(asOf time.Time)    { l.s.l1.proven(asOf) }

// Changed makes sure that whoever reads after it, or because of it, reads what
// was announced or newer.
func (l listener) Changed(id customer.ID, v customer.Version) {
	l.s.l1.changed(id, v)
	l.s.asks.Forget(string(id[:]))
	l.s.fills.Forget(string(id[:]))
	l.s.waiters.reached(id, v)
}

// Get answers what the read model has for id, at least as new as every token
// asks. Its error is ErrNotFound, ErrDeleted or ErrErased (the last two with
// the entry's version), *Behind when a token was not reached within wait,
// ErrOverloaded, ErrTooManyTokens, ErrUnavailable, or ctx's own.
//
// wait is cut to MaxWait; it bounds the waiting for versions only.
func (s *Service) Get(ctx context.Context, id customer.ID, tokens []eventlog.Token, wait time.Duration) (Entry, error) {
	if len(tokens) > MaxTokens {
		return Entry{}, ErrTooManyTokens
	}
	want := versionOf(id, tokens)
	begun := time.Now()
	if others := without(id, tokens); len(others) > 0 {
		if err := s.await(ctx, others, wait); err != nil {
			return Entry{}, err
		}
	}
	if e, ok := s.l1.get(id, want); ok {
		return e, e.Err()
	}
	if e, ok := s.ask(ctx, id); ok && e.Version >= want {
		return e, e.Err()
	}
	e, err := s.fill(ctx, id, 0)
	switch {
	case err == nil && e.Version >= want:
		return e, e.Err()
	case err != nil && (want == 0 || !errors.Is(err, ErrNotFound)):
		return Entry{}, err
	}
	if err := s.await(ctx, []eventlog.Token{{CustomerID: id, Version: want}}, min(wait, MaxWait)-time.Since(begun)); err != nil {
		return Entry{}, err
	}
	if e, ok := s.ask(ctx, id); ok && e.Version >= want {
		return e, e.Err()
	}
	if e, err = s.fill(ctx, id, want); err != nil {
		return Entry{}, err
	}
	if e.Version < want { // an announcement lied; never serve older
		return Entry{}, s.behind()
	}
	return e, e.Err()
}

// Await returns once the read model has every customer that tokens name at
// least at the version named, so that a list read afterwards contains them.
// Its errors are Get's.
func (s *Service) Await(ctx context.Context, tokens []eventlog.Token, wait time.Duration) error {
	if len(tokens) > MaxTokens {
		return ErrTooManyTokens
	}
	if len(tokens) == 0 {
		return nil
	}
	return s.await(ctx, tokens, wait)
}

func (s *Service) await(ctx context.Context, tokens []eventlog.Token, wait time.Duration) error {
	// Registered before the first look, so that nothing falls in between; the
	// first look is the shared poll that registering sets off.
	w, err := s.waiters.add(tokens)
	if err != nil {
		return err
	}
	defer s.waiters.remove(w)
	s.poller.begin()
	// A read that will not wait still gets the answer to one look.
	timer := time.NewTimer(max(min(wait, MaxWait), 2*s.cfg.PollCeiling))
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
		if s.poller.failing.Load() {
			return ErrUnavailable
		}
		return s.behind()
	}
}

// ask asks the cache, once for all who ask for the same customer at the same time.
func (s *Service) ask(ctx context.Context, id customer.ID) (Entry, bool) {
	answer, err, _ := s.asks.Do(string(id[:]), func() (any, error) {
		// One caller giving up must not fail the others. The cache bounds the time.
		ctx := context.WithoutCancel(ctx)
		keep := s.l1.begin(id)
		e, ok := s.cache.Get(ctx, id)
		if !ok {
			return Entry{}, errMissed
		}
		s.l1.keep(id, keep, e)
		return e, nil
	})
	return answer.(Entry), err == nil
}

// fill reads through the cache, once for all who ask for the same customer at
// the same time and have seen that it is at the same version: a question asked
// before that came may be answered with an older one.
func (s *Service) fill(ctx context.Context, id customer.ID, seen customer.Version) (Entry, error) {
	key := binary.BigEndian.AppendUint64(id[:], uint64(seen)) //nolint:gosec // never negative
	answer := s.fills.DoChan(string(key), func() (any, error) {
		// One caller giving up must not fail the others.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.ReadTimeout)
		defer cancel()
		lease, keep := s.cache.Lease(ctx, id), s.l1.begin(id)
		e, err := s.reader.Entry(ctx, id)
		if err != nil {
			// Nothing is remembered of what is not there, and whoever waits for it
			// will want to fill.
			s.cache.Release(ctx, id, lease)
			return Entry{}, err
		}
		s.l1.keep(id, keep, e)
		s.cache.Fill(ctx, id, lease, e)
		return e, nil
	})
	select {
	case <-ctx.Done():
		return Entry{}, ctx.Err()
	case a := <-answer:
		if a.Err != nil {
			return Entry{}, a.Err
		}
		return a.Val.(Entry), nil
	}
}

// Freshness is how far the read model was when last looked at, at most a
// refresh ago unless it cannot be reached; then its age grows.
func (s *Service) Freshness() Freshness {
	s.mu.RLock()
	defer s.mu.RUnlock()
	f := s.fresh
	f.Age += time.Since(s.freshAt)
	return f
}

// Lag is how long the read model is behind the log.
func (s *Service) Lag() time.Duration { return s.Freshness().Lag() }

func (s *Service) behind() error {
	return &Behind{RetryAfter: min(max(s.Lag(), time.Second), MaxWait)}
}

func (s *Service) refreshOnce(ctx context.Context) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.ReadTimeout)
	defer cancel()
	f, err := s.reader.Freshness(ctx)
	if err != nil {
		return 0, err
	}
	if f.Beat.IsZero() {
		f.Age = time.Since(s.born)
	}
	if f.Age > projectorGrace {
		f.Cache = CacheState{} // nobody would say that something is missing there
	}
	s.cache.Use(f.Cache)
	s.l1.use(f.Cache) // after: what it keeps from here on comes from that epoch
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fresh, s.freshAt = f, time.Now()
	return s.cfg.Refresh, nil
}

// without leaves out the tokens that name id.
func without(id customer.ID, tokens []eventlog.Token) []eventlog.Token {
	var others []eventlog.Token
	for _, t := range tokens {
		if t.CustomerID != id {
			others = append(others, t)
		}
	}
	return others
}
