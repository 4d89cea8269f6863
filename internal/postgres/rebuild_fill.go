package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/ebrahem-outlook/customer-service/internal/crash"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
	"github.com/ebrahem-outlook/customer-service/internal/projection"
	"github.com/ebrahem-outlook/customer-service/internal/query"
)

const (
	// Losing a part with the server costs filling it again, no more.
	fillSession = `
SELECT set_config('statement_timeout', '0', true), set_config('idle_in_transaction_session_timeout', '0', true),
       set_config('synchronous_commit', 'off', true)`

	longSession = `SELECT set_config('statement_timeout', '0', true), set_config('idle_in_transaction_session_timeout', '0', true)`

	markFilled = `UPDATE readmodel.rebuild_parts SET events = $3 WHERE generation = $1 AND part = $2 AND events IS NULL`

	countFilled = `
UPDATE readmodel.rebuild SET done = least(done + $3, total) WHERE generation = $1 AND attempt = $2`
)

// Fill implements projection.NextGeneration. What an earlier attempt writes is
// refused at its end, with everything it wrote for the part.
func (r *Rebuild) Fill(ctx context.Context, p projection.Part, from func(write func(projection.Delta) error) (int64, error)) error {
	tables := derivedTables()
	written := make([]digest, len(tables))
	err := pgx.BeginFunc(ctx, r.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, fillSession); err != nil {
			return err
		}
		events, err := from(func(d projection.Delta) error {
			rows, err := copyDelta(ctx, tx, tables, nextSchema, "", d)
			if err == nil {
				addRows(written, r.written.seed, rows)
			}
			return err
		})
		if err != nil {
			return err
		}
		for _, mark := range []struct {
			sql  string
			args []any
		}{
			{markFilled, []any{r.next, p.Number, events}},
			{countFilled, []any{r.next, r.attempt, events}},
		} {
			tag, err := tx.Exec(ctx, mark.sql, mark.args...)
			if err != nil {
				return err
			}
			if tag.RowsAffected() == 0 {
				return projection.ErrReplaced
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("fill part %d: %w", p.Number, err)
	}
	r.written.keep(p.Number, written)
	crash.Here(crash.RebuildAfterPart)
	return nil
}

// copyDelta writes d into tables of a schema whose names begin with prefix, and
// leaves the transaction as it was if they refuse. It returns what it wrote, by
// table.
func copyDelta(ctx context.Context, tx pgx.Tx, tables []table, schema, prefix string, d projection.Delta) ([]encodedRows, error) {
	written := make([]encodedRows, len(tables))
	err := pgx.BeginFunc(ctx, tx, func(tx pgx.Tx) error {
		for i, t := range tables {
			rows := &written[i]
			if err := t.rows(rows, d); err != nil {
				return err
			}
			if len(rows.ends) == 0 {
				continue
			}
			into := fmt.Sprintf("COPY %s (%s) FROM STDIN (FORMAT binary)", in(schema, prefix+t.name), strings.Join(t.columns, ", "))
			if _, err := tx.Conn().PgConn().CopyFrom(ctx, rows.reader(), into); err != nil {
				return fmt.Errorf("copy into %s: %w", t.name, rejection(err))
			}
		}
		return nil
	})
	return written, err
}

// documentRows is d as upsertDocuments would write it.
func documentRows(rows *encodedRows, d projection.Delta) error {
	for _, r := range d.Rows {
		document := r.Document
		if document == nil {
			var err error
			if document, err = query.Render(r.Data); err != nil {
				return err
			}
		}
		rows.begin(10)
		rows.uuid(r.Data.ID)
		rows.bigint(int64(r.Data.Version))
		rows.bigint(int64(r.Position))
		rows.smallint(int16(eventlog.SlotOf(r.Data.ID)))
		rows.text(string(r.Status()))
		rows.json(document)
		rows.textOrNull(string(r.Data.StatusBeforeDeletion))
		if e := r.Data.Erasure; e == nil {
			rows.null()
		} else if err := rows.jsonb(func(b []byte) ([]byte, error) {
			record, err := json.Marshal(erasure{At: query.Time(e.At), Actor: e.Actor, Reason: e.Reason, KeyID: e.KeyID})
			if err != nil {
				return nil, err
			}
			return appendStored(b, record)
		}); err != nil {
			return err
		}
		rows.timestamp(r.Data.CreatedAt)
		rows.timestamp(r.Data.UpdatedAt)
		rows.end()
	}
	return nil
}

// historyRows is d as insertHistory would write it.
func historyRows(rows *encodedRows, d projection.Delta) error {
	for _, h := range d.History {
		rows.begin(9)
		rows.uuid(h.CustomerID)
		rows.bigint(int64(h.Version))
		rows.bigint(int64(h.Position))
		rows.text(h.Type)
		rows.timestamp(h.At)
		rows.textOrNull(h.Actor)
		rows.textOrNull(h.CorrelationID)
		if err := rows.jsonb(func(b []byte) ([]byte, error) { return appendChanges(b, h.Changes) }); err != nil {
			return err
		}
		rows.jsonOrNull(h.Keyframe)
		rows.end()
	}
	return nil
}

// parkedRows is d as upsertParked would write it.
func parkedRows(rows *encodedRows, d projection.Delta) error {
	for _, p := range d.Park {
		rows.begin(8)
		rows.uuid(p.CustomerID)
		rows.smallint(int16(p.Lane))
		rows.bigint(int64(p.Position))
		rows.bigint(int64(p.Version))
		rows.bigint(int64(p.LastVersion))
		rows.text(p.Type)
		rows.text(p.Reason)
		rows.integer(int32(p.Attempts)) //nolint:gosec // small
		rows.end()
	}
	return nil
}
