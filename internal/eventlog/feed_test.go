package eventlog_test

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
)

var updateFeed = flag.Bool("update-feed", false, "rewrite the feed's golden file")

func feedEvent(pos eventlog.Position, version customer.Version) eventlog.Sequenced {
	return eventlog.Sequenced{Position: pos, Envelope: eventlog.Envelope{
		EventID:    uuid.MustParse("01900000-0000-7000-8000-0000000000e1"),
		CustomerID: uuid.MustParse("01900000-0000-7000-8000-0000000000c1"),
		Version:    version, Type: "customer.registered", SchemaVersion: 1,
		Data: json.RawMessage(`{"channels":["email"],"note":"<&>"}`), Personal: []byte{0, 1, 254, 255},
		Metadata: eventlog.Metadata{
			Actor: "svc:crm", CorrelationID: "c-1", CommandID: uuid.MustParse("01900000-0000-7000-8000-0000000000d1"),
			TraceParent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
		},
		RecordedAt: time.Date(2026, 3, 1, 12, 30, 0, 123456000, time.UTC),
	}}
}

func feedBatch() eventlog.Batch {
	plain := feedEvent(19, 2)
	plain.Type, plain.Personal, plain.Metadata = "customer.suspended", nil, eventlog.Metadata{CommandID: plain.Metadata.CommandID}
	return eventlog.NewBatch(3, 11, []eventlog.Sequenced{feedEvent(12, 1), plain})
}

func TestBatchRoundTrip(t *testing.T) {
	t.Parallel()
	want := feedBatch()
	body, err := eventlog.MarshalBatch(want)
	require.NoError(t, err)
	got, err := eventlog.UnmarshalBatch(body)
	require.NoError(t, err)
	require.Equal(t, want, got)
}

func TestBatchGolden(t *testing.T) {
	t.Parallel()
	body, err := eventlog.MarshalBatch(feedBatch())
	require.NoError(t, err)
	path := filepath.Join("testdata", "feed_batch.json")
	if *updateFeed {
		require.NoError(t, os.WriteFile(path, append(body, '\n'), 0o600))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, strings.TrimSuffix(string(want), "\n"), string(body), "messages in flight are read by the next release")
}

func TestUnmarshalBatchRefuses(t *testing.T) {
	t.Parallel()
	good, err := eventlog.MarshalBatch(feedBatch())
	require.NoError(t, err)
	for name, swap := range map[string][2]string{
		"unknown attribute":   {`"lane":3`, `"lane":3,"extra":1`},
		"a hole in the chain": {`"previous":"12"`, `"previous":"13"`},
		"another lane":        {`"lane":3,"position":"19"`, `"lane":4,"position":"19"`},
		"falling positions":   {`"position":"19"`, `"position":"12"`},
		"padded number":       {`"position":"19"`, `"position":"019"`},
		"negative number":     {`"previous":"11"`, `"previous":"-1"`},
		"another version":     {`"specversion":"1.0"`, `"specversion":"2.0"`},
		"data not an object":  {`"data":{"channels":["email"],"note":"<&>"}`, `"data":null`},
		"finer time":          {`.123456Z`, `.1234567Z`},
		"not base64":          {`"personal":"AAH+/w=="`, `"personal":"?"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bad := strings.Replace(string(good), swap[0], swap[1], 1)
			require.NotEqual(t, string(good), bad, "the test changes nothing")
			_, err := eventlog.UnmarshalBatch([]byte(bad))
			require.ErrorIs(t, err, eventlog.ErrMalformedBatch)
		})
	}
	for _, bad := range []string{"", "null", "[]", "{}", string(good) + "[]", string(good[:len(good)-1])} {
		_, err := eventlog.UnmarshalBatch([]byte(bad))
		require.ErrorIs(t, err, eventlog.ErrMalformedBatch, "%.20q", bad)
	}
}

func TestMarshalBatchRefusesABrokenChain(t *testing.T) {
	t.Parallel()
	b := feedBatch()
	b.Previous = b.First
	_, err := eventlog.MarshalBatch(b)
	require.Error(t, err)
	_, err = eventlog.MarshalBatch(eventlog.Batch{})
	require.Error(t, err)
}

func TestSplitBatchesKeepsTheChainAndTheLimits(t *testing.T) {
	t.Parallel()
	events := make([]eventlog.Sequenced, 100)
	for i := range events {
		events[i] = feedEvent(eventlog.Position(10+3*i), customer.Version(i+1))
	}
	events[50].Personal = make([]byte, 50_000)
	const maxEvents, maxBytes = 16, 10_000
	previous, n := eventlog.Position(7), 0
	for _, b := range eventlog.SplitBatches(2, previous, events, maxEvents, maxBytes) {
		require.Equal(t, previous, b.Previous)
		require.LessOrEqual(t, len(b.Events), maxEvents)
		body, err := eventlog.MarshalBatch(b)
		require.NoError(t, err)
		if len(b.Events) > 1 {
			require.LessOrEqual(t, len(body), maxBytes)
		}
		previous, n = b.Last, n+len(b.Events)
	}
	require.Equal(t, len(events), n)
	require.Empty(t, eventlog.SplitBatches(2, 0, nil, maxEvents, maxBytes))
}

func FuzzUnmarshalBatch(f *testing.F) {
	good, err := eventlog.MarshalBatch(feedBatch())
	require.NoError(f, err)
	f.Add(good)
	f.Add([]byte(`[{"position":"1"}]`))
	f.Fuzz(func(t *testing.T, body []byte) {
		b, err := eventlog.UnmarshalBatch(body)
		if err != nil {
			require.ErrorIs(t, err, eventlog.ErrMalformedBatch)
			return
		}
		again, err := eventlog.MarshalBatch(b)
		require.NoError(t, err)
		twice, err := eventlog.UnmarshalBatch(again)
		require.NoError(t, err)
		third, err := eventlog.MarshalBatch(twice)
		require.NoError(t, err)
		require.Equal(t, string(again), string(third))
	})
}
