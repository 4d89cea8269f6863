package postgres_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/postgres"
	"github.com/ebrahem-outlook/customer-service/internal/postgres/postgrestest"
	"github.com/ebrahem-outlook/customer-service/internal/query"
)

// longLife makes a customer with n events in the read model, a second apart and
// with a keyframe beside every 32nd, among 20,000 events of others.
const longLife = `
WITH life AS (
     INSERT INTO readmodel.history (customer_id, version, position, type, at, changes, keyframe)
     SELECT $1, v, v, 'customer.renamed', timestamptz '2020-01-01Z' + v * interval '1 second',
            jsonb_build_array(jsonb_build_object('field', 'first_name', 'old', null, 'new', 'Ada ' || v)),
            CASE WHEN v % 32 = 0 THEN json_build_object('id', $1::uuid, 'version', v, 'status', 'active', 'first_name', 'Ada ' || v,
                 'addresses', '[]'::json, 'tags', '[]'::json, 'metadata', '{}'::json, 'consents', '{}'::json,
                 'created_at', '2020-01-01T00:00:01.000000Z', 'updated_at', '2020-01-01T00:00:01.000000Z') END
       FROM generate_series(1, $2::bigint) v),
others AS (
     INSERT INTO readmodel.history (customer_id, version, position, type, at, changes)
     SELECT gen_random_uuid(), 1, i, 'customer.registered', now(), '[]' FROM generate_series(1, 20000) i)
INSERT INTO readmodel.documents (customer_id, version, position, slot, status, document, created_at, updated_at)
VALUES ($1, $2, $2, 0, 'active', '{}', now(), timestamptz '2020-01-01Z' + $2 * interval '1 second')`

// The cost of the past is a look at the customer, 17 halvings at most for a
// time, a keyframe and the changes since, whatever the customer's age: rows
// touched are counted, because time on a busy machine proves nothing.
func TestThePastCostsTheSameAtAnyDepth(t *testing.T) {
	t.Parallel()
	db := postgrestest.ReadModel(t)
	owner := db.Pool(t, "")
	session := db.PoolWith(t, postgres.PoolConfig{Role: postgres.RoleQuery, MaxConns: 1}) // whose statistics are flushed below
	reader := postgres.NewReadModelReader(session)
	young, old := uuid.New(), uuid.New()
	for id, events := range map[customer.ID]int{young: 10, old: 100_000} {
		_, err := owner.Exec(t.Context(), longLife, id, events)
		require.NoError(t, err)
	}
	_, err := owner.Exec(t.Context(), "ANALYZE")
	require.NoError(t, err)

	read := func(id customer.ID, m query.Moment) (rows int, last customer.Version, took time.Duration) {
		begun := time.Now()
		_, err := reader.Past(t.Context(), id, m, func(r query.PastRow) error {
			rows, last = rows+1, r.Version
			return nil
		})
		require.NoError(t, err)
		return rows, last, time.Since(begun)
	}
	var young10, old100k []time.Duration
	for i := range 40 { // beyond the point where PostgreSQL turns to a generic plan
		v := customer.Version(1 + i%9)
		_, last, took := read(young, query.Moment{Version: v})
		require.Equal(t, v, last)
		young10 = append(young10, took)
		v = customer.Version(1 + 2557*i)
		rows, last, took := read(old, query.Moment{Version: v})
		require.Equal(t, v, last)
		require.LessOrEqual(t, rows, 32)
		at := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(v)*time.Second + 300*time.Millisecond)
		rows, last, tookAt := read(old, query.Moment{AsOf: at})
		require.Equal(t, v, last)
		require.LessOrEqual(t, rows, 32)
		old100k = append(old100k, took, tookAt)
	}
	slices.Sort(young10)
	slices.Sort(old100k)
	t.Logf("median of a customer with 10 events: %s, with 100,000: %s", young10[len(young10)/2], old100k[len(old100k)/2])

	scans, rows := historyReads(t, session, owner)
	const reads = 50
	for i := range reads {
		read(old, query.Moment{AsOf: time.Date(2020, 1, 1, 0, 0, 1+i*1999, 0, time.UTC)})
	}
	scansAfter, rowsAfter := historyReads(t, session, owner)
	require.Equal(t, scans, scansAfter, "of the whole table")
	t.Logf("%d rows of history touched by one read as of a time", (rowsAfter-rows)/reads)
	require.LessOrEqual(t, (rowsAfter-rows)/reads, int64(17+32+32), "halvings, the way to the keyframe, the changes since")
}

// historyReads counts what session has read of the history.
func historyReads(t *testing.T, session, owner *pgxpool.Pool) (scans, rows int64) {
	t.Helper()
	_, err := session.Exec(t.Context(), "SELECT pg_stat_force_next_flush()")
	require.NoError(t, err)
	require.NoError(t, owner.QueryRow(t.Context(), `
SELECT seq_scan, idx_tup_fetch FROM pg_stat_user_tables WHERE schemaname = 'readmodel' AND relname = 'history'`).Scan(&scans, &rows))
	return scans, rows
}
