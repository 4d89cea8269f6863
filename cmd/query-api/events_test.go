package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
)

type eventPage struct {
	Data []eventlog.Notice `json:"data"`
	Next eventlog.Position `json:"next_after"`
}

func (w *world) page(t *testing.T, query string, headers ...string) eventPage {
	t.Helper()
	a := w.Do(t, "GET", "/v1/events"+query, "", headers...)
	require.Equal(t, 200, a.StatusCode, "%s", a.Body)
	require.Regexp(t, `^\d+\.\d{3}$`, a.Header.Get("Projection-Lag"))
	var p eventPage
	a.JSON(t, &p)
	return p
}

func TestEventsArePagedFromTheFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	empty := w.page(t, "")
	require.Empty(t, empty.Data)
	require.NotNil(t, empty.Data, "an empty list, not null")
	require.Zero(t, empty.Next)

	const n = 7
	var tok string
	made := map[customer.ID]bool{}
	for range n {
		var d customer.Data
		d, tok = w.register(t)
		made[d.ID] = true
		// Each token is honoured as it comes: the event is in before the answer.
		p := w.page(t, "?limit=1000", "Consistency-Token: "+tok)
		require.Len(t, p.Data, len(made))
		last := p.Data[len(p.Data)-1]
		require.Equal(t, d.ID, last.CustomerID)
		require.Equal(t, p.Next, last.Position)
		require.Equal(t, "customer.registered", last.Type)
		require.Equal(t, []string{"email", "first_name", "status"}, last.Changed)
	}
	var at eventlog.Position
	for range n/2 + 1 {
		p := w.page(t, fmt.Sprintf("?after=%d&limit=2", at))
		for _, e := range p.Data {
			require.Equal(t, at+1, e.Position)
			require.True(t, made[e.CustomerID])
			delete(made, e.CustomerID)
			at = e.Position
		}
		require.Equal(t, at, p.Next)
	}
	require.Empty(t, made)
	ahead := w.page(t, "?after=100000")
	require.Empty(t, ahead.Data)
	require.EqualValues(t, 100000, ahead.Next)

	head := w.Do(t, "HEAD", "/v1/events", "")
	require.Equal(t, 200, head.StatusCode)
	require.Positive(t, head.ContentLength)
	head = w.Do(t, "HEAD", "/v1/events", "", "Accept: text/event-stream")
	require.Equal(t, "text/event-stream", head.Header.Get("Content-Type"))
}

func TestEventsRefuseWhatTheyDoNotTake(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, q := range []string{
		"?limit=0", "?limit=1001", "?limit=-1", "?limit=+5", "?limit=", "?limit=x", "?after=-1", "?after=01", "?after=", "?after=1.5",
		"?after=9223372036854775808", "?after=1&after=2", "?cursor=x",
	} {
		a := w.Do(t, "GET", "/v1/events"+q, "")
		require.Equal(t, 400, a.StatusCode, q)
		require.Equal(t, "invalid-parameter", a.Problem(t).Code, q)
	}
	stream := "Accept: text/event-stream"
	require.Equal(t, 400, w.Do(t, "GET", "/v1/events?limit=5", "", stream).StatusCode)
	require.Equal(t, 400, w.Do(t, "GET", "/v1/events", "", stream, "Last-Event-ID: x").StatusCode)
	require.Equal(t, 400, w.Do(t, "GET", "/v1/events", "", stream, "Consistency-Token: x").StatusCode)
	require.Equal(t, 406, w.Do(t, "GET", "/v1/events", "", "Accept: text/html").StatusCode)
	future := eventlog.Token{CustomerID: uuid.New(), Version: 1}.String()
	for _, accept := range []string{stream, "Accept: application/json"} {
		a := w.Do(t, "GET", "/v1/events", "", accept, "Consistency-Token: "+future, "Prefer: wait=0")
		require.Equal(t, 503, a.StatusCode)
		require.Equal(t, "read-model-behind", a.Problem(t).Code)
	}
}

// sse is one server-sent event.
type sse struct {
	id   string
	data string
}

// follow opens a stream and hands over what comes, until the test cancels or
// the server ends it.
func (w *world) follow(ctx context.Context, t *testing.T, query string, headers ...string) (http.Header, <-chan sse) {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.Base+"/v1/events"+query, http.NoBody)
	require.NoError(t, err)
	req.Header.Set("Accept", "text/event-stream")
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ": ")
		req.Header.Set(name, value)
	}
	resp, err := http.DefaultClient.Do(req) //nolint:bodyclose // by whoever reads it, below
	require.NoError(t, err)
	require.Equal(t, 200, resp.StatusCode)
	require.Equal(t, "text/event-stream", resp.Header.Get("Content-Type"))
	out := make(chan sse, 1000)
	go func() {
		defer close(out)
		defer func() { _ = resp.Body.Close() }()
		var e sse
		lines := bufio.NewScanner(resp.Body)
		for lines.Scan() {
			name, value, _ := strings.Cut(lines.Text(), ": ")
			switch name {
			case "id":
				e.id = value
			case "data":
				e.data = value
			case "":
				if e.id != "" {
					out <- e
				}
				e = sse{}
			}
		}
	}()
	return resp.Header, out
}

// expect takes the events at the positions from one to another.
func expect(t *testing.T, from <-chan sse, first, last int) {
	t.Helper()
	for at := first; at <= last; at++ {
		select {
		case e, ok := <-from:
			require.True(t, ok, "the stream ended at %d", at)
			require.Equal(t, fmt.Sprint(at), e.id)
			var n eventlog.Notice
			require.NoError(t, json.Unmarshal([]byte(e.data), &n))
			require.EqualValues(t, at, n.Position)
		case <-time.After(15 * time.Second):
			t.Fatalf("nothing came at %d", at)
		}
	}
}

func TestEventsAreFollowedWithoutGapOrDouble(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, early := w.follow(ctx, t, "")
	for range 5 {
		w.register(t)
	}
	expect(t, early, 1, 5)
	header, late := w.follow(ctx, t, "?after=1", "Last-Event-ID: 3") // which has precedence
	require.Equal(t, "no-store", header.Get("Cache-Control"))
	expect(t, late, 4, 5)
	_, ahead := w.follow(ctx, t, "?after=6")
	for range 5 {
		w.register(t)
	}
	expect(t, early, 6, 10)
	expect(t, late, 6, 10)
	expect(t, ahead, 7, 10)
	d, tok := w.register(t)
	_, sure := w.follow(ctx, t, "?after=10", "Consistency-Token: "+tok)
	select {
	case e := <-sure:
		require.Contains(t, e.data, d.ID.String())
	case <-time.After(15 * time.Second):
		t.Fatal("the event is not there")
	}
}

func TestStreamsAreBoundedAndOutliveRequests(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "--max-followers=2", "--max-in-flight=1")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, one := w.follow(ctx, t, "")
	gone, leave := context.WithCancel(ctx)
	w.follow(gone, t, "")
	a := w.Do(t, "GET", "/v1/events", "", "Accept: text/event-stream")
	require.Equal(t, 503, a.StatusCode, "%s", a.Body)
	require.Equal(t, "overloaded", a.Problem(t).Code)
	leave()
	var again <-chan sse
	eventually(t, func() bool {
		a := w.Do(t, "HEAD", "/v1/events", "") // streams hold no place among requests
		require.Equal(t, 200, a.StatusCode)
		if w.app.events.Followers() == 2 {
			return false
		}
		_, again = w.follow(ctx, t, "")
		return true
	})
	w.register(t)
	expect(t, one, 1, 1)
	expect(t, again, 1, 1)
}

func TestStreamsEndWhenTheProcessDoes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, stream := w.follow(t.Context(), t, "")
	w.register(t)
	expect(t, stream, 1, 1)
	began := time.Now()
	stopped := make(chan error, 1)
	go func() { stopped <- w.app.server.Stop(context.WithoutCancel(t.Context())) }()
	select {
	case _, ok := <-stream:
		require.False(t, ok)
	case <-time.After(5 * time.Second):
		t.Fatal("the stream goes on")
	}
	require.NoError(t, <-stopped)
	require.Less(t, time.Since(began), 5*time.Second)
}
