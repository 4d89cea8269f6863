package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/ebrahem-outlook/customer-service/internal/config"
	"github.com/ebrahem-outlook/customer-service/internal/httpapi"
	"github.com/ebrahem-outlook/customer-service/internal/httpapi/queryapi"
	"github.com/ebrahem-outlook/customer-service/internal/lifecycle"
	"github.com/ebrahem-outlook/customer-service/internal/postgres"
	"github.com/ebrahem-outlook/customer-service/internal/process"
	"github.com/ebrahem-outlook/customer-service/internal/query"
	"github.com/ebrahem-outlook/customer-service/internal/rediscache"
	"github.com/ebrahem-outlook/customer-service/migrations"
)

type serve struct{ config.QueryServe }

// Run serves until ctx ends.
func (s *serve) Run(ctx context.Context) error {
	log := s.Logger(os.Stderr, "query-api")
	a, err := newApp(ctx, s.QueryServe, log)
	if err != nil {
		return err
	}
	return process.Run(ctx, log, s.DrainDelay.Value+s.DrainTimeout.Value+time.Second, a.services...)
}

// app is the whole process. Its services are in the order they start in; they
// stop in reverse, so that requests end before what they need.
type app struct {
	server   *httpapi.Server
	events   *query.Feed
	services []lifecycle.Service
}

func newApp(ctx context.Context, c config.QueryServe, log *slog.Logger) (*app, error) {
	pool, err := postgres.OpenPool(ctx, postgres.PoolConfig{
		URL: c.ReadModelURL.Reveal(), Role: postgres.RoleQuery, ApplicationName: "query-api", MaxConns: c.Pool.Value,
	})
	if err != nil {
		return nil, fmt.Errorf("READMODEL_DATABASE_URL (--readmodel-database-url): %w", err)
	}
	rediscache.LogDriver(log)
	cache, err := rediscache.NewReader(rediscache.Config{URL: c.RedisURL.Reveal(), Prefix: string(c.RedisPrefix), Logger: log})
	if err != nil {
		pool.Close()
		return nil, fmt.Errorf("REDIS_URL (--redis-url): %w", err)
	}
	reader := postgres.NewReadModelReader(pool)
	queries, err := query.New(reader, cache, cache, log, query.Config{
		MaxWaiters: c.MaxWaiters.Value, L1Bytes: l1Bytes(c.L1.Value),
	})
	events, eventsErr := query.NewFeed(reader, func() time.Duration { return queries.Freshness().FeedLag() }, log,
		query.FeedConfig{MaxFollowers: c.MaxFollowers.Value, MaxWaiters: c.MaxWaiters.Value})
	health := httpapi.NewHealth(log, httpapi.Dependency{Name: "read_model", Probe: readable(pool), Explain: explain})
	if err = errors.Join(err, eventsErr); err != nil {
		return nil, errors.Join(err, cache.Close())
	}
	exportPool, err := postgres.OpenPool(ctx, postgres.ExportPool(c.ReadModelURL.Reveal(), c.MaxExports.Value))
	if err != nil {
		return nil, errors.Join(err, cache.Close())
	}
	exports, err := query.NewExports(queries, postgres.NewExporter(exportPool), query.ExportConfig{
		Concurrent: c.MaxExports.Value, Longest: c.ExportTime.Value,
	})
	if err != nil {
		return nil, errors.Join(err, cache.Close())
	}
	lists := query.NewLists(queries, reader)
	reads := queryapi.Reads{Queries: queries, Archive: query.NewArchive(queries, reader, lists), Events: events, Lists: lists, Exports: exports}
	api, err := queryapi.New(reads, c.Wait.Value, httpapi.Options{
		Log: log, Health: health, Auth: httpapi.Trusting, MaxInFlight: c.MaxInFlight.Value,
	})
	if err != nil {
		return nil, errors.Join(err, cache.Close())
	}
	server := httpapi.NewServer(api, log, httpapi.ServerConfig{
		Addr: string(c.Addr), LoopbackOnly: true, DrainDelay: c.DrainDelay.Value, DrainTimeout: c.DrainTimeout.Value,
	})
	server.OnDrain(events.EndFollowing)
	return &app{server: server, events: events, services: []lifecycle.Service{
		process.OnStop(func() error { pool.Close(); exportPool.Close(); return nil }),
		process.OnStop(cache.Close),
		queries, events, health, server,
	}}, nil
}

// l1Bytes is a setting in MiB as a query.Config has it.
func l1Bytes(mebibytes int) int64 {
	if mebibytes == 0 {
		return -1
	}
	return int64(mebibytes) << 20
}

// readable probes whether the read model can be read. Its schema is looked at
// until it is right; nothing takes a schema back.
func readable(pool *pgxpool.Pool) func(context.Context) error {
	migrated := false
	return func(ctx context.Context) error {
		if migrated {
			return pool.Ping(ctx)
		}
		err := postgres.CheckVersion(ctx, pool, migrations.ReadModel())
		migrated = err == nil
		return err
	}
}

func explain(err error) string {
	if behind, ok := errors.AsType[*postgres.BehindError](err); ok {
		return behind.Error()
	}
	return ""
}
