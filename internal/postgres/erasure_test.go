package postgres_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
	"github.com/ebrahem-outlook/customer-service/internal/postgres"
	"github.com/ebrahem-outlook/customer-service/internal/postgres/postgrestest"
	"github.com/ebrahem-outlook/customer-service/internal/privacy/erasures"
)

func count(t *testing.T, pool *pgxpool.Pool, sql string, args ...any) (n int) {
	t.Helper()
	require.NoError(t, pool.QueryRow(t.Context(), sql, args...).Scan(&n), sql)
	return n
}

func listOf(items ...eventlog.Append) (list []erasures.Erasure) {
	for _, item := range items {
		list = append(list, erasures.Erasure{
			CustomerID: item.CustomerID, Version: 9, ErasedAt: time.Now().UTC().Add(time.Hour).Truncate(time.Microsecond),
			Actor: "privacy-desk", Reason: "request 4711", KeyID: "k",
		})
	}
	return list
}

func TestReplayErasesOnceAndForAll(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	db := postgrestest.EventLog(t)
	log := postgres.NewErasures(db.Pool(t, postgres.RoleCommand))
	owner := db.Pool(t, "")
	var listed []eventlog.Append
	for range 450 { // more than two batches
		listed = append(listed, registration())
	}
	living := registration()
	for _, batch := range [][]eventlog.Append{listed, {living}} {
		_, err := log.AppendBatch(ctx, batch)
		require.NoError(t, err)
	}
	_, err := owner.Exec(ctx, `INSERT INTO eventlog.snapshots SELECT customer_id, 1, 'x', 'x' FROM eventlog.streams ON CONFLICT DO NOTHING`)
	require.NoError(t, err)
	claimed := count(t, owner, `SELECT count(*) FROM eventlog.claims`)
	list := append(listOf(listed...), listOf(registration())...) // the last one is younger than the backup

	done := 0
	s, err := erasures.Replay(ctx, log, eventlog.NewCodec(), list, func(n, total int) {
		require.Greater(t, n, done)
		require.Equal(t, len(list), total)
		done = n
	})
	require.NoError(t, err)
	require.Equal(t, erasures.Summary{Listed: 451, Erased: 450, Unknown: 1}, s)
	require.Equal(t, len(list), done)
	for _, table := range []string{"subject_keys", "snapshots"} {
		require.Equal(t, 1, count(t, owner, `SELECT count(*) FROM eventlog.`+table), table)
	}
	require.Equal(t, claimed/451, count(t, owner, `SELECT count(*) FROM eventlog.claims`), "only the living one's")
	require.Equal(t, 450, count(t, owner, `SELECT count(*) FROM eventlog.events
		WHERE type = 'customer.erased' AND version = 2 AND personal IS NULL AND metadata->>'correlation_id' = 'erasures-replay'`))

	s, err = erasures.Replay(ctx, log, eventlog.NewCodec(), list, func(int, int) {})
	require.NoError(t, err)
	require.Equal(t, erasures.Summary{Listed: 451, Already: 450, Unknown: 1}, s, "twice is once")

	// A table of keys from an older backup than the events.
	_, err = owner.Exec(ctx, `INSERT INTO eventlog.subject_keys VALUES ($1, 'x', 'k')`, listed[0].CustomerID)
	require.NoError(t, err)
	s, err = erasures.Replay(ctx, log, eventlog.NewCodec(), nil, func(int, int) {})
	require.NoError(t, err)
	require.Equal(t, erasures.Summary{Purged: 1}, s)
	require.Equal(t, 1, count(t, owner, `SELECT count(*) FROM eventlog.subject_keys`))

	// What is exported is what was replayed.
	var again []erasures.Erasure
	require.NoError(t, log.Each(ctx, eventlog.NewCodec(), func(e erasures.Erasure) error { again = append(again, e); return nil }))
	require.Len(t, again, 450)
	for i := range list {
		list[i].Version = 2
	}
	require.ElementsMatch(t, list[:450], again)
}

// An erasure whose transaction began before a look and ended after it is seen
// by the next.
func TestErasedSinceLeavesNobodyOut(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	db := postgrestest.EventLog(t)
	pool := db.Pool(t, postgres.RoleCommand)
	log := postgres.NewErasures(pool)
	early, late := registration(), registration()
	_, err := log.AppendBatch(ctx, []eventlog.Append{early, late})
	require.NoError(t, err)
	slow, err := db.Pool(t, "").Begin(ctx)
	require.NoError(t, err)
	_, err = slow.Exec(ctx, `
		INSERT INTO eventlog.events (customer_id, version, event_id, type, schema_version, slot, data, metadata, recorded_at)
		VALUES ($1, 2, gen_random_uuid(), 'customer.erased', 1, 0, '{}', '{}', now())`, late.CustomerID)
	require.NoError(t, err)

	ids, mark, err := log.ErasedSince(ctx, 0)
	require.NoError(t, err)
	require.Empty(t, ids)
	require.Positive(t, mark)
	_, err = erasures.Replay(ctx, log, eventlog.NewCodec(), listOf(early), func(int, int) {})
	require.NoError(t, err)
	ids, mark, err = log.ErasedSince(ctx, mark)
	require.NoError(t, err)
	require.Contains(t, ids, early.CustomerID)
	require.NoError(t, slow.Commit(ctx))
	ids, _, err = log.ErasedSince(ctx, mark)
	require.NoError(t, err)
	require.Contains(t, ids, late.CustomerID)
}

func TestRewrapKeepsErasuresAndOthersChanges(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	db := postgrestest.EventLog(t)
	log := postgres.NewErasures(db.Pool(t, postgres.RoleCommand))
	keys, owner := postgres.NewSubjectKeys(db.Pool(t, postgres.RoleCommand)), db.Pool(t, "")
	items := []eventlog.Append{registration(), registration(), registration(), registration()}
	_, err := log.AppendBatch(ctx, items)
	require.NoError(t, err)
	old := items[0].NewKey.KEK
	read, err := keys.NotUnder(ctx, "new", uuid.Nil, 10)
	require.NoError(t, err)
	require.Len(t, read, 4)
	erased, moved, locked, free := read[0], read[1], read[2], read[3]
	for i := range items {
		if items[i].CustomerID == erased.CustomerID {
			_, err = erasures.Replay(ctx, log, eventlog.NewCodec(), listOf(items[i]), func(int, int) {})
			require.NoError(t, err)
		}
	}
	_, err = owner.Exec(ctx, `UPDATE eventlog.subject_keys SET wrapped_key = 'other', kek = 'other' WHERE customer_id = $1`, moved.CustomerID)
	require.NoError(t, err)
	busy, err := owner.Begin(ctx)
	require.NoError(t, err)
	defer func() { _ = busy.Rollback(ctx) }()
	_, err = busy.Exec(ctx, `DELETE FROM eventlog.subject_keys WHERE customer_id = $1`, locked.CustomerID)
	require.NoError(t, err)

	wrapped := [][]byte{[]byte("n0"), []byte("n1"), []byte("n2"), []byte("n3")}
	n, err := keys.Rewrap(ctx, read, wrapped, "new")
	require.NoError(t, err)
	require.EqualValues(t, 1, n)
	require.NoError(t, busy.Rollback(ctx))
	uses, err := keys.Count(ctx)
	require.NoError(t, err)
	require.Equal(t, map[string]int64{"new": 1, "other": 1, old: 1}, uses)
	stream, err := log.Load(ctx, free.CustomerID, 0)
	require.NoError(t, err)
	require.Equal(t, &eventlog.WrappedKey{Wrapped: []byte("n3"), KEK: "new"}, stream.Key)
	for role, may := range map[string]bool{postgres.RoleCommand: true, postgres.RoleProjector: false, postgres.RoleQuery: false} {
		_, err := postgres.NewSubjectKeys(db.Pool(t, role)).Rewrap(ctx, nil, nil, "x")
		require.Equal(t, may, err == nil, role)
	}
}

func TestARetiredKeyWrapsNothingMore(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	db := postgrestest.EventLog(t)
	log := postgres.NewLog(db.Pool(t, postgres.RoleCommand))
	keys := postgres.NewSubjectKeys(db.Pool(t, postgres.RoleCommand))
	using := registration()
	using.NewKey.KEK = "used"
	_, err := log.AppendBatch(ctx, []eventlog.Append{using})
	require.NoError(t, err)
	used, err := keys.Retire(ctx, "used")
	require.NoError(t, err)
	require.EqualValues(t, 1, used, "refused")

	// A registration under way when the key is retired counts.
	slow, err := db.Pool(t, "").Begin(ctx)
	require.NoError(t, err)
	_, err = slow.Exec(ctx, `INSERT INTO eventlog.subject_keys VALUES (gen_random_uuid(), 'x', 'unused')`)
	require.NoError(t, err)
	retired := make(chan error, 1)
	var found int64
	go func() {
		var err error
		found, err = keys.Retire(ctx, "unused")
		retired <- err
	}()
	require.Eventually(t, func() bool {
		return count(t, db.Pool(t, ""), `SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'eventlog.subject_keys'::regclass`) == 1
	}, 10*time.Second, 5*time.Millisecond)
	require.NoError(t, slow.Commit(ctx))
	require.NoError(t, <-retired)
	require.EqualValues(t, 1, found)

	used, err = keys.Retire(ctx, "old")
	require.NoError(t, err)
	require.Zero(t, used)
	late, other := registration(), registration()
	late.NewKey.KEK, other.NewKey.KEK = "old", "unused"
	outcomes, err := log.AppendBatch(ctx, []eventlog.Append{late, other})
	require.NoError(t, err)
	require.Equal(t, eventlog.Refused, outcomes[0].Verdict, "rather than lost")
	require.Equal(t, eventlog.Appended, outcomes[1].Verdict)
}

// Statistics would keep values that an erasure cannot reach.
func TestStatisticsKeepNoKeysAndNoValues(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	db, model := postgrestest.EventLog(t), postgrestest.ReadModel(t)
	log, owner, reads := postgres.NewLog(db.Pool(t, postgres.RoleCommand)), db.Pool(t, ""), model.Pool(t, "")
	var items []eventlog.Append
	for range 50 {
		items = append(items, registration())
	}
	_, err := log.AppendBatch(ctx, items)
	require.NoError(t, err)
	_, err = reads.Exec(ctx, `INSERT INTO readmodel.history (customer_id, version, position, type, at, changes)
		SELECT gen_random_uuid(), 1, n, 't', now(), jsonb_build_array('canary' || n % 3) FROM generate_series(1, 100) n`)
	require.NoError(t, err)
	_, err = reads.Exec(ctx, `INSERT INTO readmodel.documents (customer_id, version, position, slot, status, document, created_at, updated_at)
		SELECT gen_random_uuid(), 1, n, 0, 'active', json_build_array('canary' || n % 3), now(), now() FROM generate_series(1, 100) n`)
	require.NoError(t, err)
	for _, pool := range []*pgxpool.Pool{owner, reads} {
		_, err := pool.Exec(ctx, "ANALYZE")
		require.NoError(t, err)
	}
	require.Zero(t, count(t, owner, `SELECT count(*) FROM pg_stats WHERE schemaname = 'eventlog' AND attname = 'wrapped_key'`))
	require.NotZero(t, count(t, owner, `SELECT count(*) FROM pg_stats WHERE schemaname = 'eventlog' AND tablename = 'subject_keys'`))
	var kept string
	require.NoError(t, reads.QueryRow(ctx, `SELECT coalesce(string_agg(s::text, ''), '') FROM pg_stats s WHERE schemaname = 'readmodel'`).Scan(&kept))
	require.NotEmpty(t, kept)
	require.False(t, strings.Contains(kept, "canary"), kept)
}
