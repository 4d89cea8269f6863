package lifecycle_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/internal/lifecycle"
)

func TestLoopRestsAndWakes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var runs []time.Duration
		begin := time.Now()
		loop := lifecycle.NewLoop("test", slog.New(slog.DiscardHandler), func(context.Context) (time.Duration, error) {
			runs = append(runs, time.Since(begin))
			return time.Minute, nil
		})
		require.NoError(t, loop.Start(t.Context()))
		synctest.Wait()
		<-time.After(time.Minute) // by the bubble's clock
		synctest.Wait()
		<-time.After(time.Second) // by the bubble's clock
		loop.Wake()
		synctest.Wait()
		require.NoError(t, loop.Stop(t.Context()))
		require.NoError(t, loop.Stop(t.Context()), "stopping twice does nothing")
		require.Equal(t, []time.Duration{0, time.Minute, time.Minute + time.Second}, runs)
	})
}

func TestLoopSurvivesAPanic(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		runs := 0
		loop := lifecycle.NewLoop("test", slog.New(slog.DiscardHandler), func(context.Context) (time.Duration, error) {
			if runs++; runs == 1 {
				panic("broken")
			}
			return time.Hour, nil
		})
		require.NoError(t, loop.Start(t.Context()))
		<-time.After(time.Second) // by the bubble's clock
		require.NoError(t, loop.Stop(t.Context()))
		require.Equal(t, 2, runs)
	})
}

func TestLoopBacksOffWhileFailing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		runs := 0
		loop := lifecycle.NewLoop("test", slog.New(slog.DiscardHandler), func(context.Context) (time.Duration, error) {
			runs++
			return 0, errors.New("down")
		})
		require.NoError(t, loop.Start(t.Context()))
		<-time.After(time.Minute) // by the bubble's clock
		require.NoError(t, loop.Stop(t.Context()))
		require.Less(t, runs, 60, "a minute of failures is a handful of tries")
		require.Greater(t, runs, 8, "and recovery begins within seconds")
	})
}
