package command_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/internal/command"
	"github.com/ebrahem-outlook/customer-service/internal/customer"
)

func TestRegisterChangeDelete(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.replica()
	ctx := t.Context()
	reg := registration()

	res, err := s.Register(ctx, command.Request{Principal: "tester", SuccessStatus: http.StatusCreated}, reg)
	require.NoError(t, err)
	require.True(t, res.Changed)
	require.False(t, res.Replayed)
	require.Equal(t, http.StatusCreated, res.Status)
	require.Equal(t, customer.Version(1), res.Data.Version)
	require.Equal(t, reg.Email, res.Data.Email)
	require.Equal(t, uuid.Version(7), res.Data.ID.Version())
	id := res.Data.ID

	res, err = s.Change(ctx, asking(), id, customer.Change{FirstName: new(customer.Name("Augusta")), Phone: new(customer.Phone("+14155552671"))})
	require.NoError(t, err)
	require.Equal(t, customer.Version(3), res.Data.Version, "each change is its own event")
	require.Equal(t, customer.Name("Augusta"), res.Data.FirstName)

	res, err = s.Change(ctx, asking(), id, rename("Augusta"))
	require.NoError(t, err)
	require.False(t, res.Changed)
	require.Equal(t, customer.Version(3), res.Data.Version)

	res, err = s.Delete(ctx, asking(), id)
	require.NoError(t, err)
	require.Equal(t, customer.StatusDeleted, res.Data.Status)
	res, err = s.Delete(ctx, asking(), id)
	require.NoError(t, err, "deleting the deleted")
	require.False(t, res.Changed)
	_, err = s.Change(ctx, asking(), id, rename("Ada"))
	require.ErrorIs(t, err, customer.ErrDeleted)
	w.requireDense(id, 4)
}

func TestUnknownCustomer(t *testing.T) {
	t.Parallel()
	s := newWorld(t).replica()
	id := uuid.Must(uuid.NewV7())
	_, err := s.Change(t.Context(), asking(), id, rename("Ada"))
	require.ErrorIs(t, err, customer.ErrNotFound)
	req := asking()
	req.IfMatch = command.IfVersion(3)
	_, err = s.Delete(t.Context(), req, id)
	require.ErrorIs(t, err, customer.ErrNotFound, "comes before If-Match")
}

func TestMetadataOfOneCommandIsSharedByItsEvents(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.replica()
	created, err := s.Register(t.Context(), asking(), registration())
	require.NoError(t, err)
	req := asking()
	req.TraceParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	_, err = s.Change(t.Context(), req, created.Data.ID, customer.Change{FirstName: new(customer.Name("A")), Locale: new(customer.Locale("en"))})
	require.NoError(t, err)
	require.Equal(t, 2, w.count(`SELECT count(*) FROM eventlog.events WHERE customer_id = $1 AND version > 1
		AND metadata->>'actor' = 'tester' AND metadata->>'correlation_id' = 'c-1' AND metadata->>'traceparent' = $2`,
		created.Data.ID, req.TraceParent))
	require.Equal(t, 2, w.count("SELECT count(DISTINCT metadata->>'command_id') FROM eventlog.events"))
}

func TestNothingPersonalIsStoredInTheClear(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.replica()
	reg := registration()
	reg.FirstName, reg.Email, reg.ExternalID = "Canary", "canary@example.com", "canary-7"
	_, err := s.Register(t.Context(), keyed("canary@example.com", "x"), reg)
	require.NoError(t, err)
	for _, table := range []string{"streams", "events", "claims", "subject_keys", "idempotency"} {
		var dump string
		require.NoError(t, w.pool.QueryRow(t.Context(),
			"SELECT string_agg(x::text, ' ') FROM eventlog."+table+" x").Scan(&dump))
		require.NotContains(t, strings.ToLower(dump), "canary", table)
		require.NotContains(t, dump, "63616e617279", "%s, as hex", table)
	}
}

func TestClaims(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.replica()
	ctx := t.Context()
	ada := registration()
	ada.ExternalID = "crm-1"
	first, err := s.Register(ctx, asking(), ada)
	require.NoError(t, err)

	again := registration()
	again.Email = customer.Email(strings.ToUpper(string(ada.Email)))
	_, err = s.Register(ctx, asking(), again)
	require.ErrorIs(t, err, command.ErrEmailTaken, "without regard to case")

	again = registration()
	again.ExternalID = "crm-1"
	_, err = s.Register(ctx, asking(), again)
	require.ErrorIs(t, err, command.ErrExternalIDTaken)
	second, err := s.Register(ctx, asking(), registration())
	require.NoError(t, err)
	_, err = s.Change(ctx, asking(), second.Data.ID, moveTo(ada.Email))
	require.ErrorIs(t, err, command.ErrEmailTaken)
	w.requireDense(second.Data.ID, 1)

	t.Run("another spelling is one's own", func(t *testing.T) {
		res, err := s.Change(ctx, asking(), first.Data.ID, moveTo(again.Email[:0]+customer.Email(strings.ToUpper(string(ada.Email)))))
		require.NoError(t, err)
		require.True(t, res.Changed)
	})
	t.Run("a change frees the old and takes the new", func(t *testing.T) {
		_, err := s.Change(ctx, asking(), first.Data.ID, moveTo("new@example.com"))
		require.NoError(t, err)
		_, err = s.Change(ctx, asking(), second.Data.ID, moveTo(ada.Email))
		require.NoError(t, err)
		_, err = s.Change(ctx, asking(), second.Data.ID, moveTo("new@example.com"))
		require.ErrorIs(t, err, command.ErrEmailTaken)
	})
	t.Run("a deletion frees both", func(t *testing.T) {
		_, err := s.Delete(ctx, asking(), first.Data.ID)
		require.NoError(t, err)
		reg := registration()
		reg.Email, reg.ExternalID = "new@example.com", "crm-1"
		_, err = s.Register(ctx, asking(), reg)
		require.NoError(t, err)
	})
	require.Equal(t, 3, w.count("SELECT count(*) FROM eventlog.claims"))
}

func TestIfMatch(t *testing.T) {
	t.Parallel()
	s := newWorld(t).replica()
	ctx := t.Context()
	created, err := s.Register(ctx, asking(), registration())
	require.NoError(t, err)
	id := created.Data.ID
	with := func(p command.Precondition) command.Request {
		req := asking()
		req.IfMatch = p
		return req
	}
	_, err = s.Change(ctx, with(command.IfVersion(1)), id, rename("B"))
	require.NoError(t, err)
	for name, p := range map[string]command.Precondition{"old": command.IfVersion(1), "none strong": command.IfVersion(), "future": command.IfVersion(3)} {
		_, err = s.Change(ctx, with(p), id, rename("C"))
		var mismatch *command.VersionMismatch
		require.ErrorAs(t, err, &mismatch, name)
		require.Equal(t, customer.Version(2), mismatch.Current)
	}
	_, err = s.Change(ctx, with(command.IfVersion(1)), id, rename("B"))
	require.ErrorAs(t, err, new(*command.VersionMismatch), "even when nothing would change")
	_, err = s.Change(ctx, with(command.IfVersion(7, 2)), id, rename("C"))
	require.NoError(t, err)
	res, err := s.Change(ctx, with(command.IfAny()), id, rename("D"))
	require.NoError(t, err)
	require.Equal(t, customer.Version(4), res.Data.Version)
	_, err = s.Delete(ctx, with(command.IfVersion(4)), id)
	require.NoError(t, err)
	_, err = s.Change(ctx, with(command.IfVersion(1)), id, rename("E"))
	require.ErrorIs(t, err, customer.ErrDeleted, "comes before If-Match")
}

func TestDryRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.replica()
	ctx := t.Context()
	dry := asking()
	dry.DryRun = true
	reg := registration()
	res, err := s.Register(ctx, dry, reg)
	require.NoError(t, err)
	require.True(t, res.Changed)
	require.Equal(t, reg.Email, res.Data.Email)
	require.Equal(t, customer.Version(1), res.Data.Version)
	require.Zero(t, w.count("SELECT count(*) FROM eventlog.streams"))

	created, err := s.Register(ctx, asking(), reg)
	require.NoError(t, err)
	res, err = s.Change(ctx, dry, created.Data.ID, rename("Dry"))
	require.NoError(t, err)
	require.Equal(t, customer.Name("Dry"), res.Data.FirstName)
	res, err = s.Change(ctx, dry, created.Data.ID, rename("Ada"))
	require.NoError(t, err)
	require.False(t, res.Changed)
	w.requireDense(created.Data.ID, 1)
	require.Zero(t, w.count("SELECT count(*) FROM eventlog.idempotency"))

	_, err = s.Register(ctx, dry, reg)
	require.ErrorIs(t, err, command.ErrEmailTaken)
	_, err = s.Change(ctx, dry, created.Data.ID, moveTo(customer.Email(strings.ToUpper(string(reg.Email)))))
	require.NoError(t, err, "its own")
}
