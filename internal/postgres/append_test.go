package postgres_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
	"github.com/ebrahem-outlook/customer-service/internal/postgres"
	"github.com/ebrahem-outlook/customer-service/internal/postgres/postgrestest"
)

// TestValuesThatPostgresRefuses puts each into a batch of sound items, and
// expects the sound ones to land and nobody to quote the value.
func TestValuesThatPostgresRefuses(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	db := postgrestest.EventLog(t)
	log := postgres.NewLog(db.Pool(t, postgres.RoleCommand))
	for name, spoil := range map[string]func(*eventlog.Append){
		"NUL in JSON":            func(a *eventlog.Append) { a.Events[0].Data = json.RawMessage(`{"canary":"\u0000"}`) },
		"half a surrogate":       func(a *eventlog.Append) { a.Events[0].Data = json.RawMessage(`{"canary":"\ud800"}`) },
		"a number beyond all":    func(a *eventlog.Append) { a.Events[0].Data = json.RawMessage(`{"canary":1e200000}`) },
		"no JSON":                func(a *eventlog.Append) { a.Events[0].Data = json.RawMessage(`canary`) },
		"no data":                func(a *eventlog.Append) { a.Events[0].Data = nil },
		"NUL in metadata":        func(a *eventlog.Append) { a.Events[0].Metadata.CorrelationID = "canary\x00" },
		"NUL in a key":           func(a *eventlog.Append) { a.Idempotency.Key = "canary\x00" },
		"no UTF-8":               func(a *eventlog.Append) { a.Idempotency.Key = "canary\xff" },
		"too long for an index":  func(a *eventlog.Append) { a.Idempotency.Principal = "canary" + incompressible(20_000) },
		"a wrapped key of nil":   func(a *eventlog.Append) { a.NewKey.Wrapped = nil },
		"a key where one exists": func(a *eventlog.Append) { strayKey(t, db, a) },
	} {
		batch := []eventlog.Append{registration(), registration(), registration()}
		spoil(&batch[1])
		outcomes, err := log.AppendBatch(ctx, batch)
		require.NoError(t, err, name)
		require.Equal(t, eventlog.Outcome{Version: 1}, outcomes[0], name)
		require.Equal(t, eventlog.Refused, outcomes[1].Verdict, name)
		require.NotContains(t, outcomes[1].Err.Error(), "canary", name)
		require.Equal(t, eventlog.Outcome{Version: 1}, outcomes[2], name)
		stream, err := log.Load(ctx, batch[1].CustomerID, 0)
		require.NoError(t, err)
		require.Zero(t, stream.Version, name)
	}
}

func incompressible(n int) string {
	var b strings.Builder
	for b.Len() < n {
		b.WriteString(registration().CustomerID.String())
	}
	return b.String()[:n]
}

// strayKey stores a key for a customer that has no events, which only a fault
// elsewhere could have left.
func strayKey(t *testing.T, db postgrestest.Database, a *eventlog.Append) {
	t.Helper()
	_, err := db.Pool(t, "").Exec(context.Background(),
		"INSERT INTO eventlog.subject_keys (customer_id, wrapped_key, kek) VALUES ($1, 'x', 'x')", a.CustomerID)
	require.NoError(t, err)
}

// TestIdsRiseWithTheOrderOfTheBatch: the sequencer orders by id, and a
// customer's events must come out in the order of their versions.
func TestIdsRiseWithTheOrderOfTheBatch(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	db := postgrestest.EventLog(t)
	log := postgres.NewLog(db.Pool(t, postgres.RoleCommand))
	batch := make([]eventlog.Append, 40)
	for i := range batch {
		batch[i] = registration()
		second := batch[i].Events[0]
		second.EventID, second.Version = registration().CustomerID, 2
		batch[i].Events = append(batch[i].Events, second)
	}
	_, err := log.AppendBatch(ctx, batch)
	require.NoError(t, err)
	rows, err := db.Pool(t, "").Query(ctx, "SELECT event_id FROM eventlog.events ORDER BY id")
	require.NoError(t, err)
	got, err := pgx.CollectRows(rows, pgx.RowTo[[16]byte])
	require.NoError(t, err)
	var want [][16]byte
	for _, item := range batch {
		want = append(want, item.Events[0].EventID, item.Events[1].EventID)
	}
	require.Equal(t, want, got)
}

// TestLosersLeaveNoRows looks into the tables, where the ports do not reach.
func TestLosersLeaveNoRows(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	db := postgrestest.EventLog(t)
	log := postgres.NewLog(db.Pool(t, postgres.RoleCommand))
	winner := registration()
	_, err := log.AppendBatch(ctx, []eventlog.Append{winner})
	require.NoError(t, err)
	before := countRows(t, db)

	taken, stale, replayed := registration(), following(winner), registration()
	taken.Take = append(taken.Take, winner.Take...)
	stale.Expected, stale.Events[0].Version, stale.Free = 5, 6, nil
	replayed.Idempotency.Key = winner.Idempotency.Key
	outcomes, err := log.AppendBatch(ctx, []eventlog.Append{taken, stale, replayed})
	require.NoError(t, err)
	require.Equal(t, eventlog.ClaimTaken, outcomes[0].Verdict)
	require.Equal(t, eventlog.Conflicted, outcomes[1].Verdict)
	require.Equal(t, eventlog.Replayed, outcomes[2].Verdict)
	require.Equal(t, before, countRows(t, db))
	require.Equal(t, int64(1), before["events"])
}

func countRows(t *testing.T, db postgrestest.Database) map[string]int64 {
	t.Helper()
	counts := map[string]int64{}
	pool := db.Pool(t, "")
	for _, table := range []string{"streams", "events", "claims", "subject_keys", "idempotency", "snapshots"} {
		var n int64
		require.NoError(t, pool.QueryRow(context.Background(), "SELECT count(*) FROM eventlog."+table).Scan(&n))
		counts[table] = n
	}
	return counts
}
