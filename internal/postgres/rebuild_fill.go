package postgres

import (
	"context"
	"encoding/json"
	"fmt"

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

	markFilled = `UPDATE readmodel.rebuild_parts SET events = $3 WHERE generation = $1 AND part = $2 AND events IS NULL`

	countFilled = `
UPDATE readmodel.rebuild SET done = least(done + $3, total) WHERE generation = $1 AND attempt = $2`
)

// Fill implements projection.NextGeneration. What an earlier attempt writes is
// refused at its end, with everything it wrote for the part.
func (r *Rebuild) Fill(ctx context.Context, p projection.Part, from func(write func(projection.Delta) error) (int64, error)) error {
	err := pgx.BeginFunc(ctx, r.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, fillSession); err != nil {
			return err
		}
		events, err := from(func(d projection.Delta) error { return copyDelta(ctx, tx, derivedTables(), nextSchema, "", d) })
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
	crash.Here(crash.RebuildAfterPart)
	return nil
}

// copyDelta writes d into tables of a schema whose names begin with prefix, and
// leaves the transaction as it was if they refuse.
func copyDelta(ctx context.Context, tx pgx.Tx, tables []table, schema, prefix string, d projection.Delta) error {
	return pgx.BeginFunc(ctx, tx, func(tx pgx.Tx) error {
		for _, t := range tables {
			rows, err := t.rows(d)
			if err != nil {
				return err
			}
			if len(rows) == 0 {
				continue
			}
			if _, err := tx.CopyFrom(ctx, pgx.Identifier{schema, prefix + t.name}, t.columns, pgx.CopyFromRows(rows)); err != nil {
				return fmt.Errorf("copy into %s: %w", t.name, rejection(err))
			}
		}
		return nil
	})
}

// documentRows is d as upsertDocuments would write it.
func documentRows(d projection.Delta) ([][]any, error) {
	all := make([][]any, len(d.Rows))
	for i, r := range d.Rows {
		document := r.Document
		if document == nil {
			var err error
			if document, err = query.Render(r.Data); err != nil {
				return nil, err
			}
		}
		var record []byte
		if e := r.Data.Erasure; e != nil {
			var err error
			if record, err = json.Marshal(erasure{At: query.Time(e.At), Actor: e.Actor, Reason: e.Reason, KeyID: e.KeyID}); err != nil {
				return nil, err
			}
		}
		all[i] = []any{
			[16]byte(r.Data.ID), int64(r.Data.Version), int64(r.Position), int16(eventlog.SlotOf(r.Data.ID)), string(r.Status()),
			document, orNull(string(r.Data.StatusBeforeDeletion)), jsonOrNull(record), r.Data.CreatedAt, r.Data.UpdatedAt,
		}
	}
	return all, nil
}

// historyRows is d as insertHistory would write it.
func historyRows(d projection.Delta) ([][]any, error) {
	all := make([][]any, len(d.History))
	for i, h := range d.History {
		changes, err := projection.AppendChanges(nil, h.Changes)
		if err != nil {
			return nil, err
		}
		all[i] = []any{
			[16]byte(h.CustomerID), int64(h.Version), int64(h.Position), h.Type, h.At, orNull(h.Actor), orNull(h.CorrelationID),
			changes, jsonOrNull(h.Keyframe),
		}
	}
	return all, nil
}

// parkedRows is d as upsertParked would write it.
func parkedRows(d projection.Delta) ([][]any, error) {
	all := make([][]any, len(d.Park))
	for i, p := range d.Park {
		all[i] = []any{
			[16]byte(p.CustomerID), int16(p.Lane), int64(p.Position), int64(p.Version), int64(p.LastVersion), p.Type, p.Reason, int32(p.Attempts), //nolint:gosec // small
		}
	}
	return all, nil
}

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func jsonOrNull(b []byte) any {
	if len(b) == 0 {
		return nil
	}
	return b
}
