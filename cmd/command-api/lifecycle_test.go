package main

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
)

func TestASuspendedCustomerCanBeChanged(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.full(t)
	on := "/v1/customers/" + d.ID
	require.Equal(t, "suspended", w.must(t, 200, "POST", on+"/suspend", `{"reason": "fraud"}`).Status)
	for _, r := range []request{requests(d)["addTag"], requests(d)["addAddress"], requests(d)["changeCustomer"], requests(d)["grantConsent"]} {
		a := r.on(w, t, d.ID, "")
		require.Equal(t, r.status, a.status, a.text)
		require.Contains(t, a.text, `"status":"suspended"`)
	}
	w.must(t, 204, "DELETE", on, "")
	require.Equal(t, "suspended", w.must(t, 200, "POST", on+"/restore", "").Status, "restoring brings a suspension back")
	require.Equal(t, "active", w.must(t, 200, "POST", on+"/reinstate", "").Status)
}

func TestRestoreTakesBackWhatIsStillFree(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.full(t)
	on := "/v1/customers/" + d.ID
	w.must(t, 204, "DELETE", on, "")
	for field, row := range map[string]struct{ code, body string }{
		"/email":       {"email-taken", fmt.Sprintf(`{"last_name": "x", "email": %q}`, d.Email)},
		"/external_id": {"external-id-taken", fmt.Sprintf(`{"last_name": "x", "email": %q, "external_id": %q}`, unusedEmail(), d.ExternalID)},
	} {
		other := w.must(t, 201, "POST", "/v1/customers", row.body)
		for _, query := range []string{"?dry_run=true", ""} {
			a := w.Do(t, "POST", on+"/restore"+query, "")
			require.Equal(t, 409, a.StatusCode, "%s", a.Body)
			require.Equal(t, row.code, a.Problem(t).Code)
			require.Equal(t, at(field, "taken"), a.Problem(t).Pointers())
			require.NotContains(t, string(a.Body), other.ID)
		}
		w.must(t, 204, "DELETE", "/v1/customers/"+other.ID, "")
	}
	back := w.must(t, 200, "POST", on+"/restore", "")
	require.Equal(t, d.Email, back.Email)
	require.Equal(t, d.Addresses, back.Addresses)
	taken := w.Do(t, "POST", "/v1/customers", fmt.Sprintf(`{"last_name": "x", "email": %q}`, d.Email))
	require.Equal(t, "email-taken", taken.Problem(t).Code)
}

type erasure struct {
	ID, Actor, Reason string
	Version           int64
	ErasedAt          time.Time `json:"erased_at"`
	KeyID             string    `json:"key_id"`
}

func TestErasureDestroysTheKeyAndLeavesARecord(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	register := fmt.Sprintf(`{"first_name": "Ada", "email": %q, "external_id": "crm-9"}`, unusedEmail())
	d := w.must(t, 201, "POST", "/v1/customers", register, "Idempotency-Key: register")
	on := "/v1/customers/" + d.ID
	w.must(t, 200, "PATCH", on, `{"last_name": "King"}`, "Idempotency-Key: rename")
	w.must(t, 200, "POST", on+"/suspend", `{"reason": "fraud"}`, "Idempotency-Key: suspend")

	var key eventlog.WrappedKey
	db := w.db.Pool(t, "")
	require.NoError(t, db.QueryRow(t.Context(), "SELECT wrapped_key FROM eventlog.subject_keys WHERE customer_id = $1", d.ID).Scan(&key.Wrapped))

	begun := time.Now().Add(-time.Second)
	first := w.Do(t, "POST", on+"/erase", `{"reason": " Request 2026-17 "}`, "Idempotency-Key: erase")
	require.Equal(t, 200, first.StatusCode, "%s", first.Body)
	var record erasure
	first.JSON(t, &record)
	require.Equal(t, erasure{
		ID: d.ID, Actor: "dev", Reason: "Request 2026-17", Version: 4, ErasedAt: record.ErasedAt, KeyID: key.ID(),
	}, record)
	require.WithinRange(t, record.ErasedAt, begun, time.Now().Add(time.Second))
	require.Equal(t, `"4"`, first.Header.Get("ETag"))
	require.Equal(t, token(t, d.ID, 4), first.Header.Get("Consistency-Token"))

	var left int
	require.NoError(t, db.QueryRow(t.Context(), "SELECT (SELECT count(*) FROM eventlog.subject_keys) + (SELECT count(*) FROM eventlog.claims)").Scan(&left))
	require.Zero(t, left, "neither key nor claims are left")

	for name, headers := range map[string][]string{
		"replayed": {"Idempotency-Key: erase"}, "under another key": {"Idempotency-Key: again"}, "under none": nil, "as it is": {`If-Match: "4"`},
	} {
		body := `{"reason": "Request 2026-17"}`
		if name == "replayed" {
			body = `{"reason": " Request 2026-17 "}`
		}
		again := w.Do(t, "POST", on+"/erase", body, headers...)
		require.Equal(t, 200, again.StatusCode, "%s: %s", name, again.Body)
		require.Equal(t, string(first.Body), string(again.Body), name)
	}
	other := w.Do(t, "POST", on+"/erase", `{"reason": "another one"}`)
	require.Equal(t, string(first.Body), string(other.Body), "the record stays as it was made")
	require.Equal(t, 412, w.Do(t, "POST", on+"/erase", `{"reason": "x"}`, `If-Match: "3"`).StatusCode)
	require.Equal(t, 4, w.events(t))

	for name, row := range map[string]struct{ method, path, body string }{
		"register": {"POST", "/v1/customers", register},
		"rename":   {"PATCH", on, `{"last_name": "King"}`},
		"suspend":  {"POST", on + "/suspend", `{"reason": "fraud"}`},
	} {
		a := w.Do(t, row.method, row.path, row.body, "Idempotency-Key: "+name)
		require.Equal(t, 410, a.StatusCode, "%s: there is nothing left to replay: %s", name, a.Body)
		require.Equal(t, "customer-erased", a.Problem(t).Code)
	}
	w.must(t, 201, "POST", "/v1/customers", register) // e-mail and external id are free
	require.NotContains(t, w.logs.String(), "2026-17")
}

func TestADeletedCustomerCanBeErased(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.full(t)
	on := "/v1/customers/" + d.ID
	w.must(t, 204, "DELETE", on, "")
	rehearsed := w.Do(t, "POST", on+"/erase?dry_run=true", `{"reason": "x"}`)
	require.Equal(t, 200, rehearsed.StatusCode, "%s", rehearsed.Body)
	w.must(t, 200, "POST", on+"/restore", "")
	w.must(t, 204, "DELETE", on, "")
	a := w.Do(t, "POST", on+"/erase", `{"reason": "x"}`)
	require.Equal(t, 200, a.StatusCode, "%s", a.Body)
	var would, is erasure
	rehearsed.JSON(t, &would)
	a.JSON(t, &is)
	require.Equal(t, would.KeyID, is.KeyID)
	require.EqualValues(t, 5, is.Version)
}
