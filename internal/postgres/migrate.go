package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"

	"github.com/ebrahem-outlook/customer-service/migrations"
)

// versionTable, inside the schema it describes, so that two schemas in one
// database move by themselves and a dropped schema takes its history along.
const versionTable = "schema_migrations"

// Migrate brings a schema to the newest version this binary knows. Any number
// of processes may do so at once: one applies, the others wait for it. It
// connects as the URL's own user, which owns what it makes.
func Migrate(ctx context.Context, url string, set migrations.Set, log *slog.Logger) error {
	if err := migrate(ctx, url, set, log); err != nil {
		return fmt.Errorf("migrate %s: %w", set.Schema, err)
	}
	return nil
}

func migrate(ctx context.Context, url string, set migrations.Set, log *slog.Logger) (err error) {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return errors.New("the database URL cannot be read") // the cause would quote it, password and all
	}
	db := stdlib.OpenDB(*config)
	defer func() { _ = db.Close() }()

	// goose looks for its table, and makes it, before it locks. So one lock is
	// held round everything, and goose's own on the very connection that
	// applies: whoever loses that connection stops migrating with it.
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	whole := sessionLock("prepare " + set.Schema)
	if err := whole.SessionLock(ctx, conn); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, whole.SessionUnlock(context.WithoutCancel(ctx), conn)) }()
	for _, statement := range []string{makeRoles, "CREATE SCHEMA IF NOT EXISTS " + pgx.Identifier{set.Schema}.Sanitize()} {
		if _, err := conn.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("make schema and roles: %w", err)
		}
	}

	provider, err := goose.NewProvider(goose.DialectPostgres, db, set.FS,
		goose.WithTableName(set.Schema+"."+versionTable),
		goose.WithSessionLocker(sessionLock("apply "+set.Schema)),
		goose.WithDisableGlobalRegistry(true),
		goose.WithSlog(log))
	if err != nil {
		return err
	}
	results, err := provider.Up(ctx)
	if err != nil {
		return err
	}
	log.InfoContext(ctx, "schema is up to date", "schema", set.Schema, "applied", len(results))
	return nil
}

// BehindError tells that a schema is older than the binary that looks at it.
type BehindError struct {
	Schema     string
	Have, Want int64
}

func (e *BehindError) Error() string {
	return fmt.Sprintf("schema %s is at version %d, this binary needs %d: run migrate", e.Schema, e.Have, e.Want)
}

// CheckVersion returns a *BehindError when the schema lacks a migration this
// binary knows. A newer schema is fine: migrations keep the previous release
// working.
func CheckVersion(ctx context.Context, pool *pgxpool.Pool, set migrations.Set) error {
	want, err := newest(set)
	if err != nil {
		return err
	}
	var have int64
	err = pool.QueryRow(ctx, "SELECT coalesce(max(version_id), 0) FROM "+
		pgx.Identifier{set.Schema, versionTable}.Sanitize()+" WHERE is_applied").Scan(&have)
	if pgErr := (*pgconn.PgError)(nil); errors.As(err, &pgErr) &&
		(pgErr.Code == pgerrcode.UndefinedTable || pgErr.Code == pgerrcode.InvalidSchemaName) {
		have, err = 0, nil
	}
	if session := (*sessionError)(nil); errors.As(err, &session) && session.noRole() {
		have, err = 0, nil
	}
	if err != nil {
		return fmt.Errorf("read version of schema %s: %w", set.Schema, err)
	}
	if have < want {
		return &BehindError{Schema: set.Schema, Have: have, Want: want}
	}
	return nil
}

func newest(set migrations.Set) (int64, error) {
	// The provider is the one place that knows how files are numbered; it does not connect here.
	provider, err := goose.NewProvider(goose.DialectPostgres, new(sql.DB), set.FS, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return 0, fmt.Errorf("list migrations of %s: %w", set.Schema, err)
	}
	sources := provider.ListSources()
	return sources[len(sources)-1].Version, nil
}

// The roles belong to the cluster and other databases of it may be migrating
// too, under locks we do not see; hence the handlers. The migrating user may
// act as each role, so that a set-up with a single login works.
const makeRoles = `
DO $$
DECLARE
    wanted text;
    may    text := CASE WHEN current_setting('server_version_num')::int >= 160000 THEN 'SET' ELSE 'MEMBER' END;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['customer_command', 'customer_projector', 'customer_query'] LOOP
        BEGIN
            IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted) THEN
                EXECUTE format('CREATE ROLE %I NOLOGIN', wanted);
            END IF;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL; -- another database's migration was quicker
        END;
        BEGIN
            IF NOT pg_has_role(current_user, wanted, may) THEN
                EXECUTE format('GRANT %I TO CURRENT_USER', wanted);
            END IF;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL;
        END;
    END LOOP;
END
$$`

// sessionLock is an advisory lock by name, in the shape goose asks for.
type sessionLock string

const (
	tryLock  = `SELECT pg_try_advisory_lock(hashtextextended('customer-service ' || $1, 0))`
	unlock   = `SELECT pg_advisory_unlock(hashtextextended('customer-service ' || $1, 0))`
	lockPoll = 50 * time.Millisecond
)

// SessionLock polls rather than waits inside PostgreSQL: a waiting statement
// holds a snapshot, and CREATE INDEX CONCURRENTLY waits for snapshots.
func (l sessionLock) SessionLock(ctx context.Context, conn *sql.Conn) error {
	tick := time.NewTicker(lockPoll)
	defer tick.Stop()
	for {
		var got bool
		if err := conn.QueryRowContext(ctx, tryLock, string(l)).Scan(&got); err != nil {
			return fmt.Errorf("lock %q: %w", string(l), err)
		}
		if got {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("lock %q: %w", string(l), ctx.Err())
		case <-tick.C:
		}
	}
}

// SessionUnlock lets the next process migrate.
func (l sessionLock) SessionUnlock(ctx context.Context, conn *sql.Conn) error {
	if _, err := conn.ExecContext(ctx, unlock, string(l)); err != nil {
		return fmt.Errorf("unlock %q: %w", string(l), err)
	}
	return nil
}
