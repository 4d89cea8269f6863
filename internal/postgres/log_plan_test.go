package postgres_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
	"github.com/ebrahem-outlook/customer-service/internal/postgres"
	"github.com/ebrahem-outlook/customer-service/internal/postgres/postgrestest"
)

// TestNothingReadsWholeTables counts sequential scans. The append is planned
// while the tables are empty, which is when the planner would choose them.
func TestNothingReadsWholeTables(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	db := postgrestest.EventLog(t)
	owner := db.Pool(t, "")
	pool := db.PoolWith(t, postgres.PoolConfig{Role: postgres.RoleCommand, MaxConns: 1}) // one session, whose statistics are flushed below
	log := postgres.NewLog(pool)

	var items []eventlog.Append
	for range 30 {
		batch := make([]eventlog.Append, 64)
		for i := range batch {
			batch[i] = registration()
		}
		_, err := log.AppendBatch(ctx, batch)
		require.NoError(t, err)
		items = append(items, batch...)
	}
	appendEveryWay(t, log, items)
	require.Zero(t, wholeTableReads(t, pool))

	_, err := owner.Exec(ctx, sequenceAll)
	require.NoError(t, err)
	_, err = owner.Exec(ctx, "ANALYZE")
	require.NoError(t, err)
	before := wholeTableReads(t, owner)
	for range 8 { // beyond the point where PostgreSQL turns to a generic plan
		readEveryWay(t, log, items)
	}
	require.Equal(t, before, wholeTableReads(t, pool))
}

// appendEveryWay reaches every statement of append_batch.
func appendEveryWay(t *testing.T, log *postgres.Log, items []eventlog.Append) {
	t.Helper()
	replayed, stale, taken := registration(), following(items[1]), registration()
	replayed.Idempotency.Key = items[0].Idempotency.Key
	stale.Expected, stale.Events[0].Version = 7, 8
	taken.Take = items[2].Take
	moved, erased := following(items[3]), following(items[4])
	erased.DestroyKey = true
	batch := []eventlog.Append{items[5], replayed, stale, taken, moved, erased}
	outcomes, err := log.AppendBatch(context.Background(), batch)
	require.NoError(t, err)
	var verdicts []eventlog.Verdict
	for _, o := range outcomes {
		verdicts = append(verdicts, o.Verdict)
	}
	require.Equal(t, []eventlog.Verdict{
		eventlog.Appended, eventlog.Replayed, eventlog.Conflicted, eventlog.ClaimTaken, eventlog.Appended, eventlog.Appended,
	}, verdicts)
}

func readEveryWay(t *testing.T, log *postgres.Log, items []eventlog.Append) {
	t.Helper()
	ctx, id := context.Background(), items[0].CustomerID
	_, err := log.Load(ctx, id, 0)
	require.NoError(t, err)
	_, err = log.FindIdempotency(ctx, "bench", items[0].Idempotency.Key)
	require.NoError(t, err)
	_, err = log.Head(ctx)
	require.NoError(t, err)
	_, err = log.LaneHeads(ctx)
	require.NoError(t, err)
	_, err = log.ReadLane(ctx, 3, 100, 0, 20)
	require.NoError(t, err)
	_, err = log.ReadLane(ctx, 3, 100, 200, 20)
	require.NoError(t, err)
	_, err = log.ReadStream(ctx, id, 0, 20)
	require.NoError(t, err)
	_, err = log.Keys(ctx, []customer.ID{id})
	require.NoError(t, err)
	_, err = log.SweepIdempotency(ctx, time.Hour)
	require.NoError(t, err)
}

func wholeTableReads(t *testing.T, session *pgxpool.Pool) int64 {
	t.Helper()
	ctx := context.Background()
	_, err := session.Exec(ctx, "SELECT pg_stat_force_next_flush()")
	require.NoError(t, err)
	var n int64
	require.NoError(t, session.QueryRow(ctx, `
		SELECT sum(seq_scan)::bigint FROM pg_stat_user_tables
		 WHERE schemaname = 'eventlog' AND relname IN ('streams', 'events', 'claims', 'subject_keys', 'idempotency', 'positions')`).Scan(&n))
	return n
}
