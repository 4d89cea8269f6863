package command_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/ebrahem-outlook/customer-service/internal/command"
	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
)

const crowd = 32

func TestEveryCommandOfACrowdOnOneCustomerSucceeds(t *testing.T) {
	t.Parallel()
	for _, replicas := range []int{1, 2} {
		t.Run(fmt.Sprintf("replicas=%d", replicas), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			var all []replica
			for range replicas {
				all = append(all, w.replica())
			}
			created, err := all[0].Register(t.Context(), asking(), registration())
			require.NoError(t, err)
			var (
				group    errgroup.Group
				versions [crowd]atomic.Bool
			)
			for i := range crowd {
				group.Go(func() error {
					res, err := all[i%replicas].Change(t.Context(), asking(), created.Data.ID, rename(fmt.Sprint("Ada ", i)))
					if err != nil {
						return err
					}
					if want := customer.Name(fmt.Sprint("Ada ", i)); res.Data.FirstName != want {
						return fmt.Errorf("answered %s, want %s", res.Data.FirstName, want)
					}
					if versions[res.Data.Version-2].Swap(true) {
						return fmt.Errorf("version %d was answered twice", res.Data.Version)
					}
					return nil
				})
			}
			require.NoError(t, group.Wait())
			w.requireDense(created.Data.ID, crowd+1)
			for _, r := range all {
				r.probe.requireNoClash(t)
			}
		})
	}
}

func TestOneCommandPerVersionWinsWithIfMatch(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	all := []replica{w.replica(), w.replica()}
	created, err := all[0].Register(t.Context(), asking(), registration())
	require.NoError(t, err)
	const rounds = 5
	for round := range rounds {
		v := customer.Version(round + 1)
		var (
			group errgroup.Group
			won   atomic.Int32
		)
		for i := range crowd {
			group.Go(func() error {
				req := asking()
				req.IfMatch = command.IfVersion(v)
				_, err := all[i%len(all)].Change(t.Context(), req, created.Data.ID, rename(fmt.Sprint(round, " ", i)))
				mismatch, lost := errors.AsType[*command.VersionMismatch](err)
				switch {
				case err == nil:
					won.Add(1)
				case !lost:
					return err
				case mismatch.Current != v+1:
					return fmt.Errorf("told version %d, is %d", mismatch.Current, v+1)
				}
				return nil
			})
		}
		require.NoError(t, group.Wait())
		require.EqualValues(t, 1, won.Load(), "round %d", round)
	}
	w.requireDense(created.Data.ID, rounds+1)
}

func TestOneOfACrowdGetsAnEmail(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	all := []replica{w.replica(), w.replica()}
	reg := registration()
	var (
		group errgroup.Group
		won   atomic.Int32
	)
	for i := range crowd {
		group.Go(func() error {
			_, err := all[i%len(all)].Register(t.Context(), asking(), reg)
			switch {
			case err == nil:
				won.Add(1)
			case !errors.Is(err, command.ErrEmailTaken):
				return err
			}
			return nil
		})
	}
	require.NoError(t, group.Wait())
	require.EqualValues(t, 1, won.Load())
	require.Equal(t, 1, w.count("SELECT count(*) FROM eventlog.events"))
	require.Equal(t, 1, w.count("SELECT count(*) FROM eventlog.subject_keys"), "the losers' keys are not kept")
}

// Two customers that swap their e-mails back and forth touch each other's
// claims in opposite order, across replicas too: nobody may deadlock.
func TestSwappedClaimsDoNotDeadlock(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	all := []replica{w.replica(), w.replica()}
	var ids []customer.ID
	for range 4 {
		res, err := all[0].Register(t.Context(), asking(), registration())
		require.NoError(t, err)
		ids = append(ids, res.Data.ID)
	}
	var group errgroup.Group
	for i, id := range ids {
		group.Go(func() error {
			for n := range 20 {
				to := customer.Email(fmt.Sprintf("shared.%d@example.com", (n+i)%3))
				_, err := all[(n+i)%2].Change(t.Context(), asking(), id, moveTo(to))
				if err != nil && !errors.Is(err, command.ErrEmailTaken) {
					return err
				}
			}
			return nil
		})
	}
	require.NoError(t, group.Wait())
	require.Equal(t, len(ids), w.count("SELECT count(*) FROM eventlog.claims"))
}

// Without If-Match a conflict is decided again, a bounded number of times.
func TestConflictsAreDecidedAgainUntilItIsEnough(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		rivals int32 // that are quicker
		wins   bool
	}{"some rivals": {5, true}, "no end of rivals": {1000, false}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			one, other := w.replica(), w.replica()
			created, err := other.Register(t.Context(), asking(), registration())
			require.NoError(t, err)
			id := created.Data.ID
			var rivals atomic.Int32
			one.probe.onBefore(func(ctx context.Context, _ []eventlog.Append) error {
				if rivals.Add(1) > row.rivals {
					return nil
				}
				_, err := other.Change(ctx, asking(), id, rename(fmt.Sprint("Rival ", rivals.Load())))
				return err
			})
			res, err := one.Tag(t.Context(), asking(), id, "vip")
			if row.wins {
				require.NoError(t, err)
				require.Equal(t, customer.Version(1+row.rivals+1), res.Data.Version)
				require.Equal(t, customer.Name(fmt.Sprint("Rival ", row.rivals)), res.Data.FirstName, "decided on the latest state")
				return
			}
			require.ErrorIs(t, err, command.ErrOverloaded)
			require.Less(t, rivals.Load(), int32(20), "it gives up")
			w.requireDense(id, int(1+rivals.Load()))
		})
	}
}

// With If-Match the first conflict is the last: the version has changed.
func TestAConflictWithIfMatchIsNotDecidedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one, other := w.replica(), w.replica()
	created, err := one.Register(t.Context(), asking(), registration())
	require.NoError(t, err)
	id := created.Data.ID
	var tries atomic.Int32
	one.probe.onBefore(func(ctx context.Context, _ []eventlog.Append) error {
		tries.Add(1)
		_, err := other.Change(ctx, asking(), id, rename("Rival"))
		return err
	})
	req := asking()
	req.IfMatch = command.IfVersion(1)
	_, err = one.Tag(t.Context(), req, id, "vip")
	mismatch, lost := errors.AsType[*command.VersionMismatch](err)
	require.True(t, lost, "%v", err)
	require.Equal(t, customer.Version(2), mismatch.Current)
	require.EqualValues(t, 1, tries.Load())
}
