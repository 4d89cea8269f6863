package projection_test

import (
	"math/rand/v2"
	"sync"
	"testing"
	"time"
)

// BenchmarkApplyLongLives is BenchmarkApply with up to 400 events a customer, not
// 4: every 32nd of them has a keyframe.
func BenchmarkApplyLongLives(b *testing.B) {
	w := newWorld(b)
	w.sweep = time.Hour // nothing but messages
	w.workload(rand.New(rand.NewPCG(1, 2)), 20, 8000)
	all := w.batches(256)
	applied := 0
	for b.Loop() {
		b.StopTimer()
		w.exec(`TRUNCATE readmodel.documents, readmodel.history, readmodel.checkpoints`)
		p := w.projector()
		if err := p.Start(w.ctx); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		var lanes sync.WaitGroup
		for lane := range 8 {
			lanes.Go(func() {
				for _, batch := range all {
					if int(batch.Lane) == lane {
						w.deliver(p, batch)
					}
				}
			})
		}
		lanes.Wait()
		b.StopTimer()
		if err := p.Stop(w.ctx); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	for _, batch := range all {
		applied += len(batch.Events)
	}
	b.ReportMetric(float64(applied)*float64(b.N)/b.Elapsed().Seconds(), "events/s")
}
