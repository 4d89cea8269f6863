package postgres_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
	"github.com/ebrahem-outlook/customer-service/internal/postgres"
	"github.com/ebrahem-outlook/customer-service/internal/postgres/postgrestest"
)

// TestEventsAreFacts: no process may change an event, and the owner is kept
// from doing so by accident.
func TestEventsAreFacts(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	db := postgrestest.EventLog(t)
	_, err := postgres.NewLog(db.Pool(t, postgres.RoleCommand)).AppendBatch(ctx, []eventlog.Append{registration()})
	require.NoError(t, err)
	for _, role := range []string{postgres.RoleCommand, postgres.RoleProjector, postgres.RoleQuery, ""} {
		pool := db.Pool(t, role)
		for _, statement := range []string{
			"UPDATE eventlog.events SET type = type",
			"UPDATE eventlog.events SET type = type WHERE false",
			"DELETE FROM eventlog.events",
			"TRUNCATE eventlog.events",
			"MERGE INTO eventlog.events e USING (SELECT 1) AS one ON true WHEN MATCHED THEN DELETE",
		} {
			requireDenied(t, role+": "+statement, func() error { _, err := pool.Exec(ctx, statement); return err })
		}
	}
}

func TestProcessesHaveTheRightsTheyNeed(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	db := postgrestest.EventLog(t)
	command, projector, query := db.Pool(t, postgres.RoleCommand), db.Pool(t, postgres.RoleProjector), db.Pool(t, postgres.RoleQuery)
	item := registration()
	_, err := postgres.NewLog(command).AppendBatch(ctx, []eventlog.Append{item})
	require.NoError(t, err)

	reader := postgres.NewLog(projector)
	_, err = reader.Load(ctx, item.CustomerID, 0)
	require.NoError(t, err)
	_, err = reader.LaneHeads(ctx)
	require.NoError(t, err)
	requireDenied(t, "append", func() error {
		_, err := reader.AppendBatch(ctx, []eventlog.Append{registration()})
		return err
	})
	for _, statement := range []string{
		"SELECT FROM eventlog.claims", "SELECT FROM eventlog.idempotency",
		"INSERT INTO eventlog.streams VALUES (gen_random_uuid(), 1)", "DELETE FROM eventlog.subject_keys",
	} {
		requireDenied(t, statement, func() error { _, err := projector.Exec(ctx, statement); return err })
	}
	requireDenied(t, "query", func() error { _, err := query.Exec(ctx, "SELECT FROM eventlog.events"); return err })
	requireDenied(t, "command", func() error { _, err := command.Exec(ctx, "UPDATE eventlog.subject_keys SET kek = kek"); return err })
}

func requireDenied(t *testing.T, what string, do func() error) {
	t.Helper()
	var pg *pgconn.PgError
	require.ErrorAs(t, do(), &pg, what)
	require.Equal(t, pgerrcode.InsufficientPrivilege, pg.Code, what)
}

func TestSweepIdempotency(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	db := postgrestest.EventLog(t)
	log := postgres.NewLog(db.Pool(t, postgres.RoleCommand))
	old, recent := registration(), registration()
	_, err := log.AppendBatch(ctx, []eventlog.Append{old, recent})
	require.NoError(t, err)
	owner := db.Pool(t, "")
	_, err = owner.Exec(ctx, "UPDATE eventlog.idempotency SET created_at = now() - interval '25 hours' WHERE key = $1", old.Idempotency.Key)
	require.NoError(t, err)
	_, err = owner.Exec(ctx, `
		INSERT INTO eventlog.idempotency (principal, key, request_digest, customer_id, version, status, command_id, created_at)
		SELECT 'many', n::text, sha256('x'), $1, 1, 200, $1, now() - interval '2 days' FROM generate_series(1, 2500) AS n`, old.CustomerID)
	require.NoError(t, err)

	swept, err := log.SweepIdempotency(ctx, 24*time.Hour)
	require.NoError(t, err)
	require.Equal(t, int64(2501), swept)
	found, err := log.FindIdempotency(ctx, "bench", old.Idempotency.Key)
	require.NoError(t, err)
	require.Nil(t, found)
	found, err = log.FindIdempotency(ctx, "bench", recent.Idempotency.Key)
	require.NoError(t, err)
	require.NotNil(t, found)
}
