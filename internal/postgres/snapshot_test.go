package postgres_test

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
	"github.com/ebrahem-outlook/customer-service/internal/postgres"
	"github.com/ebrahem-outlook/customer-service/internal/postgres/postgrestest"
)

var thisFold = eventlog.FoldHash{1}

// stream appends a customer with n events.
func stream(t *testing.T, log *postgres.Log, n int) eventlog.Append {
	t.Helper()
	item := registration()
	for v := 1; ; v++ {
		outcomes, err := log.AppendBatch(t.Context(), []eventlog.Append{item})
		require.NoError(t, err)
		require.Equal(t, eventlog.Appended, outcomes[0].Verdict)
		if v == n {
			return item
		}
		item = following(item)
	}
}

func snapshotAt(id customer.ID, version customer.Version, state string) eventlog.Snapshot {
	return eventlog.Snapshot{CustomerID: id, Version: version, Fold: thisFold, State: []byte(state)}
}

func TestSnapshots(t *testing.T) {
	t.Parallel()
	db := postgrestest.EventLog(t)
	log := postgres.NewLog(db.PoolWith(t, postgres.PoolConfig{Role: postgres.RoleCommand, MaxConns: 8}))
	last := stream(t, log, 4)
	id, ctx := last.CustomerID, t.Context()
	load := func(t *testing.T, fold eventlog.FoldHash) (*eventlog.Snapshot, eventlog.Stream) {
		t.Helper()
		snapshot, s, err := log.LoadFolded(ctx, id, fold)
		require.NoError(t, err)
		require.EqualValues(t, 4, s.Version)
		require.NotNil(t, s.Key)
		return snapshot, s
	}

	snapshot, s := load(t, thisFold)
	require.Nil(t, snapshot)
	whole, err := log.Load(ctx, id, 0)
	require.NoError(t, err)
	require.Equal(t, whole, s, "without a snapshot it is Load")

	require.NoError(t, log.SaveSnapshot(ctx, snapshotAt(id, 2, "two")))
	snapshot, s = load(t, thisFold)
	require.Equal(t, snapshotAt(id, 2, "two"), *snapshot)
	require.Equal(t, whole.Events[2:], s.Events)
	snapshot, s = load(t, eventlog.FoldHash{2})
	require.Nil(t, snapshot, "another fold's does not count")
	require.Equal(t, whole, s)

	require.NoError(t, log.SaveSnapshot(ctx, snapshotAt(id, 4, "four")))
	require.NoError(t, log.SaveSnapshot(ctx, snapshotAt(id, 3, "late")))
	snapshot, s = load(t, thisFold)
	require.Equal(t, snapshotAt(id, 4, "four"), *snapshot, "a later one stays")
	require.Empty(t, s.Events)
	require.NoError(t, log.SaveSnapshot(ctx, snapshotAt(id, 4, "again")))
	snapshot, _ = load(t, thisFold)
	require.Equal(t, "again", string(snapshot.State), "one of the same version is replaced")

	other := snapshotAt(id, 1, "other")
	other.Fold = eventlog.FoldHash{2}
	require.NoError(t, log.SaveSnapshot(ctx, other))
	snapshot, _ = load(t, eventlog.FoldHash{2})
	require.Equal(t, other, *snapshot, "another fold's is replaced by an earlier one")

	require.NoError(t, log.SaveSnapshot(ctx, snapshotAt(id, 5, "beyond")))
	snapshot, s = load(t, thisFold)
	require.Nil(t, snapshot, "one beyond the stream's end does not count")
	require.Equal(t, whole, s)

	snapshot, s, err = log.LoadFolded(ctx, customer.ID{1}, thisFold)
	require.NoError(t, err)
	require.Nil(t, snapshot)
	require.Equal(t, eventlog.Stream{}, s)
	require.NoError(t, log.SaveSnapshot(ctx, snapshotAt(customer.ID{1}, 1, "nobody")))
	require.EqualValues(t, 1, countRows(t, db)["snapshots"])
}

// However an erasure and the writing of a snapshot meet, nothing of it stays.
func TestErasureLeavesNoSnapshot(t *testing.T) {
	t.Parallel()
	db := postgrestest.EventLog(t)
	log := postgres.NewLog(db.PoolWith(t, postgres.PoolConfig{Role: postgres.RoleCommand, MaxConns: 16}))
	var meetings sync.WaitGroup
	for range 30 {
		erasure := following(stream(t, log, 2))
		erasure.DestroyKey = true
		if err := log.SaveSnapshot(t.Context(), snapshotAt(erasure.CustomerID, 1, "one")); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			meetings.Go(func() {
				if err := log.SaveSnapshot(t.Context(), snapshotAt(erasure.CustomerID, 2, "two")); err != nil {
					t.Error(err)
				}
			})
		}
		meetings.Go(func() {
			outcomes, err := log.AppendBatch(t.Context(), []eventlog.Append{erasure})
			if err != nil || outcomes[0].Verdict != eventlog.Appended {
				t.Errorf("%v, %v", outcomes, err)
			}
		})
		meetings.Wait()
	}
	require.Zero(t, countRows(t, db)["snapshots"])
}
