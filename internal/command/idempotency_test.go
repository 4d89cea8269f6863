package command_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/ebrahem-outlook/customer-service/internal/command"
	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
)

func TestReplayAnswersAsTheFirstTime(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s, other := w.replica(), w.replica()
	ctx := t.Context()
	reg := registration()
	first, err := s.Register(ctx, keyed("k", "register"), reg)
	require.NoError(t, err)
	changed, err := s.Change(ctx, keyed("k2", "rename"), first.Data.ID, rename("Grace"))
	require.NoError(t, err)
	_, err = s.Delete(ctx, asking(), first.Data.ID)
	require.NoError(t, err)

	for name, r := range map[string]replica{"same replica": s, "other replica": other} {
		again, err := r.Register(ctx, keyed("k", "register"), reg)
		require.NoError(t, err, name)
		require.True(t, again.Replayed)
		require.Equal(t, http.StatusCreated, again.Status)
		require.Equal(t, first.Data, again.Data, name)
		again, err = r.Change(ctx, keyed("k2", "rename"), first.Data.ID, rename("Grace"))
		require.NoError(t, err, "though the customer is deleted now")
		require.True(t, again.Replayed)
		require.True(t, again.Changed)
		require.Equal(t, changed.Data, again.Data, name)
	}
	w.requireDense(first.Data.ID, 3)
}

func TestReplayComesBeforeRefusal(t *testing.T) {
	t.Parallel()
	s := newWorld(t).replica()
	ctx := t.Context()
	first, err := s.Register(ctx, asking(), registration())
	require.NoError(t, err)
	req := keyed("k", "patch at 1")
	req.IfMatch = command.IfVersion(1)
	_, err = s.Change(ctx, req, first.Data.ID, rename("Grace"))
	require.NoError(t, err)
	again, err := s.Change(ctx, req, first.Data.ID, rename("Grace"))
	require.NoError(t, err, "not a version mismatch with its own effect")
	require.True(t, again.Replayed)
	require.Equal(t, customer.Version(2), again.Data.Version)
	dry := req
	dry.DryRun = true
	_, err = s.Change(ctx, dry, first.Data.ID, rename("Grace"))
	require.NoError(t, err)
}

func TestKeyReused(t *testing.T) {
	t.Parallel()
	s := newWorld(t).replica()
	ctx := t.Context()
	first, err := s.Register(ctx, keyed("k", "one"), registration())
	require.NoError(t, err)
	_, err = s.Register(ctx, keyed("k", "two"), registration())
	require.ErrorIs(t, err, command.ErrIdempotencyKeyReused)
	_, err = s.Change(ctx, keyed("k", "three"), first.Data.ID, rename("Grace"))
	require.ErrorIs(t, err, command.ErrIdempotencyKeyReused)
	_, err = s.Change(ctx, keyed("k", "four"), uuid.Must(uuid.NewV7()), rename("Grace"))
	require.ErrorIs(t, err, command.ErrIdempotencyKeyReused)
	req := keyed("k", "one")
	req.Principal = "somebody else"
	_, err = s.Register(ctx, req, registration())
	require.NoError(t, err, "another principal's key is another key")
}

func TestRefusalLeavesTheKeyFree(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.replica()
	ctx := t.Context()
	reg := registration()
	_, err := s.Register(ctx, asking(), reg)
	require.NoError(t, err)
	_, err = s.Register(ctx, keyed("k", "taken"), reg)
	require.ErrorIs(t, err, command.ErrEmailTaken)
	_, err = s.Delete(ctx, keyed("k", "unknown"), uuid.Must(uuid.NewV7()))
	require.ErrorIs(t, err, customer.ErrNotFound)
	require.Zero(t, w.count("SELECT count(*) FROM eventlog.idempotency"))
	res, err := s.Register(ctx, keyed("k", "corrected"), registration())
	require.NoError(t, err)
	require.False(t, res.Replayed)
}

func TestNoChangeIsRecordedToo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.replica()
	ctx := t.Context()
	first, err := s.Register(ctx, asking(), registration())
	require.NoError(t, err)
	res, err := s.Change(ctx, keyed("k", "same"), first.Data.ID, rename("Ada"))
	require.NoError(t, err)
	require.False(t, res.Changed)
	_, err = s.Change(ctx, asking(), first.Data.ID, rename("Grace"))
	require.NoError(t, err)
	res, err = s.Change(ctx, keyed("k", "same"), first.Data.ID, rename("Ada"))
	require.NoError(t, err)
	require.True(t, res.Replayed, "it must not rename now")
	require.False(t, res.Changed)
	require.Equal(t, first.Data, res.Data)
	w.requireDense(first.Data.ID, 2)
}

func TestKeyInFlight(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.replica()
	entered, leave := make(chan struct{}), make(chan struct{})
	s.probe.onBefore(func(context.Context, []eventlog.Append) error {
		close(entered)
		<-leave
		return nil
	})
	var group errgroup.Group
	group.Go(func() error {
		_, err := s.Register(t.Context(), keyed("k", "x"), registration())
		return err
	})
	<-entered
	_, err := s.Register(t.Context(), keyed("k", "x"), registration())
	require.ErrorIs(t, err, command.ErrIdempotencyInFlight)
	close(leave)
	require.NoError(t, group.Wait())
}

func TestConcurrentRequestsWithOneKeyHaveOneEffect(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	all := []replica{w.replica(), w.replica(), w.replica()}
	for round := range 10 {
		reg := registration()
		var (
			group  errgroup.Group
			effect atomic.Int32
			ids    = make(chan customer.ID, crowd)
		)
		for i := range crowd {
			group.Go(func() error {
				res, err := all[i%len(all)].Register(t.Context(), keyed(fmt.Sprint("k", round), "x"), reg)
				switch {
				case errors.Is(err, command.ErrIdempotencyInFlight):
					return nil
				case err != nil:
					return err
				case !res.Replayed:
					effect.Add(1)
				}
				ids <- res.Data.ID
				return nil
			})
		}
		require.NoError(t, group.Wait())
		close(ids)
		require.EqualValues(t, 1, effect.Load())
		id := <-ids
		for other := range ids {
			require.Equal(t, id, other)
		}
	}
	require.Equal(t, 10, w.count("SELECT count(*) FROM eventlog.events"))
}

// The answer to a commit is lost: the appender asks again with the same items,
// and the log knows them.
func TestLostAnswerToACommit(t *testing.T) {
	t.Parallel()
	for name, req := range map[string]command.Request{"without a key": asking(), "with a key": keyed("k", "x")} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			s := w.replica()
			var losses atomic.Int32
			s.probe.onAfter(func(o []eventlog.Outcome, err error) ([]eventlog.Outcome, error) {
				if losses.Add(1) <= 2 {
					return nil, fmt.Errorf("%w: connection lost", eventlog.ErrUnavailable)
				}
				return o, err
			})
			reg := registration()
			res, err := s.Register(t.Context(), req, reg)
			require.NoError(t, err)
			require.False(t, res.Replayed, "it is this command's own effect")
			require.True(t, res.Changed)
			w.requireDense(res.Data.ID, 1)
			losses.Store(0)
			none, err := s.Change(t.Context(), keyed("k2", "none"), res.Data.ID, rename(string(reg.FirstName)))
			require.NoError(t, err, "also when there was nothing but the key to record")
			require.False(t, none.Replayed)
			require.False(t, none.Changed)
		})
	}
}

func TestRetryAfterUnknownOutcomeHasOneEffect(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.replicaWith(command.AppenderConfig{MaxWait: patience, ResolveFor: time.Second}, command.Config{})
	_, err := s.Register(t.Context(), asking(), registration()) // connects, which may take longer than a commit
	require.NoError(t, err)
	s.probe.onAfter(func([]eventlog.Outcome, error) ([]eventlog.Outcome, error) {
		return nil, fmt.Errorf("%w: connection lost", eventlog.ErrUnavailable)
	})
	reg := registration()
	_, err = s.Register(t.Context(), keyed("k", "x"), reg)
	require.ErrorIs(t, err, command.ErrUnavailable)
	require.NotErrorIs(t, err, command.ErrOverloaded, "that would say that it was not done")
	s.probe.onAfter(func(o []eventlog.Outcome, err error) ([]eventlog.Outcome, error) { return o, err })
	res, err := s.Register(t.Context(), keyed("k", "x"), reg)
	require.NoError(t, err)
	require.True(t, res.Replayed)
	w.requireDense(res.Data.ID, 1)
}
