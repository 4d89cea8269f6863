package projection_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"
)

// BenchmarkApply delivers a feed of 8,000 events, by so many lanes at a time
// and so many events a message; single events are what an idle system sees,
// 256 what one behind does. The cache is written too.
func BenchmarkApply(b *testing.B) {
	w := newWorld(b)
	w.sweep = time.Hour // nothing but messages
	w.workload(rand.New(rand.NewPCG(1, 2)), 2000, 8000)
	for _, size := range []int{1, 256} {
		all := w.batches(size)
		for _, lanes := range []int{1, 8} {
			b.Run(fmt.Sprintf("events=%d/lanes=%d", size, lanes), func(b *testing.B) {
				applied := 0
				for b.Loop() {
					b.StopTimer()
					w.exec(`TRUNCATE readmodel.documents, readmodel.listing, readmodel.history, readmodel.checkpoints`)
					p := w.projector()
					if err := p.Start(w.ctx); err != nil {
						b.Fatal(err)
					}
					b.StartTimer()
					var done sync.WaitGroup
					for share := range lanes {
						done.Go(func() {
							for _, batch := range all {
								if int(batch.Lane)%lanes == share && (size > 1 || batch.Last < 2400) {
									w.deliver(p, batch)
								}
							}
						})
					}
					done.Wait()
					b.StopTimer()
					if err := p.Stop(w.ctx); err != nil {
						b.Fatal(err)
					}
					b.StartTimer()
				}
				for _, batch := range all {
					if size > 1 || batch.Last < 2400 {
						applied += len(batch.Events)
					}
				}
				b.ReportMetric(float64(applied)*float64(b.N)/b.Elapsed().Seconds(), "events/s")
			})
		}
	}
}
