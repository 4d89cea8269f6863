package workload

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestIntentsFollowFromSeedAndClientAlone(t *testing.T) {
	t.Parallel()
	draw := func(seed uint64, client int) []intent {
		d := newIntents(seed, client)
		all := make([]intent, 2000)
		for i := range all {
			all[i] = d.next()
		}
		return all
	}
	one := draw(7, 3)
	require.Equal(t, one, draw(7, 3))
	require.NotEqual(t, one, draw(7, 4))
	require.NotEqual(t, one, draw(8, 3))

	var met [actions]int
	impatient, reading := 0, 0
	for _, in := range one {
		met[in.action]++
		require.GreaterOrEqual(t, in.patience, time.Duration(0))
		require.Less(t, in.patience, maxPatience)
		if in.patience == 0 {
			impatient++
		}
		if in.readBack {
			reading++
		}
	}
	for a, n := range met {
		require.Positive(t, n, "action %d is never drawn", a)
	}
	require.InDelta(t, 250, impatient, 60)
	require.InDelta(t, 500, reading, 80)
}

func TestOpsAreSpacedOut(t *testing.T) {
	t.Parallel()
	p := newPace(100)
	now := time.Now()
	require.LessOrEqual(t, p.reserve(now, 1), time.Duration(0), "what was not used may be caught up with")
	for range 10 {
		p.reserve(now, 1)
	}
	require.InDelta(t, 10*time.Millisecond, p.reserve(now, 20), 1e6)
	require.InDelta(t, 210*time.Millisecond, p.reserve(now, 1), 1e6, "many ops take as many places")
	later := now.Add(time.Hour)
	require.Equal(t, -burst, p.reserve(later, 1), "an idle hour is no credit for an hour")
}
