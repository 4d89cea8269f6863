package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ebrahem-outlook/customer-service/internal/crash"
	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
	"github.com/ebrahem-outlook/customer-service/internal/projection"
	"github.com/ebrahem-outlook/customer-service/internal/query"
)

const (
	insertCheckpoint = `
INSERT INTO readmodel.checkpoints (generation, lane)
SELECT g.generation, $2::smallint FROM readmodel.generations g
 WHERE g.generation = coalesce(nullif($1::integer, 0), (SELECT l.generation FROM readmodel.generations l WHERE l.state = 'live'))
ON CONFLICT DO NOTHING`

	lockCheckpoint = `
SELECT position, cached_position, rewinds FROM readmodel.checkpoints WHERE ` + ofGeneration + ` AND lane = $2 FOR UPDATE`

	selectParkedOf = `
SELECT customer_id, lane, position, version, last_version, type, reason, attempts, since
  FROM readmodel.parked WHERE customer_id = ANY($1)`

	moveCheckpoint = `
UPDATE readmodel.checkpoints SET position = $3, cached_position = $4, rewinds = rewinds + $5
 WHERE ` + ofGeneration + ` AND lane = $2`

	// The guard lets a tombstone over its own version: a customer that is parked
	// loses its values without a new version.
	upsertDocuments = `
INSERT INTO readmodel.documents AS d (customer_id, version, position, slot, status, document,
       status_before_deletion, erasure, created_at, updated_at)
SELECT customer_id, version, position, slot, status, document::json,
       nullif(status_before_deletion, ''), erasure::jsonb, created_at, updated_at
  FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::smallint[], $5::text[], $6::text[], $7::text[], $8::text[],
              $9::timestamptz[], $10::timestamptz[])
       u (customer_id, version, position, slot, status, document, status_before_deletion, erasure, created_at, updated_at)
ON CONFLICT (customer_id) DO UPDATE SET
       version = excluded.version, position = excluded.position, status = excluded.status, document = excluded.document,
       status_before_deletion = excluded.status_before_deletion, erasure = excluded.erasure,
       created_at = excluded.created_at, updated_at = excluded.updated_at
 WHERE d.version < excluded.version OR (d.version = excluded.version AND excluded.status = 'erased')`

	insertHistory = `
INSERT INTO readmodel.history (customer_id, version, position, type, at, actor, correlation_id, changes, keyframe)
SELECT customer_id, version, position, type, at, nullif(actor, ''), nullif(correlation_id, ''), changes::jsonb, keyframe::json
  FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::text[], $5::timestamptz[], $6::text[], $7::text[], $8::text[], $9::text[])
       u (customer_id, version, position, type, at, actor, correlation_id, changes, keyframe)`

	blankHistory = `
UPDATE readmodel.history SET actor = NULL, correlation_id = NULL, changes = '[]', keyframe = NULL WHERE customer_id = ANY($1)`

	upsertParked = `
INSERT INTO readmodel.parked (customer_id, lane, position, version, last_version, type, reason, attempts)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT (customer_id) DO UPDATE SET
       position = excluded.position, version = excluded.version, last_version = excluded.last_version,
       type = excluded.type, reason = excluded.reason, attempts = excluded.attempts`

	insertSkipped = `
INSERT INTO readmodel.passed_over (customer_id, version, type, reason) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING`

	deleteParked = `DELETE FROM readmodel.parked WHERE customer_id = ANY($1)`
)

// errUndo ends a transaction without committing it.
var errUndo = errors.New("undo")

// Update applies what fold makes of a lane and some of its customers.
func (m *ReadModel) Update(
	ctx context.Context, lane eventlog.Lane, customers []customer.ID, fold func(projection.View) (projection.Delta, error),
) error {
	err := pgx.BeginFunc(ctx, m.pool, func(tx pgx.Tx) error {
		v, err := m.view(ctx, tx, lane, customers)
		if err != nil {
			return fmt.Errorf("read lane %d: %w", lane, err)
		}
		d, err := fold(v)
		if err != nil {
			return err
		}
		if err := m.write(ctx, tx, lane, d); err != nil {
			return fmt.Errorf("write lane %d: %w", lane, rejection(err))
		}
		if d.Probe {
			return errUndo
		}
		crash.Here(crash.ProjectBeforeCommit)
		return nil
	})
	if errors.Is(err, errUndo) {
		return nil
	}
	return err
}

// view takes the lane's lock first. Under read committed each later statement
// sees everything that was committed before the lock was got.
func (m *ReadModel) view(ctx context.Context, tx pgx.Tx, lane eventlog.Lane, customers []customer.ID) (projection.View, error) {
	v := projection.View{Checkpoint: projection.Checkpoint{Lane: lane}}
	locked := false
	var b pgx.Batch
	b.Queue(lockCheckpoint, m.generation, lane).QueryRow(func(row pgx.Row) error {
		err := row.Scan(&v.Position, &v.Cached, &v.Rewinds)
		locked = err == nil
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		return err
	})
	b.Queue(selectCacheState).QueryRow(func(row pgx.Row) error { return row.Scan(&v.Cache.Epoch, &v.Cache.RunID) })
	b.Queue(selectRows, customers).Query(func(rows pgx.Rows) (err error) {
		v.Rows, err = collectRows(rows)
		return err
	})
	b.Queue(selectParkedOf, customers).Query(func(rows pgx.Rows) error {
		list, err := pgx.CollectRows(rows, scanParked)
		v.Parked = make(map[customer.ID]projection.Parked, len(list))
		for _, p := range list {
			v.Parked[p.CustomerID] = p
		}
		return err
	})
	if err := tx.SendBatch(ctx, m.batch(&b)).Close(); err != nil {
		return projection.View{}, err
	}
	if m.generation != 0 {
		v.Cache = query.CacheState{} // nobody reads it: there is nothing to write to the cache
		if !locked {
			return projection.View{}, projection.ErrReplaced
		}
	}
	if locked {
		return v, nil
	}
	// Either the lane has no checkpoint yet, or another generation was put in this
	// one's place while its lock was waited for. Both times the next look finds it.
	if _, err := tx.Exec(ctx, insertCheckpoint, m.generation, lane); err != nil {
		return projection.View{}, err
	}
	return m.view(ctx, tx, lane, customers)
}

func (m *ReadModel) write(ctx context.Context, tx pgx.Tx, lane eventlog.Lane, d projection.Delta) error {
	var b pgx.Batch
	rewind := 0
	if d.Rewind {
		rewind = 1
	}
	b.Queue(moveCheckpoint, m.generation, lane, d.Position, d.Cached, rewind)
	if len(d.Blank) > 0 {
		b.Queue(blankHistory, d.Blank)
	}
	if len(d.Rows) > 0 {
		args, err := documentArgs(d.Rows)
		if err != nil {
			return err
		}
		b.Queue(upsertDocuments, args...).Exec(expect(len(d.Rows)))
		all, gone := listing(d.Rows)
		if len(all) > 0 {
			b.Queue(upsertListing, listingArgs(all)...)
		}
		if len(gone) > 0 {
			b.Queue(deleteListing, gone)
		}
	}
	if len(d.History) > 0 {
		args, err := historyArgs(d.History)
		if err != nil {
			return err
		}
		b.Queue(insertHistory, args...)
	}
	if len(d.Unpark) > 0 {
		b.Queue(deleteParked, d.Unpark)
	}
	for _, p := range d.Park {
		b.Queue(upsertParked, p.CustomerID, p.Lane, p.Position, p.Version, p.LastVersion, p.Type, p.Reason, p.Attempts)
	}
	for _, p := range d.PassedOver {
		b.Queue(insertSkipped, p.CustomerID, p.Version, p.Type, p.Reason)
	}
	return tx.SendBatch(ctx, m.batch(&b)).Close()
}

func historyArgs(history []projection.HistoryRow) ([]any, error) {
	n := len(history)
	var (
		ids          = make([][16]byte, n)
		versions     = make([]int64, n)
		positions    = make([]int64, n)
		types        = make([]string, n)
		at           = make([]time.Time, n)
		actors       = make([]string, n)
		correlations = make([]string, n)
		changes      = make([]string, n)
		keyframes    = make([]*string, n)
	)
	for i, h := range history {
		ids[i], versions[i], positions[i] = h.CustomerID, int64(h.Version), int64(h.Position)
		types[i], at[i], actors[i], correlations[i] = h.Type, h.At, h.Actor, h.CorrelationID
		changes[i] = "[]"
		if len(h.Changes) > 0 {
			raw, err := projection.AppendChanges(nil, h.Changes)
			if err != nil {
				return nil, err
			}
			changes[i] = string(raw)
		}
		if h.Keyframe != nil {
			text := string(h.Keyframe)
			keyframes[i] = &text
		}
	}
	return []any{ids, versions, positions, types, at, actors, correlations, changes, keyframes}, nil
}
