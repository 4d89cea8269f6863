package postgres

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
)

// fault says what an error of PostgreSQL means for the operation that met it.
type fault int8

const (
	faultNone fault = iota
	// faultRace: rolled back because of another transaction; run it again.
	faultRace
	// faultLost: the connection is gone or the server is not the one we want.
	// The operation may have been committed; only what is safe to repeat is.
	faultLost
	// faultBusy: the server answered that it cannot now, for want of time, room
	// or a migration; repeating at once changes nothing or makes it worse.
	faultBusy
	// faultData: a value that the database cannot hold; repeating changes nothing.
	faultData
	// faultOther: a fault of ours or of the schema.
	faultOther
)

// faultOf is the one place that reads SQLSTATEs.
func faultOf(err error) fault {
	if err == nil {
		return faultNone
	}
	var scan pgx.ScanArgError
	if errors.As(err, &scan) {
		return faultOther // an answer we cannot read
	}
	var connect *pgconn.ConnectError
	if errors.As(err, &connect) {
		return faultLost // whatever the server said, it was not about the operation
	}
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		// No answer: refused, reset, timed out, cut short, or our own ctx. A
		// sessionError is one too.
		return faultLost
	}
	switch pg.Code {
	case pgerrcode.SerializationFailure, pgerrcode.DeadlockDetected, pgerrcode.LockNotAvailable:
		return faultRace
	case pgerrcode.ReadOnlySQLTransaction, // a primary that became a standby
		pgerrcode.AdminShutdown, pgerrcode.CrashShutdown, pgerrcode.CannotConnectNow,
		pgerrcode.IdleSessionTimeout, pgerrcode.IdleInTransactionSessionTimeout, pgerrcode.DatabaseDropped:
		return faultLost
	case pgerrcode.QueryCanceled,
		// A schema that is not migrated yet, or is being restored: grants come last.
		pgerrcode.InvalidSchemaName, pgerrcode.UndefinedTable, pgerrcode.UndefinedColumn, pgerrcode.UndefinedFunction,
		pgerrcode.InsufficientPrivilege:
		return faultBusy
	}
	switch pg.Code[:2] {
	case "08": // connection exception
		return faultLost
	case "53", "58": // insufficient resources, system error
		return faultBusy
	case "22", "23", "54": // data, integrity, limits
		return faultData
	default:
		return faultOther
	}
}

// logError wraps what an operation on the log met in the error its port
// promises: ErrUnavailable for what time may heal, the cause itself otherwise.
func logError(doing string, err error) error {
	switch faultOf(err) {
	case faultNone:
		return nil
	case faultRace, faultLost, faultBusy:
		return fmt.Errorf("%s: %w: %w", doing, eventlog.ErrUnavailable, err)
	default:
		return fmt.Errorf("%s: %w", doing, err)
	}
}

// refusal is a data fault without the value that caused it, which PostgreSQL
// puts into detail and sometimes into the message.
func refusal(err error) error {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return errors.New("refused by the database")
	}
	return fmt.Errorf("refused by the database: SQLSTATE %s, table %q, constraint %q", pg.Code, pg.TableName, pg.ConstraintName)
}

// pause waits before the nth repetition, from 1: a jittered, doubling time from
// 5 ms up to 200 ms. It returns false when ctx ended first.
func pause(ctx context.Context, n int) bool {
	d := min(5*time.Millisecond<<(n-1), 200*time.Millisecond)
	timer := time.NewTimer(d/2 + rand.N(d)) //nolint:gosec // jitter needs no secrecy
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
