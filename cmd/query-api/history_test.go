package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/internal/command"
	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/httpapi/httpapitest"
)

type historyPage struct {
	Data []struct {
		Version       int64
		Type          string
		At            string
		Actor         *string
		CorrelationID *string `json:"correlation_id"`
		Changes       []struct {
			Field    string
			Old, New json.RawMessage
		}
	}
	Next *string `json:"next_cursor"`
}

func page(t *testing.T, a *httpapitest.Answer) (p historyPage) {
	t.Helper()
	require.Equal(t, 200, a.StatusCode, "%s", a.Body)
	require.NotEmpty(t, a.Header.Get("Projection-Lag"))
	a.JSON(t, &p)
	require.NotNil(t, p.Data)
	return p
}

func TestHistoryTellsWhatEachEventChanged(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	states := w.biography(t)
	on := "/v1/customers/" + states[0].ID.String() + "/history"
	p := page(t, w.Do(t, "GET", on, "", "Consistency-Token: "+token(states[5]), "Prefer: wait=10"))
	require.Len(t, p.Data, 6)
	require.Nil(t, p.Next)
	for i, e := range p.Data {
		require.EqualValues(t, i+1, e.Version)
		require.Equal(t, states[i].UpdatedAt.Format("2006-01-02T15:04:05.000000Z"), e.At)
		require.Equal(t, "dev", *e.Actor)
		require.NotEmpty(t, e.Changes)
	}
	require.Equal(t, []string{
		"customer.registered", "customer.renamed", "customer.suspended", "customer.deleted", "customer.restored", "customer.renamed",
	}, []string{p.Data[0].Type, p.Data[1].Type, p.Data[2].Type, p.Data[3].Type, p.Data[4].Type, p.Data[5].Type})
	require.Equal(t, "last_name", p.Data[5].Changes[0].Field)
	require.JSONEq(t, `"Lovelace"`, string(p.Data[5].Changes[0].Old))
	require.JSONEq(t, `"King"`, string(p.Data[5].Changes[0].New))
	require.JSONEq(t, `null`, string(p.Data[1].Changes[0].Old))

	head := w.Do(t, "HEAD", on, "")
	require.Equal(t, 200, head.StatusCode)
	require.Positive(t, head.ContentLength)
}

// A walk sees each event once, in order, whatever happens meanwhile: a deletion
// leaves it all, an erasure the types and times.
func TestHistoryPages(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	states := w.biography(t)
	id := states[0].ID
	on := "/v1/customers/" + id.String() + "/history"
	walk := func(limit string) (versions []int64) {
		at := on + "?limit=" + limit
		for {
			a := w.Do(t, "GET", at, "", "Consistency-Token: "+token(states[5]), "Prefer: wait=10")
			p := page(t, a)
			for _, e := range p.Data {
				versions = append(versions, e.Version)
			}
			if p.Next == nil {
				require.Empty(t, a.Header.Get("Link"))
				return versions
			}
			target, ok := strings.CutSuffix(a.Header.Get("Link"), `>; rel="next"`)
			require.True(t, ok)
			require.Contains(t, target, *p.Next)
			at = strings.TrimPrefix(target, "<")
		}
	}
	for _, limit := range []string{"1", "2", "3", "5", "6", "100"} {
		require.Equal(t, []int64{1, 2, 3, 4, 5, 6}, walk(limit), limit)
	}

	first := page(t, w.Do(t, "GET", on+"?limit=2", ""))
	r, err := w.commands.Delete(t.Context(), command.Request{Principal: "dev", SuccessStatus: 204}, id)
	require.NoError(t, err)
	second := page(t, w.Do(t, "GET", on+"?limit=3&cursor="+*first.Next, "", "Consistency-Token: "+token(r.Data), "Prefer: wait=10"))
	require.EqualValues(t, []int64{3, 5}, []int64{second.Data[0].Version, second.Data[2].Version})
	require.NotEmpty(t, second.Data[0].Changes)

	r, err = w.commands.Erase(t.Context(), command.Request{Principal: "dev", SuccessStatus: 200}, id, "asked")
	require.NoError(t, err)
	last := page(t, w.Do(t, "GET", on+"?cursor="+*second.Next, "", "Consistency-Token: "+token(r.Data), "Prefer: wait=10"))
	all := page(t, w.Do(t, "GET", on, ""))
	require.Len(t, last.Data, 3)
	require.Len(t, all.Data, 8)
	require.Equal(t, "customer.erased", all.Data[7].Type)
	for _, e := range append(all.Data, last.Data...) {
		require.Nil(t, e.Actor)
		require.Nil(t, e.CorrelationID)
		require.Empty(t, e.Changes)
		require.NotEmpty(t, e.Type)
		require.NotEmpty(t, e.At)
	}
}

func TestBadHistoriesAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	states := w.biography(t)
	other, tok := w.register(t)
	on := "/v1/customers/" + states[0].ID.String() + "/history"
	both := "Consistency-Token: " + token(states[5]) + ", " + tok
	cursor := *page(t, w.Do(t, "GET", on+"?limit=1", "", both, "Prefer: wait=10")).Next
	list := w.Do(t, "GET", "/v1/customers?limit=1", "", both)
	var customers struct {
		Next *string `json:"next_cursor"`
	}
	list.JSON(t, &customers)
	require.NotNil(t, customers.Next)
	flipped := []byte(cursor)
	flipped[len(flipped)/2] ^= 1
	for name, row := range map[string]struct {
		path    string
		headers []string
		status  int
		code    string
	}{
		"unknown":            {path: "/v1/customers/" + newID(t).String() + "/history", status: 404, code: "customer-not-found"},
		"no UUID":            {path: "/v1/customers/42/history", status: 404, code: "customer-not-found"},
		"limit 0":            {path: on + "?limit=0", status: 400, code: "invalid-parameter"},
		"limit 101":          {path: on + "?limit=101", status: 400, code: "invalid-parameter"},
		"limit -1":           {path: on + "?limit=-1", status: 400, code: "invalid-parameter"},
		"limit 01":           {path: on + "?limit=01", status: 400, code: "invalid-parameter"},
		"limit 1e1":          {path: on + "?limit=1e1", status: 400, code: "invalid-parameter"},
		"limit huge":         {path: on + "?limit=" + strings.Repeat("9", 400), status: 400, code: "invalid-parameter"},
		"limit empty":        {path: on + "?limit=", status: 400, code: "invalid-parameter"},
		"limit twice":        {path: on + "?limit=1&limit=1", status: 400, code: "invalid-parameter"},
		"unknown parameter":  {path: on + "?after=1", status: 400, code: "invalid-parameter"},
		"version":            {path: on + "?version=1", status: 400, code: "invalid-parameter"},
		"bad query":          {path: on + "?limit=%zz", status: 400, code: "invalid-parameter"},
		"cursor empty":       {path: on + "?cursor=", status: 400, code: "invalid-cursor"},
		"cursor garbage":     {path: on + "?cursor=garbage", status: 400, code: "invalid-cursor"},
		"cursor flipped":     {path: on + "?cursor=" + string(flipped), status: 400, code: "invalid-cursor"},
		"cursor cut":         {path: on + "?cursor=" + cursor[:len(cursor)-2], status: 400, code: "invalid-cursor"},
		"cursor longer":      {path: on + "?cursor=" + cursor + "AA", status: 400, code: "invalid-cursor"},
		"cursor endless":     {path: on + "?cursor=" + strings.Repeat("A", 5000), status: 400, code: "invalid-cursor"},
		"cursor twice":       {path: on + "?cursor=" + cursor + "&cursor=" + cursor, status: 400, code: "invalid-parameter"},
		"another's cursor":   {path: "/v1/customers/" + other.ID.String() + "/history?cursor=" + cursor, status: 400, code: "invalid-cursor"},
		"a list's cursor":    {path: on + "?cursor=" + *customers.Next, status: 400, code: "invalid-cursor"},
		"a cursor in a list": {path: "/v1/customers?cursor=" + cursor, status: 400, code: "invalid-cursor"},
		"CSV":                {path: on, headers: []string{"Accept: text/csv"}, status: 406, code: "not-acceptable"},
		"garbage token":      {path: on, headers: []string{"Consistency-Token: garbage"}, status: 400, code: "invalid-token"},
		"future token": {
			path: on, headers: []string{"Consistency-Token: " + token(customer.Data{ID: other.ID, Version: 9}), "Prefer: wait=0"},
			status: 503, code: "read-model-behind",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := w.Do(t, "GET", row.path, "", row.headers...)
			require.Equal(t, row.status, a.StatusCode, "%s", a.Body)
			require.Equal(t, row.code, a.Problem(t).Code)
			require.Equal(t, row.status, w.Do(t, "HEAD", row.path, "", row.headers...).StatusCode)
		})
	}
	post := w.Do(t, "POST", on, "")
	require.Equal(t, 405, post.StatusCode)
	require.Equal(t, "method-not-allowed", post.Problem(t).Code)
	require.Len(t, page(t, w.Do(t, "GET", on+"?limit=100&cursor="+cursor, "")).Data, 5, "the limit may change")
}
