package simulation_test

import (
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// storyLength is how many of its last moments a failing run tells.
const storyLength = 400

// TestSimulation runs SIM_SEEDS seeds from SIM_FIRST on, or the one in SIM_SEED.
func TestSimulation(t *testing.T) {
	if seed := number(t, "SIM_SEED", 0); seed > 0 {
		r := simulate(t, seed, bugNone, storyLength)
		if r.failed != "" {
			t.Fatalf("%s\n%s", r.failed, r.story)
		}
		return
	}
	runs, first := number(t, "SIM_SEEDS", usually), number(t, "SIM_FIRST", 1)
	defer debug.SetGCPercent(debug.SetGCPercent(400)) // runs are short and leave much behind
	began := time.Now()
	var (
		mu    sync.Mutex
		total counts
		next  atomic.Uint64
	)
	t.Run("seeds", func(t *testing.T) {
		for range workers {
			t.Run("worker", func(t *testing.T) {
				t.Parallel()
				for {
					n := next.Add(1) - 1
					if n >= runs || t.Failed() {
						return
					}
					r := simulate(t, first+n, bugNone, 0)
					if r.failed != "" {
						again := simulate(t, first+n, bugNone, storyLength)
						t.Errorf("%s%s\n\nSIM_SEED=%d go test -run '^TestSimulation$' ./internal/simulation", again.story, r.failed, first+n)
					}
					mu.Lock()
					total.add(r.counts)
					mu.Unlock()
				}
			})
		}
	})
	if t.Failed() {
		return
	}
	t.Logf("%d seeds, %.0f a second\n%s", runs, float64(runs)/time.Since(began).Seconds(), &total)
	if runs >= 500 {
		require.Empty(t, total.thin(int(runs)), "too little happened for the runs to show anything") //nolint:gosec // a few
	}
}

// workers is how many runs are under way at once.
const workers = 2

// TestSeedIsOneRun tells that a seed decides everything.
func TestSeedIsOneRun(t *testing.T) {
	t.Parallel()
	for seed := range number(t, "SIM_SEEDS_TWICE", 20) {
		a, b := simulate(t, seed+1, bugNone, 1<<20), simulate(t, seed+1, bugNone, 1<<20)
		if a.story != b.story {
			t.Fatalf("seed %d is two runs:\n%s", seed+1, parting(a.story, b.story))
		}
		require.Equal(t, a.counts, b.counts)
	}
}

// parting is where two stories part.
func parting(a, b string) string {
	one, other := strings.Split(a, "\n"), strings.Split(b, "\n")
	n := 0
	for n < min(len(one), len(other)) && one[n] == other[n] {
		n++
	}
	from := max(0, n-20)
	return strings.Join(one[from:min(n+5, len(one))], "\n") + "\nor\n" + strings.Join(other[n:min(n+5, len(other))], "\n")
}

func number(t *testing.T, name string, without uint64) uint64 {
	text := os.Getenv(name)
	if text == "" {
		return without
	}
	n, err := strconv.ParseUint(text, 10, 64)
	require.NoError(t, err, name)
	return n
}
