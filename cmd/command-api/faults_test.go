package main

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// bad is a request that must be refused: with this code, at these places, and
// without a trace in the log.
type bad struct {
	method, path, body string
	headers            []string
	status             int
	code               string
	pointers           map[string]string // where, and the fault's code
}

func at(pairs ...string) map[string]string {
	out := make(map[string]string)
	for i := 0; i < len(pairs); i += 2 {
		out[pairs[i]] = pairs[i+1]
	}
	return out
}

// body is a registration with one thing in it besides the least there must be.
func body(more string) string {
	return `{"last_name": "x", "email": "secret.person@example.com", ` + more + `}`
}

// keys are n members of an object.
func keys(n int) string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf(`"k%d": "x"`, i)
	}
	return strings.Join(all, ", ")
}

func malformed() map[string]bad {
	out := make(map[string]bad)
	for name, text := range map[string]string{
		"blank": " ", "open": "{", "two values": "{}{}", "garbage behind": "{} x", "byte order mark": "\xEF\xBB\xBF{}",
		"raw NUL": "{\"last_name\":\"\x00\"}", "NaN": `{"last_name":NaN}`, "single quotes": `{'a':1}`, "comment": `{} // x`,
		"invalid UTF-8": "{\"last_name\":\"\xff\"}",
	} {
		out["malformed: "+name] = bad{body: text, status: 400, code: "malformed-json"}
	}
	out["malformed: empty"] = bad{status: 400, code: "malformed-json", headers: []string{"Content-Type: application/json"}}
	return out
}

func invalid() map[string]bad {
	long := strings.Repeat("x", 201)
	rows := map[string]struct {
		body     string
		pointers map[string]string
	}{
		"null body":           {"null", at("", "wrong_type")},
		"array body":          {"[]", at("", "wrong_type")},
		"string body":         {`"x"`, at("", "wrong_type")},
		"lone surrogate":      {body(`"phone": "\ud800"`), at("/phone", "invalid_text")},
		"escaped NUL":         {body(`"first_name": "x\u0000"`), at("/first_name", "invalid_text")},
		"duplicate":           {body(`"tags": [], "tags": []`), at("/tags", "duplicate_field")},
		"nested duplicate":    {body(`"metadata": {"k": "1", "k": "1"}`), at("/metadata/k", "duplicate_field")},
		"other case":          {`{"last_name": "x", "Email": "a@example.com"}`, at("/email", "required", "/Email", "unknown_field")},
		"unknown":             {body(`"nickname": "x"`), at("/nickname", "unknown_field")},
		"read-only":           {body(`"id": "x", "version": 1, "role": "x", "tenantId": 1, "created_at": "x", "erased": false, "status": "active"`), at("/id", "unknown_field", "/version", "unknown_field", "/role", "unknown_field", "/tenantId", "unknown_field", "/created_at", "unknown_field", "/erased", "unknown_field", "/status", "unknown_field")},
		"too deep":            {body(`"metadata": ` + strings.Repeat("[", 17) + strings.Repeat("]", 17)), nil},
		"number for a string": {`{"last_name": 1, "email": 1e20}`, at("/last_name", "wrong_type", "/email", "wrong_type")},
		"nothing":             {"{}", at("/email", "required", "/first_name", "required")},
		"null e-mail":         {`{"last_name": "x", "email": null}`, at("/email", "wrong_type")},
		"null collection":     {body(`"tags": null`), at("/tags", "wrong_type")},
		"control characters":  {body(`"first_name": "a\r\nb"`), at("/first_name", "invalid_name")},
		"C1":                  {body(`"first_name": "a\u0085b"`), at("/first_name", "invalid_name")},
		"bidi override":       {body(`"first_name": "a\u202eb"`), at("/first_name", "invalid_name")},
		"white space":         {`{"first_name": " ", "last_name": "\u00a0", "email": "a@example.com"}`, at("/first_name", "required")},
		"zero width":          {body(`"first_name": "\u200b\u200d"`), at("/first_name", "invalid_name")},
		"name too long":       {body(`"first_name": "` + long + `"`), at("/first_name", "too_long")},
		"two at signs":        {`{"last_name": "x", "email": "a@b@example.com"}`, at("/email", "invalid_email")},
		"e-mail too long":     {`{"last_name": "x", "email": "` + long + `@` + strings.Repeat("y.", 30) + `com"}`, at("/email", "too_long")},
		"letters in a phone":  {body(`"phone": "+1-800-FLOWERS"`), at("/phone", "invalid_phone")},
		"locale":              {body(`"locale": "vi_VN"`), at("/locale", "invalid_locale")},
		"external id":         {body(`"external_id": "é"`), at("/external_id", "invalid_external_id")},
		"country":             {body(`"addresses": [{"line1": "x", "city": "x", "country": "XX"}]`), at("/addresses/0/country", "invalid_country")},
		"empty address":       {body(`"addresses": [{}]`), at("/addresses/0/line1", "required", "/addresses/0/city", "required", "/addresses/0/country", "required")},
		"address id":          {body(`"addresses": [{"id": "x", "line1": "x", "city": "x", "country": "IE"}]`), at("/addresses/0/id", "unknown_field")},
		"21 addresses":        {body(`"addresses": [` + strings.Repeat(`{"line1": "x", "city": "x", "country": "IE"},`, 20) + `{"line1": "x", "city": "x", "country": "IE"}]`), at("/addresses", "too_many")},
		"tag":                 {body(`"tags": ["ok", "No"]`), at("/tags/1", "invalid_tag")},
		"metadata key":        {body(`"metadata": {"` + strings.Repeat("k", 41) + `": "x"}`), at("/metadata", "too_long")},
		"metadata value":      {body(`"metadata": {"k": "` + strings.Repeat("v", 501) + `"}`), at("/metadata/k", "too_long")},
		"51 keys":             {body(`"metadata": {` + keys(51) + `}`), at("/metadata", "too_many")},
		"same key in NFD":     {body(`"metadata": {"\u00e9": "x", "e\u0301": "y"}`), at("/metadata", "duplicate")},
		"51 tags":             {body(`"tags": [` + strings.ReplaceAll(keys(51), `: "x"`, "") + `]`), at("/tags", "too_many")},
		"postal code":         {body(`"addresses": [{"line1": "x", "city": "x", "country": "US", "postal_code": "9410"}]`), at("/addresses/0/postal_code", "invalid_postal_code", "/addresses/0/state", "required")},
		"withdrawn country":   {body(`"addresses": [{"line1": "x", "city": "x", "country": "AN"}]`), at("/addresses/0/country", "invalid_country")},
		"infinite number":     {body(`"metadata": {"k": 1e400}`), at("/metadata/k", "wrong_type")},
		"camel case":          {body(`"firstName": "x", "createdAt": "x"`), at("/firstName", "unknown_field", "/createdAt", "unknown_field")},
		"metadata number":     {body(`"metadata": {"k": 1}`), at("/metadata/k", "wrong_type")},
		"channel":             {body(`"consents": {"fax": {"granted": true}}`), at("/consents", "invalid_channel")},
		"consent without say": {body(`"consents": {"sms": {}}`), at("/consents/sms/granted", "required")},
		"consent at":          {body(`"consents": {"sms": {"granted": true, "at": "2020-01-01T00:00:00Z"}}`), at("/consents/sms/at", "unknown_field")},
		"a value as a name":   {body(`"secret.person@example.com": 1`), at("", "unknown_field")},
		"everything at once": {
			`{"first_name": 7, "email": "x", "phone": "x", "Tags": [], "addresses": [{"line1": ""}], "metadata": {"k": null}}`,
			at("/first_name", "wrong_type", "/email", "invalid_email", "/phone", "invalid_phone", "/Tags", "unknown_field",
				"/addresses/0/line1", "required", "/addresses/0/city", "required", "/addresses/0/country", "required", "/metadata/k", "wrong_type"),
		},
	}
	out := make(map[string]bad, len(rows))
	for name, row := range rows {
		out["invalid: "+name] = bad{body: row.body, status: 422, code: "validation-failed", pointers: row.pointers}
	}
	return out
}

func protocol(id string) map[string]bad {
	ok, patch := body(`"first_name": "y"`), `{"first_name": "y"}`
	on := "/v1/customers/" + id
	return map[string]bad{
		"text":                {body: ok, headers: []string{"Content-Type: text/plain"}, status: 415, code: "unsupported-media-type"},
		"other charset":       {body: ok, headers: []string{"Content-Type: application/json; charset=latin1"}, status: 415, code: "unsupported-media-type"},
		"no media type":       {body: ok, headers: []string{"Content-Type: "}, status: 415, code: "unsupported-media-type"},
		"merge patch on POST": {body: ok, headers: []string{"Content-Type: application/merge-patch+json"}, status: 415, code: "unsupported-media-type"},
		"gzip":                {body: ok, headers: []string{"Content-Encoding: gzip"}, status: 415, code: "unsupported-media-type"},
		"HTML only":           {body: ok, headers: []string{"Accept: text/html"}, status: 406, code: "not-acceptable"},
		"JSON refused":        {body: ok, headers: []string{"Accept: application/json;q=0, */*"}, status: 406, code: "not-acceptable"},
		"body too large":      {body: `{"last_name": "` + strings.Repeat("x", 64<<10) + `"}`, status: 413, code: "body-too-large"},
		"PUT":                 {method: "PUT", path: on, body: ok, status: 405, code: "method-not-allowed"},
		"TRACE":               {method: "TRACE", path: on, status: 405, code: "method-not-allowed"},
		"overridden method":   {method: "POST", path: on, body: patch, headers: []string{"X-HTTP-Method-Override: PATCH"}, status: 405, code: "method-not-allowed"},
		"JSON Patch":          {method: "PATCH", path: on, body: "[]", headers: []string{"Content-Type: application/json-patch+json"}, status: 415, code: "unsupported-media-type"},
		"trailing slash":      {method: "PATCH", path: on + "/", body: patch, status: 404, code: "route-not-found"},
		"other case":          {path: "/V1/customers", body: ok, status: 404, code: "route-not-found"},
		"UUID without dashes": {method: "PATCH", path: "/v1/customers/" + strings.ReplaceAll(id, "-", ""), body: patch, status: 404, code: "customer-not-found"},
		"NUL behind the id":   {method: "PATCH", path: on + "%00", body: patch, status: 404, code: "customer-not-found"},
		"weak in lower case":  {method: "PATCH", path: on, body: patch, headers: []string{`If-Match: w/"1"`}, status: 400, code: "invalid-if-match"},
		"huge version":        {method: "PATCH", path: on, body: patch, headers: []string{`If-Match: "99999999999999999999"`}, status: 412, code: "version-mismatch"},
		"key with a tab":      {body: ok, headers: []string{"Idempotency-Key: a\tb"}, status: 400, code: "invalid-idempotency-key"},
		"long quoted key":     {body: ok, headers: []string{`Idempotency-Key: "` + strings.Repeat("k", 256) + `"`}, status: 400, code: "invalid-idempotency-key"},
		"GET of the read API": {method: "GET", path: on, status: 405, code: "method-not-allowed"},
		"unknown path":        {method: "GET", path: "/v1/nothing", status: 404, code: "route-not-found"},
		"doubled slash":       {method: "POST", path: "//v1/customers", body: ok, status: 404, code: "route-not-found"},
		"dots":                {method: "PATCH", path: "/v1/../v1/customers/" + id, body: patch, status: 404, code: "route-not-found"},
		"encoded dots":        {method: "PATCH", path: "/v1/customers/%2e%2e%2f" + id, body: patch, status: 404, code: "customer-not-found"},
		"no UUID":             {method: "PATCH", path: "/v1/customers/1", body: patch, status: 404, code: "customer-not-found"},
		"UUID in braces":      {method: "DELETE", path: "/v1/customers/%7B" + id + "%7D", status: 404, code: "customer-not-found"},
		"unknown customer":    {method: "PATCH", path: "/v1/customers/" + uuid.NewString(), body: patch, status: 404, code: "customer-not-found"},
		"unknown parameter":   {path: "/v1/customers?verbose=1", body: ok, status: 400, code: "invalid-parameter"},
		"repeated parameter":  {path: "/v1/customers?dry_run=true&dry_run=true", body: ok, status: 400, code: "invalid-parameter"},
		"malformed parameter": {path: "/v1/customers?dry_run=1", body: ok, status: 400, code: "invalid-parameter"},
		"semicolon":           {path: "/v1/customers?dry_run=true;x=1", body: ok, status: 400, code: "invalid-parameter"},
		"broken escape":       {path: "/v1/customers?dry_run=%zz", body: ok, status: 400, code: "invalid-parameter"},
		"correlation id":      {body: ok, headers: []string{"X-Correlation-ID: ada@example.com"}, status: 400, code: "invalid-parameter"},
		"long correlation":    {body: ok, headers: []string{"X-Correlation-ID: " + strings.Repeat("x", 129)}, status: 400, code: "invalid-parameter"},
		"two correlations":    {body: ok, headers: []string{"X-Correlation-ID: a", "X-Correlation-ID: b"}, status: 400, code: "invalid-parameter"},
		"key too long":        {body: ok, headers: []string{"Idempotency-Key: " + strings.Repeat("k", 256)}, status: 400, code: "invalid-idempotency-key"},
		"empty key":           {body: ok, headers: []string{"Idempotency-Key: "}, status: 400, code: "invalid-idempotency-key"},
		"key outside ASCII":   {body: ok, headers: []string{"Idempotency-Key: clé"}, status: 400, code: "invalid-idempotency-key"},
		"open key":            {body: ok, headers: []string{`Idempotency-Key: "a`}, status: 400, code: "invalid-idempotency-key"},
		"two keys":            {body: ok, headers: []string{"Idempotency-Key: a", "Idempotency-Key: a"}, status: 400, code: "invalid-idempotency-key"},
		"If-Match unquoted":   {method: "PATCH", path: on, body: patch, headers: []string{"If-Match: 1"}, status: 400, code: "invalid-if-match"},
		"If-Match empty":      {method: "PATCH", path: on, body: patch, headers: []string{"If-Match: "}, status: 400, code: "invalid-if-match"},
		"If-Match open":       {method: "PATCH", path: on, body: patch, headers: []string{`If-Match: "1", "2`}, status: 400, code: "invalid-if-match"},
		"If-Match no comma":   {method: "PATCH", path: on, body: patch, headers: []string{`If-Match: "1" "2"`}, status: 400, code: "invalid-if-match"},
		"If-Match star, tag":  {method: "PATCH", path: on, body: patch, headers: []string{`If-Match: *, "1"`}, status: 400, code: "invalid-if-match"},
		"stale":               {method: "PATCH", path: on, body: patch, headers: []string{`If-Match: "7"`}, status: 412, code: "version-mismatch"},
		"weak":                {method: "PATCH", path: on, body: patch, headers: []string{`If-Match: W/"1"`}, status: 412, code: "version-mismatch"},
		"foreign tag":         {method: "DELETE", path: on, headers: []string{`If-Match: "abc"`}, status: 412, code: "version-mismatch"},
		"other spelling":      {method: "DELETE", path: on, headers: []string{`If-Match: "01"`}, status: 412, code: "version-mismatch"},
		"null e-mail":         {method: "PATCH", path: on, body: `{"email": null}`, status: 422, code: "validation-failed", pointers: at("/email", "wrong_type")},
		"nameless":            {method: "PATCH", path: on, body: `{"first_name": null}`, status: 422, code: "validation-failed", pointers: at("/first_name", "required")},
		"tags in a patch":     {method: "PATCH", path: on, body: `{"tags": []}`, status: 422, code: "validation-failed", pointers: at("/tags", "unknown_field")},
	}
}

func TestBadRequestsAreRefusedWithoutATrace(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.register(t)
	rows := malformed()
	for _, more := range []map[string]bad{invalid(), protocol(d.ID)} {
		for name, row := range more {
			rows[name] = row
		}
	}
	for name, row := range rows {
		if row.method == "" {
			row.method = "POST"
		}
		if row.path == "" {
			row.path = "/v1/customers"
		}
		t.Run(name, func(t *testing.T) {
			a := w.Do(t, row.method, row.path, row.body, row.headers...)
			p := a.Problem(t)
			require.Equal(t, row.status, a.StatusCode, "%s", a.Body)
			require.Equal(t, row.code, p.Code, "%s", a.Body)
			if row.pointers != nil {
				require.Equal(t, row.pointers, p.Pointers(), "%s", a.Body)
			}
			require.NotContains(t, string(a.Body), "secret.person")
			switch row.status {
			case http.StatusMethodNotAllowed:
				require.Contains(t, a.Header.Get("Allow"), "PATCH")
			case http.StatusPreconditionFailed:
				require.Equal(t, `"1"`, a.Header.Get("ETag"))
				require.EqualValues(t, 1, *p.CurrentVersion)
			}
		})
	}
	require.Equal(t, 1, w.events(t), "nothing but the registration is in the log")
	for _, secret := range []string{"secret.person", "secret", "Ada", "ada@example.com"} {
		require.NotContains(t, w.logs.String(), secret)
	}
}

func TestManyFaultsAreNotAnsweredWithMegabytes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, text := range []string{
		body(`"tags": [` + strings.Repeat("1,", 30_000) + `1]`),
		body(`"addresses": [` + strings.Repeat("{},", 21_000) + `{}]`),
		body(`"tags": [` + strings.Repeat(`"N",`, 16_000) + `"N"]`),
	} {
		a := w.Do(t, "POST", "/v1/customers", text)
		require.Equal(t, 422, a.StatusCode)
		require.Len(t, a.Problem(t).Errors, 100)
		require.Contains(t, a.Problem(t).Detail, "more.")
		require.Less(t, len(a.Body), 16<<10)
	}
}
