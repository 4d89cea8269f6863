package main

import (
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/internal/command"
	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/query"
)

// biography makes a customer whose nth version is the nth state returned:
// registered, changed, suspended, deleted, restored, changed.
func (w *world) biography(t *testing.T) []customer.Data {
	t.Helper()
	ctx, req := t.Context(), command.Request{Principal: "dev", SuccessStatus: 200}
	first, _ := w.register(t)
	name := func(n customer.Name) customer.Change { return customer.Change{LastName: &n} }
	states := []customer.Data{first}
	for _, command := range []func() (command.Result, error){
		func() (command.Result, error) { return w.commands.Change(ctx, req, first.ID, name("Lovelace")) },
		func() (command.Result, error) { return w.commands.Suspend(ctx, req, first.ID, "unpaid") },
		func() (command.Result, error) { return w.commands.Delete(ctx, req, first.ID) },
		func() (command.Result, error) { return w.commands.Restore(ctx, req, first.ID) },
		func() (command.Result, error) { return w.commands.Change(ctx, req, first.ID, name("King")) },
	} {
		r, err := command()
		require.NoError(t, err)
		states = append(states, r.Data)
	}
	return states
}

// asOf is a time as a query parameter, to the nanosecond.
func asOf(at time.Time) string { return "?as_of=" + url.QueryEscape(at.Format(time.RFC3339Nano)) }

func TestEveryVersionStaysReadable(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	states := w.biography(t)
	on := "/v1/customers/" + states[0].ID.String()
	tok := "Consistency-Token: " + token(states[len(states)-1])
	for i, d := range states {
		until := time.Now()
		if i+1 < len(states) {
			until = states[i+1].UpdatedAt
		}
		for _, moment := range []string{
			"?version=" + []string{"1", "2", "3", "4", "5", "6"}[i],
			asOf(d.UpdatedAt), asOf(until.Add(-time.Nanosecond)), asOf(d.UpdatedAt.In(time.FixedZone("", 5*3600+1800))),
		} {
			a := w.Do(t, "GET", on+moment, "", tok, "Prefer: wait=10")
			if d.Status == customer.StatusDeleted {
				require.Equal(t, 410, a.StatusCode, "%s: %s", moment, a.Body)
				require.Equal(t, "customer-deleted", a.Problem(t).Code)
				continue
			}
			want, err := query.Render(d)
			require.NoError(t, err)
			require.Equal(t, 200, a.StatusCode, "%s: %s", moment, a.Body)
			require.Equal(t, string(want), string(a.Body))
			etag := a.Header.Get("ETag")
			require.Equal(t, `"`+[]string{"1", "2", "3", "4", "5", "6"}[i]+`"`, etag)
			require.Regexp(t, `^\d+\.\d{3}$`, a.Header.Get("Projection-Lag"))
			require.Empty(t, a.Header.Get("Consistency-Token"), "one of the past would let the present be read older")

			same := w.Do(t, "GET", on+moment, "", "If-None-Match: "+etag)
			require.Equal(t, 304, same.StatusCode)
			require.Empty(t, same.Body)
			require.Equal(t, etag, same.Header.Get("ETag"))
			require.NotEmpty(t, same.Header.Get("Projection-Lag"))
			require.Equal(t, 200, w.Do(t, "GET", on+moment, "", `If-None-Match: "77"`).StatusCode)
			head := w.Do(t, "HEAD", on+moment, "")
			require.Equal(t, 200, head.StatusCode)
			require.EqualValues(t, len(want), head.ContentLength)
		}
	}
	for moment, detail := range map[string]string{
		asOf(states[0].CreatedAt.Add(-time.Microsecond)): "registered", asOf(time.Unix(0, 0).UTC()): "registered", "?version=7": "version", "?version=9223372036854775807": "version",
	} {
		a := w.Do(t, "GET", on+moment, "")
		require.Equal(t, 404, a.StatusCode, "%s", a.Body)
		require.Equal(t, "customer-not-found", a.Problem(t).Code)
		require.Contains(t, a.Problem(t).Detail, detail)
	}
}

func TestTheDeletedHaveAPastAndTheErasedHaveNone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	states := w.biography(t)
	id, last := states[0].ID, states[len(states)-1]
	on := "/v1/customers/" + id.String()
	r, err := w.commands.Delete(t.Context(), command.Request{Principal: "dev", SuccessStatus: 204}, id)
	require.NoError(t, err)
	tok := "Consistency-Token: " + token(r.Data)
	require.Equal(t, 410, w.Do(t, "GET", on, "", tok).StatusCode)
	for _, moment := range []string{"?version=6", asOf(last.UpdatedAt), asOf(r.Data.UpdatedAt.Add(-time.Microsecond))} {
		a := w.Do(t, "GET", on+moment, "")
		require.Equal(t, 200, a.StatusCode, "%s: %s", moment, a.Body)
		want, err := query.Render(last)
		require.NoError(t, err)
		require.Equal(t, string(want), string(a.Body))
	}
	for _, moment := range []string{"?version=7", asOf(r.Data.UpdatedAt), asOf(time.Now())} {
		require.Equal(t, "customer-deleted", w.Do(t, "GET", on+moment, "").Problem(t).Code, moment)
	}

	r, err = w.commands.Erase(t.Context(), command.Request{Principal: "dev", SuccessStatus: 200}, id, "asked")
	require.NoError(t, err)
	tok = "Consistency-Token: " + token(r.Data)
	require.Equal(t, 410, w.Do(t, "GET", on, "", tok).StatusCode)
	for _, moment := range []string{"?version=1", "?version=8", "?version=99", asOf(last.UpdatedAt), asOf(time.Unix(0, 0).UTC()), asOf(time.Now().Add(time.Hour))} {
		a := w.Do(t, "GET", on+moment, "")
		require.Equal(t, 410, a.StatusCode, moment)
		require.Equal(t, "customer-erased", a.Problem(t).Code)
	}
}

// A version that a token promises is waited for; one that nothing promises is
// not there.
func TestVersionsThatAreNotThereYet(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d, tok := w.register(t)
	on := "/v1/customers/" + d.ID.String()
	next := d
	next.Version++
	a := w.Do(t, "GET", on+"?version=2", "", "Consistency-Token: "+token(next), "Prefer: wait=1")
	require.Equal(t, 503, a.StatusCode)
	require.Equal(t, "read-model-behind", a.Problem(t).Code)
	a = w.Do(t, "GET", on+"?version=2", "", "Consistency-Token: "+tok)
	require.Equal(t, 404, a.StatusCode)
	last := customer.Name("Lovelace")
	_, err := w.commands.Change(t.Context(), command.Request{Principal: "dev", SuccessStatus: 200}, d.ID, customer.Change{LastName: &last})
	require.NoError(t, err)
	a = w.Do(t, "GET", on+"?version=2", "", "Consistency-Token: "+token(next), "Prefer: wait=10")
	require.Equal(t, 200, a.StatusCode, "%s", a.Body)
	require.Equal(t, "wait=10", a.Header.Get("Preference-Applied"))
}

func TestBadMomentsAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d, tok := w.register(t)
	on := "/v1/customers/" + d.ID.String()
	require.Equal(t, 200, w.Do(t, "GET", on+"?version=1", "", "Consistency-Token: "+tok).StatusCode)
	at := d.UpdatedAt.Format("2006-01-02T15:04:05.000000")
	for _, moment := range []string{
		"?version=0", "?version=-1", "?version=%2B1", "?version=1e3", "?version=01", "?version=1.0", "?version=", "?version=%201", "?version=0x1", "?version=one",
		"?version=9223372036854775808", "?version=99999999999999999999999999", "?version=%D9%A1", "?version=1&version=1", "?version=1&version=2",
		"?version=1&as_of=" + at + "Z", "?as_of=" + at + "Z&as_of=" + at + "Z", "?version=1&x=1", "?Version=1", "?version=1%00",
		"?as_of=", "?as_of=now", "?as_of=2026", "?as_of=2026-01-01", "?as_of=2026-13-01T00:00:00Z", "?as_of=2026-02-30T00:00:00Z", "?as_of=2026-01-01T24:00:00Z",
		"?as_of=2026-01-01T00:60:00Z", "?as_of=2016-12-31T23:59:60Z", "?as_of=2026-01-01T00:00Z", "?as_of=2026-01-01%2000:00:00Z", "?as_of=2026-01-01T00:00:00",
		"?as_of=2026-01-01T00:00:00,5Z", "?as_of=2026-01-01T00:00:00.Z", "?as_of=2026-01-01T00:00:00%2B0100", "?as_of=2026-01-01T00:00:00%2B24:00",
		"?as_of=2026-01-01T00:00:00%2B01:60", "?as_of=2026-01-01T00:00:00+01:00", "?as_of=1767225600", "?as_of=-001-01-01T00:00:00Z", "?as_of=2026-W01-1T00:00:00Z",
		"?as_of=2026-01-01T0:00:00Z", "?as_of=%20" + at + "Z", asOf(time.Now().Add(time.Hour)), "?as_of=9999-12-31T23:59:59Z",
	} {
		a := w.Do(t, "GET", on+moment, "")
		require.Equal(t, 400, a.StatusCode, "%s: %s", moment, a.Body)
		require.Equal(t, "invalid-parameter", a.Problem(t).Code, moment)
		require.Equal(t, 400, w.Do(t, "HEAD", on+moment, "").StatusCode, moment)
	}
	for _, moment := range []string{
		"?as_of=" + at + "Z", "?as_of=" + at + "z", "?as_of=" + at + "000Z", "?as_of=" + at + "000999999Z", "?as_of=" + at + "-00:00", "?as_of=" + at + "%2B00:00",
		"?as_of=" + d.UpdatedAt.Format("2006-01-02t15:04:05.000000Z"),
	} {
		require.Equal(t, 200, w.Do(t, "GET", on+moment, "").StatusCode, moment)
	}
	for _, moment := range []string{"?as_of=0000-01-01T00:00:00Z", "?as_of=0000-01-01T00:00:00%2B23:59", "?as_of=0001-01-01T00:00:00Z"} {
		require.Equal(t, 404, w.Do(t, "GET", on+moment, "").StatusCode, moment)
	}
	nobody := "/v1/customers/" + newID(t).String()
	require.Equal(t, 404, w.Do(t, "GET", nobody+"?version=1", "").StatusCode)
	require.Equal(t, 404, w.Do(t, "GET", nobody+"?as_of="+at+"Z", "").StatusCode)
	require.Equal(t, 400, w.Do(t, "GET", nobody+asOf(time.Now().Add(time.Hour)), "").StatusCode)
}
