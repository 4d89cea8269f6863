package projection_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
	"github.com/ebrahem-outlook/customer-service/internal/projection"
)

func asJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	require.NoError(t, err)
	return string(b)
}

// selective fails to read some types, as a release does that is older than the
// one that wrote them.
type selective struct {
	*eventlog.Codec
	unknown map[string]error
	panics  string
}

func (s *selective) Decode(e eventlog.Envelope, key eventlog.Opener) (eventlog.Entry, error) {
	if err := s.unknown[e.Type]; err != nil {
		return eventlog.Entry{}, err
	}
	entry, err := s.Codec.Decode(e, key)
	if e.Type == s.panics {
		entry.Event = explosive{Event: entry.Event}
	}
	return entry, err
}

// explosive panics when its time is asked for, with what nobody may log.
type explosive struct{ customer.Event }

func (explosive) OccurredAt() time.Time { panic("ada@example.com") }

func TestWhatCannotBeAppliedParksOneCustomer(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]*selective{
		"unknown type":     {unknown: map[string]error{"customer.tagged": eventlog.ErrUnknownType}},
		"newer schema":     {unknown: map[string]error{"customer.tagged": eventlog.ErrUnknownSchema}},
		"corrupt":          {unknown: map[string]error{"customer.tagged": eventlog.ErrCorrupt}},
		"unexpected error": {unknown: map[string]error{"customer.tagged": errors.New("what")}},
		"panic":            {panics: "customer.tagged"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			fault.Codec = w.codec
			var logged bytes.Buffer
			old := w.projector(func(d *projection.Deps) {
				d.Codec = fault
				d.Logger = slog.New(slog.NewTextHandler(&logged, &slog.HandlerOptions{Level: slog.LevelError}))
			})
			ada, bob := w.register("ada@example.com"), w.register("bob@example.com")
			w.append(ada, customer.Tagged{At: w.now(), Tag: "vip"})
			w.append(ada, customer.Renamed{At: w.now(), FirstName: "Augusta"})
			w.append(bob, customer.Renamed{At: w.now(), FirstName: "Robert"})
			w.feed(old)

			require.Equal(t, customer.Version(1), w.entry(ada.id).Version)
			require.Equal(t, customer.Version(2), w.entry(bob.id).Version)
			parked, err := old.Parked(w.ctx)
			require.NoError(t, err)
			require.Len(t, parked, 1)
			require.Equal(t, ada.id, parked[0].CustomerID)
			require.Equal(t, customer.Version(2), parked[0].Version)
			require.Equal(t, customer.Version(3), parked[0].LastVersion)
			require.Equal(t, "customer.tagged", parked[0].Type)
			require.Equal(t, 1, bytes.Count(logged.Bytes(), []byte("customer parked")), logged.String())
			require.NotContains(t, logged.String()+parked[0].Reason, "example.com")
			f, err := w.reader.Freshness(w.ctx)
			require.NoError(t, err)
			require.Equal(t, 1, f.Parked)

			still, err := old.Retry(w.ctx, ada.id)
			require.NoError(t, err)
			require.Equal(t, 2, still.Attempts)
			fixed := w.projector()
			still, err = fixed.Retry(w.ctx, ada.id)
			require.NoError(t, err)
			require.Nil(t, still)
			require.Equal(t, customer.Version(3), w.entry(ada.id).Version)
			_, err = fixed.Retry(w.ctx, ada.id)
			require.ErrorIs(t, err, projection.ErrNotParked)

			w.append(ada, customer.Tagged{At: w.now(), Tag: "more"})
			w.feed(fixed)
			w.verify()
		})
	}
}

func TestReleasePassesOverAndSaysSo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var logged bytes.Buffer
	p := w.projector(func(d *projection.Deps) {
		d.Codec = &selective{Codec: w.codec, unknown: map[string]error{"customer.tagged": eventlog.ErrUnknownType}}
		d.Logger = slog.New(slog.NewTextHandler(&logged, &slog.HandlerOptions{Level: slog.LevelError}))
	})
	ada := w.register("ada@example.com")
	w.append(ada, customer.Tagged{At: w.now(), Tag: "vip"})
	w.append(ada, customer.Renamed{At: w.now(), FirstName: "Augusta"})
	w.feed(p)
	still, err := p.Release(w.ctx, ada.id)
	require.NoError(t, err)
	require.Nil(t, still)
	e := w.entry(ada.id)
	require.Equal(t, customer.Version(3), e.Version)
	require.Contains(t, string(e.Body), "Augusta")
	require.Contains(t, logged.String(), "event passed over")
	r, err := p.Verify(w.ctx, 0)
	require.NoError(t, err)
	require.Empty(t, r.Differences)
	r, err = w.projector().Verify(w.ctx, 0)
	require.NoError(t, err)
	require.Len(t, r.Differences, 1, "whoever can read the event sees what is missing")
}

func TestParkedCustomerIsErasedAllTheSame(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.projector(func(d *projection.Deps) {
		d.Codec = &selective{Codec: w.codec, unknown: map[string]error{"customer.tagged": eventlog.ErrUnknownType}}
	})
	ada := w.register("ada@example.com")
	w.append(ada, customer.Tagged{At: w.now(), Tag: "vip"})
	w.feed(p)
	w.append(ada, customer.Renamed{At: w.now(), FirstName: "Augusta"})
	w.feed(p)
	require.Equal(t, customer.Version(1), w.entry(ada.id).Version)
	w.append(ada, customer.Erased{At: w.now(), Actor: "dpo", KeyID: ada.wrapped.ID()})
	w.feed(p)
	require.Equal(t, customer.StatusErased, w.entry(ada.id).Status)
	require.Equal(t, customer.Version(4), w.entry(ada.id).Version)
	require.Zero(t, w.count(`SELECT count(*) FROM readmodel.parked`))
	require.Zero(t, w.count(`SELECT count(*) FROM readmodel.history WHERE changes <> '[]'`))
	w.verify()
}

func TestWrongKeyringHaltsInsteadOfParkingEverybody(t *testing.T) {
	t.Parallel()
	w, other := newWorld(t), newWorld(t)
	w.register("ada@example.com")
	p := w.projector(func(d *projection.Deps) { d.Keyring = other.keyring })
	w.start(p)
	require.Never(t, func() bool { return w.count(`SELECT count(*) FROM readmodel.parked`) > 0 }, 500_000_000, 50_000_000)
	require.Zero(t, w.count(`SELECT count(*) FROM readmodel.documents`))
}

func TestRowThatTheStoreRefusesParksItsCustomer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.projector()
	ada, bob := w.register("ada@example.com"), w.register("bob@example.com")
	w.exec(`ALTER TABLE readmodel.documents ADD CONSTRAINT no_ada CHECK (document::text NOT LIKE '%Augusta%')`)
	w.append(ada, customer.Renamed{At: w.now(), FirstName: "Augusta"})
	w.append(bob, customer.Renamed{At: w.now(), FirstName: "Robert"})
	w.deliver(p, w.batches(256)...)
	require.Equal(t, customer.Version(2), w.entry(bob.id).Version)
	require.Equal(t, 1, w.count(`SELECT count(*) FROM readmodel.parked`))
	w.exec(`ALTER TABLE readmodel.documents DROP CONSTRAINT no_ada`)
	_, err := p.Retry(w.ctx, ada.id)
	require.NoError(t, err)
	w.verify()
}
