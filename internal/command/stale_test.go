package command_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/internal/command"
	"github.com/ebrahem-outlook/customer-service/internal/customer"
)

// In each of these, replica a has the customer in its cache as it was before
// replica b moved it on.
func TestNothingIsAnsweredFromAStaleCache(t *testing.T) {
	t.Parallel()
	dry := asking()
	dry.DryRun = true
	at := func(v customer.Version) command.Request {
		req := asking()
		req.IfMatch = command.IfVersion(v)
		return req
	}
	for name, test := range map[string]struct {
		move  func(t *testing.T, b replica, id customer.ID)
		check func(t *testing.T, a replica, id customer.ID)
	}{
		"no change": {
			move: func(t *testing.T, b replica, id customer.ID) { change(t, b, id, "Grace") },
			check: func(t *testing.T, a replica, id customer.ID) {
				res, err := a.Change(t.Context(), asking(), id, rename("Ada"))
				require.NoError(t, err)
				require.True(t, res.Changed, "it is Grace by now")
				require.Equal(t, customer.Version(3), res.Data.Version)
			},
		},
		"change that is there already": {
			move: func(t *testing.T, b replica, id customer.ID) { change(t, b, id, "Grace") },
			check: func(t *testing.T, a replica, id customer.ID) {
				res, err := a.Change(t.Context(), asking(), id, rename("Grace"))
				require.NoError(t, err)
				require.False(t, res.Changed)
				require.Equal(t, customer.Version(2), res.Data.Version)
			},
		},
		"version mismatch": {
			move: func(t *testing.T, b replica, id customer.ID) { change(t, b, id, "Grace") },
			check: func(t *testing.T, a replica, id customer.ID) {
				res, err := a.Change(t.Context(), at(2), id, rename("Edith"))
				require.NoError(t, err)
				require.Equal(t, customer.Version(3), res.Data.Version)
			},
		},
		"version match": {
			move: func(t *testing.T, b replica, id customer.ID) { change(t, b, id, "Grace") },
			check: func(t *testing.T, a replica, id customer.ID) {
				_, err := a.Change(t.Context(), at(1), id, rename("Edith"))
				var mismatch *command.VersionMismatch
				require.ErrorAs(t, err, &mismatch)
				require.Equal(t, customer.Version(2), mismatch.Current)
			},
		},
		"dry run": {
			move: func(t *testing.T, b replica, id customer.ID) { change(t, b, id, "Grace") },
			check: func(t *testing.T, a replica, id customer.ID) {
				res, err := a.Change(t.Context(), dry, id, customer.Change{LastName: new(customer.Name("Hopper"))})
				require.NoError(t, err)
				require.Equal(t, customer.Name("Grace"), res.Data.FirstName)
				require.Equal(t, customer.Version(3), res.Data.Version)
			},
		},
		"deleted meanwhile": {
			move: func(t *testing.T, b replica, id customer.ID) {
				_, err := b.Delete(t.Context(), asking(), id)
				require.NoError(t, err)
			},
			check: func(t *testing.T, a replica, id customer.ID) {
				_, err := a.Change(t.Context(), asking(), id, rename("Grace"))
				require.ErrorIs(t, err, customer.ErrDeleted)
				_, err = a.Change(t.Context(), asking(), id, rename("Ada"))
				require.ErrorIs(t, err, customer.ErrDeleted, "no-change would have been the cache's answer")
			},
		},
		"e-mail freed by a change meanwhile": {
			move: func(t *testing.T, b replica, id customer.ID) {
				_, err := b.Change(t.Context(), asking(), id, moveTo("elsewhere@example.com"))
				require.NoError(t, err)
			},
			check: func(t *testing.T, a replica, id customer.ID) {
				res, err := a.Change(t.Context(), asking(), id, moveTo("third@example.com"))
				require.NoError(t, err)
				reg := registration()
				reg.Email = "elsewhere@example.com"
				_, err = a.Register(t.Context(), asking(), reg)
				require.NoError(t, err, "what the other replica took was freed")
				require.Equal(t, customer.Version(3), res.Data.Version)
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			a, b := w.replica(), w.replica()
			created, err := a.Register(t.Context(), command.Request{Principal: "t", SuccessStatus: http.StatusCreated}, registration())
			require.NoError(t, err)
			test.move(t, b, created.Data.ID)
			test.check(t, a, created.Data.ID)
		})
	}
}

func change(t *testing.T, r replica, id customer.ID, name string) {
	t.Helper()
	_, err := r.Change(t.Context(), asking(), id, rename(name))
	require.NoError(t, err)
}

// A log that comes back without what it acknowledged (a failover to a standby
// that was behind) must not meet states that it does not know.
func TestLogThatLostACommit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.replica()
	created, err := s.Register(t.Context(), asking(), registration())
	require.NoError(t, err)
	id := created.Data.ID
	change(t, s, id, "Grace")
	w.loseLastEvent(id)
	res, err := s.Change(t.Context(), asking(), id, customer.Change{LastName: new(customer.Name("Hopper"))})
	require.NoError(t, err)
	require.Equal(t, customer.Name("Ada"), res.Data.FirstName)
	w.requireDense(id, 2)
}
