package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
	"github.com/ebrahem-outlook/customer-service/internal/relay"
)

// Checkpoints implements relay.Checkpoints.
type Checkpoints struct{ pool *pgxpool.Pool }

// NewCheckpoints returns the relays' checkpoints in pool's database.
func NewCheckpoints(pool *pgxpool.Pool) *Checkpoints { return &Checkpoints{pool: pool} }

const (
	makeCheckpoints = `
INSERT INTO eventlog.relay_checkpoints (relay, lane)
SELECT $1, lane FROM generate_series(0, $2::integer - 1) lane
ON CONFLICT DO NOTHING`

	// Once the epoch is written, a term before it finds no row to advance,
	// however long its process was paused between two statements.
	beginRelay = `
UPDATE eventlog.relay_checkpoints SET epoch = $3
 WHERE relay = $1 AND lane < $2 AND epoch <= $3
   AND EXISTS (SELECT FROM eventlog.leases WHERE duty = $4 AND epoch = $3)
RETURNING lane, pos`

	// A checkpoint that a crash takes back costs a duplicate message, so its
	// commit need not wait for the disk.
	advance = `
WITH lazily AS MATERIALIZED (SELECT set_config('synchronous_commit', 'off', true) AS set)
UPDATE eventlog.relay_checkpoints SET pos = greatest(pos, $4)
  FROM lazily
 WHERE lazily.set IS NOT NULL AND relay = $1 AND lane = $2 AND epoch = $3
   AND EXISTS (SELECT FROM eventlog.leases WHERE duty = $5 AND epoch = $3)`
)

// BeginRelay implements relay.Checkpoints.
func (c *Checkpoints) BeginRelay(ctx context.Context, f relay.Fence, name string, lanes int) (map[eventlog.Lane]eventlog.Position, error) {
	at := make(map[eventlog.Lane]eventlog.Position, lanes)
	err := pgx.BeginFunc(ctx, c.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, makeCheckpoints, name, lanes); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, beginRelay, name, lanes, f.Epoch, f.Duty)
		if err != nil {
			return err
		}
		var (
			lane int16
			pos  int64
		)
		_, err = pgx.ForEachRow(rows, []any{&lane, &pos}, func() error {
			at[eventlog.Lane(lane)] = eventlog.Position(pos)
			return nil
		})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("begin relay %s: %w", name, err)
	}
	if len(at) != lanes {
		return nil, fmt.Errorf("begin relay %s, epoch %d: %w", name, f.Epoch, relay.ErrFenced)
	}
	return at, nil
}

// Advance implements relay.Checkpoints.
func (c *Checkpoints) Advance(ctx context.Context, f relay.Fence, name string, lane eventlog.Lane, to eventlog.Position) error {
	tag, err := c.pool.Exec(ctx, advance, name, int16(lane), f.Epoch, int64(to), f.Duty)
	if err != nil {
		return fmt.Errorf("advance %s in lane %d: %w", name, lane, err)
	}
	if tag.RowsAffected() == 0 {
		return fmt.Errorf("advance %s in lane %d, epoch %d: %w", name, lane, f.Epoch, relay.ErrFenced)
	}
	return nil
}
