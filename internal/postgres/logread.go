package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
)

const head = `SELECT coalesce(max(pos), 0) FROM eventlog.positions`

// Head implements eventlog.Reader.
func (l *Log) Head(ctx context.Context) (eventlog.Position, error) {
	rows, err := collect(ctx, l, "read head", head, pgx.RowTo[eventlog.Position])
	if err != nil {
		return 0, err
	}
	return rows[0], nil
}

// A walk from lane to lane along the index; grouping would read all positions.
const laneHeads = `
WITH RECURSIVE lanes AS (
    (SELECT lane, pos FROM eventlog.positions ORDER BY lane DESC, pos DESC LIMIT 1)
    UNION ALL
    SELECT next.lane, next.pos
      FROM lanes
     CROSS JOIN LATERAL (
           SELECT p.lane, p.pos FROM eventlog.positions p
            WHERE p.lane < lanes.lane ORDER BY p.lane DESC, p.pos DESC LIMIT 1) AS next)
SELECT lane, pos FROM lanes`

// LaneHeads implements eventlog.Reader. A lane without events is not in the map.
func (l *Log) LaneHeads(ctx context.Context) (map[eventlog.Lane]eventlog.Position, error) {
	type laneHead struct {
		lane     eventlog.Lane
		position eventlog.Position
	}
	rows, err := collect(ctx, l, "read lane heads", laneHeads, func(row pgx.CollectableRow) (r laneHead, err error) {
		err = row.Scan(&r.lane, &r.position)
		return r, err
	})
	if err != nil {
		return nil, err
	}
	heads := make(map[eventlog.Lane]eventlog.Position, len(rows))
	for _, r := range rows {
		heads[r.lane] = r.position
	}
	return heads, nil
}

const sequencedColumns = `
SELECT p.pos, e.customer_id, e.version, e.event_id, e.type, e.schema_version, e.data, e.personal, e.metadata, e.recorded_at`

// Comparing and ordering by (lane, pos) leaves the planner only the index of
// that order. Given lane = $1 and pos > $2 it may walk the positions of all
// lanes instead: 41 ms for a lane at rest beside 300,000 positions, not 0.04.
const readLane = sequencedColumns + `
  FROM eventlog.positions p
  JOIN eventlog.events e ON e.id = p.event
 WHERE (p.lane, p.pos) > ($1, $2) AND p.lane <= $1 AND ($3 = 0 OR p.pos <= $3)
 ORDER BY p.lane, p.pos
 LIMIT $4`

// ReadLane implements eventlog.Reader.
func (l *Log) ReadLane(ctx context.Context, lane eventlog.Lane, after, through eventlog.Position, limit int) ([]eventlog.Sequenced, error) {
	return l.sequenced(ctx, "read lane", readLane, int16(lane), int64(after), int64(through), limit)
}

const readStream = sequencedColumns + `
  FROM eventlog.events e
  JOIN eventlog.positions p ON p.event = e.id
 WHERE e.customer_id = $1 AND e.version > $2
 ORDER BY e.version
 LIMIT $3`

// ReadStream implements eventlog.Reader.
func (l *Log) ReadStream(ctx context.Context, id customer.ID, after customer.Version, limit int) ([]eventlog.Sequenced, error) {
	return l.sequenced(ctx, "read stream "+id.String(), readStream, id, int64(after), limit)
}

func (l *Log) sequenced(ctx context.Context, doing, sql string, args ...any) ([]eventlog.Sequenced, error) {
	return collect(ctx, l, doing, sql, scanSequenced, args...)
}

// scanSequenced reads sequencedColumns.
func scanSequenced(row pgx.CollectableRow) (s eventlog.Sequenced, err error) {
	err = row.Scan(&s.Position, &s.CustomerID, &s.Version, &s.EventID, &s.Type, &s.SchemaVersion,
		(*[]byte)(&s.Data), &s.Personal, &s.Metadata, &s.RecordedAt)
	s.RecordedAt = s.RecordedAt.UTC()
	return s, err
}

const readKeys = `SELECT customer_id, wrapped_key, kek FROM eventlog.subject_keys WHERE customer_id = ANY ($1)`

// Keys implements eventlog.Reader.
func (l *Log) Keys(ctx context.Context, ids []customer.ID) (map[customer.ID]eventlog.WrappedKey, error) {
	type keyOf struct {
		id  customer.ID
		key eventlog.WrappedKey
	}
	wanted := make([]pgtype.UUID, len(ids))
	for i, id := range ids {
		wanted[i] = uuidOf(id)
	}
	rows, err := collect(ctx, l, "read keys", readKeys, func(row pgx.CollectableRow) (r keyOf, err error) {
		err = row.Scan(&r.id, &r.key.Wrapped, &r.key.KEK)
		return r, err
	}, wanted)
	if err != nil {
		return nil, err
	}
	keys := make(map[customer.ID]eventlog.WrappedKey, len(rows))
	for _, r := range rows {
		keys[r.id] = r.key
	}
	return keys, nil
}
