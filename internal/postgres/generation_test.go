package postgres_test

import (
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/internal/postgres"
	"github.com/ebrahem-outlook/customer-service/internal/postgres/postgrestest"
)

// TestEveryTableIsDerivedOrKept: a table that a migration adds is either made
// anew by a rebuild, or kept for a reason.
func TestEveryTableIsDerivedOrKept(t *testing.T) {
	t.Parallel()
	want := append(postgres.DerivedTables(),
		"cache_state", "cursor_key", "heartbeat", // of the service as a whole
		"checkpoints", "generations", "rebuild", "rebuild_parts", "passed_over", // how far applying and rebuilding are
		"events", "events_checkpoint", // the feed that clients follow: their cursors hold across rebuilds
		"listing_state",     // that listing is complete, which a rebuild sets
		"schema_migrations", // of the migrations
	)
	conn, err := pgx.Connect(t.Context(), postgrestest.ReadModel(t).URL)
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close(t.Context())) }()
	rows, err := conn.Query(t.Context(), `SELECT relname FROM pg_class WHERE relnamespace = 'readmodel'::regnamespace AND relkind IN ('r', 'p', 'm', 'v')`)
	require.NoError(t, err)
	have, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	require.ElementsMatch(t, want, have, "a new table belongs into derivedTables if the projection fills it, or here")
}
