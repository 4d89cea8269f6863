package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/ebrahem-outlook/customer-service/internal/command"
	"github.com/ebrahem-outlook/customer-service/internal/config"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
	"github.com/ebrahem-outlook/customer-service/internal/httpapi"
	"github.com/ebrahem-outlook/customer-service/internal/httpapi/commandapi"
	"github.com/ebrahem-outlook/customer-service/internal/lifecycle"
	"github.com/ebrahem-outlook/customer-service/internal/postgres"
	"github.com/ebrahem-outlook/customer-service/internal/privacy"
	"github.com/ebrahem-outlook/customer-service/internal/process"
	"github.com/ebrahem-outlook/customer-service/internal/rabbit"
	"github.com/ebrahem-outlook/customer-service/internal/relay"
	"github.com/ebrahem-outlook/customer-service/migrations"
)

const (
	idempotencyKept  = 25 * time.Hour // the contract says at least 24
	idempotencySweep = time.Hour
)

type serve struct{ config.CommandServe }

// Run serves until ctx ends.
func (s *serve) Run(ctx context.Context) error {
	log := s.Logger(os.Stderr, "command-api")
	a, err := newApp(ctx, s.CommandServe, log)
	if err != nil {
		return err
	}
	return process.Run(ctx, log, s.DrainDelay.Value+s.DrainTimeout.Value+time.Second, a.services...)
}

// app is the whole process. Its services are in the order they start in; they
// stop in reverse, so that requests end before what they need.
type app struct {
	server   *httpapi.Server
	services []lifecycle.Service
}

func newApp(ctx context.Context, c config.CommandServe, log *slog.Logger) (*app, error) {
	keyring, err := privacy.LoadKeyring(string(c.KeysFile))
	if err != nil {
		return nil, fmt.Errorf("KEYS_FILE (--keys-file): %w; 'command-api keys init' makes one", err)
	}
	pool, err := openPool(ctx, c, "command-api", c.Pool.Value)
	if err != nil {
		return nil, err
	}
	// The relay's lease and the health check must not queue behind commands.
	relayPool, err := openPool(ctx, c, "command-api relay", relayConns)
	if err != nil {
		pool.Close()
		return nil, err
	}
	broker := rabbit.Config{
		URL: c.AMQPURL.Reveal(), Name: "command-api", Prefix: string(c.AMQPPrefix), Lanes: c.Lanes.Value, Logger: log,
	}
	publisher, publisherErr := rabbit.NewPublisher(broker)
	integration, integrationErr := rabbit.NewIntegrationPublisher(broker)
	if err := errors.Join(publisherErr, integrationErr); err != nil { // of the settings, which are the same
		pool.Close()
		relayPool.Close()
		return nil, fmt.Errorf("AMQP_URL (--amqp-url): %w", err)
	}
	events := postgres.NewLog(pool)
	carrier, err := relay.New(relay.Deps{
		Leases: postgres.NewLeases(relayPool), Sequence: postgres.NewSequencer(relayPool), Checkpoints: postgres.NewCheckpoints(relayPool),
		Log: postgres.NewLog(relayPool), Feed: publisher, Logger: log,
		Notices: postgres.NewLog(relayPool), Integration: integration,
	}, relay.Config{Holder: holder(), Lanes: c.Lanes.Value, BatchEvents: c.Relay.Value})
	appender, appenderErr := command.NewAppender(events, log, command.AppenderConfig{
		MaxBatch: c.Batch.Value, InFlight: c.InFlight.Value, MaxQueue: c.Queue.Value, MaxWait: c.MaxWait.Value,
		Committed: func() { carrier.Wake() },
	})
	snapshots, snapshotsErr := command.NewSnapshots(events, log)
	commands, commandsErr := command.New(command.Deps{
		Log: events, Claims: events, Appender: appender, Codec: eventlog.NewCodec(), Keys: keyring, Now: time.Now, Snapshots: snapshots,
	}, command.Config{CachedCustomers: c.Cached.Value})
	health := httpapi.NewHealth(log, httpapi.Dependency{Name: "event_log", Probe: writable(relayPool), Explain: explain})
	if err = errors.Join(err, appenderErr, snapshotsErr, commandsErr); err != nil {
		return nil, errors.Join(err, publisher.Close(), integration.Close())
	}
	api, err := commandapi.New(commands, keyring, httpapi.Options{
		Log: log, Health: health, Auth: httpapi.Trusting, MaxInFlight: c.MaxInFlight.Value,
	})
	if err != nil {
		return nil, errors.Join(err, publisher.Close(), integration.Close())
	}
	server := httpapi.NewServer(api, log, httpapi.ServerConfig{
		Addr: string(c.Addr), LoopbackOnly: true, DrainDelay: c.DrainDelay.Value, DrainTimeout: c.DrainTimeout.Value,
	})
	return &app{server: server, services: []lifecycle.Service{
		process.OnStop(func() error { pool.Close(); relayPool.Close(); return nil }),
		process.OnStop(publisher.Close),
		process.OnStop(integration.Close),
		process.OnStop(func() error { commands.Close(); return nil }),
		appender, snapshots, carrier, sweeping(log, events), forgetting(log, events, commands), health, server,
	}}, nil
}

// sweeping deletes the idempotency records that nobody may ask for any more.
func sweeping(log *slog.Logger, events *postgres.Log) *lifecycle.Loop {
	first := true
	return lifecycle.NewLoop("idempotency sweep", log, func(ctx context.Context) (time.Duration, error) {
		if first { // whoever has just started has better things to do
			first = false
			return idempotencySweep / 60, nil
		}
		_, err := events.SweepIdempotency(ctx, idempotencyKept)
		return idempotencySweep, err
	})
}

// relayConns is one connection for the lease, one for the sequencer, one for
// the health check, one for what other services are told, and the rest for
// eight lanes that seldom all move at once.
const relayConns = 7

func openPool(ctx context.Context, c config.CommandServe, name string, conns int) (*pgxpool.Pool, error) {
	pool, err := postgres.OpenPool(ctx, postgres.PoolConfig{
		URL: c.EventLogURL.Reveal(), Role: postgres.RoleCommand, ApplicationName: name, MaxConns: conns,
	})
	if err != nil {
		return nil, fmt.Errorf("EVENTLOG_DATABASE_URL (--eventlog-database-url): %w", err)
	}
	return pool, nil
}

// holder names this process among those that want to lead.
func holder() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return fmt.Sprintf("%s-%d-%s", host, os.Getpid(), uuid.NewString()[:8])
}

// errReadOnly tells that a database answers but takes no writes.
var errReadOnly = errors.New("database is read-only")

const selectReadOnly = `SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean`

// writable probes whether the log can be written to. Its schema is looked at
// until it is right; nothing takes a schema back.
func writable(pool *pgxpool.Pool) func(context.Context) error {
	migrated := false
	return func(ctx context.Context) error {
		if !migrated {
			if err := postgres.CheckVersion(ctx, pool, migrations.EventLog()); err != nil {
				return err
			}
			migrated = true
		}
		var readOnly bool
		if err := pool.QueryRow(ctx, selectReadOnly).Scan(&readOnly); err != nil {
			return err
		}
		if readOnly {
			return errReadOnly
		}
		return nil
	}
}

func explain(err error) string {
	if behind, ok := errors.AsType[*postgres.BehindError](err); ok {
		return behind.Error()
	}
	if errors.Is(err, errReadOnly) {
		return "takes no writes"
	}
	return ""
}

type migrate struct {
	config.Migrate[config.EventLog]
}

// Run migrates the event log.
func (m *migrate) Run(ctx context.Context) error {
	return postgres.Migrate(ctx, m.Database.EventLogURL.Reveal(), migrations.EventLog(), m.Logger(os.Stderr, "command-api"))
}

type keysInit struct{ config.KeysInit }

// Run makes a keyring, and is content with one that is there and can be read.
func (k *keysInit) Run(context.Context) error {
	path := string(k.Out)
	err := privacy.InitKeyring(path)
	switch {
	case err == nil:
		_, _ = fmt.Fprintf(os.Stderr, "%s: made. Back it up apart from the database: without it no customer can be read.\n", path)
		return nil
	case !errors.Is(err, fs.ErrExist):
		return err
	}
	if _, err := privacy.LoadKeyring(path); err != nil {
		return err
	}
	_, _ = fmt.Fprintf(os.Stderr, "%s: is there already, and is left as it is.\n", path)
	return nil
}
