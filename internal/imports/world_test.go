package imports_test

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/ebrahem-outlook/customer-service/internal/command"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
	"github.com/ebrahem-outlook/customer-service/internal/httpapi/commandapi"
	"github.com/ebrahem-outlook/customer-service/internal/imports"
	"github.com/ebrahem-outlook/customer-service/internal/postgres"
	"github.com/ebrahem-outlook/customer-service/internal/postgres/postgrestest"
	"github.com/ebrahem-outlook/customer-service/internal/privacy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait of a test; a shared machine is slow at times.
const patience = 30 * time.Second

// world is a log and the write side over it.
type world struct {
	*command.Service
	db   postgrestest.Database
	pool *pgxpool.Pool
}

func newWorld(t testing.TB) *world {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keyring.json")
	require.NoError(t, privacy.InitKeyring(path))
	keys, err := privacy.LoadKeyring(path)
	require.NoError(t, err)
	db := postgrestest.EventLog(t)
	pool := db.PoolWith(t, postgres.PoolConfig{Role: postgres.RoleCommand, MaxConns: 16})
	log := postgres.NewLog(pool)
	appender, err := command.NewAppender(log, slog.New(slog.DiscardHandler), imports.Appending())
	require.NoError(t, err)
	require.NoError(t, appender.Start(t.Context()))
	service, err := command.New(command.Deps{
		Log: log, Claims: log, Appender: appender, Codec: eventlog.NewCodec(), Keys: keys, Now: time.Now,
	}, command.Config{MaxWait: patience})
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		require.NoError(t, appender.Stop(ctx))
		service.Close()
	})
	return &world{Service: service, db: db, pool: pool}
}

func (w *world) importer(t testing.TB, cfg imports.Config) *imports.Importer {
	t.Helper()
	im, err := imports.New(w.Service, commandapi.DecodeLine, cfg)
	require.NoError(t, err)
	return im
}

func (w *world) count(t testing.TB, query string) (n int) {
	t.Helper()
	require.NoError(t, w.pool.QueryRow(t.Context(), query).Scan(&n))
	return n
}

// owner may make tables.
func (w *world) owner(t testing.TB) *pgxpool.Pool { return w.db.Pool(t, "") }

func asking() command.Request { return command.Request{Principal: "tester"} }

// run imports lines and returns a result for each that is not blank.
func (w *world) run(t testing.TB, cfg imports.Config, lines ...string) []imports.Result {
	t.Helper()
	var all []imports.Result
	sum, err := w.importer(t, cfg).Run(t.Context(), imports.NewLines(strings.NewReader(strings.Join(lines, "\n")), 0, 0), asking(),
		func(results []imports.Result) error {
			all = append(all, results...)
			return nil
		})
	require.NoError(t, err)
	require.EqualValues(t, len(all), sum.Lines())
	return all
}

// told is results as text: line, status, version and error.
func told(results []imports.Result) []string {
	out := make([]string, len(results))
	for i, r := range results {
		out[i] = fmt.Sprintf("%d %s %d", r.Line, r.Status, r.Version)
		if r.Err != nil {
			out[i] += " " + r.Err.Error()
		}
	}
	return out
}
