// Package postgres keeps the event log and the read models in PostgreSQL. It
// implements the ports of eventlog, projection and query; it decides nothing
// about customers, and no other adapter knows it.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// The roles that processes run as. They cannot log in; migrations make them
// and grant each what its process needs.
const (
	RoleCommand   = "customer_command"
	RoleProjector = "customer_projector"
	RoleQuery     = "customer_query"
)

// PoolConfig is how a process connects. Zero values take the defaults named.
type PoolConfig struct {
	URL             string
	Role            string // one of the roles above; empty keeps the login's own rights
	ApplicationName string
	MaxConns        int // 16

	// Server-side bounds. A statement that waits longer for a lock, runs
	// longer, or a transaction left idle longer, is ended by the server.
	LockTimeout              time.Duration // 2 s
	StatementTimeout         time.Duration // 5 s
	IdleInTransactionTimeout time.Duration // 10 s

	ConnectTimeout time.Duration // 5 s
}

func (c PoolConfig) withDefaults() PoolConfig {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&c.LockTimeout, 2*time.Second)
	def(&c.StatementTimeout, 5*time.Second)
	def(&c.IdleInTransactionTimeout, 10*time.Second)
	def(&c.ConnectTimeout, 5*time.Second)
	if c.MaxConns == 0 {
		c.MaxConns = 16
	}
	return c
}

func (c PoolConfig) validate() error {
	var errs []error
	if c.URL == "" {
		errs = append(errs, errors.New("postgres: the URL is empty"))
	}
	if c.MaxConns < 1 || c.MaxConns > 1000 {
		errs = append(errs, fmt.Errorf("postgres: %d connections, want 1 to 1000", c.MaxConns))
	}
	for _, d := range []time.Duration{c.LockTimeout, c.StatementTimeout, c.IdleInTransactionTimeout, c.ConnectTimeout} {
		if d < time.Millisecond {
			errs = append(errs, fmt.Errorf("postgres: timeout %s, want at least 1 ms", d))
		}
	}
	return errors.Join(errs...)
}

// Settings go in one round trip. Two do not depend on what somebody set for the
// database: a commit that is not synchronous would let an acknowledged command
// vanish, and the statements here are written for READ COMMITTED. The last
// four are for the planner: every statement here is a look-up by index of a few
// rows, and its plan, often made while a table was small, is kept as long as
// the connection. Compiling such a plan or spreading it over workers costs
// more than it runs: 20 ms and more for each, measured, against 0.1 to 3 ms.
const setUpSession = `
SELECT set_config('lock_timeout', $1, false),
       set_config('statement_timeout', $2, false),
       set_config('idle_in_transaction_session_timeout', $3, false),
       set_config('synchronous_commit', CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on' ELSE current_setting('synchronous_commit') END, false),
       set_config('default_transaction_isolation', 'read committed', false),
       set_config('role', $4, false),
       set_config('jit', 'off', false),
       set_config('max_parallel_workers_per_gather', '0', false),
       set_config('enable_seqscan', 'off', false),
       set_config('enable_hashjoin', 'off', false)`

// OpenPool makes a pool that connects when first used, so that a process can
// start before its database. It fails on a bad configuration only.
func OpenPool(ctx context.Context, c PoolConfig) (*pgxpool.Pool, error) {
	c = c.withDefaults()
	if err := c.validate(); err != nil {
		return nil, err
	}
	pc, err := pgxpool.ParseConfig(c.URL)
	if err != nil {
		return nil, errors.New("postgres: the URL cannot be read") // the cause would quote it, password and all
	}
	pc.MaxConns = int32(c.MaxConns) //nolint:gosec // validated above
	pc.ConnConfig.ConnectTimeout = c.ConnectTimeout
	if c.ApplicationName != "" {
		pc.ConnConfig.RuntimeParams["application_name"] = c.ApplicationName
	}
	role := c.Role
	if role == "" {
		role = "none"
	}
	pc.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, setUpSession, milliseconds(c.LockTimeout), milliseconds(c.StatementTimeout),
			milliseconds(c.IdleInTransactionTimeout), role)
		if pg := (*pgconn.PgError)(nil); errors.As(err, &pg) {
			return &sessionError{role: role, cause: pg}
		}
		if err != nil {
			return fmt.Errorf("set up session as %s: %w", role, err)
		}
		return nil
	}
	pool, err := pgxpool.NewWithConfig(ctx, pc)
	if err != nil {
		return nil, fmt.Errorf("postgres: open pool: %w", err)
	}
	return pool, nil
}

// sessionError tells that the server refused to set a new connection up. It
// does not unwrap to the server's error, whose code would be taken for a word
// on the operation that wanted the connection: a role that no migration has
// made yet is an invalid value, like a command's that cannot be stored.
type sessionError struct {
	role  string
	cause *pgconn.PgError
}

func (e *sessionError) Error() string {
	return fmt.Sprintf("set up session as %s: %s", e.role, e.cause)
}

// noRole tells that the role was not there: migrations make it.
func (e *sessionError) noRole() bool { return e.cause.Code == pgerrcode.InvalidParameterValue }

func milliseconds(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }
