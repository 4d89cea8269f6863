package postgres

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
	"github.com/ebrahem-outlook/customer-service/internal/projection"
)

// ErrRebuilding tells that another process is at a rebuild.
var ErrRebuilding = errors.New("another process is rebuilding the read model")

// ErrMigrated tells that the schema was migrated since the rebuild began: its
// tables may not be what the live ones are by now.
var ErrMigrated = errors.New("the read model was migrated since the rebuild began")

// Rebuild makes the next generation of the read model: it implements
// projection.NextGeneration, through a pool with the rights of the schema's
// owner, because it makes and drops tables.
//
// A lock on a connection of its own keeps a second process away for as long as
// the connection lives; the attempt's number, which every transaction checks,
// refuses what a process writes that lost that connection without knowing.
type Rebuild struct {
	pool    *pgxpool.Pool
	lock    *pgxpool.Conn
	lanes   int
	attempt int64
	next    int // its generation; 0 before it is begun
	written digests
}

const (
	tryRebuildLock = `SELECT pg_try_advisory_lock(hashtextextended('customer-service rebuild', 0))`
	rebuildUnlock  = `SELECT pg_advisory_unlock(hashtextextended('customer-service rebuild', 0))`
	// lockPatience is for the server to notice that the process which held the
	// lock was killed.
	lockPatience = 3 * time.Second
)

// OpenRebuild returns the one that may rebuild, or fails with ErrRebuilding.
func OpenRebuild(ctx context.Context, pool *pgxpool.Pool, lanes int) (*Rebuild, error) {
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return nil, fmt.Errorf("open rebuild: %w", err)
	}
	tick := time.NewTicker(lockPoll)
	defer tick.Stop()
	for deadline := time.Now().Add(lockPatience); ; {
		var got bool
		if err := conn.QueryRow(ctx, tryRebuildLock).Scan(&got); err != nil {
			conn.Release()
			return nil, fmt.Errorf("open rebuild: %w", err)
		}
		if got {
			return &Rebuild{
				pool: pool, lock: conn, lanes: lanes, written: digests{seed: maphash.MakeSeed(), of: map[int][]digest{}},
			}, nil
		}
		if time.Now().After(deadline) {
			conn.Release()
			return nil, ErrRebuilding
		}
		select {
		case <-ctx.Done():
			conn.Release()
			return nil, ctx.Err()
		case <-tick.C:
		}
	}
}

// Close lets another process rebuild.
func (r *Rebuild) Close(ctx context.Context) error {
	defer r.lock.Release()
	if _, err := r.lock.Exec(ctx, rebuildUnlock); err != nil {
		return errors.Join(fmt.Errorf("close rebuild: %w", err), r.lock.Conn().Close(ctx))
	}
	return nil
}

const (
	schemaVersion = `SELECT coalesce(max(version_id), 0) FROM readmodel.schema_migrations WHERE is_applied`

	resumeRebuild = `
UPDATE readmodel.rebuild SET attempt = attempt + 1
RETURNING generation, state, done, total, started_at, attempt, schema_version`

	insertGeneration = `
INSERT INTO readmodel.generations (generation, state)
SELECT max(generation) + 1, 'building' FROM readmodel.generations RETURNING generation`

	insertRebuild = `
INSERT INTO readmodel.rebuild (generation, state, total, schema_version) VALUES ($1, 'filling', $2, $3)
RETURNING state, done, total, started_at, attempt`

	insertParts = `
INSERT INTO readmodel.rebuild_parts (generation, part, first_id, last_id)
SELECT $1, * FROM unnest($2::integer[], $3::uuid[], $4::uuid[])`

	insertCheckpoints = `
INSERT INTO readmodel.checkpoints (generation, lane, position, cached_position)
SELECT $1, lane, position, position FROM unnest($2::smallint[], $3::bigint[]) u (lane, position)`
)

// Resume implements projection.NextGeneration.
func (r *Rebuild) Resume(ctx context.Context) (*projection.RebuildState, error) {
	var (
		s             projection.RebuildState
		phase         string
		have, migrate int64
	)
	err := r.pool.QueryRow(ctx, resumeRebuild).Scan(&s.Generation, &phase, &s.Done, &s.Total, &s.StartedAt, &r.attempt, &have)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err == nil {
		err = r.pool.QueryRow(ctx, schemaVersion).Scan(&migrate)
	}
	if err != nil {
		return nil, fmt.Errorf("resume rebuild: %w", err)
	}
	if migrate != have {
		return nil, ErrMigrated
	}
	s.Phase, r.next = projection.Phase(phase), s.Generation
	return &s, nil
}

// Begin implements projection.NextGeneration.
func (r *Rebuild) Begin(
	ctx context.Context, total int64, at map[eventlog.Lane]eventlog.Position, parts []projection.Part,
) (s projection.RebuildState, err error) {
	err = pgx.BeginFunc(ctx, r.pool, func(tx pgx.Tx) error {
		var (
			version int64
			phase   string
		)
		if err := tx.QueryRow(ctx, schemaVersion).Scan(&version); err != nil {
			return err
		}
		if err := tx.QueryRow(ctx, insertGeneration).Scan(&s.Generation); err != nil {
			return err
		}
		if err := tx.QueryRow(ctx, insertRebuild, s.Generation, total, version).
			Scan(&phase, &s.Done, &s.Total, &s.StartedAt, &r.attempt); err != nil {
			return err
		}
		s.Phase = projection.Phase(phase)
		if err := makeTables(ctx, tx); err != nil {
			return err
		}
		numbers, first, last := make([]int32, len(parts)), make([][16]byte, len(parts)), make([][16]byte, len(parts))
		for i, p := range parts {
			numbers[i], first[i], last[i] = int32(p.Number), p.First, p.Last //nolint:gosec // a few thousand
		}
		if _, err := tx.Exec(ctx, insertParts, s.Generation, numbers, first, last); err != nil {
			return err
		}
		lanes, positions := make([]int16, r.lanes), make([]int64, r.lanes)
		for i := range lanes {
			lanes[i] = int16(i) //nolint:gosec // at most 1024
			positions[i] = int64(at[eventlog.Lane(i)])
		}
		_, err := tx.Exec(ctx, insertCheckpoints, s.Generation, lanes, positions)
		return err
	})
	if err != nil {
		return projection.RebuildState{}, fmt.Errorf("begin rebuild: %w", ownership(err))
	}
	r.next = s.Generation
	return s, nil
}

// ownership says what to do about a refusal that comes from running under a
// process's login.
func ownership(err error) error {
	if pg := (*pgconn.PgError)(nil); errors.As(err, &pg) && pg.Code == "42501" {
		return fmt.Errorf("%w; rebuild makes tables, so it connects as the schema's owner, like migrate", err)
	}
	return err
}

const unfilledParts = `
SELECT part, first_id, last_id FROM readmodel.rebuild_parts WHERE generation = $1 AND events IS NULL ORDER BY part`

// Unfilled implements projection.NextGeneration.
func (r *Rebuild) Unfilled(ctx context.Context) ([]projection.Part, error) {
	return r.parts(ctx, unfilledParts)
}

func (r *Rebuild) parts(ctx context.Context, sql string) ([]projection.Part, error) {
	rows, err := r.pool.Query(ctx, sql, r.next)
	if err != nil {
		return nil, fmt.Errorf("read parts: %w", err)
	}
	parts, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (p projection.Part, err error) {
		err = row.Scan(&p.Number, &p.First, &p.Last)
		return p, err
	})
	if err != nil {
		return nil, fmt.Errorf("read parts: %w", err)
	}
	return parts, nil
}

const enterPhase = `UPDATE readmodel.rebuild SET state = $3 WHERE generation = $1 AND attempt = $2`

// Enter implements projection.NextGeneration.
func (r *Rebuild) Enter(ctx context.Context, p projection.Phase) error {
	tag, err := r.pool.Exec(ctx, enterPhase, r.next, r.attempt, string(p))
	if err == nil && tag.RowsAffected() == 0 {
		err = projection.ErrReplaced
	}
	if err != nil {
		return fmt.Errorf("enter phase %s: %w", p, err)
	}
	return nil
}

// Store implements projection.NextGeneration.
func (r *Rebuild) Store() projection.Store {
	return &ReadModel{pool: r.pool, lanes: r.lanes, generation: r.next}
}

const selectPassedOver = `SELECT customer_id, version FROM readmodel.passed_over`

// PassedOver implements projection.NextGeneration.
func (r *Rebuild) PassedOver(ctx context.Context) (map[customer.ID][]customer.Version, error) {
	rows, err := r.pool.Query(ctx, selectPassedOver)
	if err != nil {
		return nil, fmt.Errorf("read what was passed over: %w", err)
	}
	var (
		id  customer.ID
		v   customer.Version
		all = map[customer.ID][]customer.Version{}
	)
	if _, err := pgx.ForEachRow(rows, []any{&id, &v}, func() error { all[id] = append(all[id], v); return nil }); err != nil {
		return nil, fmt.Errorf("read what was passed over: %w", err)
	}
	return all, nil
}
