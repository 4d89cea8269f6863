package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/api"
	"github.com/ebrahem-outlook/customer-service/internal/customer"
)

var update = flag.Bool("update", false, "write the golden files anew")

// appWith serves one route, GET /test, with the handler given.
func appWith(t *testing.T, o Options, h echo.HandlerFunc) (*App, *bytes.Buffer) {
	t.Helper()
	var logs bytes.Buffer
	o.Log = slog.New(slog.NewJSONHandler(&logs, nil))
	o.Health, o.Auth = NewHealth(o.Log), Trusting
	app, err := New(o, func(e *echo.Echo, guarded Guarded) {
		addRead(e, "/test", h, guarded(map[string]Route{"test": {Offers: []string{MediaJSON}}})["test"]...)
	})
	require.NoError(t, err)
	return app, &logs
}

func get(app http.Handler, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, "/test", nil)
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Add(name, value)
	}
	w := httptest.NewRecorder()
	app.ServeHTTP(w, r)
	return w
}

func TestProblemsAreGolden(t *testing.T) {
	t.Parallel()
	const trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	for _, problem := range api.Problems() {
		t.Run(string(problem.Code), func(t *testing.T) {
			t.Parallel()
			app, _ := appWith(t, Options{}, func(echo.Context) error {
				r := &Refusal{Code: problem.Code, Current: 4}
				if problem.Code == api.ValidationFailed {
					r.Faults = customer.Violations{{Pointer: "/email", Code: "required", Detail: "is required"}}
				}
				return r
			})
			w := get(app, "traceparent: "+trace)
			require.Equal(t, problem.Status, w.Code)
			require.Equal(t, MediaProblem, w.Header().Get("Content-Type"))
			var got bytes.Buffer
			require.NoError(t, json.Indent(&got, w.Body.Bytes(), "", "  "))
			got.WriteByte('\n')
			golden := filepath.Join("testdata", "problems", string(problem.Code)+".json")
			if *update {
				require.NoError(t, os.MkdirAll(filepath.Dir(golden), 0o755))
				require.NoError(t, os.WriteFile(golden, got.Bytes(), 0o644))
			}
			want, err := os.ReadFile(golden)
			require.NoError(t, err)
			require.Equal(t, string(want), got.String())
			waits := problem.Status == 503 || problem.Status == 429 || problem.Code == api.IdempotencyInFlight
			require.Equal(t, waits, w.Header().Get("Retry-After") != "")
		})
	}
}

func TestProblemsDoNotRepeatNamesThatMayBePersonal(t *testing.T) {
	t.Parallel()
	for pointer, want := range map[string]string{
		"": "", "/email": "/email", "/addresses/0/line1": "/addresses/0/line1", "/metadata/plan.now": "/metadata/plan.now",
		"/metadata/ada@example.com": "/metadata", "/metadata/Ada Lovelace": "/metadata", "/metadata/ada~1lovelace/x": "/metadata",
		"/metadata/" + strings.Repeat("a", 41): "/metadata", "/metadata/": "/metadata/",
	} {
		app, _ := appWith(t, Options{}, func(echo.Context) error {
			return customer.Violations{{Pointer: pointer, Code: "too_long", Detail: "is too long"}}
		})
		var p problem
		require.NoError(t, json.Unmarshal(get(app).Body.Bytes(), &p))
		require.Equal(t, want, p.Errors[0].Pointer)
	}
}

func TestPanicsAndUnknownErrorsSayNothingOfTheirCause(t *testing.T) {
	t.Parallel()
	for name, h := range map[string]echo.HandlerFunc{
		"panic": func(echo.Context) error { panic("SELECT secret") },
		"error": func(echo.Context) error { return errors.New("SELECT secret") },
		"runtime error": func(c echo.Context) error {
			_ = c.ParamNames()[7] // a fault of the runtime's
			return nil
		},
	} {
		app, logs := appWith(t, Options{}, h)
		w := get(app)
		require.Equal(t, 500, w.Code, name)
		require.Contains(t, w.Body.String(), `"code":"internal-error"`, name)
		require.NotContains(t, w.Body.String(), "secret", name)
		require.NotContains(t, w.Body.String(), ".go", name)
		require.Contains(t, logs.String(), `"level":"ERROR"`, name)
	}
}

func TestWhatExceedsTheLoadIsTurnedAwayAtOnce(t *testing.T) {
	t.Parallel()
	entered, release := make(chan struct{}), make(chan struct{})
	app, _ := appWith(t, Options{MaxInFlight: 1}, func(c echo.Context) error {
		close(entered)
		<-release
		return c.NoContent(http.StatusOK)
	})
	done := make(chan int)
	go func() { done <- get(app).Code }()
	<-entered
	w := get(app)
	require.Equal(t, 503, w.Code)
	require.Contains(t, w.Body.String(), `"code":"overloaded"`)
	require.Regexp(t, `^[1-3]$`, w.Header().Get("Retry-After"))
	live := httptest.NewRecorder()
	app.ServeHTTP(live, httptest.NewRequest(http.MethodGet, "/livez", nil))
	require.Equal(t, 200, live.Code, "health answers however busy the rest is")
	close(release)
	require.Equal(t, 200, <-done)
}

func TestAnErrorAnswersWithoutWhatTheHandlerPrepared(t *testing.T) {
	t.Parallel()
	for err, code := range map[error]api.Code{
		customer.ErrNotFound: api.CustomerNotFound, customer.ErrErased: api.CustomerErased,
		context.DeadlineExceeded: api.Unavailable, echo.ErrNotFound: api.RouteNotFound, echo.ErrBadRequest: api.InvalidParameter,
	} {
		app, _ := appWith(t, Options{}, func(echo.Context) error { return err })
		require.Contains(t, get(app).Body.String(), `"code":"`+string(code)+`"`)
	}
	app, _ := appWith(t, Options{Errors: func(error) *Refusal { return &Refusal{Code: api.ReadModelBehind, RetryAfter: 7 * time.Second} }},
		func(echo.Context) error { return customer.ErrNotFound })
	require.Regexp(t, `^[789]$`, get(app).Header().Get("Retry-After"), "an API's own table comes first")
}

func TestTheCustomerIsLoggedHoweverTheIDIsWritten(t *testing.T) {
	t.Parallel()
	const id = "01920e5c-7a3e-7c11-9b53-2f0f6b1c9a10"
	for path, logged := range map[string]bool{
		"/of/" + id: true, "/of/%30" + id[1:]: true, "/of/" + strings.ReplaceAll(id, "-", "%2D"): true, "/of/%zz": false, "/of/42": false,
	} {
		var logs bytes.Buffer
		log := slog.New(slog.NewJSONHandler(&logs, nil))
		app, err := New(Options{Log: log, Health: NewHealth(log), Auth: Trusting}, func(e *echo.Echo, _ Guarded) {
			e.GET("/of/:id", func(c echo.Context) error { return c.NoContent(http.StatusNoContent) })
		})
		require.NoError(t, err)
		r := httptest.NewRequest(http.MethodGet, "/of/x", nil)
		if r.URL, err = url.Parse(path); err != nil {
			continue // net/http does not let it in
		}
		app.ServeHTTP(httptest.NewRecorder(), r)
		require.Equal(t, logged, strings.Contains(logs.String(), `"customer_id":"`+id+`"`), "%s: %s", path, logs.String())
	}
}

func TestTraces(t *testing.T) {
	t.Parallel()
	var seen Trace
	app, logs := appWith(t, Options{}, func(c echo.Context) error {
		seen = TraceOf(c.Request().Context())
		return c.NoContent(http.StatusOK)
	})
	const id, parent = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
	get(app, "traceparent: 00-"+id+"-"+parent+"-01")
	require.Equal(t, Trace{ID: id, Parent: "00-" + id + "-" + parent + "-01"}, seen)
	require.Contains(t, logs.String(), `"trace_id":"`+id+`"`)
	fresh := map[string]bool{}
	for _, headers := range [][]string{
		nil,
		{"traceparent: "},
		{"traceparent: 00-" + id + "-" + parent + "-01", "traceparent: 00-" + id + "-" + parent + "-01"},
		{"traceparent: 01-" + id + "-" + parent + "-01"},
		{"traceparent: 00-" + strings.Repeat("0", 32) + "-" + parent + "-01"},
		{"traceparent: 00-" + id + "-" + strings.Repeat("0", 16) + "-01"},
		{"traceparent: 00-" + strings.ToUpper(id) + "-" + parent + "-01"},
		{"traceparent: 00-" + id + "-" + parent + "-01\n"},
	} {
		w := get(app, headers...)
		require.Equal(t, 200, w.Code)
		require.NotEqual(t, id, seen.ID)
		require.Regexp(t, `^00-`+seen.ID+`-[0-9a-f]{16}-00$`, seen.Parent)
		fresh[seen.ID] = true
	}
	require.Len(t, fresh, 8)
}

func TestAccepts(t *testing.T) {
	t.Parallel()
	for accept, want := range map[string]bool{
		"": true, "*/*": true, "application/*": true, "application/json": true, "Application/JSON": true, "text/html, application/json;q=0.1": true,
		"text/html": false, "application/json;q=0": false, "application/json;q=0.000": false, "*/*;q=0": false, "application/json;q=0, */*": false,
		"application/*;q=0, */*": false, "application/json, */*;q=0": true, "application/problem+json": false, "garbage": false, ", ,": true,
		"application/json;charset=utf-8": true, "application/json;charset=latin1": false, `text/x;a=",application/json"`: false, "application/json;version=1": true,
	} {
		require.Equal(t, want, admitted([]string{accept}, MediaJSON), accept)
	}
	require.True(t, admitted(nil, MediaJSON))
	require.True(t, admitted([]string{"text/html", "application/json"}, MediaJSON))
}

func TestPrefer(t *testing.T) {
	t.Parallel()
	for field, want := range map[string]string{
		"wait=3": "3s", "WAIT=3": "3s", `wait="3"`: "3s", "wait=0": "0s", "wait=99999999999999999999": "1h0m0s", "wait=3600000": "1h0m0s",
		"wait=-1": "", "wait=1.5": "", "wait": "", "wait=": "", "wait=3s": "", "wait=2, wait=5": "2s", "foo, wait=4;x=1": "4s", `foo="wait=9", wait=1`: "1s",
	} {
		p := ParsePrefer(&field)
		got := ""
		if p.Wait != nil {
			got = p.Wait.String()
		}
		require.Equal(t, want, got, field)
	}
	require.Zero(t, ParsePrefer(nil))
}

func FuzzEntityTags(f *testing.F) {
	for _, seed := range []string{`"1"`, `*`, `W/"a", "b"`, `"`, `,,`, `"é"`, `"1" "2"`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, field string) {
		tags, star, err := ParseEntityTags(field)
		require.True(t, err != nil || star || len(tags) > 0)
		for _, tag := range tags {
			require.Contains(t, field, `"`+tag.Opaque+`"`)
			if v, ok := tag.Version(); ok {
				require.Equal(t, ETag(v), `"`+tag.Opaque+`"`)
			}
		}
		_, _ = Unquote(field)
		_ = ParsePrefer(&field)
		_ = admitted([]string{field}, MediaJSON)
	})
}

// FuzzFraming feeds the same bytes whole and in parts.
func FuzzFraming(f *testing.F) {
	f.Add([]byte("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 3)
	f.Add([]byte("POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}GET / HTTP/1.1\r\n\r\n"), 7)
	f.Fuzz(func(t *testing.T, data []byte, step int) {
		if step < 1 {
			return
		}
		var whole, parts framing
		want, got := whole.feed(data), false
		for rest := data; len(rest) > 0 && !got; {
			n := min(step, len(rest))
			got = parts.feed(rest[:n])
			rest = rest[n:]
		}
		require.Equal(t, want, got, "how the bytes arrive makes no difference")
	})
}

func TestStreamingOutlivesARequestsTimeAndEndsWithItsClient(t *testing.T) {
	t.Parallel()
	var seen context.Context
	app, _ := appWith(t, Options{}, func(c echo.Context) error {
		seen = Streaming(c.Request().Context())
		_, bounded := c.Request().Context().Deadline()
		require.True(t, bounded)
		return c.NoContent(http.StatusOK)
	})
	client, gone := context.WithCancel(t.Context())
	app.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/test", nil).WithContext(client))
	_, bounded := seen.Deadline()
	require.False(t, bounded)
	require.NoError(t, seen.Err())
	require.Equal(t, "dev", PrincipalOf(seen))
	require.NotEmpty(t, TraceOf(seen).ID)
	gone()
	require.ErrorIs(t, seen.Err(), context.Canceled)
	require.Equal(t, t.Context(), Streaming(t.Context()), "any other context is left as it is")
}

func admitted(accept []string, offer string) bool { return quality(accept, offer) > 0 }

func TestTheAnswerIsWhatAcceptLikesBest(t *testing.T) {
	t.Parallel()
	both := Route{Offers: []string{MediaNDJSON, MediaCSV}}
	for accept, want := range map[string]string{
		"": MediaNDJSON, "*/*": MediaNDJSON, "text/csv": MediaCSV, "text/*": MediaCSV, "text/csv, */*;q=0.5": MediaCSV,
		"text/csv;q=0.1, */*": MediaNDJSON, "application/x-ndjson;q=0, */*": MediaCSV, "text/csv, application/x-ndjson": MediaNDJSON,
		"text/html": "", "text/csv;q=0": "", "text/csv;q=nonsense": MediaCSV,
	} {
		media, ok := both.negotiate([]string{accept})
		require.Equal(t, want, media, accept)
		require.Equal(t, want != "", ok, accept)
	}
}
