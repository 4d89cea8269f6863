package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
	"github.com/ebrahem-outlook/customer-service/internal/privacy/erasures"
)

// Erasures is the log as the list of erasures sees it. It implements
// erasures.Log.
type Erasures struct {
	*Log
	pool *pgxpool.Pool
}

var _ erasures.Log = (*Erasures)(nil)

// NewErasures returns the erasures in the log that pool connects to. What it
// does reads much: its pool wants more time than a command's.
func NewErasures(pool *pgxpool.Pool) *Erasures { return &Erasures{Log: NewLog(pool), pool: pool} }

// The type is written out, so that the partial index is found.
const selectErasures = `
SELECT customer_id, version, event_id, type, schema_version, data, metadata, recorded_at
  FROM eventlog.events WHERE type = 'customer.erased' ORDER BY xid, id`

// Each calls fn with every erasure in the log, as of one moment.
func (e *Erasures) Each(ctx context.Context, codec *eventlog.Codec, fn func(erasures.Erasure) error) error {
	rows, err := e.pool.Query(ctx, selectErasures)
	if err != nil {
		return logError("read erasures", err)
	}
	defer rows.Close()
	for rows.Next() {
		var env eventlog.Envelope
		if err := rows.Scan(&env.CustomerID, &env.Version, &env.EventID, &env.Type, &env.SchemaVersion,
			(*[]byte)(&env.Data), &env.Metadata, &env.RecordedAt); err != nil {
			return fmt.Errorf("read erasures: %w", err)
		}
		entry, err := codec.Decode(env, nil)
		if err != nil {
			return fmt.Errorf("read erasure of %s: %w", env.CustomerID, err)
		}
		erased, ok := entry.Event.(customer.Erased)
		if !ok {
			return fmt.Errorf("read erasure of %s: it is a %T", env.CustomerID, entry.Event)
		}
		if err := fn(erasures.Erasure{
			CustomerID: env.CustomerID, Version: env.Version, ErasedAt: erased.OccurredAt(),
			Actor: erased.Actor, Reason: erased.Reason, KeyID: erased.KeyID,
		}); err != nil {
			return err
		}
	}
	return logError("read erasures", rows.Err())
}

const (
	selectErasureStates = `
SELECT s.customer_id, s.version, e.recorded_at, k.customer_id IS NOT NULL
  FROM eventlog.streams s
  JOIN eventlog.events e ON e.customer_id = s.customer_id AND e.version = s.version
  LEFT JOIN eventlog.subject_keys k ON k.customer_id = s.customer_id
 WHERE s.customer_id = ANY ($1)`

	// There is no index for it: only erasing after a restore asks, once per batch.
	selectClaimsOf = `SELECT customer_id, kind, digest FROM eventlog.claims WHERE customer_id = ANY ($1)`
)

// States implements erasures.Log.
func (e *Erasures) States(ctx context.Context, ids []customer.ID) (map[customer.ID]erasures.State, error) {
	wanted := make([]pgtype.UUID, len(ids))
	for i, id := range ids {
		wanted[i] = uuidOf(id)
	}
	states := make(map[customer.ID]erasures.State, len(ids))
	// In this order: a customer that changes in between moves its version, and
	// whoever decided on these is told so.
	_, err := collect(ctx, e.Log, "read states", selectErasureStates, func(row pgx.CollectableRow) (struct{}, error) {
		var (
			id uuid.UUID
			s  erasures.State
		)
		err := row.Scan(&id, &s.Version, &s.LastAt, &s.HasKey)
		s.LastAt = s.LastAt.UTC()
		states[id] = s
		return struct{}{}, err
	}, wanted)
	if err != nil {
		return nil, err
	}
	_, err = collect(ctx, e.Log, "read claims", selectClaimsOf, func(row pgx.CollectableRow) (struct{}, error) {
		var (
			id     uuid.UUID
			claim  eventlog.Claim
			digest []byte
		)
		if err := row.Scan(&id, &claim.Kind, &digest); err != nil {
			return struct{}{}, err
		}
		claim.Digest = [32]byte(digest)
		if s, known := states[id]; known {
			s.Claims = append(s.Claims, claim)
			states[id] = s
		}
		return struct{}{}, nil
	}, wanted)
	return states, err
}

const purgeKeys = `
WITH erased AS (SELECT customer_id FROM eventlog.events WHERE type = 'customer.erased'),
     states AS (DELETE FROM eventlog.snapshots s USING erased e WHERE s.customer_id = e.customer_id),
     keys   AS (DELETE FROM eventlog.subject_keys k USING erased e WHERE k.customer_id = e.customer_id RETURNING 1)
SELECT count(*) FROM keys`

// PurgeKeys implements erasures.Log.
func (e *Erasures) PurgeKeys(ctx context.Context) (n int64, err error) {
	err = e.pool.QueryRow(ctx, purgeKeys).Scan(&n)
	return n, logError("purge keys", err)
}

const erasedSince = `
SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint,
       ARRAY(SELECT customer_id FROM eventlog.events
              WHERE type = 'customer.erased' AND $1 > 0 AND xid >= ($1::bigint)::text::xid8)`

// ErasedSince returns the customers erased since the call that returned mark,
// and the mark for the next; 0 begins now. None is left out, however late its
// transaction ends, and some come twice. A mark that goes back tells that the
// server is another one, of which nothing is known.
func (l *Log) ErasedSince(ctx context.Context, mark int64) (ids []customer.ID, next int64, err error) {
	var found []pgtype.UUID
	if err := l.pool.QueryRow(ctx, erasedSince, mark).Scan(&next, &found); err != nil {
		return nil, 0, logError("read recent erasures", err)
	}
	for _, id := range found {
		ids = append(ids, id.Bytes)
	}
	return ids, next, nil
}

// RareTimeout is for statements that read whole tables and hold up nobody.
const RareTimeout = 10 * time.Minute
