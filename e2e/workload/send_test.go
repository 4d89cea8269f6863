package workload

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/e2e/history"
)

// script answers each request with the next of its steps; the last one
// answers all that follow.
type script struct {
	steps []http.HandlerFunc
	asked atomic.Int64
}

func (s *script) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	i := int(s.asked.Add(1)) - 1
	s.steps[min(i, len(s.steps)-1)](w, r)
}

func problem(status int, code string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"code":%q}`, code)
	}
}

func changed(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("ETag", `"2"`)
	w.Header().Set("Consistency-Token", "t")
	fmt.Fprint(w, `{"id":"c","version":2}`)
}

func cut(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

func halfAnAnswer(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("ETag", `"2"`)
	w.Header().Set("Content-Length", "100")
	fmt.Fprint(w, `{"id":`)
	_ = http.NewResponseController(w).Flush()
	cut(w, r)
}

// serve has a client of a server that follows a script.
func serve(t *testing.T, steps ...http.HandlerFunc) (*client, *script) {
	t.Helper()
	s := &script{steps: steps}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	return clientOf(t, server.URL), s
}

func clientOf(t *testing.T, url string) *client {
	t.Helper()
	rec, err := history.New(filepath.Join(t.TempDir(), "history"))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, rec.Close()) })
	at := func() []Endpoint { return []Endpoint{{Name: "there", URL: url}} }
	cfg := Config{Recorder: rec, Commands: at, Reads: at, Rate: 1e6}.withDefaults()
	w := &Workload{cfg: cfg, world: newWorld(1, 1), stats: newCounters(), pace: newPace(cfg.Rate), stopping: make(chan struct{})}
	return newClient(w, 1)
}

func TestOutcomesAreExact(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		steps    []http.HandlerFunc
		patience time.Duration
		want     history.Outcome
		attempts int
	}{
		"answered":                        {[]http.HandlerFunc{changed}, 0, history.OK, 1},
		"refused":                         {[]http.HandlerFunc{problem(409, "email-taken")}, time.Minute, history.Refused, 1},
		"shed, out of patience":           {[]http.HandlerFunc{problem(503, codeOverloaded)}, 0, history.Refused, 1},
		"shed, then refused":              {[]http.HandlerFunc{problem(503, codeOverloaded), problem(409, "email-taken")}, time.Minute, history.Refused, 2},
		"lost":                            {[]http.HandlerFunc{cut}, 0, history.Unknown, 1},
		"lost, then answered":             {[]http.HandlerFunc{cut, changed}, time.Minute, history.OK, 2},
		"lost, then refused":              {[]http.HandlerFunc{cut, problem(409, "email-taken")}, time.Minute, history.Unknown, 2},
		"half an answer, then refused":    {[]http.HandlerFunc{halfAnAnswer, problem(410, codeErased)}, time.Minute, history.Unknown, 2},
		"unavailable":                     {[]http.HandlerFunc{problem(503, codeUnavailable)}, 0, history.Unknown, 1},
		"unavailable, then shed, refused": {[]http.HandlerFunc{problem(503, codeUnavailable), problem(503, codeOverloaded), problem(410, codeDeleted)}, time.Minute, history.Unknown, 3},
		"in flight, then answered":        {[]http.HandlerFunc{problem(409, codeInFlight), changed}, time.Minute, history.OK, 2},
		"in flight, out of patience":      {[]http.HandlerFunc{problem(409, codeInFlight)}, 0, history.Unknown, 1},
		"our fault":                       {[]http.HandlerFunc{problem(500, "internal-error")}, time.Minute, history.Unknown, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client, script := serve(t, c.steps...)
			op := &history.Op{Kind: history.Change, Customer: "c", Key: "k"}
			client.command(t.Context(), op, &request{method: http.MethodPatch, path: "/", body: []byte(`{}`), header: []string{"Idempotency-Key", "k"}}, c.patience)
			require.Equal(t, c.want, op.Outcome, "%+v", op)
			require.Equal(t, c.attempts, op.Attempts)
			require.Equal(t, int64(c.attempts), script.asked.Load())
			stats := client.w.stats.snapshot()
			require.Equal(t, int64(1), stats.ByKind[history.Change][c.want])
			require.Equal(t, strings.HasPrefix(op.Error, "unexpected"), stats.Unexpected == 1)
		})
	}
}

func TestWhatCouldNotBeSentDidNotHappen(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	client := clientOf(t, server.URL)
	op := &history.Op{Kind: history.Delete, Customer: "c", Key: "k"}
	client.command(t.Context(), op, &request{method: http.MethodDelete, path: "/"}, 100*time.Millisecond)
	require.Equal(t, history.Refused, op.Outcome)
	require.Zero(t, op.Status)
	require.NotEmpty(t, op.Error)
	require.Greater(t, op.Attempts, 1)
}

// net/http sends some requests again by itself when a kept connection ends
// under them. A command is not to be one of them.
func TestNoCommandIsSentAgainUnseen(t *testing.T) {
	t.Parallel()
	for _, body := range []string{"", `{"last_name":"X"}`} {
		client, script := serve(t, changed, cut, changed)
		req := &request{method: http.MethodPut, path: "/", body: []byte(body), header: []string{"Idempotency-Key", "k"}}
		first := &history.Op{Kind: history.AddTag, Customer: "c", Key: "k"}
		client.command(t.Context(), first, req, 0)
		require.Equal(t, history.OK, first.Outcome)
		second := &history.Op{Kind: history.AddTag, Customer: "c", Key: "k"}
		client.command(t.Context(), second, req, 0) // on the same connection
		require.Equal(t, history.Unknown, second.Outcome)
		require.Equal(t, int64(2), script.asked.Load())
	}
}

func TestLinesOfAnImportThatBreaksOffAreUnknown(t *testing.T) {
	t.Parallel()
	client, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, `{"line":1,"status":"registered","id":"a","version":1}`)
		fmt.Fprintln(w, `{"line":2,"status":"failed","problem":{"status":409,"code":"email-taken"}}`)
		fmt.Fprintln(w, `{"line":3,"status":"failed","problem":{"status":503,"code":"unavailable"}}`)
		fmt.Fprint(w, `{"line":4,"sta`)
		_ = http.NewResponseController(w).Flush()
		cut(w, r)
	})
	client.importLines(t.Context(), &intent{})
	ops, err := client.rec.Ops()
	require.NoError(t, err)
	require.Len(t, ops, 5)
	want := []history.Outcome{history.OK, history.Refused, history.Unknown, history.Unknown, history.Unknown}
	for i, op := range ops {
		require.Equal(t, want[i], op.Outcome, "line %d: %+v", i+1, op)
	}
	require.Equal(t, "a", ops[0].Customer)
	require.Zero(t, client.w.stats.snapshot().Unexpected)
}

func TestAWalkGoesOnToItsLastPage(t *testing.T) {
	t.Parallel()
	client, script := serve(t,
		func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, `{"data":[{"id":"a","version":3}],"next_cursor":"next page"}`)
		},
		func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Query().Get("cursor") != "next page" {
				w.WriteHeader(http.StatusBadRequest)
			}
			fmt.Fprint(w, `{"data":[],"next_cursor":null}`)
		})
	client.walk(t.Context(), &intent{})
	ops, err := client.rec.Ops()
	require.NoError(t, err)
	require.Len(t, ops, 2)
	require.Equal(t, int64(2), script.asked.Load())
	require.Equal(t, []history.Item{{Customer: "a", Version: 3}}, ops[0].Items)
	for i, op := range ops {
		require.Equal(t, history.OK, op.Outcome)
		require.Equal(t, int64(1), op.Walk)
		require.Equal(t, i == 1, op.Last)
		require.Empty(t, op.Answer)
	}
}
