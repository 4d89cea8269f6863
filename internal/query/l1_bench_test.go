package query_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/query"
)

// BenchmarkHotGet reads 100 hot customers by 16 clients from memory, from Redis
// and from PostgreSQL, in turns, so that a machine's moods strike all three. It
// reports the median of the rounds and, in its log, their spread.
func BenchmarkHotGet(b *testing.B) {
	const customers, clients, rounds, length = 100, 16, 9, 300 * time.Millisecond
	ladders := []struct {
		name string
		w    *world
	}{
		{"memory", newWorldWith(b, sharedRedis(b), time.Second, query.Config{})},
		{"redis", newWorldWith(b, sharedRedis(b), time.Second, query.Config{L1Bytes: -1})},
		{"postgres", newWorldWith(b, "", time.Second, query.Config{L1Bytes: -1})},
	}
	ids := make([]customer.ID, customers)
	for i := range ids {
		ids[i] = uuid.New()
	}
	for _, l := range ladders {
		if l.name != "postgres" {
			l.w.trust()
		}
		require.NoError(b, l.w.tryPut(1, customer.StatusActive, ids...))
	}
	ladders[0].w.hot(ids[0])

	type figures struct{ rate, p50, p99 []float64 }
	all := map[string]*figures{}
	round := func(w *world) (rate, p50, p99 float64) {
		var mu sync.Mutex
		var took []time.Duration
		var clientsDone sync.WaitGroup
		began := time.Now()
		for c := range clients {
			clientsDone.Go(func() {
				var own []time.Duration
				for i := c; ; i++ {
					at := time.Now()
					if at.Sub(began) > length {
						break
					}
					if _, err := w.service.Get(b.Context(), ids[i%customers], nil, 0); err != nil {
						b.Error(err)
						return
					}
					own = append(own, time.Since(at))
				}
				mu.Lock()
				defer mu.Unlock()
				took = append(took, own...)
			})
		}
		clientsDone.Wait()
		seconds := time.Since(began).Seconds()
		slices.Sort(took)
		us := func(i int) float64 { return float64(took[i].Nanoseconds()) / 1e3 }
		return float64(len(took)) / seconds, us(len(took) / 2), us(len(took) * 99 / 100)
	}
	for b.Loop() {
		for range rounds {
			for _, l := range ladders {
				f := all[l.name]
				if f == nil {
					f = new(figures)
					all[l.name] = f
				}
				rate, p50, p99 := round(l.w)
				f.rate, f.p50, f.p99 = append(f.rate, rate), append(f.p50, p50), append(f.p99, p99)
			}
		}
	}
	spread := func(x []float64) (float64, string) {
		slices.Sort(x)
		return x[len(x)/2], fmt.Sprintf("%.1f (%.1f–%.1f)", x[len(x)/2], x[0], x[len(x)-1])
	}
	for _, l := range ladders {
		rate, rates := spread(all[l.name].rate)
		_, p50s := spread(all[l.name].p50)
		_, p99s := spread(all[l.name].p99)
		b.ReportMetric(rate, l.name+"-reads/s")
		b.Logf("%-8s %s reads/s, p50 %s µs, p99 %s µs", l.name, rates, p50s, p99s)
	}
}
