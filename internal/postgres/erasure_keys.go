package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
)

// SubjectKeys is the table of wrapped keys as the rotation of key-encryption
// keys sees it.
type SubjectKeys struct {
	log  *Log
	pool *pgxpool.Pool
}

// NewSubjectKeys returns the keys of the log that pool connects to.
func NewSubjectKeys(pool *pgxpool.Pool) *SubjectKeys {
	return &SubjectKeys{log: NewLog(pool), pool: pool}
}

// OwnedKey is a customer's wrapped key.
type OwnedKey struct {
	CustomerID customer.ID
	Key        eventlog.WrappedKey
}

const countKeys = `SELECT kek, count(*) FROM eventlog.subject_keys GROUP BY kek`

// Count is how many keys each key-encryption key wraps.
func (k *SubjectKeys) Count(ctx context.Context) (map[string]int64, error) {
	type use struct {
		kek string
		n   int64
	}
	rows, err := collect(ctx, k.log, "count keys", countKeys, func(row pgx.CollectableRow) (u use, err error) {
		err = row.Scan(&u.kek, &u.n)
		return u, err
	})
	if err != nil {
		return nil, err
	}
	uses := make(map[string]int64, len(rows))
	for _, u := range rows {
		uses[u.kek] = u.n
	}
	return uses, nil
}

const pageKeys = `
SELECT customer_id, wrapped_key, kek FROM eventlog.subject_keys
 WHERE customer_id > $1 AND kek <> $2 ORDER BY customer_id LIMIT $3`

// NotUnder lists keys wrapped under any key-encryption key but one, by customer,
// after one.
func (k *SubjectKeys) NotUnder(ctx context.Context, kek string, after customer.ID, limit int) ([]OwnedKey, error) {
	return collect(ctx, k.log, "list keys", pageKeys, func(row pgx.CollectableRow) (o OwnedKey, err error) {
		err = row.Scan(&o.CustomerID, &o.Key.Wrapped, &o.Key.KEK)
		return o, err
	}, after, kek, limit)
}

const rewrapKeys = `SELECT eventlog.rewrap_subject_keys($1, $2, $3, $4)`

// Rewrap replaces keys by the same wrapped anew, all under kek, and returns how
// many it replaced. One that is not as it was read, or is being worked on, or is
// gone, is left alone.
func (k *SubjectKeys) Rewrap(ctx context.Context, before []OwnedKey, wrapped [][]byte, kek string) (n int64, err error) {
	ids, was := make([]pgtype.UUID, len(before)), make([][]byte, len(before))
	for i, o := range before {
		ids[i], was[i] = uuidOf(o.CustomerID), o.Key.Wrapped
	}
	err = k.pool.QueryRow(ctx, rewrapKeys, ids, was, wrapped, kek).Scan(&n)
	return n, logError("rewrap keys", err)
}

const (
	// Waits for the transactions that store keys, each of which takes
	// milliseconds, and holds up the next ones for as long as it takes to commit.
	lockKeys   = `LOCK TABLE eventlog.subject_keys IN SHARE ROW EXCLUSIVE MODE`
	retireKEK  = `INSERT INTO eventlog.retired_keks (kek) VALUES ($1) ON CONFLICT DO NOTHING`
	reviveKEK  = `DELETE FROM eventlog.retired_keks WHERE kek = $1`
	countUnder = `SELECT count(*) FROM eventlog.subject_keys WHERE kek = $1`
)

// Retire makes sure that no key is wrapped under kek and that none will be,
// whatever a process that still has it does. It returns how many are, and
// retires it only if there are none.
func (k *SubjectKeys) Retire(ctx context.Context, kek string) (used int64, err error) {
	if used, err = k.under(ctx, kek); err != nil || used > 0 {
		return used, err
	}
	err = pgx.BeginFunc(ctx, k.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, lockKeys); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, retireKEK, kek)
		return err
	})
	if err != nil {
		return 0, logError("retire "+kek, err)
	}
	// From here on none can come; one that came before is found now.
	used, err = k.under(ctx, kek)
	if err == nil && used == 0 {
		return 0, nil
	}
	if _, reviveErr := k.pool.Exec(ctx, reviveKEK, kek); reviveErr != nil {
		return used, fmt.Errorf("take back that %s is retired: %w", kek, reviveErr)
	}
	return used, err
}

func (k *SubjectKeys) under(ctx context.Context, kek string) (n int64, err error) {
	err = k.pool.QueryRow(ctx, countUnder, kek).Scan(&n)
	return n, logError("count keys under "+kek, err)
}
