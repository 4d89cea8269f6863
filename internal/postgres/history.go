package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/query"
)

// One statement, so that no erasure can come between the status and the rows.
const selectHistory = `
SELECT d.status, h.version, h.type, h.at, h.actor, h.correlation_id, h.changes
  FROM readmodel.documents d
  LEFT JOIN LATERAL (
       SELECT version, type, at, actor, correlation_id, changes
         FROM readmodel.history
        WHERE customer_id = d.customer_id AND version > $2
        ORDER BY version LIMIT $3) h ON true
 WHERE d.customer_id = $1
 ORDER BY h.version`

// History answers some of a customer's events.
func (r *ReadModelReader) History(
	ctx context.Context, id customer.ID, after customer.Version, limit int,
) (status customer.Status, events []query.HistoryEvent, err error) {
	rows, err := r.pool.Query(ctx, selectHistory, id, int64(after), limit)
	if err != nil {
		return "", nil, unreadable("history", err)
	}
	var (
		version       *customer.Version // nil when there is no event
		kind          *string
		at            *time.Time
		actor         *string
		correlationID *string
		changes       []byte
	)
	found, err := pgx.ForEachRow(rows, []any{&status, &version, &kind, &at, &actor, &correlationID, &changes}, func() error {
		if version == nil {
			return nil
		}
		e := query.HistoryEvent{Version: *version, Type: *kind, At: query.Time(*at), Actor: actor, CorrelationID: correlationID}
		if err := unmarshalChanges(changes, &e.Changes); err != nil {
			return err
		}
		events = append(events, e)
		return nil
	})
	switch {
	case err != nil:
		return "", nil, unreadable("history", err)
	case found.RowsAffected() == 0:
		return "", nil, query.ErrNotFound
	}
	return status, events, nil
}

// The time of a customer's events rises with their version, so a time is found
// by halving: an index on it would cost every event a write that hardly anybody
// reads. The keyframe is at most 31 rows before the version, except in what was
// written before there were any; the range keeps a plan that is made for no
// version in particular from looking at all of them: 21 ms in the middle of
// 100,000 events, not 0.2. The present version needs neither.
const selectPast = `
WITH RECURSIVE present AS MATERIALIZED (
    SELECT version, status, updated_at, document FROM readmodel.documents WHERE customer_id = $1),
halves (low, high) AS (
    SELECT 0::bigint, version FROM present WHERE $3::timestamptz IS NOT NULL
    UNION ALL
    SELECT CASE WHEN mid.at <= $3 THEN mid.version ELSE low END,
           CASE WHEN mid.at <= $3 THEN high ELSE mid.version - 1 END
      FROM halves CROSS JOIN LATERAL (
           SELECT version, at FROM readmodel.history
            WHERE customer_id = $1 AND version = (low + high + 1) / 2 OFFSET 0) mid
     WHERE low < high),
target AS MATERIALIZED (
    SELECT CASE WHEN $3::timestamptz IS NULL THEN $2::bigint ELSE (SELECT low FROM halves WHERE low = high) END AS version),
frame AS MATERIALIZED (
    SELECT coalesce((
           SELECT max(h.version) FROM readmodel.history h
            WHERE h.customer_id = $1 AND h.version BETWEEN target.version - 63 AND target.version AND h.keyframe IS NOT NULL), (
           SELECT max(h.version) FROM readmodel.history h
            WHERE h.customer_id = $1 AND h.version <= target.version - 64 AND h.keyframe IS NOT NULL), 1) AS version
      FROM present, target WHERE target.version < present.version AND present.status <> 'erased')
SELECT present.version, present.status, present.updated_at, target.version,
       CASE WHEN target.version = present.version AND present.status <> 'erased' THEN present.document END,
       h.version, h.at, h.changes, h.keyframe
  FROM present CROSS JOIN target LEFT JOIN frame ON true
  LEFT JOIN LATERAL (
       SELECT version, at,
              CASE WHEN version > frame.version OR keyframe IS NULL THEN changes END AS changes,
              CASE WHEN version = frame.version THEN keyframe END AS keyframe
         FROM readmodel.history
        WHERE customer_id = $1 AND version BETWEEN frame.version AND target.version
        ORDER BY version) h ON true
 ORDER BY h.version`

// Past visits what one version of a customer is put together from.
func (r *ReadModelReader) Past(ctx context.Context, id customer.ID, m query.Moment, visit func(query.PastRow) error) (query.Present, error) {
	asOf := pgtype.Timestamptz{Time: m.AsOf, Valid: m.Version == 0}
	rows, err := r.pool.Query(ctx, selectPast, id, int64(m.Version), asOf)
	if err != nil {
		return query.Present{}, unreadable("past", err)
	}
	var (
		now      query.Present
		target   *customer.Version
		version  *customer.Version
		at       *time.Time
		document []byte
		changes  []byte
		keyframe []byte
		ended    error
	)
	into := []any{&now.Version, &now.Status, &now.UpdatedAt, &target, &document, &version, &at, &changes, &keyframe}
	_, err = pgx.ForEachRow(rows, into, func() error {
		row := query.PastRow{Version: now.Version, Keyframe: document}
		switch {
		case document != nil:
		case target == nil:
			ended = fmt.Errorf("find %s as of a time: %w", id, query.ErrHistory)
			return ended
		case version == nil:
			return nil
		default:
			row = query.PastRow{Version: *version, Keyframe: keyframe, At: at.UTC()}
			if ended = unmarshalChanges(changes, &row.Changes); ended != nil {
				return ended
			}
		}
		ended = visit(row)
		return ended
	})
	switch {
	case ended != nil:
		return query.Present{}, ended
	case err != nil:
		return query.Present{}, unreadable("past", err)
	case now.Version == 0:
		return query.Present{}, query.ErrNotFound
	}
	return now, nil
}

// unmarshalChanges reads the column changes; nil leaves changes as they are.
func unmarshalChanges(column []byte, changes *[]query.Change) error {
	if column == nil {
		return nil
	}
	if json.Unmarshal(column, changes) != nil {
		return fmt.Errorf("read changes: %w", query.ErrDocument) // the cause would quote them
	}
	return nil
}
