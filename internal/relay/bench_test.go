package relay_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
	"github.com/ebrahem-outlook/customer-service/internal/relay"
)

// BenchmarkLatency appends one event at a time and measures from its commit to
// its handler.
func BenchmarkLatency(b *testing.B) {
	for name, wake := range map[string]bool{"own": true, "other_process": false} {
		b.Run(name, func(b *testing.B) {
			w := newWorld(b)
			r := w.run(w.publisher(w.cfg), relay.Config{})
			read := w.read(w.cfg)
			got := make(chan struct{}, 1)
			read.seen = func(eventlog.Sequenced) { got <- struct{}{} }
			w.awaitLeading(r)
			id := uuid.New()
			w.mustAppend(id, 1)
			<-got
			var took []time.Duration
			for b.Loop() {
				w.mustAppend(id, 1)
				began := time.Now()
				if wake {
					r.Wake()
				}
				<-got
				took = append(took, time.Since(began))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
		})
	}
}

// BenchmarkBacklog sequences and carries what was appended while no relay ran.
func BenchmarkBacklog(b *testing.B) {
	w := newWorld(b)
	const customers, each = 500, 200
	for range customers {
		w.mustAppend(uuid.New(), each)
	}
	read := w.read(w.cfg)
	began := time.Now()
	r := w.run(w.publisher(w.cfg), relay.Config{})
	require.Eventually(b, func() bool { return r.Head() == customers*each }, patience, time.Millisecond)
	sequenced := time.Since(began)
	require.Eventually(b, func() bool { n, _ := read.count(); return n == customers*each }, 2*patience, time.Millisecond)
	b.ReportMetric(customers*each/sequenced.Seconds(), "sequenced/s")
	b.ReportMetric(customers*each/time.Since(began).Seconds(), "delivered/s")
}
