package rediscache_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/projection"
	"github.com/ebrahem-outlook/customer-service/internal/query"
	"github.com/ebrahem-outlook/customer-service/internal/rediscache"
	"github.com/ebrahem-outlook/customer-service/internal/rediscache/rediscachetest"
)

const patience = 10 * time.Second

type cache struct {
	t      *testing.T
	prefix string
	writer *rediscache.Writer
	reader *rediscache.Reader
	admin  *redis.Client
	state  query.CacheState
}

func shared(t *testing.T) *cache {
	t.Helper()
	url := os.Getenv("REDIS_URL")
	require.NotEmpty(t, url, "REDIS_URL is not set: run make test (or devstack exec)")
	return newCache(t, url)
}

func newCache(t *testing.T, url string) *cache {
	t.Helper()
	c := rediscache.Config{URL: url, Prefix: "test-" + uuid.NewString(), Logger: slog.New(slog.DiscardHandler)}
	w, err := rediscache.NewWriter(c)
	require.NoError(t, err)
	// A shared machine stalls for longer than a healthy Redis may.
	c.Timeout = 2 * time.Second
	if strings.Contains(t.Name(), "Hang") {
		c.Timeout = 100 * time.Millisecond
	}
	r, err := rediscache.NewReader(c)
	require.NoError(t, err)
	o, err := redis.ParseURL(url)
	require.NoError(t, err)
	all := &cache{t: t, prefix: c.Prefix, writer: w, reader: r, admin: redis.NewClient(o)}
	t.Cleanup(func() { _ = w.Close(); _ = r.Close(); _ = all.admin.Close() })
	all.trust(1)
	return all
}

// trust makes the reader use an epoch of the server as it is now.
func (c *cache) trust(epoch int64) {
	c.t.Helper()
	require.Eventually(c.t, func() bool {
		id, err := c.writer.RunID(context.Background())
		c.state = query.CacheState{Epoch: epoch, RunID: id}
		return err == nil
	}, patience, 10*time.Millisecond)
	c.reader.Use(c.state)
}

// store has the cache hold a customer who was read before, as it is now.
func (c *cache) store(id customer.ID, v customer.Version, status customer.Status) {
	c.t.Helper()
	c.known(c.admin, id)
	e := query.Entry{Version: v, Status: status}
	if e.Live() {
		e.Body = fmt.Appendf(nil, `{"version":%d}`, v)
	}
	require.NoError(c.t, c.writer.Store(c.t.Context(), c.state, []projection.CacheEntry{{CustomerID: id, Entry: e}}))
}

// known has a server hold something of a customer that is older than any version.
func (c *cache) known(server *redis.Client, id customer.ID) {
	c.t.Helper()
	require.NoError(c.t, server.SetNX(c.t.Context(), c.key(id), "1:0:", time.Minute).Err())
}

func (c *cache) tryStore(id customer.ID, v customer.Version) error {
	return c.writer.Store(c.t.Context(), c.state, []projection.CacheEntry{{CustomerID: id, Entry: live(v)}})
}

func (c *cache) version(id customer.ID) customer.Version {
	e, _ := c.reader.Get(c.t.Context(), id)
	return e.Version
}

func (c *cache) key(id customer.ID) string {
	return fmt.Sprintf("%s:1:%d:{%s}", c.prefix, c.state.Epoch, id)
}

func live(v customer.Version) query.Entry {
	return query.Entry{Version: v, Status: customer.StatusActive, Body: []byte(`{}`)}
}

func TestEntriesComeBackAsTheyWere(t *testing.T) {
	t.Parallel()
	c := shared(t)
	for _, status := range []customer.Status{
		customer.StatusActive, customer.StatusSuspended, customer.StatusDeleted, customer.StatusErased,
	} {
		id := uuid.Must(uuid.NewV7())
		c.store(id, 3, status)
		e, ok := c.reader.Get(t.Context(), id)
		require.True(t, ok)
		require.Equal(t, status, e.Status)
		require.Equal(t, customer.Version(3), e.Version)
		require.Equal(t, e.Live(), len(e.Body) > 0)
		ttl, err := c.admin.PTTL(t.Context(), c.key(id)).Result()
		require.NoError(t, err)
		require.InDelta(t, time.Hour, ttl, float64(13*time.Minute))
	}
}

func TestOlderNeverReplacesNewer(t *testing.T) {
	t.Parallel()
	c := shared(t)
	id := uuid.Must(uuid.NewV7())
	c.store(id, 10, customer.StatusActive)
	c.store(id, 9, customer.StatusActive)
	require.Equal(t, customer.Version(10), c.version(id), "9 is more than 10 only as text")
	c.store(id, 9, customer.StatusErased)
	require.Equal(t, customer.Version(10), c.version(id))
	c.store(id, 10, customer.StatusErased)
	e, _ := c.reader.Get(t.Context(), id)
	require.Equal(t, customer.StatusErased, e.Status, "a tombstone goes over its own version")
	c.store(id, 10, customer.StatusActive)
	e, _ = c.reader.Get(t.Context(), id)
	require.Equal(t, customer.StatusErased, e.Status)
}

// Whoever writes what was forgotten may be late, however long.
func TestNothingIsWrittenWhereNothingIs(t *testing.T) {
	t.Parallel()
	c := shared(t)
	id := uuid.Must(uuid.NewV7())
	listening := c.listen()
	require.NoError(t, c.tryStore(id, 3))
	listening.until(id, 3)
	require.Zero(t, c.admin.Exists(t.Context(), c.key(id)).Val())
	c.store(id, 5, customer.StatusActive)
	require.Equal(t, customer.Version(5), c.version(id))
	require.NoError(t, c.admin.Del(t.Context(), c.key(id)).Err()) // evicted
	require.NoError(t, c.tryStore(id, 4))
	require.Zero(t, c.admin.Exists(t.Context(), c.key(id)).Val())
}

// Whoever fills may have read before a commit or after it.
func TestALeaseIsToldWhatWasCommitted(t *testing.T) {
	t.Parallel()
	c := shared(t)
	for _, told := range []struct{ stored, filled, kept customer.Version }{
		{stored: 6, filled: 5, kept: 0}, {stored: 6, filled: 6, kept: 6}, {stored: 6, filled: 7, kept: 7},
	} {
		id := uuid.Must(uuid.NewV7())
		lease := c.reader.Lease(t.Context(), id)
		require.NotEmpty(t, lease)
		require.NoError(t, c.admin.PExpire(t.Context(), c.key(id), 3*time.Second).Err())
		require.NoError(t, c.tryStore(id, told.stored))
		require.NoError(t, c.tryStore(id, told.stored-1)) // late
		require.Zero(t, c.version(id))
		require.Empty(t, c.reader.Lease(t.Context(), id), "it is still somebody's")
		ttl := c.admin.PTTL(t.Context(), c.key(id)).Val()
		require.Positive(t, ttl)
		require.LessOrEqual(t, ttl, 3*time.Second, "it ends when it would have")
		c.reader.Fill(t.Context(), id, lease, live(told.filled))
		require.Equal(t, told.kept, c.version(id), "%+v", told)
	}
}

func TestAReleasedLeaseIsFree(t *testing.T) {
	t.Parallel()
	c := shared(t)
	id := uuid.Must(uuid.NewV7())
	first := c.reader.Lease(t.Context(), id)
	require.NoError(t, c.tryStore(id, 1))
	c.reader.Release(t.Context(), id, first)
	second := c.reader.Lease(t.Context(), id)
	require.NotEmpty(t, second)
	c.reader.Release(t.Context(), id, first)
	c.reader.Fill(t.Context(), id, first, live(1))
	require.Zero(t, c.version(id), "not theirs")
	c.reader.Fill(t.Context(), id, second, live(1))
	require.Equal(t, customer.Version(1), c.version(id))
}

func TestATombstoneEndsALease(t *testing.T) {
	t.Parallel()
	c := shared(t)
	id := uuid.Must(uuid.NewV7())
	lease := c.reader.Lease(t.Context(), id)
	require.NotEmpty(t, lease)
	gone := projection.CacheEntry{CustomerID: id, Entry: query.Entry{Version: 6, Status: customer.StatusErased}}
	require.NoError(t, c.writer.Store(t.Context(), c.state, []projection.CacheEntry{gone}))
	c.reader.Fill(t.Context(), id, lease, live(6))
	require.Zero(t, c.version(id), "values at the very version at which they were let go")
}

func TestForeignValuesAreMissesAndGetReplaced(t *testing.T) {
	t.Parallel()
	c := shared(t)
	other := uuid.Must(uuid.NewV7())
	c.store(other, 7, customer.StatusActive)
	stolen, err := c.admin.Get(t.Context(), c.key(other)).Result()
	require.NoError(t, err)
	for name, put := range map[string]func(key string) error{
		"garbage":         func(k string) error { return c.admin.Set(t.Context(), k, "\x00garbage", 0).Err() },
		"empty":           func(k string) error { return c.admin.Set(t.Context(), k, "", 0).Err() },
		"another's value": func(k string) error { return c.admin.Set(t.Context(), k, stolen, 0).Err() },
		"cut":             func(k string) error { return c.admin.Set(t.Context(), k, stolen[:len(stolen)-1], 0).Err() },
		"another type":    func(k string) error { return c.admin.LPush(t.Context(), k, "x").Err() },
		"another version's": func(k string) error {
			return c.admin.Set(t.Context(), k, strings.Replace(stolen, "1:7:", "1:8:", 1), 0).Err()
		},
		"what looks like a lease": func(k string) error { return c.admin.Set(t.Context(), k, "L:abc", 0).Err() },
		"no lease at all":         func(k string) error { return c.admin.Set(t.Context(), k, "L:foo bar", time.Hour).Err() },
		"a huge value":            func(k string) error { return c.admin.Set(t.Context(), k, stolen+strings.Repeat("x", 8<<20), 0).Err() },
		"a huge version":          func(k string) error { return c.admin.Set(t.Context(), k, "1:999999999:a:00000000:{}", 0).Err() },
	} {
		id := uuid.Must(uuid.NewV7())
		require.NoError(t, put(c.key(id)), name)
		_, ok := c.reader.Get(t.Context(), id)
		require.False(t, ok, name)
		lease := c.reader.Lease(t.Context(), id)
		require.NotEmpty(t, lease, name)
		c.reader.Fill(t.Context(), id, lease, live(2))
		require.Equal(t, customer.Version(2), c.version(id), name)
		if name == "a huge version" {
			continue // only its reader can tell
		}
		require.NoError(t, c.admin.Del(t.Context(), c.key(id)).Err())
		require.NoError(t, put(c.key(id)), name)
		require.NoError(t, c.tryStore(id, 9), name)
		require.True(t, c.version(id) == 9 || c.reader.Lease(t.Context(), id) != "", "%s: it is in nobody's way after a write either", name)
	}
}

func TestFillNeedsTheLeaseItTook(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(c *cache, id customer.ID){
		"newer value": func(c *cache, id customer.ID) { c.store(id, 6, customer.StatusActive) },
		// What a flush, an eviction and an expiry have in common.
		"newer value forgotten": func(c *cache, id customer.ID) {
			c.store(id, 6, customer.StatusActive)
			require.NoError(c.t, c.admin.Del(c.t.Context(), c.key(id)).Err())
		},
		"newer value forgotten, leased anew": func(c *cache, id customer.ID) {
			c.store(id, 6, customer.StatusActive)
			require.NoError(c.t, c.admin.Del(c.t.Context(), c.key(id)).Err())
			require.NotEmpty(c.t, c.reader.Lease(c.t.Context(), id))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := shared(t)
			id := uuid.Must(uuid.NewV7())
			lease := c.reader.Lease(t.Context(), id)
			require.NotEmpty(t, lease)
			require.Empty(t, c.reader.Lease(t.Context(), id), "one fill per key at a time")
			lose(c, id)
			c.reader.Fill(t.Context(), id, lease, live(5))
			require.NotEqual(t, customer.Version(5), c.version(id))
		})
	}
}

func TestNothingIsTrustedOfAServerThatCameBack(t *testing.T) {
	t.Parallel()
	s := rediscachetest.Start(t)
	c := newCache(t, s.URL)
	id := uuid.Must(uuid.NewV7())
	c.store(id, 3, customer.StatusActive)
	s.Save()
	c.store(id, 4, customer.StatusActive)
	require.Equal(t, customer.Version(4), c.version(id))
	s.Kill()
	s.Run() // with version 3
	require.Never(t, func() bool { return c.version(id) != 0 }, time.Second, 10*time.Millisecond)
	before := c.key(id)
	c.trust(2)
	require.Zero(t, c.version(id))
	c.store(id, 5, customer.StatusActive)
	require.Eventually(t, func() bool { return c.version(id) == 5 }, patience, 10*time.Millisecond)
	require.NoError(t, c.writer.Sweep(t.Context(), 2))
	n, err := c.admin.Exists(t.Context(), before).Result()
	require.NoError(t, err)
	require.Zero(t, n, "what nobody may read any more does not stay")
	require.Equal(t, customer.Version(5), c.version(id))
}

// A hanging Redis costs a handful of timeouts, then nothing, and is found again.
func TestHangingServerCostsLittle(t *testing.T) {
	t.Parallel()
	s := rediscachetest.Start(t)
	c := newCache(t, s.URL)
	id := uuid.Must(uuid.NewV7())
	c.store(id, 1, customer.StatusActive)
	require.Equal(t, customer.Version(1), c.version(id))
	s.Pause()
	begun := time.Now()
	for range 1000 {
		_, ok := c.reader.Get(t.Context(), id)
		require.False(t, ok)
	}
	require.Less(t, time.Since(begun), 2*time.Second)
	s.Resume()
	require.Eventually(t, func() bool { return c.version(id) == 1 }, 5*time.Second, 20*time.Millisecond)
}

func TestServerThatRefusesWritesIsReported(t *testing.T) {
	t.Parallel()
	s := rediscachetest.Start(t)
	c := newCache(t, s.URL)
	id := uuid.Must(uuid.NewV7())
	c.known(c.admin, id)
	require.NoError(t, s.Admin.ConfigSet(t.Context(), "maxmemory", "1").Err())
	_, err := c.writer.RunID(t.Context())
	require.Error(t, err)
	require.Error(t, c.tryStore(id, 1))
}

func TestScriptsSurviveBeingForgotten(t *testing.T) {
	t.Parallel()
	s := rediscachetest.Start(t)
	c := newCache(t, s.URL)
	for v := range customer.Version(3) {
		require.NoError(t, s.Admin.ScriptFlush(t.Context()).Err())
		id := uuid.Must(uuid.NewV7())
		c.store(id, v+1, customer.StatusActive)
		require.NoError(t, s.Admin.ScriptFlush(t.Context()).Err())
		require.NotEmpty(t, c.reader.Lease(t.Context(), uuid.New()))
	}
}

func TestConfigurationFaultsAreReportedTogether(t *testing.T) {
	t.Parallel()
	_, err := rediscache.NewReader(rediscache.Config{URL: "::secret::", Prefix: "a*b", TTL: -1})
	require.Error(t, err)
	require.NotContains(t, err.Error(), "secret")
	require.Equal(t, 4, len(strings.Split(err.Error(), "\n")))
}
