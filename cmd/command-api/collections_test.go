package main

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

func (w *world) must(t *testing.T, status int, method, path, body string, headers ...string) document {
	t.Helper()
	a := w.Do(t, method, path, body, headers...)
	require.Equal(t, status, a.StatusCode, "%s", a.Body)
	var d document
	if len(a.Body) > 0 {
		a.JSON(t, &d)
	}
	return d
}

func TestAddressesKeepIdsAndPlaces(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.full(t)
	on := "/v1/customers/" + d.ID
	a := w.Do(t, "POST", on+"/addresses", `{`+home+`, "label": "office", "default_for": ["billing"]}`)
	require.Equal(t, 201, a.StatusCode, "%s", a.Body)
	var two document
	a.JSON(t, &two)
	require.Len(t, two.Addresses, 2)
	require.Equal(t, on+"/addresses/"+two.Addresses[1].ID, a.Header.Get("Location"))
	require.Equal(t, []string{"shipping"}, two.Addresses[0].DefaultFor, "a default moves")
	require.Equal(t, []string{"billing"}, two.Addresses[1].DefaultFor)

	changed := w.must(t, 200, "PUT", on+"/addresses/"+d.Addresses[0].ID,
		`{"line1": "2 Rue X", "city": "Paris", "postal_code": "75001", "country": "fr", "default_for": ["billing", "billing"]}`)
	require.Equal(t, d.Addresses[0].ID, changed.Addresses[0].ID)
	require.Equal(t, "FR", changed.Addresses[0].Country)
	require.Equal(t, []string{"billing"}, changed.Addresses[0].DefaultFor, "what is left out is gone: it is no default for shipping")
	require.Empty(t, changed.Addresses[1].DefaultFor)

	left := w.must(t, 200, "DELETE", on+"/addresses/"+d.Addresses[0].ID, "")
	require.Len(t, left.Addresses, 1)
	require.Equal(t, "office", left.Addresses[0].Label)
	for _, method := range []string{"PUT", "DELETE"} {
		body := map[string]string{"PUT": `{` + home + `}`}[method]
		gone := w.Do(t, method, on+"/addresses/"+d.Addresses[0].ID, body)
		require.Equal(t, 404, gone.StatusCode)
		require.Equal(t, "address-not-found", gone.Problem(t).Code)
	}
}

func TestAddressesOfOthersAreNotFound(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one, other := w.full(t), w.full(t)
	a := w.Do(t, "DELETE", "/v1/customers/"+one.ID+"/addresses/"+other.Addresses[0].ID, "")
	require.Equal(t, 404, a.StatusCode)
	require.Equal(t, "address-not-found", a.Problem(t).Code)
}

// A replay must name the address that the first answer named, whatever has
// become of it since.
func TestAReplayNamesTheAddressItAdded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	on := "/v1/customers/" + w.full(t).ID
	first := w.Do(t, "POST", on+"/addresses", `{`+home+`}`, "Idempotency-Key: k")
	require.Equal(t, 201, first.StatusCode, "%s", first.Body)
	w.must(t, 201, "POST", on+"/addresses", `{`+home+`}`)
	w.must(t, 200, "DELETE", first.Header.Get("Location"), "")
	again := w.Do(t, "POST", on+"/addresses", `{`+home+`}`, "Idempotency-Key: k")
	require.Equal(t, 201, again.StatusCode)
	require.Equal(t, first.Header.Get("Location"), again.Header.Get("Location"))
	require.Equal(t, string(first.Body), string(again.Body))
}

func TestCollectionsAreBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.full(t)
	on := "/v1/customers/" + d.ID
	for range 19 {
		w.must(t, 201, "POST", on+"/addresses", `{`+home+`}`, "Prefer: return=minimal")
	}
	for i := range 49 {
		w.must(t, 200, "PUT", fmt.Sprintf("%s/tags/t%d", on, i), "", "Prefer: return=minimal")
	}
	events := w.events(t)
	a := w.Do(t, "POST", on+"/addresses", `{`+home+`}`)
	require.Equal(t, 422, a.StatusCode)
	require.Equal(t, "validation-failed", a.Problem(t).Code)
	require.Equal(t, at("", "too_many"), a.Problem(t).Pointers(), "no place in what was sent is wrong")
	a = w.Do(t, "PUT", on+"/tags/one-more", "")
	require.Equal(t, 422, a.StatusCode)
	require.Equal(t, at("/tags", "too_many"), a.Problem(t).Pointers())
	require.Equal(t, events, w.events(t))

	require.Len(t, w.must(t, 200, "PUT", on+"/tags/vip", "").Tags, 50, "a tag it carries is not one more")
	w.must(t, 200, "DELETE", on+"/tags/vip", "")
	w.must(t, 200, "PUT", on+"/tags/one-more", "")
}

func TestTagsAreASet(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	on := "/v1/customers/" + w.full(t).ID
	require.Equal(t, []string{"a", "vip"}, w.must(t, 200, "PUT", on+"/tags/a", "").Tags)
	require.Equal(t, []string{"a", "b", "vip"}, w.must(t, 200, "PUT", on+"/tags/%62", "").Tags, "an escaped letter is that letter")
	require.Equal(t, []string{"a", "b"}, w.must(t, 200, "DELETE", on+"/tags/vip", "").Tags)
	require.Equal(t, []string{"a", "b"}, w.must(t, 200, "DELETE", on+"/tags/never", "").Tags)
	require.Equal(t, 4, w.events(t))
}

func TestConsentsAreALedger(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	on := "/v1/customers/" + w.full(t).ID + "/consents/email"
	events := 1
	for _, row := range []struct {
		body    string
		granted bool
		isNew   bool
	}{
		{`{"granted": true}`, true, false}, // as registered
		{`{"granted": true, "source": "", "wording": " "}`, true, false},
		{`{"granted": true, "source": "shop"}`, true, true},
		{`{"granted": true, "source": "shop", "wording": "A\r\nB"}`, true, true},
		{`{"granted": true, "source": " shop ", "wording": "A\nB"}`, true, false},
		{`{"granted": false, "source": "shop", "wording": "A\nB"}`, false, true},
		{`{"granted": false, "source": "shop", "wording": "A\nB"}`, false, false},
		{`{"granted": true, "source": "shop", "wording": "A\nB"}`, true, true},
	} {
		d := w.must(t, 200, "PUT", on, row.body)
		if row.isNew {
			events++
			require.Equal(t, d.UpdatedAt, d.Consents["email"].At)
		}
		require.Equal(t, events, w.events(t), row.body)
		require.EqualValues(t, events, d.Version)
		require.Equal(t, row.granted, d.Consents["email"].Granted)
	}
}
