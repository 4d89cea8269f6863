package projection_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
	"github.com/ebrahem-outlook/customer-service/internal/privacy"
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

func TestWhatCannotBeAppliedParksItsCustomer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var logged bytes.Buffer
	old := w.projector(func(d *projection.Deps) {
		d.Codec = &selective{
			Codec: w.codec,
			unknown: map[string]error{
				"customer.tagged":         eventlog.ErrUnknownType,
				"customer.locale_changed": eventlog.ErrUnknownSchema,
				"customer.phone_changed":  eventlog.ErrCorrupt,
				"customer.email_changed":  errors.New("what"),
			},
			panics: "customer.suspended",
		}
		d.Logger = slog.New(slog.NewTextHandler(&logged, &slog.HandlerOptions{Level: slog.LevelError}))
	})
	bob := w.register("bob@example.com")
	unreadable := map[*person]string{}
	for kind, e := range map[string]customer.Event{
		"customer.tagged":         customer.Tagged{At: w.now(), Tag: "vip"},
		"customer.locale_changed": customer.LocaleChanged{At: w.now(), Locale: "vi-VN"},
		"customer.phone_changed":  customer.PhoneChanged{At: w.now(), Phone: "+14155552671"},
		"customer.email_changed":  customer.EmailChanged{At: w.now(), Email: "new@example.com"},
		"customer.suspended":      customer.Suspended{At: w.now()},
	} {
		ada := w.register("ada@example.com")
		unreadable[ada] = kind
		w.append(ada, e)
		w.append(ada, customer.Renamed{At: w.now(), FirstName: "Augusta"})
	}
	w.append(bob, customer.Renamed{At: w.now(), FirstName: "Robert"})
	w.feed(old)

	require.Equal(t, customer.Version(2), w.entry(bob.id).Version)
	list, err := old.Parked(w.ctx)
	require.NoError(t, err)
	require.Len(t, list, len(unreadable))
	parked := map[customer.ID]projection.Parked{}
	for _, p := range list {
		parked[p.CustomerID] = p
		require.NotContains(t, p.Reason, "example.com")
	}
	require.Equal(t, len(unreadable), bytes.Count(logged.Bytes(), []byte("customer parked")), logged.String())
	require.NotContains(t, logged.String(), "example.com")
	f, err := w.reader.Freshness(w.ctx)
	require.NoError(t, err)
	require.Equal(t, len(unreadable), f.Parked)

	fixed := w.projector()
	for ada, kind := range unreadable {
		require.Equal(t, customer.Version(1), w.entry(ada.id).Version, kind)
		require.Equal(t, kind, parked[ada.id].Type)
		require.Equal(t, customer.Version(2), parked[ada.id].Version, kind)
		require.Equal(t, customer.Version(3), parked[ada.id].LastVersion, kind)

		still, err := old.Retry(w.ctx, ada.id)
		require.NoError(t, err)
		require.Equal(t, 2, still.Attempts, kind)
		still, err = fixed.Retry(w.ctx, ada.id)
		require.NoError(t, err)
		require.Nil(t, still, kind)
		require.Equal(t, customer.Version(3), w.entry(ada.id).Version, kind)
		_, err = fixed.Retry(w.ctx, ada.id)
		require.ErrorIs(t, err, projection.ErrNotParked)
		w.append(ada, customer.Untagged{At: w.now(), Tag: "more"})
	}
	w.feed(fixed)
	w.verify()
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
	r, err := p.Verify(w.ctx, w.log, projection.VerifyConfig{})
	require.NoError(t, err)
	require.Empty(t, r.Differences)
	r, err = w.projector().Verify(w.ctx, w.log, projection.VerifyConfig{})
	require.NoError(t, err)
	require.NotEmpty(t, r.Differences, "whoever can read the event sees what is missing")
	for _, d := range r.Differences {
		require.Equal(t, ada.id, d.CustomerID)
	}
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
	w := newWorld(t)
	w.register("ada@example.com")
	path := filepath.Join(t.TempDir(), "keyring.json")
	require.NoError(t, privacy.InitKeyring(path))
	wrong, err := privacy.LoadKeyring(path)
	require.NoError(t, err)
	p := w.projector(func(d *projection.Deps) { d.Keyring = wrong })
	w.start(p)
	require.Never(t, func() bool { return w.count(`SELECT count(*) FROM readmodel.parked`) > 0 }, 500*time.Millisecond, 50*time.Millisecond)
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
