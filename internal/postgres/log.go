package postgres

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
)

// Log is the event log in PostgreSQL. It implements eventlog's Appender,
// Loader and Reader; a pool with the projector's role can read only.
type Log struct {
	pool   *pgxpool.Pool
	doubts doubts
}

var (
	_ eventlog.Appender = (*Log)(nil)
	_ eventlog.Loader   = (*Log)(nil)
	_ eventlog.Reader   = (*Log)(nil)
)

// NewLog returns the log that pool connects to.
func NewLog(pool *pgxpool.Pool) *Log { return &Log{pool: pool} }

// maxReadRuns bounds how often a read is tried. After a restart of the server
// the pool's connections are dead and found out one by one.
const maxReadRuns = 3

// collect runs a query until it answers and returns its rows.
func collect[T any](ctx context.Context, l *Log, doing, sql string, row pgx.RowToFunc[T], args ...any) ([]T, error) {
	for run := 1; ; run++ {
		rows, _ := l.pool.Query(ctx, sql, args...) // its error is the rows' error too
		all, err := pgx.CollectRows(rows, row)
		if err == nil {
			return all, nil
		}
		if faultOf(err) != faultLost || run == maxReadRuns || !pause(ctx, run) {
			return nil, logError(doing, err)
		}
		if run == maxReadRuns-1 {
			l.pool.Reset()
		}
	}
}

// One statement, so that version, key and events are of one snapshot.
const loadStream = `
SELECT s.version, k.wrapped_key, k.kek,
       e.version, e.event_id, e.type, e.schema_version, e.data, e.personal, e.metadata, e.recorded_at
  FROM eventlog.streams s
  LEFT JOIN eventlog.subject_keys k ON k.customer_id = s.customer_id
  LEFT JOIN eventlog.events e ON e.customer_id = s.customer_id AND e.version > $2
 WHERE s.customer_id = $1
 ORDER BY e.version`

// loaded is a row of loadStream; what belongs to an event is nil when there is
// none after the version asked for.
type loaded struct {
	head     customer.Version
	wrapped  []byte
	kek      *string
	version  *customer.Version
	event    *uuid.UUID
	kind     *string
	schema   *int16
	data     []byte
	personal []byte
	metadata *eventlog.Metadata
	at       *time.Time
}

// Load implements eventlog.Loader.
func (l *Log) Load(ctx context.Context, id customer.ID, after customer.Version) (eventlog.Stream, error) {
	rows, err := collect(ctx, l, "load "+id.String(), loadStream, func(row pgx.CollectableRow) (r loaded, err error) {
		err = row.Scan(&r.head, &r.wrapped, &r.kek,
			&r.version, &r.event, &r.kind, &r.schema, &r.data, &r.personal, &r.metadata, &r.at)
		return r, err
	}, id, int64(after))
	if err != nil {
		return eventlog.Stream{}, err
	}
	return streamOf(id, rows), nil
}

func streamOf(id customer.ID, rows []loaded) eventlog.Stream {
	if len(rows) == 0 {
		return eventlog.Stream{}
	}
	stream := eventlog.Stream{Version: rows[0].head}
	if rows[0].kek != nil {
		stream.Key = &eventlog.WrappedKey{Wrapped: rows[0].wrapped, KEK: *rows[0].kek}
	}
	if rows[0].version == nil {
		return stream
	}
	stream.Events = make([]eventlog.Envelope, len(rows))
	for i, r := range rows {
		stream.Events[i] = eventlog.Envelope{
			EventID: *r.event, CustomerID: id, Version: *r.version, Type: *r.kind, SchemaVersion: *r.schema,
			Data: r.data, Personal: r.personal, Metadata: *r.metadata, RecordedAt: r.at.UTC(),
		}
	}
	return stream
}

const findIdempotency = `
SELECT request_digest, customer_id, version, status, command_id, created_at
  FROM eventlog.idempotency
 WHERE principal = $1 AND key = $2`

// FindIdempotency implements eventlog.Loader.
func (l *Log) FindIdempotency(ctx context.Context, principal, key string) (*eventlog.Idempotency, error) {
	found, err := collect(ctx, l, "find idempotency key", findIdempotency, func(row pgx.CollectableRow) (*eventlog.Idempotency, error) {
		var digest []byte
		p := &eventlog.Idempotency{Principal: principal, Key: key}
		if err := row.Scan(&digest, &p.CustomerID, &p.Version, &p.Status, &p.CommandID, &p.CreatedAt); err != nil {
			return nil, err
		}
		p.RequestDigest, p.CreatedAt = [32]byte(digest), p.CreatedAt.UTC()
		return p, nil
	}, principal, key)
	if err != nil || len(found) == 0 {
		return nil, err
	}
	return found[0], nil
}

// In parts, so that no sweep runs into a timeout. Rows are taken in the order
// of their place, so that two sweeps wait for each other rather than both.
const sweepIdempotency = `
DELETE FROM eventlog.idempotency
 WHERE ctid = ANY (ARRAY(
       SELECT ctid FROM eventlog.idempotency
        WHERE created_at < now() - make_interval(secs => $1)
        ORDER BY created_at LIMIT $2))`

// sweepPart is how many records one statement of a sweep deletes.
const sweepPart = 1000

// SweepIdempotency deletes the records older than age by the database's clock
// and returns how many. Several processes may sweep at once.
func (l *Log) SweepIdempotency(ctx context.Context, age time.Duration) (int64, error) {
	var swept int64
	for {
		tag, err := l.pool.Exec(ctx, sweepIdempotency, age.Seconds(), sweepPart)
		if err != nil {
			return swept, logError("sweep idempotency keys", err)
		}
		swept += tag.RowsAffected()
		if tag.RowsAffected() < sweepPart {
			return swept, nil
		}
	}
}

const claimHolders = `
SELECT c.customer_id
  FROM unnest($1::smallint[], $2::bytea[]) WITH ORDINALITY AS u (kind, digest, item)
  LEFT JOIN eventlog.claims c ON c.kind = u.kind AND c.digest = u.digest
 ORDER BY u.item`

// ClaimHolders tells who holds each of the claims, without taking any: the
// nil id where nobody does.
func (l *Log) ClaimHolders(ctx context.Context, claims []eventlog.Claim) ([]customer.ID, error) {
	kinds, digests := make([]int16, len(claims)), make([][]byte, len(claims))
	for i, c := range claims {
		kinds[i], digests[i] = int16(c.Kind), c.Digest[:]
	}
	return collect(ctx, l, "read claims", claimHolders, func(row pgx.CollectableRow) (id customer.ID, err error) {
		var holder pgtype.UUID
		err = row.Scan(&holder)
		return holder.Bytes, err
	}, kinds, digests)
}
