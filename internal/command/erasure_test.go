package command_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/internal/command"
	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
)

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

	var key eventlog.WrappedKey
	require.NoError(t, w.pool.QueryRow(ctx, "SELECT wrapped_key FROM eventlog.subject_keys WHERE customer_id = $1", id).Scan(&key.Wrapped))
	erased, err := b.Erase(ctx, keyed("e", "erase"), id, "asked for")
	require.NoError(t, err)
	require.Equal(t, customer.StatusErased, erased.Data.Status)
	require.Empty(t, erased.Data.Email)
	require.Equal(t, customer.Erasure{At: erased.Data.UpdatedAt, Actor: "tester", Reason: "asked for", KeyID: key.ID()}, *erased.Data.Erasure)
	require.Zero(t, w.count("SELECT count(*) FROM eventlog.subject_keys"))
	require.Zero(t, w.count("SELECT count(*) FROM eventlog.claims"))

	for name, r := range map[string]replica{"has it in its cache": a, "erased it": b} {
		_, err = r.Change(ctx, asking(), id, rename("Grace"))
		require.ErrorIs(t, err, customer.ErrErased, name)
		_, err = r.Delete(ctx, asking(), id)
		require.ErrorIs(t, err, customer.ErrErased, name)
		_, err = r.Register(ctx, keyed("k", "register"), reg)
		require.ErrorIs(t, err, customer.ErrErased, "%s: there is nothing left to replay", name)
		again, err := r.Erase(ctx, keyed("e", "erase"), id, "asked for")
		require.NoError(t, err, "%s: the erasure itself is", name)
		require.True(t, again.Replayed)
		require.Equal(t, erased.Data, again.Data)
		again, err = r.Erase(ctx, asking(), id, "asked again")
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
	_, err = s.Restore(ctx, asking(), first.Data.ID)
	require.ErrorIs(t, err, command.ErrEmailTaken)
	_, err = s.Delete(ctx, asking(), second.Data.ID)
	require.NoError(t, err)
	_, err = s.Restore(ctx, asking(), first.Data.ID)
	require.NoError(t, err)
	_, err = s.Register(ctx, asking(), reg)
	require.ErrorIs(t, err, command.ErrEmailTaken)
}

// The record must name the key that the log had, also when it was wrapped anew
// while this process had the customer in its cache.
func TestErasureNamesTheKeyAsItIsInTheLog(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.replica()
	ctx := t.Context()
	created, err := s.Register(ctx, asking(), registration())
	require.NoError(t, err)
	_, again, err := w.keys.NewSubjectKey(created.Data.ID)
	require.NoError(t, err)
	_, err = w.db.Pool(t, "").Exec(ctx, "UPDATE eventlog.subject_keys SET wrapped_key = $2 WHERE customer_id = $1", created.Data.ID, again.Wrapped)
	require.NoError(t, err)
	erased, err := s.Erase(ctx, asking(), created.Data.ID, "asked for")
	require.NoError(t, err)
	require.Equal(t, again.ID(), erased.Data.Erasure.KeyID)
}
