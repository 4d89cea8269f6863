//go:build !race

package simulation_test

import "testing"

// usually is how many seeds a test runs; some 10 seconds on two cores.
const usually = 1000

// TestPlantedBugs tells that the checks can fail: each mistake is found.
func TestPlantedBugs(t *testing.T) {
	t.Parallel()
	most := number(t, "SIM_BUG_SEEDS", 1000)
	for b := bugNone + 1; int(b) <= len(bugNames); b++ {
		t.Run(bugNames[b], func(t *testing.T) {
			for seed := uint64(1); seed <= most; seed++ {
				if r := simulate(t, seed, b, 0); r.failed != "" {
					t.Logf("found by seed %d: %s", seed, r.failed)
					return
				}
			}
			t.Errorf("not found by %d seeds", most)
		})
	}
}
