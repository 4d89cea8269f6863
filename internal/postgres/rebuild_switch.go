package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/ebrahem-outlook/customer-service/internal/crash"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
	"github.com/ebrahem-outlook/customer-service/internal/projection"
)

const (
	// quietWait is how long the switch waits for maintenance of the tables. It is
	// longer than deadlock_timeout, after which the server ends an autovacuum that
	// somebody waits for; neither reads nor writes wait meanwhile.
	quietWait = 5 * time.Second
	// readsWait is how long the switch waits for those who are reading, and so how
	// long those who come after it wait at most: whoever queues for an exclusive
	// lock stops everybody behind.
	readsWait = 100 * time.Millisecond
	// liveWait bounds how long the live lanes stand still. What they wait for
	// gives up after 2 s.
	liveWait = time.Second
)

const (
	setLockTimeout = `SELECT set_config('lock_timeout', $1, true)`

	checkpointsOf = `
SELECT lane, position, cached_position, rewinds FROM readmodel.checkpoints WHERE ` + ofGeneration + ` ORDER BY lane FOR UPDATE`

	// A customer keeps the time since which it is halted at the same event.
	carryParked = `
UPDATE readmodel_next.parked n SET since = o.since, attempts = greatest(n.attempts, o.attempts)
  FROM readmodel.parked o WHERE o.customer_id = n.customer_id AND o.version = n.version`

	// Customers that would be read at an older version than they are now.
	countSetBack = `
SELECT count(*) FROM readmodel_next.parked n
  JOIN readmodel.documents o USING (customer_id) LEFT JOIN readmodel_next.documents d USING (customer_id)
 WHERE o.version > coalesce(d.version, 0)`

	retireLive  = `UPDATE readmodel.generations SET state = 'retired' WHERE state = 'live'`
	promoteNext = `UPDATE readmodel.generations SET state = 'live', live_at = clock_timestamp() WHERE generation = %d`
	// Who waits for a checkpoint of the retired generation finds none, and looks again.
	deleteRetired = `
DELETE FROM readmodel.checkpoints WHERE generation IN (SELECT generation FROM readmodel.generations WHERE state = 'retired')`
	// Nothing is in the new epoch, so nothing in it is old, and what a process
	// knows of its writes to the earlier one counts no more.
	allCachedAnew = `UPDATE readmodel.checkpoints SET cached_position = position, rewinds = rewinds + %[2]d WHERE generation = %[1]d`
	allListed     = `UPDATE readmodel.listing_state SET complete = true WHERE NOT complete`
	nextEpoch     = `UPDATE readmodel.cache_state SET epoch = epoch + 1`
	endRebuild    = `DELETE FROM readmodel.rebuild WHERE generation = %d`
)

// SetBackError tells that customers are halted in the next generation before a
// version that reads answer now.
type SetBackError struct{ Customers int }

func (e *SetBackError) Error() string {
	return fmt.Sprintf("%d customers would be read at an older version than now, because an event of theirs cannot be applied", e.Customers)
}

// Switch implements projection.NextGeneration.
func (r *Rebuild) Switch(ctx context.Context, catchUp func(context.Context, []projection.Checkpoint) error) error {
	// A lane that never had an event gets its row now: a row that is inserted
	// later is one that the switch did not lock.
	for lane := range r.lanes {
		if _, err := r.pool.Exec(ctx, insertCheckpoint, 0, lane); err != nil {
			return fmt.Errorf("switch: %w", err)
		}
	}
	err := pgx.BeginFunc(ctx, r.pool, func(tx pgx.Tx) error { return r.switchIn(ctx, tx, catchUp) })
	if pg := (*pgconn.PgError)(nil); errors.As(err, &pg) && (pg.Code == pgerrcode.LockNotAvailable || pg.Code == pgerrcode.DeadlockDetected) {
		err = projection.ErrNotNow
	}
	if err != nil {
		return fmt.Errorf("switch: %w", err)
	}
	crash.Here(crash.RebuildAfterSwitch)
	r.next = 0
	return nil
}

func (r *Rebuild) switchIn(ctx context.Context, tx pgx.Tx, catchUp func(context.Context, []projection.Checkpoint) error) error {
	var live, next []string
	for _, t := range derivedTables() {
		live, next = append(live, in(liveSchema, t.name)), append(next, in(nextSchema, t.name))
	}
	both := strings.Join(append(append([]string(nil), live...), next...), ", ")
	if err := withinLockTimeout(ctx, tx, quietWait, "LOCK TABLE "+both+" IN SHARE UPDATE EXCLUSIVE MODE"); err != nil {
		return err
	}
	tag, err := tx.Exec(ctx, lockRebuild, r.next, r.attempt)
	if err == nil && tag.RowsAffected() == 0 {
		err = projection.ErrReplaced
	}
	if err != nil {
		return err
	}
	// From here on the live lanes stand still.
	held, cancel := context.WithTimeout(ctx, liveWait)
	defer cancel()
	at, err := checkpoints(held, tx, 0)
	if err != nil {
		return overdue(ctx, held, err)
	}
	if err := catchUp(held, at); err != nil {
		return overdue(ctx, held, err)
	}
	reached, err := checkpoints(held, tx, r.next)
	if err != nil {
		return overdue(ctx, held, err)
	}
	rewinds := int64(0)
	position := map[eventlog.Lane]eventlog.Position{}
	for _, c := range reached {
		position[c.Lane] = c.Position
	}
	for _, c := range at {
		rewinds = max(rewinds, c.Rewinds)
		if position[c.Lane] < c.Position {
			return fmt.Errorf("%w: lane %d is at %d, should be at %d", projection.ErrBehindLive, c.Lane, position[c.Lane], c.Position)
		}
	}
	var back int
	if err := tx.QueryRow(held, countSetBack).Scan(&back); err != nil {
		return overdue(ctx, held, err)
	}
	if back > 0 {
		return &SetBackError{Customers: back}
	}
	if _, err := tx.Exec(held, carryParked); err != nil {
		return overdue(ctx, held, err)
	}
	// And from here on reads do.
	if err := withinLockTimeout(held, tx, readsWait, "LOCK TABLE "+both+" IN ACCESS EXCLUSIVE MODE"); err != nil {
		return overdue(ctx, held, err)
	}
	statements := []string{"CREATE SCHEMA " + retiredSchema}
	for i := range live {
		statements = append(statements,
			"ALTER TABLE "+live[i]+" SET SCHEMA "+retiredSchema, "ALTER TABLE "+next[i]+" SET SCHEMA "+liveSchema)
	}
	statements = append(statements, "DROP SCHEMA "+nextSchema, retireLive,
		fmt.Sprintf(promoteNext, r.next), deleteRetired, fmt.Sprintf(allCachedAnew, r.next, rewinds+1), allListed, nextEpoch, fmt.Sprintf(endRebuild, r.next))
	crash.Here(crash.RebuildBeforeSwitch)
	// In one round trip: reads wait for it.
	return tx.Conn().PgConn().Exec(ctx, strings.Join(statements, "; ")).Close()
}

// overdue makes an error that comes from having held the lanes for too long one
// that says to try again.
func overdue(ctx, held context.Context, err error) error {
	if err != nil && held.Err() != nil && ctx.Err() == nil {
		return projection.ErrNotNow
	}
	return err
}

func withinLockTimeout(ctx context.Context, tx pgx.Tx, d time.Duration, statement string) error {
	if _, err := tx.Exec(ctx, setLockTimeout, milliseconds(d)); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, statement)
	return err
}

func checkpoints(ctx context.Context, tx pgx.Tx, generation int) ([]projection.Checkpoint, error) {
	rows, err := tx.Query(ctx, checkpointsOf, generation)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, scanCheckpoint)
}
