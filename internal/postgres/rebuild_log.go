package postgres

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
	"github.com/ebrahem-outlook/customer-service/internal/projection"
)

const (
	// A transaction of minutes whose statements wait for whoever takes the rows.
	// Merging with all positions there are would read them all for each range.
	longRead = `
SELECT set_config('statement_timeout', '0', true), set_config('idle_in_transaction_session_timeout', '0', true),
       set_config('enable_mergejoin', 'off', true)`

	scanCustomers = sequencedColumns + `
  FROM eventlog.events e
  JOIN eventlog.positions p ON p.event = e.id
 WHERE e.customer_id BETWEEN $1 AND $2
 ORDER BY e.customer_id, e.version`

	censusThrough = `
SELECT count(*), coalesce(sum(p.pos), 0)::bigint
  FROM eventlog.positions p JOIN eventlog.events e ON e.id = p.event WHERE p.pos <= $1`

	// Pages are picked, not rows: it reads no more than it returns.
	sampleEvents = `SELECT customer_id FROM eventlog.events TABLESAMPLE SYSTEM ($1::real)`
)

// Scan implements projection.CustomerLog.
func (l *Log) Scan(ctx context.Context, first, last customer.ID, each func(eventlog.Sequenced) error) error {
	err := pgx.BeginTxFunc(ctx, l.pool, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, longRead); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, scanCustomers, uuidOf(first), uuidOf(last))
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			s, err := scanSequenced(rows)
			if err != nil {
				return err
			}
			if err := each(s); err != nil {
				return err
			}
		}
		return rows.Err()
	})
	if err != nil {
		return fmt.Errorf("scan customers from %s: %w", first, err)
	}
	return nil
}

// Sample implements projection.CustomerLog.
func (l *Log) Sample(ctx context.Context, n int) ([]customer.ID, error) {
	head, err := l.Head(ctx)
	if err != nil {
		return nil, err
	}
	share := min(100, 100*float64(n)/float64(max(head, 1)))
	rows, err := l.pool.Query(ctx, sampleEvents, share)
	if err != nil {
		return nil, fmt.Errorf("sample events: %w", err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[customer.ID])
	if err != nil {
		return nil, fmt.Errorf("sample events: %w", err)
	}
	slices.SortFunc(ids, func(a, b customer.ID) int { return slices.Compare(a[:], b[:]) })
	return ids, nil
}

// Census implements projection.CustomerLog.
func (l *Log) Census(ctx context.Context, through eventlog.Position) (n projection.Census, err error) {
	err = pgx.BeginTxFunc(ctx, l.pool, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, longSession); err != nil {
			return err
		}
		return tx.QueryRow(ctx, censusThrough, int64(through)).Scan(&n.Events, &n.Positions)
	})
	if err != nil {
		return projection.Census{}, fmt.Errorf("count events: %w", err)
	}
	return n, nil
}
