package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/ebrahem-outlook/customer-service/internal/relay"
)

// Leases implements relay.Leases. There are no advisory locks in it: a lock
// belongs to a backend, which can die without its client noticing, and then
// two processes lead.
type Leases struct{ pool *pgxpool.Pool }

// NewLeases returns the leases in pool's database.
func NewLeases(pool *pgxpool.Pool) *Leases { return &Leases{pool: pool} }

const (
	// Looked at before it is taken, because INSERT … ON CONFLICT locks the row,
	// and thus writes, even when its WHERE refuses.
	leaseHeld = `SELECT EXISTS (SELECT FROM eventlog.leases WHERE duty = $1 AND expires_at > clock_timestamp())`

	acquireLease = `
INSERT INTO eventlog.leases AS l (duty, holder, expires_at, epoch)
VALUES ($1, $2, clock_timestamp() + $3, 1)
ON CONFLICT (duty) DO UPDATE SET holder = excluded.holder, expires_at = clock_timestamp() + $3, epoch = l.epoch + 1
 WHERE l.expires_at <= clock_timestamp()
RETURNING l.epoch`

	renewLease = `
UPDATE eventlog.leases SET expires_at = clock_timestamp() + $3 WHERE duty = $1 AND epoch = $2`

	releaseLease = `
UPDATE eventlog.leases SET expires_at = '-infinity' WHERE duty = $1 AND epoch = $2`
)

// Acquire implements relay.Leases.
func (l *Leases) Acquire(ctx context.Context, duty, holder string, ttl time.Duration) (relay.Fence, bool, error) {
	var held bool
	if err := l.pool.QueryRow(ctx, leaseHeld, duty).Scan(&held); err != nil {
		return relay.Fence{}, false, fmt.Errorf("look at lease %s: %w", duty, err)
	}
	if held {
		return relay.Fence{}, false, nil
	}
	f := relay.Fence{Duty: duty}
	err := l.pool.QueryRow(ctx, acquireLease, duty, holder, ttl).Scan(&f.Epoch)
	if errors.Is(err, pgx.ErrNoRows) {
		return relay.Fence{}, false, nil
	}
	if err != nil {
		return relay.Fence{}, false, fmt.Errorf("acquire lease %s: %w", duty, err)
	}
	return f, true, nil
}

// Renew implements relay.Leases.
func (l *Leases) Renew(ctx context.Context, f relay.Fence, ttl time.Duration) error {
	tag, err := l.pool.Exec(ctx, renewLease, f.Duty, f.Epoch, ttl)
	if err != nil {
		return fmt.Errorf("renew lease %s: %w", f.Duty, err)
	}
	if tag.RowsAffected() == 0 {
		return fmt.Errorf("renew lease %s, epoch %d: %w", f.Duty, f.Epoch, relay.ErrFenced)
	}
	return nil
}

// Release implements relay.Leases.
func (l *Leases) Release(ctx context.Context, f relay.Fence) error {
	if _, err := l.pool.Exec(ctx, releaseLease, f.Duty, f.Epoch); err != nil {
		return fmt.Errorf("release lease %s: %w", f.Duty, err)
	}
	return nil
}
