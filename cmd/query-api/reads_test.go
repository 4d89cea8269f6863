package main

import (
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/internal/command"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
	"github.com/ebrahem-outlook/customer-service/internal/query"
)

func TestATokenReadsWhatWasJustWritten(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for range 10 {
		d, tok := w.register(t)
		on := "/v1/customers/" + d.ID.String()
		a := w.Do(t, "GET", on, "", "Consistency-Token: "+tok)
		require.Equal(t, 200, a.StatusCode, "%s", a.Body)
		want, err := query.Render(d)
		require.NoError(t, err)
		require.Equal(t, string(want), string(a.Body))
		require.Equal(t, `"1"`, a.Header.Get("ETag"))
		require.Equal(t, tok, a.Header.Get("Consistency-Token"), "who sends it along never reads older")
		require.Regexp(t, `^\d+\.\d{3}$`, a.Header.Get("Projection-Lag"))

		head := w.Do(t, "HEAD", on, "", "Consistency-Token: "+tok)
		require.Equal(t, 200, head.StatusCode)
		require.Empty(t, head.Body)
		require.EqualValues(t, len(want), head.ContentLength)
	}
}

func TestConditionalReads(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d, tok := w.register(t)
	for condition, status := range map[string]int{`"1"`: 304, `W/"1"`: 304, `"7", W/"1"`: 304, `*`: 304, `"2"`: 200, `1`: 400, `"1`: 400} {
		a := w.Do(t, "GET", "/v1/customers/"+d.ID.String(), "", "Consistency-Token: "+tok, "If-None-Match: "+condition)
		require.Equal(t, status, a.StatusCode, condition)
		switch status {
		case 304:
			require.Empty(t, a.Body)
			require.Equal(t, `"1"`, a.Header.Get("ETag"))
			require.Equal(t, tok, a.Header.Get("Consistency-Token"))
			require.NotEmpty(t, a.Header.Get("Projection-Lag"))
		case 400:
			require.Equal(t, "invalid-parameter", a.Problem(t).Code)
		}
	}
	a := w.Do(t, "GET", "/v1/customers/"+d.ID.String(), "", "Consistency-Token: "+tok, `If-None-Match: "7"`, `If-None-Match: "1"`)
	require.Equal(t, 304, a.StatusCode, "lines of one field are one list")
}

func TestATokenThatIsNotReachedIsNeverAnsweredOlder(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d, tok := w.register(t)
	on := "/v1/customers/" + d.ID.String()
	future := eventlog.Token{CustomerID: d.ID, Version: 99}.String()
	for _, prefer := range []string{"wait=0", "wait=1"} {
		began := time.Now()
		a := w.Do(t, "GET", on, "", "Consistency-Token: "+tok, "Consistency-Token: "+future, "Prefer: "+prefer)
		require.Equal(t, 503, a.StatusCode)
		require.Equal(t, "read-model-behind", a.Problem(t).Code)
		require.Less(t, time.Since(began), 5*time.Second)
	}
	a := w.Do(t, "GET", on, "", "Consistency-Token: "+tok, "Prefer: wait=99")
	require.Equal(t, 200, a.StatusCode)
	require.Equal(t, "wait=10", a.Header.Get("Preference-Applied"))
}

func TestTheDeletedAreGone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d, _ := w.register(t)
	r, err := w.commands.Delete(t.Context(), command.Request{Principal: "dev", SuccessStatus: 204}, d.ID)
	require.NoError(t, err)
	a := w.Do(t, "GET", "/v1/customers/"+d.ID.String(), "", "Consistency-Token: "+token(r.Data))
	require.Equal(t, 410, a.StatusCode)
	require.Equal(t, "customer-deleted", a.Problem(t).Code)
}

func TestBadReadsAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d, tok := w.register(t)
	on := "/v1/customers/" + d.ID.String()
	nine := strings.TrimSuffix(strings.Repeat(tok+", ", 9), ", ")
	for name, row := range map[string]struct {
		method, path string
		headers      []string
		status       int
		code         string
	}{
		"unknown":            {path: "/v1/customers/" + uuid.NewString(), status: 404, code: "customer-not-found"},
		"no UUID":            {path: "/v1/customers/42", status: 404, code: "customer-not-found"},
		"encoded dots":       {path: "/v1/customers/%2e%2e%2f", status: 404, code: "customer-not-found"},
		"NUL":                {path: "/v1/customers/%00", status: 404, code: "customer-not-found"},
		"trailing slash":     {path: on + "/", status: 404, code: "route-not-found"},
		"doubled slash":      {path: "/v1//customers/" + d.ID.String(), status: 404, code: "route-not-found"},
		"garbage token":      {path: on, headers: []string{"Consistency-Token: garbage"}, status: 400, code: "invalid-token"},
		"empty token":        {path: on, headers: []string{"Consistency-Token: "}, status: 400, code: "invalid-token"},
		"tampered token":     {path: on, headers: []string{"Consistency-Token: B" + tok[1:]}, status: 400, code: "invalid-token"},
		"nine tokens":        {path: on, headers: []string{"Consistency-Token: " + nine}, status: 400, code: "invalid-token"},
		"HTML":               {path: on, headers: []string{"Accept: text/html"}, status: 406, code: "not-acceptable"},
		"DELETE":             {method: "DELETE", path: on, status: 405, code: "method-not-allowed"},
		"POST":               {method: "POST", path: "/v1/customers", status: 405, code: "method-not-allowed"},
		"correlation id":     {path: on, headers: []string{"X-Correlation-ID: a b"}, status: 400, code: "invalid-parameter"},
		"encoded parameters": {path: on + "?%64ry_run=true", status: 400, code: "invalid-parameter"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if row.method == "" {
				row.method = "GET"
			}
			a := w.Do(t, row.method, row.path, "", row.headers...)
			require.Equal(t, row.status, a.StatusCode, "%s", a.Body)
			require.Equal(t, row.code, a.Problem(t).Code)
			if row.status == 405 {
				require.Equal(t, "OPTIONS, GET, HEAD", a.Header.Get("Allow"))
			}
			if row.method == "GET" {
				head := w.Do(t, "HEAD", row.path, "", row.headers...)
				require.Equal(t, row.status, head.StatusCode)
			}
		})
	}
}

func TestTheReadSideStartsAndReadsWithoutRedis(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "--redis-url=redis://127.0.0.1:1")
	d, tok := w.register(t)
	a := w.Do(t, "GET", "/v1/customers/"+d.ID.String(), "", "Consistency-Token: "+tok)
	require.Equal(t, 200, a.StatusCode)
}
