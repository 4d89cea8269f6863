package rediscache_test

import (
	"context"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/rediscache/rediscachetest"
)

// address is one address that leads to one server or another, as a virtual
// address, a name or a proxy does after a failover: connections that stand stay
// where they are.
type address struct {
	URL string

	to atomic.Pointer[string]
	mu sync.Mutex
	up []net.Conn
}

func newAddress(t *testing.T, to *rediscachetest.Server) *address {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	a := &address{URL: "redis://" + l.Addr().String() + "/0"}
	a.lead(to)
	t.Cleanup(func() { _ = l.Close(); a.cut() })
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", *a.to.Load())
			if err != nil {
				_ = client.Close()
				continue
			}
			a.mu.Lock()
			a.up = append(a.up, client, server)
			a.mu.Unlock()
			for _, pair := range [][2]net.Conn{{client, server}, {server, client}} {
				go func() {
					_, _ = io.Copy(pair[0], pair[1])
					_ = pair[0].Close()
				}()
			}
		}
	}()
	return a
}

func (a *address) lead(to *rediscachetest.Server) {
	host := strings.TrimSuffix(strings.TrimPrefix(to.URL, "redis://"), "/0")
	a.to.Store(&host)
}

// cut ends the connections that stand, but for those that keep are.
func (a *address) cut() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, c := range a.up {
		_ = c.Close()
	}
	a.up = nil
}

// After a failover the old server may live on, with connections to it that
// nobody ended. What was written to it must not be taken for written, and what
// it has must not be read.
func TestConnectionsAreToOneServer(t *testing.T) {
	t.Parallel()
	old, next := rediscachetest.Start(t), rediscachetest.Start(t)
	a := newAddress(t, old)
	c := newCache(t, a.URL)
	id := uuid.Must(uuid.NewV7())
	c.store(id, 1, customer.StatusActive)
	require.Equal(t, customer.Version(1), c.version(id))
	was := c.state

	a.lead(next)
	c.store(id, 2, customer.StatusActive)
	require.Equal(t, customer.Version(2), c.version(id), "the old one, as long as nobody is elsewhere")

	// Many at once need more connections than there are: some lead to the next.
	var together sync.WaitGroup
	var stale atomic.Int64
	for range 64 {
		together.Go(func() {
			for range 20 {
				if e, ok := c.reader.Get(context.Background(), id); ok && e.Version != 2 {
					stale.Add(1)
				}
			}
		})
	}
	together.Wait()
	require.Zero(t, stale.Load())

	// The projector's old connections break; it begins an epoch on the next.
	a.cut()
	require.Eventually(t, func() bool { c.trust(2); return c.state.RunID != was.RunID }, patience, 10*time.Millisecond)
	c.store(id, 3, customer.StatusActive)
	require.Eventually(t, func() bool { c.reader.Use(c.state); return c.version(id) == 3 }, patience, 10*time.Millisecond)
	e := c.state
	c.state = was
	require.Error(t, c.tryStore(id, 4), "an epoch of another server")
	c.state = e
}

// A reader whose connections lead to a server that the projector has left does
// without, and finds the other by itself, though nothing breaks.
func TestReadersFollowTheProjectorToAnotherServer(t *testing.T) {
	t.Parallel()
	old, next := rediscachetest.Start(t), rediscachetest.Start(t)
	a := newAddress(t, old)
	c := newCache(t, a.URL)
	id := uuid.Must(uuid.NewV7())
	c.store(id, 1, customer.StatusActive)
	require.Equal(t, customer.Version(1), c.version(id))
	a.lead(next)
	// The old one takes no more writes, which is what demoted servers do.
	host, port, _ := strings.Cut(*a.to.Load(), ":")
	require.NoError(t, old.Admin.ReplicaOf(t.Context(), host, port).Err())
	require.Eventually(t, func() bool {
		_, err := c.writer.RunID(t.Context())
		return err == nil
	}, patience, 10*time.Millisecond, "the projector does not leave a server that refuses writes")
	c.trust(2)
	c.known(next.Admin, id)
	require.NoError(t, c.tryStore(id, 2))
	require.Eventually(t, func() bool {
		c.reader.Use(c.state)
		return c.version(id) == 2
	}, patience, 10*time.Millisecond)
}

// What a demoted server is promoted to again is another data set.
func TestPromotionIsAnotherServer(t *testing.T) {
	t.Parallel()
	s, main := rediscachetest.Start(t), rediscachetest.Start(t)
	c := newCache(t, s.URL)
	id := uuid.Must(uuid.NewV7())
	c.store(id, 1, customer.StatusActive)
	host, port, _ := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(main.URL, "redis://"), "/0"), ":")
	require.NoError(t, s.Admin.ReplicaOf(t.Context(), host, port).Err())
	require.NoError(t, s.Admin.ReplicaOf(t.Context(), "NO", "ONE").Err())
	var now string
	require.Eventually(t, func() bool {
		var err error
		now, err = c.writer.RunID(t.Context())
		return err == nil
	}, patience, 10*time.Millisecond)
	require.NotEqual(t, c.state.RunID, now)
	require.Error(t, func() error { c.state.RunID = "elsewhere"; return c.tryStore(id, 2) }())
}

// A server without room still forgets, so that nothing in it is older than what
// it was last told.
func TestFullServerForgetsWhatItCannotReplace(t *testing.T) {
	t.Parallel()
	s := rediscachetest.Start(t)
	c := newCache(t, s.URL)
	listening := c.listen()
	id := uuid.Must(uuid.NewV7())
	c.store(id, 1, customer.StatusActive)
	require.NoError(t, s.Admin.ConfigSet(t.Context(), "maxmemory-policy", "noeviction").Err())
	require.NoError(t, s.Admin.ConfigSet(t.Context(), "maxmemory", "1").Err())
	require.Equal(t, customer.Version(1), c.version(id))
	require.Error(t, c.tryStore(id, 2), "which is how it is known to be full")
	require.Zero(t, c.version(id))
	require.Empty(t, c.reader.Lease(t.Context(), id))
	listening.until(id, 2)
	require.NoError(t, s.Admin.ConfigSet(t.Context(), "maxmemory", "0").Err())
	require.Eventually(t, func() bool {
		c.reader.Fill(t.Context(), id, c.reader.Lease(t.Context(), id), live(2))
		return c.version(id) == 2
	}, patience, 10*time.Millisecond)
}
