package command_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/internal/command"
	"github.com/ebrahem-outlook/customer-service/internal/customer"
)

func erase(c customer.State, now time.Time) ([]customer.Event, error) {
	return c.Erase("tester", "asked for", "key-1", now)
}

func TestErasure(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.replica(), w.replica()
	ctx := t.Context()
	reg := registration()
	reg.ExternalID = "crm-1"
	created, err := a.Register(ctx, keyed("k", "register"), reg)
	require.NoError(t, err)
	id := created.Data.ID

	erased, err := b.Execute(ctx, keyed("e", "erase"), id, erase)
	require.NoError(t, err)
	require.Equal(t, customer.StatusErased, erased.Data.Status)
	require.Empty(t, erased.Data.Email)
	require.Zero(t, w.count("SELECT count(*) FROM eventlog.subject_keys"))
	require.Zero(t, w.count("SELECT count(*) FROM eventlog.claims"))

	for name, r := range map[string]replica{"has it in its cache": a, "erased it": b} {
		_, err = r.Change(ctx, asking(), id, rename("Grace"))
		require.ErrorIs(t, err, customer.ErrErased, name)
		_, err = r.Delete(ctx, asking(), id)
		require.ErrorIs(t, err, customer.ErrErased, name)
		_, err = r.Register(ctx, keyed("k", "register"), reg)
		require.ErrorIs(t, err, customer.ErrErased, "%s: there is nothing left to replay", name)
		again, err := r.Execute(ctx, keyed("e", "erase"), id, erase)
		require.NoError(t, err, "%s: the erasure itself is", name)
		require.True(t, again.Replayed)
		require.Equal(t, erased.Data, again.Data)
		again, err = r.Execute(ctx, asking(), id, erase)
		require.NoError(t, err)
		require.False(t, again.Changed)
		require.Equal(t, erased.Data.Erasure, again.Data.Erasure)
	}
	w.requireDense(id, 2)
	_, err = a.Register(ctx, asking(), reg)
	require.NoError(t, err, "both claims are free")
}

func TestRestoreTakesTheClaimsBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.replica()
	ctx := t.Context()
	reg := registration()
	first, err := s.Register(ctx, asking(), reg)
	require.NoError(t, err)
	_, err = s.Delete(ctx, asking(), first.Data.ID)
	require.NoError(t, err)
	second, err := s.Register(ctx, asking(), reg)
	require.NoError(t, err)
	_, err = s.Execute(ctx, asking(), first.Data.ID, customer.State.Restore)
	require.ErrorIs(t, err, command.ErrEmailTaken)
	_, err = s.Delete(ctx, asking(), second.Data.ID)
	require.NoError(t, err)
	_, err = s.Execute(ctx, asking(), first.Data.ID, customer.State.Restore)
	require.NoError(t, err)
	_, err = s.Register(ctx, asking(), reg)
	require.ErrorIs(t, err, command.ErrEmailTaken)
}
