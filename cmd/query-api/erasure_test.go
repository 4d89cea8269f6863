package main

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/internal/command"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
)

func TestTheErasureRecord(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d, _ := w.register(t)
	desk := command.Request{Principal: "privacy-desk", SuccessStatus: 200}
	erased, err := w.commands.Erase(t.Context(), desk, d.ID, "request of 2026-01-15")
	require.NoError(t, err)
	on := "/v1/customers/" + d.ID.String() + "/erasure"

	a := w.Do(t, "GET", on, "", "Consistency-Token: "+token(erased.Data), "Prefer: wait=99")
	require.Equal(t, 200, a.StatusCode, "%s", a.Body)
	require.Equal(t, `"2"`, a.Header.Get("ETag"))
	require.Equal(t, "wait=10", a.Header.Get("Preference-Applied"))
	require.Regexp(t, `^\d+\.\d{3}$`, a.Header.Get("Projection-Lag"))
	var record map[string]any
	a.JSON(t, &record)
	require.Equal(t, map[string]any{
		"id": d.ID.String(), "version": 2.0, "erased_at": erased.Data.Erasure.At.Format("2006-01-02T15:04:05.000000Z"),
		"actor": "privacy-desk", "reason": "request of 2026-01-15", "key_id": erased.Data.Erasure.KeyID,
	}, record)
	require.Len(t, record["key_id"], 32)
	head := w.Do(t, "HEAD", on, "")
	require.Equal(t, 200, head.StatusCode)
	require.Empty(t, head.Body)
	require.EqualValues(t, len(a.Body), head.ContentLength)

	gone := w.Do(t, "GET", "/v1/customers/"+d.ID.String(), "")
	require.Equal(t, 410, gone.StatusCode)
	require.Equal(t, "customer-erased", gone.Problem(t).Code)
}

func TestTheErasureRecordOfWhoeverIsNotErased(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	living, tok := w.register(t)
	deleted, _ := w.register(t)
	r, err := w.commands.Delete(t.Context(), command.Request{Principal: "dev", SuccessStatus: 204}, deleted.ID)
	require.NoError(t, err)
	for name, row := range map[string]struct {
		path    string
		headers []string
		status  int
		code    string
	}{
		"living":          {path: living.ID.String(), headers: []string{"Consistency-Token: " + tok}, status: 409, code: "state-conflict"},
		"deleted":         {path: deleted.ID.String(), headers: []string{"Consistency-Token: " + token(r.Data)}, status: 409, code: "state-conflict"},
		"unknown":         {path: uuid.NewString(), status: 404, code: "customer-not-found"},
		"no UUID":         {path: "42", status: 404, code: "customer-not-found"},
		"garbage token":   {path: living.ID.String(), headers: []string{"Consistency-Token: x"}, status: 400, code: "invalid-token"},
		"a parameter":     {path: living.ID.String() + "/erasure?version=1", status: 400, code: "invalid-parameter"},
		"no such version": {path: living.ID.String(), headers: []string{"Prefer: wait=0", "Consistency-Token: " + eventlog.Token{CustomerID: living.ID, Version: 9}.String()}, status: 503, code: "read-model-behind"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			began := time.Now()
			path := "/v1/customers/" + row.path
			if name != "a parameter" {
				path += "/erasure"
			}
			a := w.Do(t, "GET", path, "", row.headers...)
			require.Equal(t, row.status, a.StatusCode, "%s", a.Body)
			require.Equal(t, row.code, a.Problem(t).Code)
			require.Less(t, time.Since(began), 5*time.Second)
		})
	}
}
