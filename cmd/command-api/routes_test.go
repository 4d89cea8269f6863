package main

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
)

// request is one command on a customer. Sent once, it makes one event.
type request struct {
	method, under, body string
	status              int
	before              *request // what has to have happened
	repeatable          bool     // done again, it finds its effect there
	onDeleted           int      // what a deleted customer answers to it
}

func (r request) on(w *world, t *testing.T, id, query string, headers ...string) answer {
	t.Helper()
	a := w.Do(t, r.method, "/v1/customers/"+id+r.under+query, r.body, headers...)
	out := answer{status: a.StatusCode, text: string(a.Body), etag: a.Header.Get("ETag"), header: a.Header}
	if a.StatusCode >= 400 {
		out.code = a.Problem(t).Code
	}
	return out
}

type answer struct {
	status           int
	code, text, etag string
	header           http.Header
}

// home is an address without the braces around it, so that a test can add to it.
const home = `"line1": "1 Main Street", "city": "Cork", "country": "IE"`

// requests has one request of each command, for customers that full registers.
func requests(d document) map[string]request {
	address := "/addresses/" + d.Addresses[0].ID
	suspend := request{method: "POST", under: "/suspend", body: `{"reason": "fraud"}`, status: 200, repeatable: true, onDeleted: 410}
	remove := request{method: "DELETE", status: 204, repeatable: true, onDeleted: 204}
	return map[string]request{
		"changeCustomer":    {method: "PATCH", body: `{"last_name": "King"}`, status: 200, repeatable: true, onDeleted: 410},
		"addAddress":        {method: "POST", under: "/addresses", body: `{` + home + `}`, status: 201, onDeleted: 410},
		"changeAddress":     {method: "PUT", under: address, body: `{` + home + `, "label": "new"}`, status: 200, repeatable: true, onDeleted: 410},
		"removeAddress":     {method: "DELETE", under: address, status: 200, onDeleted: 410},
		"addTag":            {method: "PUT", under: "/tags/a.b_c-1", status: 200, repeatable: true, onDeleted: 410},
		"removeTag":         {method: "DELETE", under: "/tags/vip", status: 200, repeatable: true, onDeleted: 410},
		"grantConsent":      {method: "PUT", under: "/consents/sms", body: `{"granted": true, "source": "shop", "wording": "Yes,\nplease"}`, status: 200, repeatable: true, onDeleted: 410},
		"withdrawConsent":   {method: "PUT", under: "/consents/email", body: `{"granted": false}`, status: 200, repeatable: true, onDeleted: 410},
		"suspendCustomer":   suspend,
		"reinstateCustomer": {method: "POST", under: "/reinstate", status: 200, before: &suspend, repeatable: true, onDeleted: 410},
		"deleteCustomer":    remove,
		"restoreCustomer":   {method: "POST", under: "/restore", status: 200, before: &remove, repeatable: true, onDeleted: 200},
		"eraseCustomer":     {method: "POST", under: "/erase", body: `{"reason": "asked for"}`, status: 200, repeatable: true, onDeleted: 200},
	}
}

// full registers a customer with one of everything.
func (w *world) full(t *testing.T) document {
	t.Helper()
	a := w.Do(t, "POST", "/v1/customers", fmt.Sprintf(`{"first_name": "Ada", "email": %q, "external_id": %q, "tags": ["vip"],
		"addresses": [{`+home+`, "default_for": ["shipping", "billing"]}], "consents": {"email": {"granted": true}}}`, unusedEmail(), uuid.NewString()))
	require.Equal(t, 201, a.StatusCode, "%s", a.Body)
	var d document
	a.JSON(t, &d)
	return d
}

// each runs a test for each command, on a customer that it has an effect on.
func each(t *testing.T, w *world, test func(t *testing.T, d document, r request, version int)) {
	t.Helper()
	for name := range requests(document{Addresses: make([]address, 1)}) {
		t.Run(name, func(t *testing.T) {
			d := w.full(t)
			r, version := requests(d)[name], 1
			if r.before != nil {
				require.Less(t, r.before.on(w, t, d.ID, "").status, 300)
				version++
			}
			test(t, d, r, version)
		})
	}
}

func quoted(version int) string { return fmt.Sprintf(`"%d"`, version) }

func TestEveryCommandTakesConditionsKeysAndRehearsals(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	each(t, w, func(t *testing.T, d document, r request, version int) {
		events := w.events(t)

		a := r.on(w, t, d.ID, "?dry_run=true")
		require.Equal(t, r.status, a.status, a.text)
		require.Equal(t, "true", a.header.Get("Dry-Run"))
		require.Empty(t, a.header.Get("Consistency-Token"))
		require.Equal(t, quoted(version+1), a.etag)

		for _, condition := range []string{`"99"`, "W/" + quoted(version)} {
			a = r.on(w, t, d.ID, "", "If-Match: "+condition, "Idempotency-Key: "+d.ID)
			require.Equal(t, 412, a.status, a.text)
			require.Equal(t, "version-mismatch", a.code)
			require.Equal(t, quoted(version), a.etag)
		}
		require.Equal(t, events, w.events(t), "nothing was written")

		first := r.on(w, t, d.ID, "", "If-Match: "+quoted(version), "Idempotency-Key: "+d.ID)
		require.Equal(t, r.status, first.status, first.text)
		require.Equal(t, quoted(version+1), first.etag)
		require.Equal(t, token(t, d.ID, customer.Version(version+1)), first.header.Get("Consistency-Token"))

		again := r.on(w, t, d.ID, "", "If-Match: "+quoted(version), `Idempotency-Key: "`+d.ID+`"`)
		require.Equal(t, first.status, again.status, again.text)
		require.Equal(t, first.text, again.text)
		for _, name := range []string{"ETag", "Consistency-Token", "Location"} {
			require.Equal(t, first.header.Get(name), again.header.Get(name), name)
		}
		require.Equal(t, events+1, w.events(t), "one effect")

		for _, other := range []request{{method: "DELETE", under: "/tags/other"}, {method: "PUT", under: "/consents/post", body: `{"granted": true}`}} {
			a = other.on(w, t, d.ID, "", "Idempotency-Key: "+d.ID)
			require.Equal(t, "idempotency-key-reused", a.code, a.text)
		}
	})
}

func TestEveryCommandIsRecordedWithWhoAskedAndWhatFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	db := w.db.Pool(t, "")
	each(t, w, func(t *testing.T, d document, r request, version int) {
		trace := strings.ReplaceAll(uuid.NewString(), "-", "")
		parent := "00-" + trace + "-00f067aa0ba902b7-01"
		a := r.on(w, t, d.ID, "", "traceparent: "+parent, "X-Correlation-ID: order-"+trace)
		require.Equal(t, r.status, a.status, a.text)
		var actor, correlation, recorded, command string
		require.NoError(t, db.QueryRow(t.Context(), `SELECT metadata->>'actor', metadata->>'correlation_id', metadata->>'traceparent', metadata->>'command_id'
			FROM eventlog.events WHERE customer_id = $1 AND version = $2`, d.ID, version+1).Scan(&actor, &correlation, &recorded, &command))
		require.Equal(t, []string{"dev", "order-" + trace, parent}, []string{actor, correlation, recorded})
		require.NoError(t, uuid.Validate(command))
		require.Contains(t, w.logs.String(), `"trace_id":"`+trace+`"`, "the log finds it too")

		refused := r.on(w, t, uuid.NewString(), "", "traceparent: "+parent)
		require.Contains(t, refused.text, `"trace_id":"`+trace+`"`)
	})
}

func TestEveryCommandAnswersMinimallyWhenAsked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	each(t, w, func(t *testing.T, d document, r request, version int) {
		a := r.on(w, t, d.ID, "", "Prefer: return=minimal")
		require.Equal(t, r.status, a.status, a.text)
		require.Empty(t, a.text)
		require.Equal(t, "return=minimal", a.header.Get("Preference-Applied"))
		require.Equal(t, quoted(version+1), a.etag)
	})
}

func TestRepeatingACommandIsNoEvent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	each(t, w, func(t *testing.T, d document, r request, version int) {
		if !r.repeatable {
			return
		}
		first := r.on(w, t, d.ID, "")
		require.Equal(t, r.status, first.status, first.text)
		events := w.events(t)
		for range 2 {
			again := r.on(w, t, d.ID, "", "Idempotency-Key: "+uuid.NewString())
			require.Equal(t, first.status, again.status, again.text)
			require.Equal(t, first.text, again.text)
			require.Equal(t, quoted(version+1), again.etag)
		}
		require.Equal(t, events, w.events(t))
	})
}

func TestWhereACustomerIsInItsLifeDecides(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	each(t, w, func(t *testing.T, d document, r request, _ int) {
		unknown := r.on(w, t, uuid.NewString(), "")
		require.Equal(t, 404, unknown.status)
		require.Equal(t, "customer-not-found", unknown.code)

		all := requests(d)
		require.Equal(t, 204, all["deleteCustomer"].on(w, t, d.ID, "").status)
		deleted := r.on(w, t, d.ID, "?dry_run=true")
		require.Equal(t, r.onDeleted, deleted.status, deleted.text)
		if r.onDeleted == 410 {
			require.Equal(t, "customer-deleted", deleted.code)
			require.Equal(t, "customer-deleted", r.on(w, t, d.ID, "", `If-Match: "99"`).code, "whatever version is asked for")
		}

		record := all["eraseCustomer"].on(w, t, d.ID, "")
		require.Equal(t, 200, record.status, record.text)
		erased := r.on(w, t, d.ID, "")
		if r.under == "/erase" {
			require.Equal(t, record.text, erased.text)
			return
		}
		require.Equal(t, 410, erased.status)
		require.Equal(t, "customer-erased", erased.code)
	})
}

func TestBadPartsOfAPathAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.full(t)
	reason := strings.Repeat("x", 501)
	for name, row := range map[string]struct {
		request
		code     string
		pointers map[string]string
	}{
		"tag in capitals":        {request{method: "PUT", under: "/tags/VIP", status: 400}, "invalid-parameter", nil},
		"tag with a space":       {request{method: "PUT", under: "/tags/a%20b", status: 400}, "invalid-parameter", nil},
		"tag with a slash":       {request{method: "PUT", under: "/tags/a%2Fb", status: 400}, "invalid-parameter", nil},
		"tag escaped twice":      {request{method: "PUT", under: "/tags/%2576ip", status: 400}, "invalid-parameter", nil},
		"tag too long":           {request{method: "DELETE", under: "/tags/" + strings.Repeat("a", 41), status: 400}, "invalid-parameter", nil},
		"tag outside ASCII":      {request{method: "DELETE", under: "/tags/%C3%A9", status: 400}, "invalid-parameter", nil},
		"empty tag":              {request{method: "PUT", under: "/tags/", status: 404}, "route-not-found", nil},
		"channel":                {request{method: "PUT", under: "/consents/fax", body: `{"granted": true}`, status: 400}, "invalid-parameter", nil},
		"channel before body":    {request{method: "PUT", under: "/consents/Email", body: `{`, status: 400}, "invalid-parameter", nil},
		"address id":             {request{method: "PUT", under: "/addresses/1", body: `{`, status: 404}, "address-not-found", nil},
		"address id in braces":   {request{method: "DELETE", under: "/addresses/%7B" + d.Addresses[0].ID + "%7D", status: 404}, "address-not-found", nil},
		"unknown address":        {request{method: "PUT", under: "/addresses/" + uuid.NewString(), body: `{` + home + `}`, status: 404}, "address-not-found", nil},
		"unknown address gone":   {request{method: "DELETE", under: "/addresses/" + uuid.NewString(), status: 404}, "address-not-found", nil},
		"no address":             {request{method: "POST", under: "/addresses", body: `{"default_for": ["home"], "country": "DE", "postal_code": "x", "x": 1}`, status: 422}, "validation-failed", at("/line1", "required", "/city", "required", "/default_for/0", "invalid_default_for", "/postal_code", "invalid_postal_code", "/x", "unknown_field")},
		"address with an id":     {request{method: "PUT", under: "/addresses/" + d.Addresses[0].ID, body: `{` + home + `, "id": "x"}`, status: 422}, "validation-failed", at("/id", "unknown_field")},
		"address in a list":      {request{method: "POST", under: "/addresses", body: `[{` + home + `}]`, status: 422}, "validation-failed", at("", "wrong_type")},
		"no body":                {request{method: "POST", under: "/addresses", status: 415}, "unsupported-media-type", nil},
		"broken body":            {request{method: "POST", under: "/suspend", body: `{"reason": }`, status: 400}, "malformed-json", nil},
		"no consent":             {request{method: "PUT", under: "/consents/sms", body: `{"source": 1, "wording": "` + "\\u0007" + `"}`, status: 422}, "validation-failed", at("/granted", "required", "/source", "wrong_type", "/wording", "invalid_text")},
		"consent at":             {request{method: "PUT", under: "/consents/sms", body: `{"granted": true, "at": "2020-01-01T00:00:00Z"}`, status: 422}, "validation-failed", at("/at", "unknown_field")},
		"no reason":              {request{method: "POST", under: "/suspend", body: `{}`, status: 422}, "validation-failed", at("/reason", "required")},
		"blank reason":           {request{method: "POST", under: "/erase", body: `{"reason": " \u00a0"}`, status: 422}, "validation-failed", at("/reason", "required")},
		"null reason":            {request{method: "POST", under: "/erase", body: `{"reason": null}`, status: 422}, "validation-failed", at("/reason", "wrong_type")},
		"long reason":            {request{method: "POST", under: "/erase", body: `{"reason": "` + reason + `", "Reason": ""}`, status: 422}, "validation-failed", at("/reason", "too_long", "/Reason", "unknown_field")},
		"two lines of reason":    {request{method: "POST", under: "/suspend", body: `{"reason": "a\nb"}`, status: 422}, "validation-failed", at("/reason", "invalid_text")},
		"parameter":              {request{method: "POST", under: "/restore?force=true", status: 400}, "invalid-parameter", nil},
		"If-Match unquoted":      {request{method: "PUT", under: "/tags/a", status: 400}, "invalid-if-match", nil},
		"reason as a merge":      {request{method: "POST", under: "/suspend", body: `{"reason": "x"}`, status: 415}, "unsupported-media-type", nil},
		"GET of a command":       {request{method: "GET", under: "/suspend", status: 405}, "method-not-allowed", nil},
		"POST of a tag":          {request{method: "POST", under: "/tags/vip", status: 405}, "method-not-allowed", nil},
		"address list elsewhere": {request{method: "GET", under: "/addresses", status: 405}, "method-not-allowed", nil},
		"nothing there":          {request{method: "POST", under: "/merge", status: 404}, "route-not-found", nil},
	} {
		t.Run(name, func(t *testing.T) {
			var headers []string
			switch name {
			case "If-Match unquoted":
				headers = []string{"If-Match: 1"}
			case "reason as a merge":
				headers = []string{"Content-Type: application/merge-patch+json"}
			}
			a := w.Do(t, row.method, "/v1/customers/"+d.ID+row.under, row.body, headers...)
			require.Equal(t, row.status, a.StatusCode, "%s", a.Body)
			p := a.Problem(t)
			require.Equal(t, row.code, p.Code, "%s", a.Body)
			if row.pointers != nil {
				require.Equal(t, row.pointers, p.Pointers(), "%s", a.Body)
			}
		})
	}
	require.Equal(t, 1, w.events(t), "nothing but the registration is in the log")
}
