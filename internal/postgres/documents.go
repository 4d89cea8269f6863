package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
	"github.com/ebrahem-outlook/customer-service/internal/projection"
	"github.com/ebrahem-outlook/customer-service/internal/query"
)

const (
	rowColumns = `d.position, d.status, d.document, coalesce(d.status_before_deletion, ''), d.erasure`

	selectRows = `SELECT ` + rowColumns + ` FROM readmodel.documents d WHERE d.customer_id = ANY($1)`

	selectHistoryOf = `
SELECT customer_id, version, position, type, at, coalesce(actor, ''), coalesce(correlation_id, ''), changes, keyframe
  FROM readmodel.history WHERE customer_id = ANY($1) ORDER BY customer_id, version`
)

// erasure is the record of an erasure as the documents table keeps it.
type erasure struct {
	At     query.Time `json:"at"`
	Actor  string     `json:"actor"`
	Reason string     `json:"reason"`
	KeyID  string     `json:"key_id"`
}

// documentArgs are the columns of rows, as upsertDocuments wants them.
func documentArgs(rows []projection.Row) ([]any, error) {
	n := len(rows)
	var (
		ids       = make([][16]byte, n) // as customer.ID, pgx would write each as text first
		versions  = make([]int64, n)
		positions = make([]int64, n)
		slots     = make([]int16, n)
		statuses  = make([]string, n)
		documents = make([]string, n)
		befores   = make([]string, n)
		erasures  = make([]*string, n)
		created   = make([]time.Time, n)
		updated   = make([]time.Time, n)
	)
	for i, r := range rows {
		document := r.Document
		if document == nil {
			var err error
			if document, err = query.Render(r.Data); err != nil {
				return nil, err
			}
		}
		ids[i], versions[i], positions[i] = r.Data.ID, int64(r.Data.Version), int64(r.Position)
		slots[i], statuses[i] = int16(eventlog.SlotOf(r.Data.ID)), string(r.Status())
		documents[i], befores[i] = string(document), string(r.Data.StatusBeforeDeletion)
		created[i], updated[i] = r.Data.CreatedAt, r.Data.UpdatedAt
		if e := r.Data.Erasure; e != nil {
			raw, err := json.Marshal(erasure{At: query.Time(e.At), Actor: e.Actor, Reason: e.Reason, KeyID: e.KeyID})
			if err != nil {
				return nil, err
			}
			text := string(raw)
			erasures[i] = &text
		}
	}
	return []any{ids, versions, positions, slots, statuses, documents, befores, erasures, created, updated}, nil
}

func collectRows(rows pgx.Rows) (map[customer.ID]projection.Row, error) {
	list, err := pgx.CollectRows(rows, scanRow)
	if err != nil {
		return nil, err
	}
	all := make(map[customer.ID]projection.Row, len(list))
	for _, r := range list {
		all[r.Data.ID] = r
	}
	return all, nil
}

// scanRow reads rowColumns.
func scanRow(row pgx.CollectableRow) (projection.Row, error) {
	var (
		r        projection.Row
		status   customer.Status
		before   customer.Status
		document []byte
		record   []byte
	)
	if err := row.Scan(&r.Position, &status, &document, &before, &record); err != nil {
		return projection.Row{}, err
	}
	var err error
	if r.Data, err = query.Parse(document); err != nil {
		return projection.Row{}, fmt.Errorf("document at position %d: %w", r.Position, err)
	}
	r.Data.StatusBeforeDeletion = before
	r.Shredded = status == customer.StatusErased
	if record != nil {
		var e erasure
		if err := json.Unmarshal(record, &e); err != nil {
			return projection.Row{}, fmt.Errorf("erasure at position %d: %w", r.Position, err)
		}
		r.Data.Erasure = &customer.Erasure{At: time.Time(e.At), Actor: e.Actor, Reason: e.Reason, KeyID: e.KeyID}
	}
	return r, nil
}

// Rows returns customers and their histories as of one moment.
func (m *ReadModel) Rows(
	ctx context.Context, customers []customer.ID,
) (rows map[customer.ID]projection.Row, history map[customer.ID][]projection.HistoryRow, err error) {
	history = map[customer.ID][]projection.HistoryRow{}
	// One snapshot, so that a row and its history agree.
	err = pgx.BeginTxFunc(ctx, m.pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		var b pgx.Batch
		b.Queue(selectRows, customers).Query(func(found pgx.Rows) (err error) {
			rows, err = collectRows(found)
			return err
		})
		b.Queue(selectHistoryOf, customers).Query(func(found pgx.Rows) error {
			list, err := pgx.CollectRows(found, scanHistory)
			for _, h := range list {
				history[h.CustomerID] = append(history[h.CustomerID], h)
			}
			return err
		})
		return tx.SendBatch(ctx, m.batch(&b)).Close()
	})
	if err != nil {
		return nil, nil, fmt.Errorf("read rows: %w", err)
	}
	return rows, history, nil
}

func scanHistory(row pgx.CollectableRow) (h projection.HistoryRow, err error) {
	var changes []byte
	if err = row.Scan(&h.CustomerID, &h.Version, &h.Position, &h.Type, &h.At, &h.Actor, &h.CorrelationID, &changes, &h.Keyframe); err != nil {
		return h, err
	}
	h.At = h.At.UTC()
	if err = json.Unmarshal(changes, &h.Changes); err != nil {
		return h, err
	}
	if len(h.Changes) == 0 {
		h.Changes = nil
	}
	return h, nil
}

// expect refuses a statement that did not touch as many rows as it should.
func expect(n int) func(pgconn.CommandTag) error {
	return func(tag pgconn.CommandTag) error {
		if tag.RowsAffected() != int64(n) {
			return fmt.Errorf("%w: %d rows written of %d", projection.ErrRejected, tag.RowsAffected(), n)
		}
		return nil
	}
}

const selectCustomers = `SELECT customer_id FROM readmodel.documents WHERE customer_id > $1 ORDER BY customer_id LIMIT $2`

// Customers lists customers after one, in order.
func (m *ReadModel) Customers(ctx context.Context, after customer.ID, limit int) ([]customer.ID, error) {
	rows, err := m.pool.Query(ctx, m.sql(selectCustomers), after, limit)
	if err != nil {
		return nil, fmt.Errorf("list customers: %w", err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[customer.ID])
	if err != nil {
		return nil, fmt.Errorf("list customers: %w", err)
	}
	return ids, nil
}
