package projection_test

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
	"github.com/ebrahem-outlook/customer-service/internal/projection"
	"github.com/ebrahem-outlook/customer-service/internal/query"
	"github.com/ebrahem-outlook/customer-service/internal/rediscache"
)

// Every version of every legal history, and every time in it, is answered in
// the very bytes of the fold: with all keyframes, with some of them, and with
// none, as in rows written before there were any.
func TestThePastIsTheFold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	archive, p := w.archive(), w.projector()
	fed := map[eventlog.Lane]eventlog.Position{}
	rapid.Check(t, func(t *rapid.T) {
		one := w.stranger()
		events := life(t, one.id, w.now().Time)
		w.append(one, events[0])
		w.append(one, events[1:]...)
		w.feedAfter(p, fed)
		w.exec(`UPDATE readmodel.history SET keyframe = NULL WHERE customer_id = $1 AND version <= $2`,
			one.id, rapid.SampledFrom([]int{0, 32, len(events)}).Draw(t, "without keyframes up to"))

		states := []customer.State{customer.NewState(one.id)}
		for _, e := range events {
			states = append(states, states[len(states)-1].Evolve(e))
		}
		last := states[len(states)-1]
		check := func(m query.Moment, want customer.State) {
			have, err := archive.At(w.ctx, one.id, m, nil, 0)
			switch {
			case last.Status() == customer.StatusErased:
				require.ErrorIs(t, err, query.ErrErased)
			case want.Version() == 0 && m.Version == 0:
				require.ErrorIs(t, err, query.ErrBeforeRegistration)
			case want.Version() == 0:
				require.ErrorIs(t, err, query.ErrNoVersion)
			case want.Status() == customer.StatusDeleted:
				require.ErrorIs(t, err, query.ErrDeleted)
			default:
				require.NoError(t, err)
				body, err := query.Render(want.Data())
				require.NoError(t, err)
				require.Equal(t, string(body), string(have.Body))
				require.Equal(t, want.Version(), have.Version)
			}
		}
		check(query.Moment{AsOf: events[0].OccurredAt().Add(-time.Microsecond)}, states[0])
		check(query.Moment{Version: last.Version() + 1}, states[0])
		check(query.Moment{AsOf: last.UpdatedAt()}, last)
		for range 8 {
			v := rapid.IntRange(1, len(events)).Draw(t, "version")
			check(query.Moment{Version: customer.Version(v)}, states[v])
			// Until the next event, to the nanosecond.
			until := time.Since(states[v].UpdatedAt())
			if v < len(events) {
				until = events[v].OccurredAt().Sub(states[v].UpdatedAt())
			}
			later := rapid.Int64Range(0, int64(until)-1).Draw(t, "later")
			check(query.Moment{AsOf: states[v].UpdatedAt().Add(time.Duration(later))}, states[v])
		}
	})
	w.verify() // so that a verification knows a keyframe from its lack
	w.exec(`UPDATE readmodel.history SET keyframe = replace(keyframe::text, 'Ada', 'Eve')::json WHERE keyframe::text LIKE '%Ada%'`)
	r, err := w.projector().Verify(w.ctx, w.log, projection.VerifyConfig{Limit: 1})
	require.NoError(t, err)
	require.NotEmpty(t, r.Differences, "a keyframe that says something else")
}

// archive answers from the world's read model, as a query process would.
func (w *world) archive() *query.Archive {
	w.t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	cache, err := rediscache.NewReader(rediscache.Config{URL: w.redisURL, Prefix: w.prefix, Logger: quiet})
	require.NoError(w.t, err)
	w.t.Cleanup(func() { _ = cache.Close() })
	service, err := query.New(w.reader, cache, cache, quiet, query.Config{ReadTimeout: patience})
	require.NoError(w.t, err)
	return query.NewArchive(service, w.reader, query.NewLists(service, w.reader))
}

// stranger is somebody the log does not know yet.
func (w *world) stranger() *person {
	w.t.Helper()
	p := &person{id: uuid.Must(uuid.NewV7())}
	var err error
	p.key, p.wrapped, err = w.keyring.NewSubjectKey(p.id)
	require.NoError(w.t, err)
	w.people[p.id] = p
	return p
}

// feedAfter delivers what the feed has beyond a position of each lane.
func (w *world) feedAfter(p *projection.Projector, fed map[eventlog.Lane]eventlog.Position) {
	w.t.Helper()
	for lane := range eventlog.Lane(eventlog.DefaultLanes) {
		events, err := w.log.ReadLane(w.ctx, lane, fed[lane], 0, 100_000)
		require.NoError(w.t, err)
		w.deliver(p, eventlog.SplitBatches(lane, fed[lane], events, 256, 1<<20)...)
		if len(events) > 0 {
			fed[lane] = events[len(events)-1].Position
		}
	}
}

// life is a legal history: what the domain decided on commands drawn at random,
// by a clock that stands still, goes on and goes back.
func life(t *rapid.T, id customer.ID, now time.Time) []customer.Event {
	name := rapid.SampledFrom([]customer.Name{"Ada", "Zoë <i>", "Đặng"})
	text := rapid.SampledFrom([]string{"", "a", `q"\`, "a.b", "é & ü"})
	use := rapid.SampledFrom([]customer.AddressUse{customer.UseBilling, customer.UseShipping})
	tag := rapid.SampledFrom([]customer.Tag{"a", "b.c", "vip"})
	address := func() customer.Address {
		return customer.Address{
			// Few of them, so that the same is changed and removed, and in no order.
			ID:    uuid.NewSHA1(id, []byte{rapid.ByteRange(0, 5).Draw(t, "address")}),
			Line1: "1 Rue " + text.Draw(t, "line"), City: "Paris", PostalCode: "75001", Country: "FR", Label: text.Draw(t, "label"),
			DefaultFor: rapid.SliceOfNDistinct(use, 0, 2, rapid.ID).Draw(t, "uses"),
		}
	}
	channel := rapid.SampledFrom([]customer.Channel{customer.ChannelEmail, customer.ChannelSMS})
	r := customer.Registration{
		FirstName: "Ada", Email: "ada@example.com", Tags: []customer.Tag{"new"}, Metadata: map[string]string{"plan": text.Draw(t, "plan")},
		Consents: map[customer.Channel]customer.Consent{channel.Draw(t, "channel"): {Granted: true, Source: "shop"}},
	}
	for range rapid.IntRange(0, 4).Draw(t, "addresses") {
		a := address()
		a.ID = uuid.NewSHA1(id, []byte{byte(10 + len(r.Addresses))})
		r.Addresses = append(r.Addresses, a)
	}
	s := customer.NewState(id)
	var all []customer.Event
	decided := func(events []customer.Event, err error) {
		if err != nil {
			return // what the domain refuses is no part of a legal history
		}
		for _, e := range events {
			s = s.Evolve(e)
		}
		all = append(all, events...)
	}
	decided(s.Register(r, now))
	for range rapid.IntRange(0, 90).Draw(t, "commands") {
		now = now.Add(time.Duration(rapid.SampledFrom([]int{0, 1, 1000, 1_000_000, -5000}).Draw(t, "passed")))
		switch rapid.IntRange(0, 16).Draw(t, "command") {
		case 0, 1:
			first, phone := name.Draw(t, "first"), rapid.SampledFrom([]customer.Phone{"", "+14155552671"}).Draw(t, "phone")
			decided(s.Apply(customer.Change{FirstName: &first, Phone: &phone}, now))
		case 2:
			email, locale := customer.Email(fmt.Sprintf("n%d@example.com", len(all))), rapid.SampledFrom([]customer.Locale{"", "vi-VN"}).Draw(t, "locale")
			external := rapid.SampledFrom([]customer.ExternalID{"", "crm-1"}).Draw(t, "external")
			decided(s.Apply(customer.Change{Email: &email, Locale: &locale, ExternalID: &external}, now))
		case 3, 4:
			decided(s.Apply(customer.Change{Metadata: &customer.MetadataChange{
				Set: map[string]string{text.Draw(t, "key") + "k": text.Draw(t, "value")}, Remove: []string{"plan"}, Clear: rapid.Bool().Draw(t, "clear"),
			}}, now))
		case 5, 6:
			decided(s.AddAddress(address(), now))
		case 7:
			decided(s.ChangeAddress(address(), now))
		case 8:
			decided(s.RemoveAddress(address().ID, now))
		case 9:
			decided(s.Tag(tag.Draw(t, "tag"), now))
		case 10:
			decided(s.Untag(tag.Draw(t, "tag"), now))
		case 11:
			decided(s.GrantConsent(channel.Draw(t, "channel"), text.Draw(t, "source"), "", now))
		case 12:
			decided(s.WithdrawConsent(channel.Draw(t, "channel"), text.Draw(t, "source"), text.Draw(t, "wording"), now))
		case 13:
			decided(s.Suspend(text.Draw(t, "reason"), now))
		case 14:
			decided(s.Reinstate(now))
		case 15:
			decided(s.Delete(now))
			fallthrough
		default:
			decided(s.Restore(now))
		}
	}
	switch rapid.IntRange(0, 9).Draw(t, "end") {
	case 0:
		decided(s.Erase("dpo", "asked", "k1", now))
	case 1:
		decided(s.Delete(now))
	}
	return all
}
