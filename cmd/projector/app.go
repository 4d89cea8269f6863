package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/ebrahem-outlook/customer-service/internal/config"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
	"github.com/ebrahem-outlook/customer-service/internal/httpapi"
	"github.com/ebrahem-outlook/customer-service/internal/lifecycle"
	"github.com/ebrahem-outlook/customer-service/internal/postgres"
	"github.com/ebrahem-outlook/customer-service/internal/privacy"
	"github.com/ebrahem-outlook/customer-service/internal/process"
	"github.com/ebrahem-outlook/customer-service/internal/projection"
	"github.com/ebrahem-outlook/customer-service/internal/rabbit"
	"github.com/ebrahem-outlook/customer-service/internal/rediscache"
	"github.com/ebrahem-outlook/customer-service/migrations"
)

type serve struct{ config.ProjectorServe }

// Run projects until ctx ends.
func (s *serve) Run(ctx context.Context) error {
	log := s.Logger(os.Stderr, "projector")
	a, err := newApp(ctx, s.ProjectorServe, log)
	if err != nil {
		return err
	}
	return process.Run(ctx, log, s.DrainTimeout.Value+time.Second, a.services...)
}

// app is the whole process. Its services are in the order they start in; they
// stop in reverse, so that handlers end before what they need.
type app struct {
	server   *httpapi.Server
	services []lifecycle.Service
}

func newApp(ctx context.Context, c config.ProjectorServe, log *slog.Logger) (*app, error) {
	p, err := newParts(ctx, c.EventLog, c.ReadModel, c.Keys, c.Cache, c.Lanes.Value, c.Pool.Value, log)
	if err != nil {
		return nil, err
	}
	broker := rabbit.Config{
		URL: c.AMQPURL.Reveal(), Name: "projector", Prefix: string(c.AMQPPrefix), Lanes: c.Lanes.Value, Logger: log,
	}
	lanes, lanesErr := rabbit.NewSubscriber(broker)
	events, eventsErr := rabbit.NewIntegrationSubscriber(broker)
	if err := errors.Join(lanesErr, eventsErr); err != nil {
		p.close()
		return nil, fmt.Errorf("AMQP_URL (--amqp-url): %w", err)
	}
	router, err := newRouter(p.projector, lanes, events, c.Lanes.Value, c.DrainTimeout.Value, log)
	health := httpapi.NewHealth(log,
		httpapi.Dependency{Name: "event_log", Probe: migrated(p.log, migrations.EventLog()), Explain: explain},
		httpapi.Dependency{Name: "read_model", Probe: migrated(p.model, migrations.ReadModel()), Explain: explain})
	api, apiErr := httpapi.New(httpapi.Options{Log: log, Health: health, Auth: httpapi.Trusting}, nil)
	if err = errors.Join(err, apiErr); err != nil {
		return nil, errors.Join(err, lanes.Close(), events.Close())
	}
	// Nothing but health is served, so there is nobody to ask who they are.
	server := httpapi.NewServer(api, log, httpapi.ServerConfig{Addr: string(c.Addr), DrainTimeout: c.DrainTimeout.Value})
	return &app{server: server, services: []lifecycle.Service{
		process.OnStop(func() error { p.close(); return nil }),
		p.projector, lists(p.store, log), router, health, server,
	}}, nil
}

// lists completes the lists with who was projected before there were any.
func lists(store *postgres.ReadModel, log *slog.Logger) *lifecycle.Loop {
	return lifecycle.NewLoop("complete lists", log, func(ctx context.Context) (time.Duration, error) {
		filled, err := store.CompleteListing(ctx)
		if filled > 0 {
			log.InfoContext(ctx, "customers listed that were projected earlier", "customers", filled)
		}
		return time.Minute, err
	})
}

// parts are what projecting needs apart from the broker.
type parts struct {
	log, model *pgxpool.Pool
	events     *postgres.Log
	store      *postgres.ReadModel
	cache      *rediscache.Writer
	projector  *projection.Projector
}

func newParts(ctx context.Context, e config.EventLog, r config.ReadModel, k config.Keys, c config.Cache, lanes, conns int, log *slog.Logger) (*parts, error) {
	keyring, err := privacy.LoadKeyring(string(k.KeysFile))
	if err != nil {
		return nil, fmt.Errorf("KEYS_FILE (--keys-file): %w; 'command-api keys init' makes one", err)
	}
	p := new(parts)
	open := func(name, url string) *pgxpool.Pool {
		pool, openErr := postgres.OpenPool(ctx, postgres.PoolConfig{
			URL: url, Role: postgres.RoleProjector, ApplicationName: "projector", MaxConns: conns,
		})
		if openErr != nil {
			err = errors.Join(err, fmt.Errorf("%s: %w", name, openErr))
		}
		return pool
	}
	p.log = open("EVENTLOG_DATABASE_URL (--eventlog-database-url)", e.EventLogURL.Reveal())
	p.model = open("READMODEL_DATABASE_URL (--readmodel-database-url)", r.ReadModelURL.Reveal())
	rediscache.LogDriver(log)
	cache, cacheErr := rediscache.NewWriter(rediscache.Config{URL: c.RedisURL.Reveal(), Prefix: string(c.RedisPrefix), Logger: log})
	if cacheErr != nil {
		err = errors.Join(err, fmt.Errorf("REDIS_URL (--redis-url): %w", cacheErr))
	}
	p.cache = cache
	if err != nil {
		p.close()
		return nil, err
	}
	p.events, p.store = postgres.NewLog(p.log), postgres.NewReadModel(p.model, lanes)
	p.projector, err = projection.New(projection.Deps{
		Log: p.events, Codec: eventlog.NewCodec(), Keyring: keyring, Store: p.store, Ledger: p.store, Cache: p.cache, Logger: log,
		Notices: p.events, Events: p.store,
	}, projection.Config{Lanes: lanes})
	if err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

func (p *parts) close() {
	for _, pool := range []*pgxpool.Pool{p.log, p.model} {
		if pool != nil {
			pool.Close()
		}
	}
	if p.cache != nil {
		_ = p.cache.Close() // nothing of it is left to lose
	}
}

// migrated probes whether a database answers. Its schema is looked at until it
// is right; nothing takes a schema back.
func migrated(pool *pgxpool.Pool, set migrations.Set) func(context.Context) error {
	done := false
	return func(ctx context.Context) error {
		if done {
			return pool.Ping(ctx)
		}
		err := postgres.CheckVersion(ctx, pool, set)
		done = err == nil
		return err
	}
}

func explain(err error) string {
	if behind, ok := errors.AsType[*postgres.BehindError](err); ok {
		return behind.Error()
	}
	return ""
}

// router is Watermill's router as a lifecycle.Service: one handler a lane, and
// one for the event feed.
type router struct {
	*message.Router
	log  *slog.Logger
	done chan struct{}
}

func newRouter(p *projection.Projector, s, events message.Subscriber, lanes int, patience time.Duration, log *slog.Logger) (*router, error) {
	r, err := message.NewRouter(message.RouterConfig{CloseTimeout: patience}, watermill.NewSlogLogger(log))
	if err != nil {
		return nil, fmt.Errorf("make the router: %w", err)
	}
	for lane := range lanes {
		topic := eventlog.FeedTopic(eventlog.Lane(lane)) //nolint:gosec // at most 1024
		r.AddConsumerHandler(topic, topic, s, p.Handler(eventlog.Lane(lane)))
	}
	r.AddConsumerHandler(eventlog.NoticeTopic, eventlog.NoticeTopic, events, p.EventHandler())
	return &router{Router: r, log: log}, nil
}

// Start subscribes every lane. It does not wait for the broker.
func (r *router) Start(ctx context.Context) error {
	if r.done != nil {
		return nil
	}
	r.done = make(chan struct{})
	go func() {
		defer close(r.done)
		if err := r.Run(ctx); err != nil {
			r.log.ErrorContext(ctx, "router ended", "error", err)
		}
	}()
	return nil
}

// Stop takes no more messages and waits for the handlers.
func (r *router) Stop(ctx context.Context) error {
	if r.done == nil {
		return nil
	}
	select {
	case <-r.Running(): // closing one that is still starting would not end it
	case <-ctx.Done():
		return ctx.Err()
	}
	err := r.Close()
	select {
	case <-r.done:
		return err
	case <-ctx.Done():
		return errors.Join(err, ctx.Err())
	}
}

type migrate struct {
	config.Migrate[config.ReadModel]
}

// Run migrates the read models.
func (m *migrate) Run(ctx context.Context) error {
	return postgres.Migrate(ctx, m.Database.ReadModelURL.Reveal(), migrations.ReadModel(), m.Logger(os.Stderr, "projector"))
}
