package projection_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

const fillLog = `
INSERT INTO eventlog.events (customer_id, version, event_id, type, schema_version, slot, data, personal, metadata, recorded_at)
SELECT $1, n, gen_random_uuid(), 'customer.tagged', 1, 0, '{"changed":["tags"]}', decode(repeat('5a', 200), 'hex'),
       '{"actor":"svc:test","command_id":"01900000-0000-7000-8000-0000000000d1"}', now()
  FROM generate_series(1, $2::integer) n`

// BenchmarkEventFeed delivers a notice a message and copies what they announce
// as a consumer that is behind does.
func BenchmarkEventFeed(b *testing.B) {
	w := newWorld(b)
	const events = 20_000
	_, err := w.owner.Exec(b.Context(), fillLog, uuid.New(), events)
	require.NoError(b, err)
	for w.head() < events {
		_, err := w.sequencer.TickOnce(b.Context(), w.fence, 10_000)
		require.NoError(b, err)
	}
	notices := w.notices()
	p := w.telling()
	began := time.Now()
	w.tell(p, notices...)
	b.ReportMetric(events/time.Since(began).Seconds(), "behind/s")

	// One at a time, each a transaction of its own, as when nothing is behind.
	one := newWorld(b)
	_, err = one.owner.Exec(b.Context(), fillLog, uuid.New(), 1000)
	require.NoError(b, err)
	for one.head() < 1000 {
		_, err := one.sequencer.TickOnce(b.Context(), one.fence, 10_000)
		require.NoError(b, err)
	}
	notices = one.notices()
	began = time.Now()
	for _, n := range notices {
		_, err := one.store.ExtendFeed(context.Background(), notices[n.Position-1:n.Position])
		require.NoError(b, err)
	}
	b.ReportMetric(1000/time.Since(began).Seconds(), "alone/s")
}
