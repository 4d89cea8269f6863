package query_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/query"
	"github.com/ebrahem-outlook/customer-service/internal/rediscache/rediscachetest"
)

// hot reads id until it is answered from memory, and fails if it never is.
func (w *world) hot(id customer.ID) {
	w.t.Helper()
	require.Eventually(w.t, func() bool {
		_, before := w.read(id)
		return before
	}, patience, time.Millisecond, "never answered from memory")
}

// read answers the version read without a token, and whether it was in memory.
func (w *world) read(id customer.ID) (customer.Version, bool) {
	w.t.Helper()
	asked := w.cache.gets.Load() + w.reads.entries.Load()
	e, err := w.service.Get(context.Background(), id, nil, 0)
	if err != nil {
		require.True(w.t, e.Version > 0, "%v", err)
	}
	return e.Version, asked == w.cache.gets.Load()+w.reads.entries.Load()
}

func TestHotReadsStayInTheProcess(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sharedRedis(t), query.Config{})
	w.trust()
	id := uuid.New()
	w.put(id, 1, customer.StatusActive)
	w.hot(id)
	local := 0
	for range 1000 {
		if _, ok := w.read(id); ok {
			local++
		}
	}
	require.Greater(t, local, 900, "a busy machine may lack proof for a moment")
}

// What is in memory follows what is announced: within milliseconds, tombstones
// over their own version included.
func TestChangesReachMemory(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sharedRedis(t), query.Config{})
	w.trust()
	id := uuid.New()
	w.put(id, 1, customer.StatusActive)
	var took []time.Duration
	for v := customer.Version(2); v <= 40; v++ {
		w.hot(id)
		w.put(id, v, customer.StatusActive)
		written := time.Now()
		require.Eventually(t, func() bool { got, _ := w.read(id); return got == v }, patience, 100*time.Microsecond)
		took = append(took, time.Since(written))
	}
	slices.Sort(took)
	t.Logf("a change is read without a token %s after its write, %s at most", took[len(took)/2], took[len(took)-1])
	for _, status := range []customer.Status{customer.StatusDeleted, customer.StatusErased} {
		w.hot(id)
		w.put(id, 41, status) // the second time over its own version
		require.Eventually(t, func() bool {
			e, _ := w.service.Get(t.Context(), id, nil, 0)
			return e.Status == status && e.Body == nil
		}, patience, time.Millisecond)
	}
}

func TestTokensPassMemoryBy(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sharedRedis(t), query.Config{})
	w.trust()
	id := uuid.New()
	w.put(id, 1, customer.StatusActive)
	w.hot(id)
	// Committed, and not announced yet.
	_, err := w.owner.Exec(t.Context(), `UPDATE readmodel.documents SET version = 2 WHERE customer_id = $1`, id)
	require.NoError(t, err)
	e, err := w.service.Get(t.Context(), id, token(id, 2), 0)
	require.NoError(t, err)
	require.Equal(t, customer.Version(2), e.Version)
	again, _ := w.read(id)
	require.Equal(t, customer.Version(2), again, "what was kept is newer than what Redis has")
}

// A Redis that stops answering without ending connections costs tokenless reads
// a second of freshness; then memory is not used.
func TestMemoryIsNotTrustedWithoutProof(t *testing.T) {
	t.Parallel()
	s := rediscachetest.Start(t)
	w := newWorldWith(t, s.URL, 100*time.Millisecond, query.Config{})
	w.trust()
	id := uuid.New()
	w.put(id, 1, customer.StatusActive)
	for range 3 {
		w.hot(id)
		s.Pause()
		paused := time.Now()
		_, err := w.owner.Exec(t.Context(), `UPDATE readmodel.documents SET version = version + 1 WHERE customer_id = $1`, id)
		require.NoError(t, err)
		was, _ := w.read(id)
		for got := was; got == was; got, _ = w.read(id) {
		}
		stale := time.Since(paused)
		t.Logf("read from the read model %s after Redis stopped answering", stale)
		// A second, what the read that asked Redis first waited for it, and a busy machine.
		require.Less(t, stale, 2*time.Second)
		for range 100 {
			got, local := w.read(id)
			require.False(t, local)
			require.Equal(t, was+1, got)
		}
		s.Resume()
		w.put(id, was+2, customer.StatusActive)
		require.Eventually(t, func() bool { got, _ := w.read(id); return got == was+2 }, patience, time.Millisecond)
	}
}

// A subscription that was cut off has missed what was announced meanwhile.
func TestMemoryIsDroppedWithTheSubscription(t *testing.T) {
	t.Parallel()
	s := rediscachetest.Start(t)
	w := newWorld(t, s.URL, query.Config{})
	w.trust()
	id := uuid.New()
	for v := customer.Version(1); v < 10; v += 2 {
		w.put(id, v, customer.StatusActive)
		w.hot(id)
		require.NoError(t, s.Admin.ClientKillByFilter(t.Context(), "TYPE", "pubsub").Err())
		w.put(id, v+1, customer.StatusActive)
		require.Eventually(t, func() bool { got, _ := w.read(id); return got == v+1 }, time.Second, time.Millisecond)
	}
}

func TestMemoryFollowsTheEpoch(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sharedRedis(t), query.Config{Refresh: 10 * time.Millisecond})
	w.trust()
	id := uuid.New()
	w.put(id, 1, customer.StatusActive)
	w.hot(id)
	// A rebuild renders documents anew under the versions they have.
	_, err := w.owner.Exec(t.Context(), `UPDATE readmodel.documents SET document = '{"rebuilt":true}' WHERE customer_id = $1`, id)
	require.NoError(t, err)
	w.trust()
	require.Eventually(t, func() bool {
		e, err := w.service.Get(t.Context(), id, nil, 0)
		return err == nil && string(e.Body) == `{"rebuilt":true}`
	}, patience, time.Millisecond)
	w.hot(id)
	require.NoError(t, w.store.Suspend(t.Context()))
	require.Eventually(t, func() bool { _, local := w.read(id); return !local }, patience, time.Millisecond)
	for range 100 {
		_, local := w.read(id)
		require.False(t, local)
	}
}

func TestFlushedRedisLeavesMemoryRight(t *testing.T) {
	t.Parallel()
	s := rediscachetest.Start(t)
	w := newWorld(t, s.URL, query.Config{})
	w.trust()
	id := uuid.New()
	w.put(id, 1, customer.StatusActive)
	w.hot(id)
	require.NoError(t, s.Admin.FlushAll(t.Context()).Err())
	_, local := w.read(id)
	require.True(t, local, "what was forgotten has not changed")
	w.put(id, 2, customer.StatusActive)
	require.Eventually(t, func() bool { got, _ := w.read(id); return got == 2 }, patience, time.Millisecond)
	// Whoever announces what is not so makes it be asked for, and no more.
	w.hot(id)
	channels, err := s.Admin.PubSubChannels(t.Context(), "*").Result()
	require.NoError(t, err)
	require.Len(t, channels, 1)
	for _, garbage := range []string{"", "x", id.String(), id.String() + ":999", id.String() + ":-1"} {
		require.NoError(t, s.Admin.Publish(t.Context(), channels[0], garbage).Err())
	}
	w.hot(id)
	got, _ := w.read(id)
	require.Equal(t, customer.Version(2), got)
}
