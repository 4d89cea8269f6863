package main

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/internal/command"
	"github.com/ebrahem-outlook/customer-service/internal/config"
	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
	"github.com/ebrahem-outlook/customer-service/internal/httpapi/httpapitest"
	"github.com/ebrahem-outlook/customer-service/internal/lifecycle"
	"github.com/ebrahem-outlook/customer-service/internal/postgres"
	"github.com/ebrahem-outlook/customer-service/internal/postgres/postgrestest"
	"github.com/ebrahem-outlook/customer-service/internal/privacy"
	"github.com/ebrahem-outlook/customer-service/internal/projection"
	"github.com/ebrahem-outlook/customer-service/internal/rediscache"
	"github.com/ebrahem-outlook/customer-service/internal/relay"
)

// world is the whole query API on a port of its own, with a write side behind
// it whose broker loses every message: the projector finds all by itself.
type world struct {
	*httpapitest.Client
	app      *app
	commands *command.Service
	sweeping *projection.Projector
	owner    *pgxpool.Pool // of the read model
}

// deaf is a broker that says yes and keeps nothing.
type deaf struct{}

func (deaf) Publish(string, ...*message.Message) error { return nil }
func (deaf) Close() error                              { return nil }

func redisURL(t *testing.T) string {
	t.Helper()
	u := os.Getenv("REDIS_URL")
	if u == "" {
		t.Fatal("REDIS_URL is not set: run make test (or devstack exec)")
	}
	return u
}

func newWorld(t *testing.T, settings ...string) *world {
	t.Helper()
	prefix := "t" + uuid.NewString()[:8]
	log, model := postgrestest.EventLog(t), postgrestest.ReadModel(t)
	quiet := slog.New(slog.DiscardHandler)
	keys := filepath.Join(t.TempDir(), "keys.json")
	require.NoError(t, privacy.InitKeyring(keys))
	keyring, err := privacy.LoadKeyring(keys)
	require.NoError(t, err)

	pool := log.Pool(t, postgres.RoleCommand)
	events := postgres.NewLog(pool)
	appender, err := command.NewAppender(events, quiet, command.AppenderConfig{})
	require.NoError(t, err)
	w := &world{owner: model.PoolWith(t, postgres.PoolConfig{MaxConns: 2})}
	w.commands, err = command.New(command.Deps{Log: events, Claims: events, Appender: appender, Codec: eventlog.NewCodec(), Keys: keyring, Now: time.Now}, command.Config{})
	require.NoError(t, err)
	t.Cleanup(w.commands.Close)
	carrier, err := relay.New(relay.Deps{
		Leases: postgres.NewLeases(pool), Sequence: postgres.NewSequencer(pool), Checkpoints: postgres.NewCheckpoints(pool),
		Log: events, Feed: deaf{}, Logger: quiet,
	}, relay.Config{Holder: prefix})
	require.NoError(t, err)

	store := postgres.NewReadModel(model.Pool(t, postgres.RoleProjector), eventlog.DefaultLanes)
	cache, err := rediscache.NewWriter(rediscache.Config{URL: redisURL(t), Prefix: prefix, Logger: quiet})
	require.NoError(t, err)
	t.Cleanup(func() { _ = cache.Close() })
	w.sweeping, err = projection.New(projection.Deps{
		Log: postgres.NewLog(log.Pool(t, postgres.RoleProjector)), Codec: eventlog.NewCodec(), Keyring: keyring,
		Store: store, Ledger: store, Cache: cache, Logger: quiet,
		Notices: postgres.NewLog(log.Pool(t, postgres.RoleProjector)), Events: store,
	}, projection.Config{Sweep: 20 * time.Millisecond, Heartbeat: 50 * time.Millisecond})
	require.NoError(t, err)

	w.app, err = newApp(t.Context(), parsed(t, append([]string{
		"--addr=127.0.0.1:0", "--auth-mode=dev", "--readmodel-database-url=" + model.URL, "--redis-url=" + redisURL(t),
		"--redis-prefix=" + prefix, "--drain-delay=0s", "--pool=4",
	}, settings...)...), quiet)
	require.NoError(t, err)
	start(t, append([]lifecycle.Service{appender, carrier, w.sweeping}, w.app.services...)...)
	w.Client = httpapitest.New(t, "http://"+w.app.server.Addr().String())
	eventually(t, func() bool { return w.Do(t, "GET", "/readyz", "").StatusCode == 200 })
	return w
}

func start(t *testing.T, services ...lifecycle.Service) {
	t.Helper()
	for _, s := range services {
		require.NoError(t, s.Start(context.WithoutCancel(t.Context())))
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			defer cancel()
			require.NoError(t, s.Stop(ctx))
		})
	}
}

func eventually(t *testing.T, done func() bool) {
	t.Helper()
	require.Eventually(t, done, 15*time.Second, 20*time.Millisecond)
}

func parsed(t *testing.T, args ...string) config.QueryServe {
	t.Helper()
	var cli struct {
		Serve config.QueryServe `cmd:""`
	}
	var out bytes.Buffer
	_, err := config.Parse(&cli, "query-api", "", append([]string{"serve"}, args...), &out)
	require.NoError(t, err)
	return cli.Serve
}

func (w *world) register(t *testing.T) (customer.Data, string) {
	t.Helper()
	email, err := customer.ParseEmail("u" + uuid.NewString() + "@example.com")
	require.NoError(t, err)
	r, err := w.commands.Register(t.Context(), command.Request{Principal: "dev", SuccessStatus: 201}, customer.Registration{FirstName: "Ada", Email: email})
	require.NoError(t, err)
	return r.Data, token(r.Data)
}

func token(d customer.Data) string {
	return eventlog.Token{CustomerID: d.ID, Version: d.Version}.String()
}

func TestMain(m *testing.M) {
	// What the developer's shell has set is no part of what is tested here.
	for _, name := range []string{"AUTH_MODE", "REDIS_PREFIX", "LOG_LEVEL", "LOG_FORMAT", "QUERY_API_ADDR", "DEFAULT_WAIT"} {
		_ = os.Unsetenv(name)
	}
	os.Exit(m.Run())
}
