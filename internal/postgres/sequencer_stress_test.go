package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/ebrahem-outlook/customer-service/internal/postgres"
	"github.com/ebrahem-outlook/customer-service/internal/postgres/postgrestest"
	"github.com/ebrahem-outlook/customer-service/internal/relay"
)

// Ten thousand events and more, from transactions that dawdle, roll back, are
// killed, or stay open all the while, each in the worst order of ids. Measured
// in the same runs: a reader that polls by id alone lost 3,400 to 4,600 of
// 10,580 events, one that waits for pg_snapshot_xmin saw none while the long
// transaction was open, and the order by (xid, id) put 317 to 348 before an
// earlier one of the same customer.
func TestSequencingLosesAndInvertsNothing(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	db := postgrestest.EventLog(t)
	pool := db.Pool(t, postgres.RoleCommand)
	owner := db.Pool(t, "")
	writers := db.PoolWith(t, postgres.PoolConfig{
		Role: postgres.RoleCommand, MaxConns: 32, ApplicationName: "writer", LockTimeout: time.Minute, StatementTimeout: time.Minute,
	})
	s, f := lead(ctx, t, pool)

	open, err := owner.Begin(ctx) // writes first, commits last
	require.NoError(t, err)
	_, err = open.Exec(ctx, `SET LOCAL idle_in_transaction_session_timeout = 0`)
	require.NoError(t, err)
	require.NoError(t, writeEvents(ctx, open, uuid.New(), 3, false))

	customers := make([]uuid.UUID, 100)
	for i := range customers {
		customers[i] = uuid.New()
	}
	const wanted = 10_500
	var committed, rolledBack, killed atomic.Int64
	var writing errgroup.Group
	done := make(chan struct{})
	for range 32 {
		writing.Go(func() error {
			for committed.Load() < wanted {
				n := 1 + rand.IntN(4)
				giveUp := rand.IntN(10) == 0
				err := pgx.BeginFunc(ctx, writers, func(tx pgx.Tx) error {
					if err := writeEvents(ctx, tx, customers[rand.IntN(len(customers))], n, true); err != nil {
						return err
					}
					if giveUp {
						return errGaveUp
					}
					return nil
				})
				switch {
				case err == nil:
					committed.Add(int64(n))
				case giveUp:
					rolledBack.Add(1)
				default:
					killed.Add(1)
				}
			}
			return nil
		})
	}
	var behind errgroup.Group
	behind.Go(func() error { // kills a writer at a time
		for running(done) {
			if _, err := owner.Exec(ctx, `
				SELECT pg_terminate_backend(pid), pg_sleep(0.03) FROM pg_stat_activity
				 WHERE datname = current_database() AND application_name = 'writer' ORDER BY random() LIMIT 1`); err != nil {
				return err
			}
		}
		return nil
	})
	behind.Go(func() error { // sequences
		for running(done) {
			if _, err := s.TickOnce(ctx, f, tickLimit); err != nil {
				return err
			}
		}
		return nil
	})
	behind.Go(func() error { // reads what was served: no position may ever turn up late
		var last int64
		for running(done) {
			var n, head int64
			if err := pool.QueryRow(ctx, `SELECT count(*), coalesce(max(pos), $1) FROM eventlog.positions WHERE pos > $1`, last).Scan(&n, &head); err != nil {
				return err
			}
			if head-last != n {
				return fmt.Errorf("%d positions between %d and %d", n, last, head)
			}
			last = head
		}
		return nil
	})
	require.NoError(t, writing.Wait())
	close(done)
	require.NoError(t, behind.Wait())
	drain(ctx, t, s, f)

	var visible, sequenced int64
	require.NoError(t, pool.QueryRow(ctx, `SELECT (SELECT count(*) FROM eventlog.events), (SELECT count(*) FROM eventlog.positions)`).Scan(&visible, &sequenced))
	require.Equal(t, visible, sequenced, "sequencing must not wait for the open transaction")
	require.GreaterOrEqual(t, visible, int64(wanted))
	require.NoError(t, open.Commit(ctx))
	require.Equal(t, 3, drain(ctx, t, s, f))
	requireOrder(ctx, t, pool, visible+3)
	t.Logf("%d events sequenced while a transaction was open; %d rolled back, %d cut off", sequenced, rolledBack.Load(), killed.Load())
	require.Positive(t, rolledBack.Load())
	require.Positive(t, killed.Load())
}

var errGaveUp = errors.New("gave up")

func running(done <-chan struct{}) bool {
	select {
	case <-done:
		return false
	default:
		return true
	}
}

func TestTwoSequencersRaceAndOneIsFenced(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	pool := postgrestest.EventLog(t).PoolWith(t, postgres.PoolConfig{Role: postgres.RoleCommand, MaxConns: 24})
	customers := []uuid.UUID{uuid.New(), uuid.New(), uuid.New(), uuid.New(), uuid.New(), uuid.New(), uuid.New(), uuid.New()}

	done := make(chan struct{})
	var committed atomic.Int64
	var writing errgroup.Group
	for i := range 8 {
		writing.Go(func() error {
			for range 150 {
				if err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
					return writeEvents(ctx, tx, customers[(i+rand.IntN(2))%8], 2, false)
				}); err != nil {
					return err
				}
				committed.Add(2)
			}
			return nil
		})
	}
	// Each takes the lease from the other again and again, and both tick all
	// the time, under whatever term they last had.
	var terms, fenced atomic.Int64
	var racing errgroup.Group
	for range 2 {
		racing.Go(func() error {
			s := postgres.NewSequencer(pool)
			leases := postgres.NewLeases(pool)
			var f relay.Fence
			for i := 0; running(done); i++ {
				if i%7 == 0 {
					if err := leases.Release(ctx, relay.Fence{Duty: duty, Epoch: terms.Load()}); err != nil {
						return err
					}
					got, ok, err := leases.Acquire(ctx, duty, "racer", time.Hour)
					if err != nil {
						return err
					}
					if ok {
						f = got
						terms.Store(f.Epoch)
						if _, err := s.BeginTerm(ctx, f, lanes); err != nil && !isFenced(err) {
							return err
						}
					}
				}
				if _, err := s.TickOnce(ctx, f, tickLimit); isFenced(err) {
					fenced.Add(1)
				} else if err != nil {
					return err
				}
			}
			return nil
		})
	}
	require.NoError(t, writing.Wait())
	close(done)
	require.NoError(t, racing.Wait())
	s, f := lead(ctx, t, pool)
	drain(ctx, t, s, f)
	requireOrder(ctx, t, pool, committed.Load())
	require.Greater(t, terms.Load(), int64(2))
	require.Positive(t, fenced.Load())
}
