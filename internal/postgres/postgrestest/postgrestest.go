// Package postgrestest gives each test a migrated database of its own, cloned
// from a template that is made once per set of migrations. A test that finds
// no server fails.
package postgrestest

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/internal/postgres"
	"github.com/ebrahem-outlook/customer-service/migrations"
)

// Database is one test's own database. It is dropped when the test ends,
// whoever is still connected.
type Database struct {
	URL string
}

// EventLog is a new, empty database with the schema eventlog.
func EventLog(t testing.TB) Database {
	t.Helper()
	return clone(t, "EVENTLOG_DATABASE_URL", migrations.EventLog())
}

// ReadModel is a new, empty database with the schema readmodel.
func ReadModel(t testing.TB) Database {
	t.Helper()
	return clone(t, "READMODEL_DATABASE_URL", migrations.ReadModel())
}

// Empty is a new database on the event log's server without any schema, for
// tests of the migrations themselves.
func Empty(t testing.TB) Database {
	t.Helper()
	return create(t, server(t, "EVENTLOG_DATABASE_URL"), "template1")
}

// Pool connects as one of the roles (or "" for the owner) and closes when the
// test ends.
func (d Database) Pool(t testing.TB, role string) *pgxpool.Pool {
	t.Helper()
	return d.PoolWith(t, postgres.PoolConfig{Role: role})
}

// PoolWith is Pool with everything but the URL given by the test.
func (d Database) PoolWith(t testing.TB, c postgres.PoolConfig) *pgxpool.Pool {
	t.Helper()
	c.URL = d.URL
	if c.MaxConns == 0 {
		c.MaxConns = 8
	}
	pool, err := postgres.OpenPool(context.Background(), c)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	return pool
}

func server(t testing.TB, variable string) string {
	t.Helper()
	u := os.Getenv(variable)
	if u == "" {
		t.Fatalf("%s is not set: run make test (or devstack exec)", variable)
	}
	return u
}

// deadline bounds all set-up of one test; a shared machine is slow at times.
const deadline = time.Minute

func clone(t testing.TB, variable string, set migrations.Set) Database {
	t.Helper()
	u := server(t, variable)
	return create(t, u, template(t, u, set))
}

func create(t testing.TB, server, from string) Database {
	t.Helper()
	var suffix [8]byte
	_, _ = rand.Read(suffix[:]) // never fails
	name := "test_" + hex.EncodeToString(suffix[:])
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	admin := connect(ctx, t, server)
	defer func() { _ = admin.Close(ctx) }()
	_, err := admin.Exec(ctx, fmt.Sprintf("CREATE DATABASE %s TEMPLATE %s", name, from))
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), deadline)
		defer cancel()
		admin := connect(ctx, t, server)
		defer func() { _ = admin.Close(ctx) }()
		_, err := admin.Exec(ctx, fmt.Sprintf("DROP DATABASE IF EXISTS %s WITH (FORCE)", name))
		require.NoError(t, err)
	})
	return Database{URL: withDatabase(t, server, name)}
}

// template returns the name of a migrated database that nobody connects to. It
// is built under another name and renamed when done, so that one cut short is
// never used; packages are tested by several processes at once, hence the lock.
func template(t testing.TB, server string, set migrations.Set) string {
	t.Helper()
	name := "template_" + set.Schema + "_" + fingerprint(t, set)
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	admin := connect(ctx, t, server)
	defer func() { _ = admin.Close(ctx) }()
	if exists(ctx, t, admin, name) {
		return name
	}
	_, err := admin.Exec(ctx, "SELECT pg_advisory_lock(hashtextextended($1, 0))", name) // released with the connection
	require.NoError(t, err)
	if exists(ctx, t, admin, name) {
		return name
	}
	building := name + "_building"
	for _, statement := range []string{
		fmt.Sprintf("DROP DATABASE IF EXISTS %s WITH (FORCE)", building),
		fmt.Sprintf("CREATE DATABASE %s TEMPLATE template1", building),
	} {
		_, err = admin.Exec(ctx, statement)
		require.NoError(t, err)
	}
	require.NoError(t, postgres.Migrate(ctx, withDatabase(t, server, building), set, slog.New(slog.DiscardHandler)))
	rename(ctx, t, admin, building, name)
	return name
}

// rename waits for the migrator's backend: closing a connection does not wait
// for the server to notice, and a database in use cannot be renamed.
func rename(ctx context.Context, t testing.TB, admin *pgx.Conn, from, to string) {
	t.Helper()
	require.Eventually(t, func() bool {
		var busy bool
		err := admin.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = $1)", from).Scan(&busy)
		return err == nil && !busy
	}, deadline, 5*time.Millisecond)
	_, err := admin.Exec(ctx, fmt.Sprintf("ALTER DATABASE %s RENAME TO %s", from, to))
	require.NoError(t, err)
}

func exists(ctx context.Context, t testing.TB, admin *pgx.Conn, name string) bool {
	t.Helper()
	var found bool
	require.NoError(t, admin.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", name).Scan(&found))
	return found
}

func connect(ctx context.Context, t testing.TB, server string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(ctx, server)
	require.NoError(t, err, "is the server of make test (or devstack exec) running?")
	return conn
}

// fingerprint changes with any change of a migration, so that an outdated
// template is never cloned.
func fingerprint(t testing.TB, set migrations.Set) string {
	t.Helper()
	h := sha256.New()
	err := fs.WalkDir(set.FS, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := fs.ReadFile(set.FS, path)
		if err != nil {
			return err
		}
		_, _ = fmt.Fprintf(h, "%s %d\n%s", path, len(content), content) // never fails
		return nil
	})
	require.NoError(t, err)
	return hex.EncodeToString(h.Sum(nil))[:16]
}

func withDatabase(t testing.TB, server, name string) string {
	t.Helper()
	u, err := url.Parse(server)
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(u.Scheme, "postgres"), "the database URL must be a URL, not key=value pairs")
	u.Path = "/" + name
	return u.String()
}
