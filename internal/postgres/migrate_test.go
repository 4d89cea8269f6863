package postgres_test

import (
	"context"
	"log/slog"
	"testing"
	"testing/fstest"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/ebrahem-outlook/customer-service/internal/postgres"
	"github.com/ebrahem-outlook/customer-service/internal/postgres/postgrestest"
	"github.com/ebrahem-outlook/customer-service/migrations"
)

func TestMigrateAtOnceAppliesOnce(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	// Two databases of one cluster, so that the roles race too.
	databases := []postgrestest.Database{postgrestest.Empty(t), postgrestest.Empty(t)}
	var together errgroup.Group
	for _, db := range databases {
		for range 3 {
			together.Go(func() error {
				return postgres.Migrate(ctx, db.URL, migrations.EventLog(), slog.New(slog.DiscardHandler))
			})
		}
	}
	require.NoError(t, together.Wait())

	for _, db := range databases {
		var most int
		require.NoError(t, db.Pool(t, "").QueryRow(ctx,
			`SELECT max(n) FROM (SELECT count(*) AS n FROM eventlog.schema_migrations GROUP BY version_id) AS per_version`).Scan(&most))
		require.Equal(t, 1, most)
		require.NoError(t, postgres.CheckVersion(ctx, db.Pool(t, postgres.RoleCommand), migrations.EventLog()))
	}
}

func TestCheckVersionTellsAnOlderSchema(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	future := migrations.Set{Schema: "eventlog", FS: fstest.MapFS{"99999_future.sql": {Data: []byte("-- +goose Up\nSELECT 1;\n")}}}

	var behind *postgres.BehindError
	require.ErrorAs(t, postgres.CheckVersion(ctx, postgrestest.Empty(t).Pool(t, ""), future), &behind)
	require.Equal(t, postgres.BehindError{Schema: "eventlog", Have: 0, Want: 99999}, *behind)
	// Nor are there roles in a cluster where nothing was ever migrated.
	require.ErrorAs(t, postgres.CheckVersion(ctx, postgrestest.Empty(t).Pool(t, "customer_that_no_migration_made"), future), &behind)
	require.Equal(t, postgres.BehindError{Schema: "eventlog", Have: 0, Want: 99999}, *behind)

	pool := postgrestest.EventLog(t).Pool(t, postgres.RoleCommand)
	require.ErrorAs(t, postgres.CheckVersion(ctx, pool, future), &behind)
	require.Positive(t, behind.Have)
	require.Equal(t, int64(99999), behind.Want)
}

func TestSessionSettings(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	db := postgrestest.EventLog(t)
	owner := db.Pool(t, "")
	_, err := owner.Exec(ctx, `DO $$ BEGIN 
		EXECUTE format('ALTER DATABASE %I SET synchronous_commit = off', current_database());
		EXECUTE format('ALTER DATABASE %I SET default_transaction_isolation = serializable', current_database());
	END $$`)
	require.NoError(t, err)

	rows, err := db.Pool(t, postgres.RoleCommand).Query(ctx, `
		SELECT current_setting(name) FROM unnest(ARRAY['role', 'lock_timeout', 'statement_timeout',
			'idle_in_transaction_session_timeout', 'synchronous_commit', 'transaction_isolation']) AS name`)
	require.NoError(t, err)
	got, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	require.Equal(t, []string{postgres.RoleCommand, "2s", "5s", "10s", "on", "read committed"}, got)
}

func TestOpenPoolRefusesABadConfiguration(t *testing.T) {
	t.Parallel()
	_, err := postgres.OpenPool(context.Background(), postgres.PoolConfig{MaxConns: -1})
	require.ErrorContains(t, err, "URL is empty")
	require.ErrorContains(t, err, "-1 connections")

	_, err = postgres.OpenPool(context.Background(), postgres.PoolConfig{URL: "postgres://ada:secret@host:port/"})
	require.Error(t, err)
	require.NotContains(t, err.Error(), "secret")
}
