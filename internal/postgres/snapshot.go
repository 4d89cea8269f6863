package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
)

var _ eventlog.SnapshotStore = (*Log)(nil)

// As loadStream. The state comes with the first row only, since a row for each
// event would carry it again; the events are fetched by a loop over at most one
// row, which leaves the planner nothing but their primary key.
const loadFolded = `
SELECT s.version, k.wrapped_key, k.kek,
       p.version, CASE WHEN e.version IS NULL OR e.version = p.version + 1 THEN p.state END,
       e.version, e.event_id, e.type, e.schema_version, e.data, e.personal, e.metadata, e.recorded_at
  FROM eventlog.streams s
  LEFT JOIN eventlog.subject_keys k ON k.customer_id = s.customer_id
  LEFT JOIN eventlog.snapshots p
    ON p.customer_id = s.customer_id AND p.fold_hash = $2 AND p.version <= s.version AND k.customer_id IS NOT NULL
  LEFT JOIN LATERAL (
       SELECT e.version, e.event_id, e.type, e.schema_version, e.data, e.personal, e.metadata, e.recorded_at
         FROM eventlog.events e
        WHERE e.customer_id = s.customer_id AND e.version > coalesce(p.version, 0)
       OFFSET 0) e ON true
 WHERE s.customer_id = $1
 ORDER BY e.version`

// LoadFolded implements eventlog.SnapshotStore.
func (l *Log) LoadFolded(ctx context.Context, id customer.ID, fold eventlog.FoldHash) (*eventlog.Snapshot, eventlog.Stream, error) {
	type row struct {
		loaded
		folded *customer.Version
		state  []byte
	}
	rows, err := collect(ctx, l, "load "+id.String(), loadFolded, func(from pgx.CollectableRow) (r row, err error) {
		err = from.Scan(&r.head, &r.wrapped, &r.kek, &r.folded, &r.state,
			&r.version, &r.event, &r.kind, &r.schema, &r.data, &r.personal, &r.metadata, &r.at)
		return r, err
	}, id, fold[:])
	if err != nil || len(rows) == 0 {
		return nil, eventlog.Stream{}, err
	}
	var snapshot *eventlog.Snapshot
	if first := rows[0]; first.folded != nil {
		snapshot = &eventlog.Snapshot{CustomerID: id, Version: *first.folded, Fold: fold, State: first.state}
	}
	events := make([]loaded, len(rows))
	for i, r := range rows {
		events[i] = r.loaded
	}
	return snapshot, streamOf(id, events), nil
}

// The lock is one that commands on this customer have to wait for, an erasure
// before all, so that none comes between the look at the key and the snapshot.
// It lasts for two statements: nothing is lost when the server forgets the
// snapshot, so its commit waits for no disk.
const (
	saveSnapshotFast = `SET LOCAL synchronous_commit = off`
	saveSnapshotLock = `SELECT FROM eventlog.streams WHERE customer_id = $1 FOR SHARE`
	saveSnapshot     = `
INSERT INTO eventlog.snapshots AS p (customer_id, version, fold_hash, state)
SELECT k.customer_id, $2, $3, $4 FROM eventlog.subject_keys k WHERE k.customer_id = $1
    ON CONFLICT (customer_id) DO UPDATE
   SET version = excluded.version, fold_hash = excluded.fold_hash, state = excluded.state
 WHERE p.version <= excluded.version OR p.fold_hash <> excluded.fold_hash`
)

// SaveSnapshot implements eventlog.SnapshotStore.
func (l *Log) SaveSnapshot(ctx context.Context, s eventlog.Snapshot) error {
	err := pgx.BeginFunc(ctx, l.pool, func(tx pgx.Tx) error {
		var batch pgx.Batch
		batch.Queue(saveSnapshotFast)
		batch.Queue(saveSnapshotLock, s.CustomerID)
		batch.Queue(saveSnapshot, s.CustomerID, int64(s.Version), s.Fold[:], s.State)
		return tx.SendBatch(ctx, &batch).Close()
	})
	if err != nil {
		return logError("save snapshot of "+s.CustomerID.String(), err)
	}
	return nil
}
