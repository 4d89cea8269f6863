package command

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
)

// Committer has Appends committed; Appender is the one there is. Its contract
// is that of Appender's methods.
type Committer interface {
	Append(ctx context.Context, item eventlog.Append) (eventlog.Outcome, error)
	AppendAll(ctx context.Context, items []eventlog.Append) ([]eventlog.Outcome, []error)
}

// Config tells what a Service may hold. A zero field means its default.
type Config struct {
	// CachedCustomers bounds the cache of folded customers. Default 10,000, at
	// about 2 kB each.
	CachedCustomers int
	// CacheFor bounds how long a customer stays in it. Default 10 minutes: an
	// erased customer's data must not outlive its key here for longer.
	CacheFor time.Duration
	// MaxWait bounds how long a command waits for others on the same customer
	// in this process. Default 500 ms.
	MaxWait time.Duration
}

func (c *Config) fill() error {
	if c.CachedCustomers == 0 {
		c.CachedCustomers = 10_000
	}
	if c.CacheFor == 0 {
		c.CacheFor = 10 * time.Minute
	}
	if c.MaxWait == 0 {
		c.MaxWait = 500 * time.Millisecond
	}
	if c.CachedCustomers < 0 || c.CacheFor < 0 || c.MaxWait < 0 {
		return errors.New("command: a bound is negative")
	}
	return nil
}

// Service carries commands out.
type Service struct {
	log      eventlog.Loader
	claimed  ClaimReader
	appender Committer
	codec    *eventlog.Codec
	keys     Keys
	now      func() time.Time

	snapshots *Snapshots // may be nil

	cache  *cache
	turns  *turns
	flying *flights
}

// Deps are what a Service works with; all but Snapshots are required.
type Deps struct {
	Log      eventlog.Loader
	Claims   ClaimReader // so that a dry run sees what is taken
	Appender Committer
	Codec    *eventlog.Codec
	Keys     Keys
	Now      func() time.Time
	// Snapshots spare long streams being read from their beginning; without it
	// they are.
	Snapshots *Snapshots
}

// New returns a Service. Close it when no command runs any more.
func New(deps Deps, cfg Config) (*Service, error) {
	err := cfg.fill()
	if deps.Log == nil || deps.Claims == nil || deps.Appender == nil || deps.Codec == nil || deps.Keys == nil || deps.Now == nil {
		err = errors.Join(err, errors.New("command: a dependency is missing"))
	}
	if err != nil {
		return nil, err
	}
	cache, err := newCache(cfg.CachedCustomers, cfg.CacheFor)
	if err != nil {
		return nil, fmt.Errorf("command: %w", err)
	}
	return &Service{
		log: deps.Log, claimed: deps.Claims, appender: deps.Appender, codec: deps.Codec, keys: deps.Keys, now: deps.Now,
		snapshots: deps.Snapshots, cache: cache, turns: newTurns(cfg.MaxWait), flying: newFlights(),
	}, nil
}

// Close ends the cache's own maintenance.
func (s *Service) Close() { s.cache.close() }
