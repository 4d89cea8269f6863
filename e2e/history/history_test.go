package history_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/e2e/history"
)

func newRecorder(t *testing.T) (rec *history.Recorder, path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "history.ndjson")
	rec, err := history.New(path)
	require.NoError(t, err)
	t.Cleanup(func() { _ = rec.Close() })
	return rec, path
}

func TestWhatIsRecordedIsLoaded(t *testing.T) {
	t.Parallel()
	rec, path := newRecorder(t)
	sent := history.Op{Client: 3, Session: 31, Kind: history.Change, Customer: "c", Key: "k", IfMatch: 4, Body: json.RawMessage(`{"last_name":"Đặng"}`)}
	rec.Begin(&sent)
	require.Equal(t, int64(1), sent.ID)
	sent.Outcome, sent.Status, sent.Version, sent.Attempts = history.OK, 200, 5, 2
	sent.Answer, sent.Items = json.RawMessage(`{"id":"c"}`), []history.Item{{Customer: "c", Version: 5}}
	rec.End(&sent)
	require.NoError(t, rec.Close())
	require.NoError(t, rec.Close(), "closing again does nothing")

	ops, err := history.Load(path)
	require.NoError(t, err)
	require.Equal(t, []history.Op{sent}, ops)
}

func TestACallWithoutAnEndIsPending(t *testing.T) {
	t.Parallel()
	rec, path := newRecorder(t)
	first, second := history.Op{Kind: history.Delete}, history.Op{Kind: history.Get}
	rec.Begin(&first)
	rec.Begin(&second)
	rec.End(&second)

	ops, err := history.Load(path) // the recorder lives on, as after a kill of the run
	require.NoError(t, err)
	require.Len(t, ops, 2)
	require.Equal(t, history.Pending, ops[0].Outcome)
	require.Equal(t, history.Unknown, ops[1].Outcome, "an end that does not say how is unknown")
}

func TestATornLastLineIsLeftOut(t *testing.T) {
	t.Parallel()
	rec, path := newRecorder(t)
	op := history.Op{Kind: history.Register, Email: "a@example.com"}
	rec.Begin(&op)
	op.Outcome = history.OK
	rec.End(&op)
	require.NoError(t, rec.Close())
	whole, err := os.ReadFile(path)
	require.NoError(t, err)
	for cut := 1; cut < 20; cut++ {
		torn := filepath.Join(t.TempDir(), fmt.Sprint(cut))
		require.NoError(t, os.WriteFile(torn, whole[:len(whole)-cut], 0o600))
		ops, err := history.Load(torn)
		require.NoError(t, err)
		require.Len(t, ops, 1)
		require.Equal(t, history.Pending, ops[0].Outcome)
	}
}

func TestABrokenLineInTheMiddleIsAnError(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "history")
	for name, text := range map[string]string{
		"garbage":        "{\"id\":1}\n{\"id\":\n{\"id\":2}\n",
		"a missing op":   "{\"id\":2}\n",
		"an end alone":   "{\"id\":1,\"outcome\":\"ok\"}\n",
		"two ends":       "{\"id\":1}\n{\"id\":1,\"outcome\":\"ok\"}\n{\"id\":1,\"outcome\":\"ok\"}\n",
		"another's file": "{\"id\":1,\"colour\":\"red\"}\n",
	} {
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		_, err := history.Load(path)
		require.Error(t, err, name)
	}
	_, err := history.New(path)
	require.ErrorIs(t, err, os.ErrExist)
}

func TestManyWriteAtOnce(t *testing.T) {
	t.Parallel()
	rec, path := newRecorder(t)
	const writers, each = 16, 200
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for i := range each {
				op := history.Op{Client: w, Kind: history.Get, Path: fmt.Sprint(i)}
				before := rec.Now()
				rec.Begin(&op)
				op.Outcome = history.OK
				rec.End(&op)
				if op.Call < before || op.Return < op.Call || rec.Now() < op.Return {
					t.Errorf("the clock went back: asked at %d, called at %d, returned at %d", before, op.Call, op.Return)
				}
			}
		})
	}
	all.Wait()
	require.NoError(t, rec.Close())
	ops, err := rec.Ops()
	require.NoError(t, err)
	fromFile, err := history.Load(path)
	require.NoError(t, err)
	require.Equal(t, ops, fromFile)
	require.Len(t, ops, writers*each)
	next := map[int]int{}
	for i, op := range ops {
		require.Equal(t, int64(i+1), op.ID)
		require.Equal(t, history.OK, op.Outcome)
		require.Equal(t, fmt.Sprint(next[op.Client]), op.Path, "client %d", op.Client)
		next[op.Client]++
		if i > 0 {
			require.GreaterOrEqual(t, op.Call, ops[i-1].Call)
		}
	}
}

func TestWhatIsWrittenAfterTheEndIsAnError(t *testing.T) {
	t.Parallel()
	rec, _ := newRecorder(t)
	require.NoError(t, rec.Close())
	rec.Begin(&history.Op{Kind: history.Get})
	require.ErrorContains(t, rec.Err(), "after the end")
}
