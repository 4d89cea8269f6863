package main

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
)

func token(t *testing.T, id string, v customer.Version) string {
	t.Helper()
	return eventlog.Token{CustomerID: uuid.MustParse(id), Version: v}.String()
}

func TestRegisterTakesEveryField(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.Do(t, "POST", "/v1/customers", `{
		"first_name": " Zoe\u0308 ", "last_name": "=cmd()<script>", "email": "Zoë@Bücher.example", "phone": "+1 415 555 2671", "locale": "vi-vn",
		"external_id": "crm-0042", "tags": ["vip", "a", "vip"], "metadata": {"plan": "gold"},
		"addresses": [{"line1": "1 Rue de Rivoli", "city": "Paris", "postal_code": "75001", "country": "fr", "label": "home", "default_for": ["shipping", "billing"]}],
		"consents": {"email": {"granted": true, "source": "checkout", "wording": "Send me news"}, "sms": {"granted": false}}}`,
		"Content-Type: Application/JSON; Charset=UTF-8", "Accept: text/html;q=0.9, application/*", "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "X-Correlation-ID: order-42")
	require.Equal(t, 201, a.StatusCode, "%s", a.Body)
	var d document
	a.JSON(t, &d)
	require.Equal(t, "Zoë", *d.FirstName)
	require.Equal(t, "=cmd()<script>", *d.LastName)
	require.Equal(t, "+14155552671", *d.Phone)
	require.Equal(t, []string{"a", "vip"}, d.Tags)
	require.Equal(t, "/v1/customers/"+d.ID, a.Header.Get("Location"))
	require.Equal(t, `"1"`, a.Header.Get("ETag"))
	require.Equal(t, token(t, d.ID, 1), a.Header.Get("Consistency-Token"))

	var actor, correlation, trace string
	require.NoError(t, w.db.Pool(t, "").QueryRow(t.Context(),
		"SELECT metadata->>'actor', metadata->>'correlation_id', metadata->>'traceparent' FROM eventlog.events").Scan(&actor, &correlation, &trace))
	require.Equal(t, []string{"dev", "order-42", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}, []string{actor, correlation, trace})
	require.Contains(t, w.logs.String(), `"trace_id":"4bf92f3577b34da6a3ce929d0e0e4736"`)

	for name, other := range map[string]struct{ body, code, pointer string }{
		"same e-mail in NFD, ASCII and capitals": {`{"last_name": "x", "email": "ZOE\u0308@xn--bcher-kva.EXAMPLE"}`, "email-taken", "/email"},
		"same external id":                       {`{"last_name": "x", "email": "other@example.com", "external_id": "crm-0042"}`, "external-id-taken", "/external_id"},
	} {
		b := w.Do(t, "POST", "/v1/customers", other.body)
		require.Equal(t, 409, b.StatusCode, name)
		require.Equal(t, other.code, b.Problem(t).Code, name)
		require.Equal(t, at(other.pointer, "taken"), b.Problem(t).Pointers(), name)
		require.NotContains(t, string(b.Body), d.ID, "whose it is is nobody's business")
	}
}

func TestPatchMergesAndNothingIsNoEvent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.register(t)
	on := "/v1/customers/" + d.ID
	patch := func(body string, version int, headers ...string) document {
		t.Helper()
		a := w.Do(t, "PATCH", on, body, headers...)
		require.Equal(t, 200, a.StatusCode, "%s", a.Body)
		require.Equal(t, fmt.Sprintf("%q", fmt.Sprint(version)), a.Header.Get("ETag"))
		require.Equal(t, token(t, d.ID, customer.Version(version)), a.Header.Get("Consistency-Token"))
		var out document
		a.JSON(t, &out)
		return out
	}
	out := patch(`{"last_name": "Lovelace", "phone": "+14155552671", "metadata": {"a": "1", "b": "2"}}`, 4, "Content-Type: application/merge-patch+json")
	require.Equal(t, map[string]string{"a": "1", "b": "2"}, out.Metadata)
	out = patch(`{"first_name": null, "phone": null, "metadata": {"a": null, "c": "3", "never": null}}`, 7, "Content-Type: application/json")
	require.Nil(t, out.FirstName)
	require.Nil(t, out.Phone)
	require.Equal(t, map[string]string{"b": "2", "c": "3"}, out.Metadata)
	out = patch(`{"metadata": null}`, 8)
	require.Empty(t, out.Metadata)
	for _, nothing := range []string{`{}`, `{"last_name": "Lovelace"}`, `{"metadata": {}}`, `{"metadata": null, "phone": null}`} {
		patch(nothing, 8)
	}
	require.Equal(t, 8, w.events(t))
}

func TestIfMatchIsKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.register(t)
	on := "/v1/customers/" + d.ID
	for version, condition := range []string{`"1"`, `*`, `"7", W/"9","3"`, ` , "4" ,`} {
		a := w.Do(t, "PATCH", on, fmt.Sprintf(`{"last_name": "n%d"}`, version), "If-Match: "+condition)
		require.Equal(t, 200, a.StatusCode, "%s: %s", condition, a.Body)
	}
	a := w.Do(t, "PATCH", on, `{"last_name": "lines"}`, `If-Match: "1"`, `If-Match: "5"`)
	require.Equal(t, 200, a.StatusCode, "lines of one field are one list: %s", a.Body)
	a = w.Do(t, "PATCH", "/v1/customers/"+uuid.NewString(), `{"last_name": "x"}`, `If-Match: "1"`)
	require.Contains(t, []int{404, 412}, a.StatusCode)
}

func TestDeleteIsRepeatable(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.register(t)
	on := "/v1/customers/" + d.ID
	for range 2 {
		a := w.Do(t, "DELETE", on, "")
		require.Equal(t, 204, a.StatusCode, "%s", a.Body)
		require.Empty(t, a.Body)
		require.Equal(t, `"2"`, a.Header.Get("ETag"))
		require.Equal(t, token(t, d.ID, 2), a.Header.Get("Consistency-Token"))
	}
	a := w.Do(t, "PATCH", on, `{"last_name": "x"}`)
	require.Equal(t, 410, a.StatusCode)
	require.Equal(t, "customer-deleted", a.Problem(t).Code)
	again := w.Do(t, "POST", "/v1/customers", fmt.Sprintf(`{"last_name": "x", "email": %q}`, d.Email))
	require.Equal(t, 201, again.StatusCode, "the e-mail address is free")
}

func TestIdempotencyKeyMakesOneEffect(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	mail := unusedEmail()
	body := fmt.Sprintf(`{"last_name": "x", "email": %q}`, mail)
	first := w.Do(t, "POST", "/v1/customers", body, "Idempotency-Key: order 42")
	require.Equal(t, 201, first.StatusCode, "%s", first.Body)
	same := fmt.Sprintf(`{ "email": %q, "last_name": "x" }`, mail)
	second := w.Do(t, "POST", "/v1/customers", same, `Idempotency-Key: "order 42"`)
	require.Equal(t, 201, second.StatusCode)
	require.Equal(t, string(first.Body), string(second.Body))
	for _, name := range []string{"ETag", "Consistency-Token", "Location"} {
		require.Equal(t, first.Header.Get(name), second.Header.Get(name), name)
	}
	var d document
	first.JSON(t, &d)
	for name, a := range map[string]int{
		"other body":  w.Do(t, "POST", "/v1/customers", `{"last_name": "y", "email": "y@example.com"}`, "Idempotency-Key: order 42").StatusCode,
		"other route": w.Do(t, "DELETE", "/v1/customers/"+d.ID, "", "Idempotency-Key: order 42").StatusCode,
	} {
		require.Equal(t, 422, a, name)
	}
	require.Equal(t, 422, w.Do(t, "POST", "/v1/customers", `{}`, "Idempotency-Key: free").StatusCode)
	require.Equal(t, 201, w.Do(t, "POST", "/v1/customers", fmt.Sprintf(`{"last_name": "x", "email": %q}`, unusedEmail()), "Idempotency-Key: free").StatusCode,
		"a refused request leaves its key free")
	require.Equal(t, 2, w.events(t))
	long := strings.Repeat("k", 255)
	require.Equal(t, 200, w.Do(t, "PATCH", "/v1/customers/"+d.ID, `{}`, "Idempotency-Key: "+long).StatusCode)
}

func TestDryRunWritesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.register(t)
	for _, row := range []struct {
		method, path, body string
		status             int
	}{
		{"POST", "/v1/customers?dry_run=true", fmt.Sprintf(`{"last_name": "x", "email": %q}`, unusedEmail()), 201},
		{"PATCH", "/v1/customers/" + d.ID + "?dry_run=true", `{"last_name": "Would-be"}`, 200},
		{"DELETE", "/v1/customers/" + d.ID + "?dry_run=true", "", 204},
	} {
		a := w.Do(t, row.method, row.path, row.body)
		require.Equal(t, row.status, a.StatusCode, "%s", a.Body)
		require.Equal(t, "true", a.Header.Get("Dry-Run"))
		require.Empty(t, a.Header.Get("Consistency-Token"), "there is nothing to wait for")
	}
	require.Equal(t, 422, w.Do(t, "POST", "/v1/customers?dry_run=true", `{}`).StatusCode)
	taken := w.Do(t, "POST", "/v1/customers?dry_run=true", fmt.Sprintf(`{"last_name": "x", "email": %q}`, d.Email))
	require.Equal(t, 409, taken.StatusCode, "full validation: %s", taken.Body)
	a := w.Do(t, "PATCH", "/v1/customers/"+d.ID+"?dry_run=false", `{"last_name": "Real"}`)
	require.Empty(t, a.Header.Get("Dry-Run"))
	require.Equal(t, 2, w.events(t))
}

func TestPreferMinimal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.register(t)
	for _, prefer := range []string{"return=minimal", `Foo; bar="a,b", RETURN="minimal";x=1`, "return=minimal, return=representation"} {
		a := w.Do(t, "PATCH", "/v1/customers/"+d.ID, `{"last_name": "x"}`, "Prefer: "+prefer)
		require.Equal(t, 200, a.StatusCode)
		require.Empty(t, a.Body)
		require.Equal(t, "return=minimal", a.Header.Get("Preference-Applied"), prefer)
		require.NotEmpty(t, a.Header.Get("ETag"))
	}
	for _, prefer := range []string{"respond-async", "return=much", "return"} {
		a := w.Do(t, "PATCH", "/v1/customers/"+d.ID, `{"last_name": "x"}`, "Prefer: "+prefer)
		require.NotEmpty(t, a.Body)
		require.Empty(t, a.Header.Get("Preference-Applied"), prefer)
	}
	a := w.Do(t, "PATCH", "/v1/customers/"+d.ID, `{"last_name": "x"}`, "Prefer: return=representation")
	require.Equal(t, "return=representation", a.Header.Get("Preference-Applied"))
	a = w.Do(t, "DELETE", "/v1/customers/"+d.ID, "", "Prefer: return=representation")
	require.Equal(t, 204, a.StatusCode)
	require.Empty(t, a.Header.Get("Preference-Applied"), "there is no representation to return")
}

func TestOperationsAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, path := range []string{"/livez", "/readyz", "/openapi.json", "/docs", "/docs/init.js", "/docs/swagger-ui.css", "/docs/swagger-ui-bundle.js"} {
		get, head := w.Do(t, "GET", path, ""), w.Do(t, "HEAD", path, "")
		require.Equal(t, 200, get.StatusCode, path)
		require.Equal(t, 200, head.StatusCode, path)
		require.NotEmpty(t, get.Body, path)
		require.Empty(t, head.Body, path)
		require.Equal(t, get.Header.Get("Content-Type"), head.Header.Get("Content-Type"), path)
	}
	require.Contains(t, w.Do(t, "GET", "/docs", "").Header.Get("Content-Security-Policy"), "script-src 'self';")
	require.Equal(t, http.StatusBadRequest, w.Do(t, "GET", "/livez?x=1", "").StatusCode)
	require.Equal(t, http.StatusNotAcceptable, w.Do(t, "GET", "/docs", "", "Accept: application/json").StatusCode)
}
