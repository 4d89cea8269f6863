package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	importPath = "/v1/customers/import"
	ndjson     = "Content-Type: application/x-ndjson"
)

// lineResult is one line of an import's answer.
type lineResult struct {
	Line    int64
	Status  string
	ID      string
	Version int64
	Problem *struct {
		Code, Detail string
		Errors       []struct{ Pointer, Code, Detail string }
	}
}

func (r lineResult) pointers() map[string]string {
	out := make(map[string]string)
	if r.Problem != nil {
		for _, e := range r.Problem.Errors {
			out[e.Pointer] = e.Code
		}
	}
	return out
}

// importing sends a whole import and reads all of its answer.
func (w *world) importing(t *testing.T, query, body string, headers ...string) []lineResult {
	t.Helper()
	a := w.Do(t, "POST", importPath+query, body, append([]string{ndjson}, headers...)...)
	require.Equal(t, 200, a.StatusCode, "%s", a.Body)
	require.Equal(t, "application/x-ndjson", a.Header.Get("Content-Type"))
	var all []lineResult
	for dec := json.NewDecoder(strings.NewReader(string(a.Body))); dec.More(); {
		var r lineResult
		require.NoError(t, dec.Decode(&r))
		all = append(all, r)
	}
	return all
}

// stream is an import whose lines are sent one by one.
type stream struct {
	to      *io.PipeWriter
	cancel  context.CancelFunc
	answers *bufio.Reader
	opened  chan struct{}
	resp    *http.Response
	err     error
}

func (w *world) stream(t *testing.T, query string) *stream {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	body, to := io.Pipe()
	req, err := http.NewRequestWithContext(ctx, "POST", w.Base+importPath+query, body)
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/x-ndjson")
	s := &stream{to: to, cancel: cancel, opened: make(chan struct{})}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	go func() {
		defer close(s.opened)
		if s.resp, s.err = client.Do(req); s.err == nil { //nolint:bodyclose // closed when the test ends
			s.answers = bufio.NewReader(s.resp.Body)
		}
	}()
	t.Cleanup(func() {
		cancel()
		_ = to.Close()
		<-s.opened
		if s.resp != nil {
			_ = s.resp.Body.Close()
		}
	})
	return s
}

// ask sends one line and waits for its answer.
func (s *stream) ask(t *testing.T, line string) lineResult {
	t.Helper()
	_, err := io.WriteString(s.to, line+"\n")
	require.NoError(t, err)
	r, err := s.next()
	require.NoError(t, err)
	return r
}

func (s *stream) next() (r lineResult, err error) {
	<-s.opened
	if s.err != nil {
		return r, s.err
	}
	text, err := s.answers.ReadBytes('\n')
	if err != nil {
		return r, err
	}
	return r, json.Unmarshal(text, &r)
}

func someone() string { return fmt.Sprintf(`{"last_name": "x", "email": %q}`, unusedEmail()) }

func TestAnImportAnswersEachLineBeforeTheNextIsSent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.stream(t, "")
	for i := range int64(5) {
		r := s.ask(t, someone())
		require.Equal(t, lineResult{Line: i + 1, Status: "registered", ID: r.ID, Version: 1}, r)
		require.EqualValues(t, i+1, w.events(t), "what is answered is committed")
	}
	require.NoError(t, s.to.Close())
	_, err := s.next()
	require.ErrorIs(t, err, io.EOF)
}

func TestABadLineOfAnImportFailsAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	taken := w.register(t)
	deep := `{"last_name": "x", "email": "a@example.com", "metadata": ` + strings.Repeat(`{"a":`, 20) + "1" + strings.Repeat("}", 20) + "}"
	rows := []struct {
		line, code string
		pointers   map[string]string
	}{
		{`{"last_name": "x", "email": "a@`, "malformed-json", nil},
		{`{"last_name": "x", "email": "a@example.com"} {}`, "malformed-json", nil},
		{"{\"last_name\": \"\xff\", \"email\": \"a@example.com\"}", "malformed-json", nil},
		{"{\"last_name\": \"x\x00\", \"email\": \"a@example.com\"}", "malformed-json", nil},
		{"\xEF\xBB\xBF" + `{"last_name": "x", "email": "a@example.com"}`, "malformed-json", nil},
		{`{"last_name": "x", "email": "a@example.com"` + strings.Repeat(" ", 64<<10) + `}`, "body-too-large", nil},
		{`{"last_name": "x", "last_name": "y", "email": "a@example.com"}`, "validation-failed", map[string]string{"/last_name": "duplicate_field"}},
		{`{"last_name": "x\u0000", "email": "a@example.com"}`, "validation-failed", map[string]string{"/last_name": "invalid_text"}},
		{`{"Last_Name": "x", "email": "nobody"}`, "validation-failed", map[string]string{"/Last_Name": "unknown_field", "/email": "invalid_email", "/first_name": "required"}},
		{deep, "validation-failed", nil},
		{`[]`, "validation-failed", map[string]string{"": "wrong_type"}},
		{`null`, "validation-failed", map[string]string{"": "wrong_type"}},
		{`{"last_name": "x"}`, "validation-failed", map[string]string{"/email": "required"}},
	}
	var body strings.Builder
	for _, row := range rows {
		body.WriteString(row.line + "\n" + someone() + "\r\n\n")
	}
	fmt.Fprintf(&body, `{"first_name": "Eve", "email": %q}`, taken.Email) // and no line end
	results := w.importing(t, "", body.String())
	require.Len(t, results, 2*len(rows)+1)
	for i, row := range rows {
		bad, good := results[2*i], results[2*i+1]
		require.EqualValues(t, 3*i+1, bad.Line, "blank lines count")
		require.EqualValues(t, 3*i+2, good.Line)
		require.Equal(t, "registered", good.Status)
		require.Equal(t, "failed", bad.Status, row.line)
		require.Empty(t, bad.ID)
		require.Equal(t, row.code, bad.Problem.Code, "%.60q: %s", row.line, bad.Problem.Detail)
		if row.pointers != nil {
			require.Equal(t, row.pointers, bad.pointers(), "%.60q", row.line)
		}
		require.NotContains(t, bad.Problem.Detail, "a@example.com")
	}
	last := results[2*len(rows)]
	require.Equal(t, lineResult{Line: int64(3*len(rows) + 1), Status: "updated", ID: taken.ID, Version: 2}, last)
	require.NotContains(t, w.logs.String(), "example.com")
}

func TestAnImportIsAnUpsert(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := unusedEmail(), unusedEmail()
	file := fmt.Sprintf(`{"last_name": "A", "email": %q, "external_id": "1"}
{"last_name": "B", "email": %q, "external_id": "2"}
{"last_name": "C", "email": %q, "external_id": "1"}
{"last_name": "D", "email": "moved@example.com", "external_id": "1"}
`, a, b, b)
	// A precondition names one customer's version and a key one command's answer: neither says anything of a line.
	results := w.importing(t, "", file, `If-Match: "7"`, "Idempotency-Key: k")
	require.Equal(t, []string{"registered", "registered", "failed", "updated"}, statuses(results))
	require.Equal(t, "email-taken", results[2].Problem.Code)
	require.Equal(t, results[0].ID, results[3].ID)
	n := w.events(t)
	again := w.importing(t, "", fmt.Sprintf(`{"last_name": "D", "email": "MOVED@example.com", "external_id": "1"}`+"\n"+`{"last_name": "B", "email": %q}`, b), "Idempotency-Key: k")
	require.Equal(t, "updated", again[0].Status, "the address is kept as given")
	require.Equal(t, "unchanged", again[1].Status)
	require.Greater(t, w.events(t), n)
}

func statuses(all []lineResult) []string {
	out := make([]string, len(all))
	for i, r := range all {
		out[i] = r.Status
	}
	return out
}

func TestAnImportWithoutLinesIsAnswered(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	require.Empty(t, w.importing(t, "", "\n \n\r\n"))
	require.Empty(t, w.importing(t, "", "\n"))
}

func TestADryImportWritesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.register(t)
	before := w.events(t)
	a := w.Do(t, "POST", importPath+"?dry_run=true", someone()+"\n"+fmt.Sprintf(`{"last_name": "y", "email": %q}`, d.Email)+"\n{}\n", ndjson)
	require.Equal(t, 200, a.StatusCode)
	require.Equal(t, "true", a.Header.Get("Dry-Run"))
	lines := strings.Split(strings.TrimSpace(string(a.Body)), "\n")
	require.Len(t, lines, 3)
	require.JSONEq(t, `{"line": 1, "status": "registered", "version": 1}`, lines[0])
	require.JSONEq(t, fmt.Sprintf(`{"line": 2, "status": "updated", "id": %q, "version": 2}`, d.ID), lines[1])
	require.Contains(t, lines[2], `"status":"failed"`)
	require.Equal(t, before, w.events(t))
}

func TestWhatIsNoImportIsRefusedBeforeAnyEffect(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, row := range map[string]struct {
		query   string
		headers []string
		status  int
		code    string
	}{
		"JSON":            {"", []string{"Content-Type: application/json"}, 415, "unsupported-media-type"},
		"CSV":             {"", []string{"Content-Type: text/csv"}, 415, "unsupported-media-type"},
		"another charset": {"", []string{ndjson + "; charset=latin1"}, 415, "unsupported-media-type"},
		"gzip":            {"", []string{ndjson, "Content-Encoding: gzip"}, 415, "unsupported-media-type"},
		"JSON back":       {"", []string{ndjson, "Accept: application/json"}, 406, "not-acceptable"},
		"an unknown flag": {"?dryrun=true", []string{ndjson}, 400, "invalid-parameter"},
		"a flag twice":    {"?dry_run=true&dry_run=false", []string{ndjson}, 400, "invalid-parameter"},
		"a bad trace id":  {"", []string{ndjson, "X-Correlation-ID: a b"}, 400, "invalid-parameter"},
	} {
		a := w.Do(t, "POST", importPath+row.query, someone()+"\n", row.headers...)
		require.Equal(t, row.status, a.StatusCode, "%s: %s", name, a.Body)
		require.Equal(t, row.code, a.Problem(t).Code, name)
	}
	require.Zero(t, w.events(t))
}

// places is how many imports a process works on at once.
const places = 4

func TestMoreImportsThanPlacesAreShed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var open []*stream
	for range places {
		s := w.stream(t, "")
		s.ask(t, someone())
		open = append(open, s)
	}
	a := w.Do(t, "POST", importPath, someone()+"\n", ndjson)
	require.Equal(t, 503, a.StatusCode, "%s", a.Body)
	require.Equal(t, "overloaded", a.Problem(t).Code)
	require.NotEmpty(t, a.Header.Get("Retry-After"))
	require.Equal(t, 201, w.Do(t, "POST", "/v1/customers", someone()).StatusCode, "others are served")
	require.EqualValues(t, 2, open[0].ask(t, someone()).Line, "and the others go on")
	require.NoError(t, open[0].to.Close())
	_, err := open[0].next()
	require.ErrorIs(t, err, io.EOF)
	w.requireFree(t, 1)
}

// requireFree waits until as many imports at once are taken.
func (w *world) requireFree(t *testing.T, n int) {
	t.Helper()
	w.eventually(t, func() bool {
		for range n {
			s := w.stream(t, "?dry_run=true")
			_, err := io.WriteString(s.to, "{}\n")
			<-s.opened
			if err != nil || s.err != nil || s.resp.StatusCode != 200 {
				return false
			}
		}
		return true
	})
}

func TestAClientThatGoesAwayHoldsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for range places {
		s := w.stream(t, "")
		s.ask(t, someone())
		s.cancel() // cuts the connection
	}
	require.Equal(t, places, w.events(t))
	w.requireFree(t, places)
	require.Contains(t, w.logs.String(), `"msg":"import broken off"`)
}

func TestAClientThatReadsNothingIsNotReadFrom(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	conn, err := net.Dial("tcp", w.addr)
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	_, err = io.WriteString(conn, "POST "+importPath+" HTTP/1.1\r\nHost: x\r\n"+ndjson+"\r\nTransfer-Encoding: chunked\r\n\r\n")
	require.NoError(t, err)
	// Each answer is longer than its line, so the way back fills up first.
	const line = "{}\n"
	chunk := fmt.Sprintf("%x\r\n%s\r\n", 1000*len(line), strings.Repeat(line, 1000))
	sent := 0
	for {
		require.NoError(t, conn.SetWriteDeadline(time.Now().Add(2*time.Second)))
		n, err := io.WriteString(conn, chunk)
		if sent += n; err != nil {
			break
		}
		require.Less(t, sent, 64<<20, "the server goes on reading")
	}
	t.Logf("not read from any further after %d KiB", sent>>10)
	require.NoError(t, conn.Close())
	w.requireFree(t, places)
}

func TestAnImportUnderWayIsCutOffWhenTheProcessMustEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "--drain-timeout=1s")
	s := w.stream(t, "")
	s.ask(t, someone())
	stopped := make(chan error, 1)
	go func() { stopped <- w.app.server.Stop(context.Background()) }()
	w.eventually(t, func() bool { return !reachable(w.addr) })
	s.ask(t, someone()) // what is under way goes on
	require.ErrorIs(t, <-stopped, context.DeadlineExceeded)
	_, err := s.next()
	require.Error(t, err)
	require.NotErrorIs(t, err, io.EOF, "nobody takes it for a whole answer")
	require.Equal(t, 2, w.events(t), "what was answered is there")
}

func reachable(addr string) bool {
	conn, err := net.DialTimeout("tcp", addr, time.Second)
	if err == nil {
		_ = conn.Close()
	}
	return err == nil
}
