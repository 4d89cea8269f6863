package chaos

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// sample is a catalogue of n kinds, of which every third has two targets and
// the last is always alone.
func sample(n int) []Fault {
	all := make([]Fault, n)
	for i := range all {
		all[i] = Fault{
			Kind: fmt.Sprintf("kind-%d", i), Targets: []string{fmt.Sprintf("target-%d", i/2)}, Alone: i == n-1,
			Inject: func(context.Context, *Injection) error { return nil },
		}
		if i%3 == 0 {
			all[i].Targets = append(all[i].Targets, "elsewhere")
		}
	}
	return all
}

// describe is the schedule in words, one fault a line.
func describe(steps []step) string {
	var b strings.Builder
	for _, s := range steps {
		for _, p := range s.faults {
			fmt.Fprintln(&b, p)
		}
		fmt.Fprintf(&b, "rest %s\n", s.rest)
	}
	return b.String()
}

func TestScheduleIsTheSeeds(t *testing.T) {
	t.Parallel()
	for seed := range uint64(50) {
		require.Equal(t, describe(schedule(seed, sample(20), 70, nil)), describe(schedule(seed, sample(20), 70, nil)))
	}
	require.NotEqual(t, describe(schedule(1, sample(20), 70, nil)), describe(schedule(2, sample(20), 70, nil)))
}

func TestScheduleTakesEveryKindBeforeAnyAgain(t *testing.T) {
	t.Parallel()
	const kinds, n = 20, 70
	overlaps, elsewhere := 0, 0
	for seed := range uint64(200) {
		var order []string
		for _, s := range schedule(seed, sample(kinds), n, nil) {
			require.GreaterOrEqual(t, s.rest, 200*time.Millisecond)
			for _, p := range s.faults {
				order = append(order, p.fault.Kind)
				require.Equal(t, len(order), p.number)
				require.True(t, p.lasts >= 200*time.Millisecond && p.lasts <= 6*time.Second, "%s", p)
				require.Contains(t, p.fault.Targets, p.target)
				if p.target == "elsewhere" {
					elsewhere++
				}
			}
			if len(s.faults) == 1 {
				continue
			}
			overlaps++
			a, b := s.faults[0], s.faults[1]
			require.NotEqual(t, a.target, b.target, "they break the same thing")
			require.False(t, a.fault.Alone || b.fault.Alone)
			require.True(t, b.after >= 0 && b.after <= a.lasts, "they do not overlap")
		}
		require.Len(t, order, n)
		for round := range slices.Chunk(order, kinds) {
			slices.Sort(round)
			require.Len(t, slices.Compact(round), min(kinds, len(round)), "seed %d", seed)
		}
	}
	require.InDelta(t, 200*n*overlapping/100, overlaps, 200*n*0.05, "how many overlap")
	require.Greater(t, elsewhere, 1000, "all targets come")
}

func TestShortScheduleKeepsWhatMustCome(t *testing.T) {
	t.Parallel()
	others := make(map[string]bool)
	for seed := range uint64(100) {
		var kinds []string
		for _, s := range schedule(seed, sample(40), 5, []string{"kind-7", "kind-30"}) {
			for _, p := range s.faults {
				kinds = append(kinds, p.fault.Kind)
				others[p.fault.Kind] = true
			}
		}
		require.Len(t, kinds, 5)
		require.Contains(t, kinds, "kind-7")
		require.Contains(t, kinds, "kind-30")
	}
	require.Len(t, others, 40, "the rest is drawn from all")
}
