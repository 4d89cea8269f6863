package workload

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/e2e/history"
)

// registers answers every registration and every read rightly, as the first
// version of somebody, and everything else as not found.
func registers(w http.ResponseWriter, r *http.Request) {
	id := uuid.NewString()
	switch {
	case r.Method == http.MethodGet && len(r.URL.Path) > len(customers):
		id = r.URL.Path[len(customers)+1:]
		w.Header().Set("ETag", `"1"`)
	case r.Method == http.MethodPost && r.URL.Path == customers:
		w.Header().Set("ETag", `"1"`)
		w.Header().Set("Consistency-Token", "t")
		w.WriteHeader(http.StatusCreated)
	default:
		problem(http.StatusNotFound, codeNotFound)(w, r)
		return
	}
	fmt.Fprintf(w, `{"id":%q,"version":1,"data":[],"next_cursor":null}`, id)
}

func startAt(ctx context.Context, t *testing.T, url string) (*Workload, *history.Recorder) {
	t.Helper()
	rec, err := history.New(filepath.Join(t.TempDir(), "history"))
	require.NoError(t, err)
	at := func() []Endpoint { return []Endpoint{{Name: "a", URL: url}, {Name: "b", URL: url}} }
	return Start(ctx, Config{Seed: 1, Clients: 4, Commands: at, Reads: at, Recorder: rec, Rate: 2000}), rec
}

func TestClientsEndWhatTheyBegan(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(registers))
	defer server.Close()
	w, rec := startAt(t.Context(), t, server.URL)
	require.Eventually(t, func() bool { return w.Stats().Acknowledged > 50 }, 10*time.Second, time.Millisecond)
	before := w.Stats()
	require.NoError(t, w.ReadBack(t.Context()))
	w.Stop()
	w.Stop()
	require.NoError(t, rec.Close())

	ops, err := rec.Ops()
	require.NoError(t, err)
	var probes, acknowledged int64
	for _, op := range ops {
		require.NotEqual(t, history.Pending, op.Outcome, "%+v", op)
		switch {
		case op.Client == prober:
			probes++
			require.Equal(t, history.OK, op.Outcome)
		case op.Command() && op.Outcome == history.OK:
			acknowledged++
		}
	}
	require.Equal(t, int64(6), probes, "each of two command processes, read from each of two")
	after := w.Stats()
	require.Equal(t, acknowledged, after.Acknowledged, "the figures are those of the history, less probes")
	var bySecond int64
	for _, s := range after.Seconds {
		bySecond += s.Acknowledged
	}
	require.Equal(t, acknowledged, bySecond)
	require.GreaterOrEqual(t, after.Acknowledged, before.Acknowledged)
}

func TestTheEndOfTheContextEndsAnOpThatHangs(t *testing.T) {
	t.Parallel()
	hanging := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // until then net/http does not see the client go
		select {
		case hanging <- struct{}{}:
		default:
		}
		<-r.Context().Done()
	}))
	defer server.Close()
	ctx, cancel := context.WithCancel(t.Context())
	w, rec := startAt(ctx, t, server.URL)
	<-hanging
	cancel()
	began := time.Now()
	w.Stop()
	require.Less(t, time.Since(began), commandTimeout)
	require.Error(t, w.ReadBack(ctx))
	require.NoError(t, rec.Close())
	require.Positive(t, w.Stats().Unknown)
}
