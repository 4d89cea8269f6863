package rediscache_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/rediscache/rediscachetest"
)

// listening is what one subscription was told.
type listening struct {
	t     *testing.T
	ended chan error
	end   context.CancelFunc

	mu     sync.Mutex
	server string
	heard  map[customer.ID]customer.Version
	proof  time.Time
}

func (l *listening) Connected(server string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.server = server
}

func (l *listening) Changed(id customer.ID, v customer.Version) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.heard[id] = v
}

func (l *listening) Heard(asOf time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.proof = asOf
}

func (l *listening) version(id customer.ID) customer.Version {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.heard[id]
}

func (l *listening) proven() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.proof
}

func (l *listening) until(id customer.ID, v customer.Version) {
	l.t.Helper()
	require.Eventually(l.t, func() bool { return l.version(id) >= v }, patience, time.Millisecond)
}

func (l *listening) untilEnded(within time.Duration) error {
	l.t.Helper()
	select {
	case err := <-l.ended:
		return err
	case <-time.After(within):
		l.t.Fatal("the subscription did not end")
		return nil
	}
}

// listen returns once the subscription stands.
func (c *cache) listen() *listening {
	c.t.Helper()
	ctx, cancel := context.WithCancel(c.t.Context())
	l := &listening{t: c.t, ended: make(chan error, 1), end: cancel, heard: map[customer.ID]customer.Version{}}
	go func() { l.ended <- c.reader.Listen(ctx, l) }()
	c.t.Cleanup(cancel)
	require.Eventually(c.t, func() bool { return !l.proven().IsZero() }, patience, time.Millisecond)
	require.Equal(c.t, c.state.RunID, l.server)
	return l
}

func TestAnnouncementsReachListeners(t *testing.T) {
	t.Parallel()
	c := shared(t)
	l := c.listen()
	id := uuid.Must(uuid.NewV7())
	for v := customer.Version(1); v <= 10; v++ {
		require.NoError(t, c.admin.Publish(t.Context(), c.prefix+":1:changed", "garbage").Err())
		c.store(id, v, customer.StatusActive)
		l.until(id, v)
	}
	l.end()
	require.ErrorIs(t, l.untilEnded(time.Second), context.Canceled)
}

// A proof of a moment comes after everything that was announced before it.
func TestProofsAreInOrder(t *testing.T) {
	t.Parallel()
	c := shared(t)
	l := c.listen()
	id := uuid.Must(uuid.NewV7())
	for v := customer.Version(1); v <= 8; v++ {
		c.store(id, v, customer.StatusActive)
		written := time.Now()
		require.Eventually(t, func() bool { return l.proven().After(written) }, patience, 100*time.Microsecond)
		require.Equal(t, v, l.version(id))
	}
}

// A busy channel does not keep pings from being sent and answered.
func TestProofsComeWhileMuchIsAnnounced(t *testing.T) {
	t.Parallel()
	c := shared(t)
	l := c.listen()
	id := uuid.Must(uuid.NewV7())
	last, longest := l.proven(), time.Duration(0)
	begun := time.Now()
	for v := customer.Version(1); time.Since(begun) < 2*time.Second; v++ {
		c.store(id, v, customer.StatusActive)
		if now := l.proven(); now.After(last) {
			last, longest = now, max(longest, now.Sub(last))
		}
	}
	t.Logf("%s between two proofs at most", longest)
	require.True(t, last.After(begun.Add(time.Second)))
}

func TestListeningEndsWhenSomethingMayBeMissed(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		happens func(s *rediscachetest.Server, c *cache)
		within  time.Duration
	}{
		"killed": {func(s *rediscachetest.Server, _ *cache) { s.Kill() }, 2 * time.Second},
		"cut": {func(s *rediscachetest.Server, _ *cache) {
			require.NoError(t, s.Admin.ClientKillByFilter(context.Background(), "TYPE", "pubsub").Err())
		}, 2 * time.Second},
		"hangs": {func(s *rediscachetest.Server, _ *cache) { s.Pause() }, 6 * time.Second},
		"the projector is elsewhere": {func(_ *rediscachetest.Server, c *cache) {
			c.state.RunID = "elsewhere"
			c.reader.Use(c.state)
		}, 8 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := rediscachetest.Start(t)
			c := newCache(t, s.URL)
			l := c.listen()
			row.happens(s, c)
			require.Error(t, l.untilEnded(row.within))
			proven := l.proven()
			require.Never(t, func() bool { return l.proven() != proven }, 300*time.Millisecond, 10*time.Millisecond)
		})
	}
}
