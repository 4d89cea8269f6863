package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/ebrahem-outlook/customer-service/internal/query"
)

// ExportIdle is how long the server lets an export do nothing before it ends
// the transaction: longer than a client is waited for, and there for a process
// that hangs or is gone without a word.
const ExportIdle = 45 * time.Second

// exportStep is how long one step of an export may take. The first one sorts,
// or passes over what the filter leaves out.
const exportStep = 2 * time.Minute

// ExportPool is how exports connect: apart from other reads, which they must
// not keep from a connection however long their clients take.
func ExportPool(url string, concurrent int) PoolConfig {
	return PoolConfig{
		URL: url, Role: RoleQuery, ApplicationName: "query-api export", MaxConns: concurrent,
		StatementTimeout: exportStep, IdleInTransactionTimeout: ExportIdle,
	}
}

// Exporter implements query.Exporter.
type Exporter struct{ pool *pgxpool.Pool }

// NewExporter exports through a pool opened with an ExportPool.
func NewExporter(pool *pgxpool.Pool) *Exporter { return &Exporter{pool: pool} }

const (
	// An export reads most of a table, which sessions here are set up against.
	planExport = `
SELECT set_config('enable_seqscan', 'on', true), set_config('enable_hashjoin', 'on', true), set_config('cursor_tuple_fraction', '1', true)`

	fromListing = `
  FROM readmodel.listing l JOIN readmodel.documents d ON d.customer_id = l.customer_id`

	// As many documents are in memory at once, 1 kB each as a rule and 200 at most.
	fetchExport = `FETCH 200 FROM export`
)

// Export opens a snapshot for use.
func (x *Exporter) Export(ctx context.Context, f query.Filter, use func(query.Snapshot) error) error {
	var ended error
	err := pgx.BeginTxFunc(ctx, x.pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, planExport); err != nil {
			return err
		}
		var complete bool
		if err := tx.QueryRow(ctx, `SELECT complete FROM readmodel.listing_state`).Scan(&complete); err != nil {
			return err
		}
		if !complete {
			return errors.New("the projector is still listing customers of an earlier release")
		}
		ended = use(&snapshot{tx: tx, filter: f})
		return ended
	})
	if ended != nil || err == nil {
		return ended
	}
	return unreadable("export", err)
}

// snapshot is one export's transaction.
type snapshot struct {
	tx     pgx.Tx
	filter query.Filter
	opened bool
}

// Next fetches from the cursor.
func (s *snapshot) Next(ctx context.Context, visit func([]byte) error) (n int, err error) {
	if !s.opened {
		condition, args := filterSQL(s.filter, nil)
		declare := `DECLARE export NO SCROLL CURSOR FOR SELECT d.document` + fromListing + ` WHERE ` + condition + ` ORDER BY d.customer_id`
		if _, err := s.tx.Exec(ctx, declare, args...); err != nil {
			return 0, unreadable("export", err)
		}
		s.opened = true
	}
	rows, err := s.tx.Query(ctx, fetchExport)
	if err != nil {
		return 0, unreadable("export", err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := visit(rows.RawValues()[0]); err != nil {
			return n, err
		}
		n++
	}
	if err := rows.Err(); err != nil {
		return n, unreadable("export", err)
	}
	return n, nil
}

// MetadataKeys reads all customers for the keys of their metadata.
func (s *snapshot) MetadataKeys(ctx context.Context, limit int) ([]string, error) {
	condition, args := filterSQL(s.filter, []any{limit})
	rows, err := s.tx.Query(ctx, `
SELECT DISTINCT key COLLATE "C"`+fromListing+` CROSS JOIN LATERAL json_object_keys(d.document -> 'metadata') key
 WHERE `+condition+` ORDER BY 1 LIMIT $1`, args...)
	if err != nil {
		return nil, unreadable("metadata keys", err)
	}
	keys, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("metadata keys: %w", unreadable("export", err))
	}
	return keys, nil
}
