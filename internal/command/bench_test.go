package command_test

import (
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/ebrahem-outlook/customer-service/internal/command"
)

// clients is how many registrations are under way at the same time.
const clients = 64

// BenchmarkRegister64 compares group commit with one command a transaction
// through the same appender and the same SQL function. The latter gets as many
// connections as make it fastest, so that PostgreSQL's own group commit works
// for it. Run it with -benchtime=7x or so: an iteration is a round of both,
// and the medians of all rounds are reported.
func BenchmarkRegister64(b *testing.B) {
	w := newWorld(b)
	grouped := w.replicaWith(command.AppenderConfig{MaxWait: patience}, command.Config{})
	single := w.replicaWith(command.AppenderConfig{MaxWait: patience, MaxBatch: 1, InFlight: singleInFlight}, command.Config{})
	registrations(b, grouped, 500) // warms both up
	registrations(b, single, 500)
	var perSecond [2][]float64
	var ratio []float64
	for b.Loop() {
		g, s := registrations(b, grouped, 8000), registrations(b, single, 2000)
		perSecond[0], perSecond[1] = append(perSecond[0], g), append(perSecond[1], s)
		ratio = append(ratio, g/s)
	}
	b.ReportMetric(median(perSecond[0]), "grouped/s")
	b.ReportMetric(median(perSecond[1]), "single/s")
	b.ReportMetric(median(ratio), "ratio")
	b.ReportMetric(0, "ns/op")
}

// singleInFlight is how many transactions of one command each run at once.
const singleInFlight = 16

// What the benchmark measures holds on a quiet machine only (on one with six
// runnable processes a core the ratio fell from 5 to 2), so the test counts
// transactions instead.
func TestConcurrentCommandsShareTransactions(t *testing.T) {
	t.Parallel()
	r := newWorld(t).replica()
	const n = 2000
	registrations(t, r, n)
	require.Less(t, len(r.probe.sizes), n/4, "transactions; on a quiet machine about %d", n/16)
}

// registrations is how many a second n registrations make.
func registrations(t testing.TB, r replica, n int64) float64 {
	var (
		group errgroup.Group
		left  atomic.Int64
	)
	left.Store(n)
	begin := time.Now()
	for range clients {
		group.Go(func() error {
			for left.Add(-1) >= 0 {
				if _, err := r.Register(t.Context(), asking(), registration()); err != nil {
					return err
				}
			}
			return nil
		})
	}
	require.NoError(t, group.Wait())
	return float64(n) / time.Since(begin).Seconds()
}

func median(of []float64) float64 {
	of = slices.Sorted(slices.Values(of))
	return of[len(of)/2]
}
