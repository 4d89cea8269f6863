package postgres_test

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
	"github.com/ebrahem-outlook/customer-service/internal/postgres"
	"github.com/ebrahem-outlook/customer-service/internal/postgres/postgrestest"
	"github.com/ebrahem-outlook/customer-service/internal/relay"
)

const (
	lanes     = eventlog.DefaultLanes
	tickLimit = 10_000
	duty      = "sequence"
)

// lead takes the lease as a new holder, whoever has it, and begins a term.
func lead(ctx context.Context, t testing.TB, pool *pgxpool.Pool) (*postgres.Sequencer, relay.Fence) {
	t.Helper()
	_, err := pool.Exec(ctx, `UPDATE eventlog.leases SET expires_at = '-infinity'`)
	require.NoError(t, err)
	f, ok, err := postgres.NewLeases(pool).Acquire(ctx, duty, uuid.NewString(), time.Hour)
	require.NoError(t, err)
	require.True(t, ok)
	s := postgres.NewSequencer(pool)
	_, err = s.BeginTerm(ctx, f, lanes)
	require.NoError(t, err)
	return s, f
}

// writeEvents commits n events of one customer, in the way that is hardest on a
// sequencer: the transaction has its id long before it has the stream.
func writeEvents(ctx context.Context, tx pgx.Tx, id uuid.UUID, n int, delays bool) error {
	pause := func() error {
		if !delays {
			return nil
		}
		_, err := tx.Exec(ctx, `SELECT pg_sleep($1)`, rand.Float64()*0.004)
		return err
	}
	if _, err := tx.Exec(ctx, `SELECT pg_current_xact_id()`); err != nil {
		return err
	}
	if err := pause(); err != nil {
		return err
	}
	var version int64
	if err := tx.QueryRow(ctx, `
		INSERT INTO eventlog.streams AS s (customer_id, version) VALUES ($1, $2)
		ON CONFLICT (customer_id) DO UPDATE SET version = s.version + $2 RETURNING version`, id, n).Scan(&version); err != nil {
		return err
	}
	for v := version - int64(n) + 1; v <= version; v++ {
		if err := pause(); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `
			INSERT INTO eventlog.events (customer_id, version, event_id, type, schema_version, slot, data, personal, metadata, recorded_at)
			VALUES ($1, $2, gen_random_uuid(), 'customer.renamed', 1, $3, '{}', '\x00ff', '{"command_id":"01900000-0000-7000-8000-0000000000d1"}', now())`,
			id, v, int16(eventlog.SlotOf(id))); err != nil {
			return err
		}
	}
	return pause()
}

func mustWrite(ctx context.Context, t testing.TB, pool *pgxpool.Pool, id uuid.UUID, n int) {
	t.Helper()
	require.NoError(t, pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error { return writeEvents(ctx, tx, id, n, false) }))
}

type orderFaults struct {
	Events, Positions, Head int64
	Inverted                int64 // events whose predecessor in the stream is not the one before it in the order
	Lane                    int64 // in another lane than their slot says
}

func checkOrder(ctx context.Context, t testing.TB, pool *pgxpool.Pool) orderFaults {
	t.Helper()
	var f orderFaults
	require.NoError(t, pool.QueryRow(ctx, `
		SELECT (SELECT count(*) FROM eventlog.events), (SELECT count(*) FROM eventlog.positions),
		       (SELECT coalesce(max(pos), 0) FROM eventlog.positions),
		       (SELECT count(*) FROM (
		            SELECT e.version, lag(e.version, 1, 0::bigint) OVER (PARTITION BY e.customer_id ORDER BY p.pos) AS before
		              FROM eventlog.positions p JOIN eventlog.events e ON e.id = p.event) o WHERE version <> before + 1),
		       (SELECT count(*) FROM eventlog.positions p JOIN eventlog.events e ON e.id = p.event WHERE p.lane <> e.slot::int * 8 / 1024)`).
		Scan(&f.Events, &f.Positions, &f.Head, &f.Inverted, &f.Lane))
	return f
}

func requireOrder(ctx context.Context, t testing.TB, pool *pgxpool.Pool, events int64) {
	t.Helper()
	require.Equal(t, orderFaults{Events: events, Positions: events, Head: events}, checkOrder(ctx, t, pool))
}

func drain(ctx context.Context, t testing.TB, s *postgres.Sequencer, f relay.Fence) (sequenced int) {
	t.Helper()
	for {
		tick, err := s.TickOnce(ctx, f, tickLimit)
		require.NoError(t, err)
		sequenced += tick.Sequenced
		if tick.Sequenced == 0 && !tick.More {
			return sequenced
		}
	}
}

func TestSequencerOfAnEarlierTermWritesNothing(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	pool := postgrestest.EventLog(t).Pool(t, postgres.RoleCommand)
	old, oldFence := lead(ctx, t, pool)
	_, newFence := lead(ctx, t, pool)
	require.Greater(t, newFence.Epoch, oldFence.Epoch)

	_, err := old.TickOnce(ctx, oldFence, tickLimit)
	require.ErrorIs(t, err, relay.ErrFenced, "even with nothing to write")
	mustWrite(ctx, t, pool, uuid.New(), 2)
	_, err = old.TickOnce(ctx, oldFence, tickLimit)
	require.ErrorIs(t, err, relay.ErrFenced)
	_, err = old.BeginTerm(ctx, oldFence, lanes)
	require.ErrorIs(t, err, relay.ErrFenced)
	require.Zero(t, checkOrder(ctx, t, pool).Positions)
}

func TestIdleTickWritesNothing(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	pool := postgrestest.EventLog(t).Pool(t, postgres.RoleCommand)
	s, f := lead(ctx, t, pool)
	mustWrite(ctx, t, pool, uuid.New(), 1)
	drain(ctx, t, s, f)

	conn, err := pool.Acquire(ctx)
	require.NoError(t, err)
	defer conn.Release()
	// An id is assigned to the first write, row locks included.
	require.NoError(t, pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		var wrote bool
		for range 3 {
			if _, err := tx.Exec(ctx, `SELECT eventlog.sequence_tick($1, $2, 100)`, f.Duty, f.Epoch); err != nil {
				return err
			}
		}
		if err := tx.QueryRow(ctx, `SELECT pg_current_xact_id_if_assigned() IS NOT NULL`).Scan(&wrote); err != nil {
			return err
		}
		require.False(t, wrote)
		return nil
	}))
}

func TestBacklogIsWorkedOffInPartsInOrder(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	pool := postgrestest.EventLog(t).Pool(t, postgres.RoleCommand)
	s, f := lead(ctx, t, pool)
	a, b := uuid.New(), uuid.New()

	// a's older version comes from the younger transaction, and one
	// transaction spans many parts and was under way in the last snapshot.
	early, err := pool.Begin(ctx)
	require.NoError(t, err)
	_, err = early.Exec(ctx, `SELECT pg_current_xact_id()`)
	require.NoError(t, err)
	bulk, err := pool.Begin(ctx)
	require.NoError(t, err)
	require.NoError(t, writeEvents(ctx, bulk, b, 30, false))
	mustWrite(ctx, t, pool, uuid.New(), 1)
	require.Equal(t, 1, drain(ctx, t, s, f))
	mustWrite(ctx, t, pool, a, 20)
	require.NoError(t, writeEvents(ctx, early, a, 20, false))
	require.NoError(t, early.Commit(ctx))
	require.NoError(t, bulk.Commit(ctx))

	const part = 7
	var sizes []int
	for {
		tick, err := s.TickOnce(ctx, f, part)
		require.NoError(t, err)
		if len(sizes) == 2 { // what commits meanwhile waits its turn
			mustWrite(ctx, t, pool, a, 1)
		}
		if len(sizes) == 4 { // and so does a new term
			s, f = lead(ctx, t, pool)
		}
		if tick.Sequenced == 0 && !tick.More {
			break
		}
		sizes = append(sizes, tick.Sequenced)
	}
	require.Equal(t, []int{7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 0, 1}, sizes)
	requireOrder(ctx, t, pool, 72)
}

func TestBeginTermSequencesARestoredDatabase(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	db := postgrestest.EventLog(t)
	pool, owner := db.Pool(t, postgres.RoleCommand), db.Pool(t, "")
	s, f := lead(ctx, t, pool)
	id := uuid.New()
	mustWrite(ctx, t, pool, id, 3)
	require.Equal(t, 3, drain(ctx, t, s, f))
	mustWrite(ctx, t, pool, id, 4)

	// As after a restore into a new cluster: the rows carry transaction ids of
	// the old one, some of which will be reached again, and so does the snapshot.
	for _, statement := range []string{
		`ALTER TABLE eventlog.events DISABLE TRIGGER ALL`,
		`UPDATE eventlog.events SET xid = (pg_current_xact_id()::text::bigint + 1 + version)::text::xid8`,
		`ALTER TABLE eventlog.events ENABLE TRIGGER ALL`,
		`UPDATE eventlog.ticks SET taken = '900000000000:900000000010:900000000004'`,
	} {
		_, err := owner.Exec(ctx, statement)
		require.NoError(t, err)
	}
	_, err := s.TickOnce(ctx, f, tickLimit)
	require.ErrorIs(t, err, relay.ErrSnapshotLost)
	n, err := s.BeginTerm(ctx, f, lanes)
	require.NoError(t, err)
	require.Equal(t, int64(4), n)
	for range 20 { // pass the ids the old rows claim
		mustWrite(ctx, t, pool, id, 1)
		require.Equal(t, 1, drain(ctx, t, s, f))
	}
	requireOrder(ctx, t, pool, 27)

	n, err = s.BeginTerm(ctx, f, lanes)
	require.NoError(t, err)
	require.Zero(t, n)
}

func TestEventsBeforeTheFirstTickAreSequenced(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	pool := postgrestest.EventLog(t).Pool(t, postgres.RoleCommand)
	mustWrite(ctx, t, pool, uuid.New(), 5)
	s, f := lead(ctx, t, pool)
	mustWrite(ctx, t, pool, uuid.New(), 2)
	drain(ctx, t, s, f)
	requireOrder(ctx, t, pool, 7)
}

func TestBeginTermRefusesAnotherNumberOfLanes(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	pool := postgrestest.EventLog(t).Pool(t, postgres.RoleCommand)
	s, f := lead(ctx, t, pool)
	_, err := s.BeginTerm(ctx, f, lanes+1)
	var wrong *relay.LanesError
	require.ErrorAs(t, err, &wrong)
	require.Equal(t, relay.LanesError{Have: lanes, Want: lanes + 1}, *wrong)
}
