package postgres_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
	"github.com/ebrahem-outlook/customer-service/internal/postgres"
	"github.com/ebrahem-outlook/customer-service/internal/postgres/postgrestest"
	"github.com/ebrahem-outlook/customer-service/internal/relay"
)

func isFenced(err error) bool { return errors.Is(err, relay.ErrFenced) }

func TestLease(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	pool := postgrestest.EventLog(t).Pool(t, postgres.RoleCommand)
	leases := postgres.NewLeases(pool)

	first, ok, err := leases.Acquire(ctx, duty, "a", time.Hour)
	require.NoError(t, err)
	require.True(t, ok)
	_, ok, err = leases.Acquire(ctx, duty, "b", time.Hour)
	require.NoError(t, err)
	require.False(t, ok, "it is held")
	_, ok, err = leases.Acquire(ctx, "another duty", "b", time.Hour)
	require.NoError(t, err)
	require.True(t, ok)

	require.NoError(t, leases.Renew(ctx, first, -time.Second), "expires at once")
	require.NoError(t, leases.Renew(ctx, first, -time.Second), "nobody took it, so the term goes on")
	second, ok, err := leases.Acquire(ctx, duty, "b", time.Hour)
	require.NoError(t, err)
	require.True(t, ok)
	require.Greater(t, second.Epoch, first.Epoch)
	require.ErrorIs(t, leases.Renew(ctx, first, time.Hour), relay.ErrFenced)
	require.NoError(t, leases.Release(ctx, first), "what is over can be ended")
	require.NoError(t, leases.Renew(ctx, second, time.Hour))

	require.NoError(t, leases.Release(ctx, second))
	third, ok, err := leases.Acquire(ctx, duty, "c", time.Hour)
	require.NoError(t, err)
	require.True(t, ok)
	require.Greater(t, third.Epoch, second.Epoch)
}

func TestCheckpointsAreFenced(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	pool := postgrestest.EventLog(t).Pool(t, postgres.RoleCommand)
	leases, checkpoints := postgres.NewLeases(pool), postgres.NewCheckpoints(pool)
	old, ok, err := leases.Acquire(ctx, duty, "a", -time.Second)
	require.NoError(t, err)
	require.True(t, ok)
	at, err := checkpoints.BeginRelay(ctx, old, "feed", 2)
	require.NoError(t, err)
	require.Equal(t, map[eventlog.Lane]eventlog.Position{0: 0, 1: 0}, at)
	require.NoError(t, checkpoints.Advance(ctx, old, "feed", 1, 40))
	require.NoError(t, checkpoints.Advance(ctx, old, "feed", 1, 30), "moves forward only")

	young, ok, err := leases.Acquire(ctx, duty, "b", time.Hour)
	require.NoError(t, err)
	require.True(t, ok)
	require.ErrorIs(t, checkpoints.Advance(ctx, old, "feed", 1, 50), relay.ErrFenced)
	at, err = checkpoints.BeginRelay(ctx, young, "feed", 3)
	require.NoError(t, err)
	require.Equal(t, map[eventlog.Lane]eventlog.Position{0: 0, 1: 40, 2: 0}, at)
	_, err = checkpoints.BeginRelay(ctx, old, "feed", 3)
	require.ErrorIs(t, err, relay.ErrFenced)
	require.ErrorIs(t, checkpoints.Advance(ctx, young, "feed", 9, 1), relay.ErrFenced, "a lane that was never begun")
}
