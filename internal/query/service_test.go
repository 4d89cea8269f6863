package query_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
	"github.com/ebrahem-outlook/customer-service/internal/postgres"
	"github.com/ebrahem-outlook/customer-service/internal/postgres/postgrestest"
	"github.com/ebrahem-outlook/customer-service/internal/projection"
	"github.com/ebrahem-outlook/customer-service/internal/query"
	"github.com/ebrahem-outlook/customer-service/internal/rediscache"
	"github.com/ebrahem-outlook/customer-service/internal/rediscache/rediscachetest"
)

const patience = 15 * time.Second

// counting counts what the read model is asked.
type counting struct {
	query.Reader
	entries, polls atomic.Int64
}

func (c *counting) Entry(ctx context.Context, id customer.ID) (query.Entry, error) {
	c.entries.Add(1)
	return c.Reader.Entry(ctx, id)
}

func (c *counting) Versions(ctx context.Context, ids []customer.ID) (map[customer.ID]customer.Version, error) {
	c.polls.Add(1)
	return c.Reader.Versions(ctx, ids)
}

// countingCache counts what Redis is asked.
type countingCache struct {
	query.Cache
	gets atomic.Int64
}

func (c *countingCache) Get(ctx context.Context, id customer.ID) (query.Entry, bool) {
	c.gets.Add(1)
	return c.Cache.Get(ctx, id)
}

type world struct {
	t       testing.TB
	owner   *pgxpool.Pool
	pool    *pgxpool.Pool
	reads   *counting
	cache   *countingCache
	store   *postgres.ReadModel
	writer  *rediscache.Writer
	reader  *rediscache.Reader
	service *query.Service
}

// newWorld is a started service; without a URL its Redis does not exist.
func newWorld(t *testing.T, redisURL string, c query.Config) *world {
	t.Helper()
	// A shared machine stalls for longer than a healthy Redis may.
	return newWorldWith(t, redisURL, time.Second, c)
}

func newWorldWith(t testing.TB, redisURL string, timeout time.Duration, c query.Config) *world {
	t.Helper()
	db := postgrestest.ReadModel(t)
	w := &world{t: t, owner: db.Pool(t, ""), pool: db.Pool(t, postgres.RoleQuery)}
	w.reads = &counting{Reader: postgres.NewReadModelReader(w.pool)}
	w.store = postgres.NewReadModel(w.owner, eventlog.DefaultLanes)
	if redisURL == "" {
		redisURL = "redis://127.0.0.1:1/0"
	}
	cc := rediscache.Config{URL: redisURL, Prefix: "test-" + uuid.NewString(), Timeout: timeout, Logger: slog.New(slog.DiscardHandler)}
	var err error
	w.writer, err = rediscache.NewWriter(cc)
	require.NoError(t, err)
	w.reader, err = rediscache.NewReader(cc)
	require.NoError(t, err)
	t.Cleanup(func() { _ = w.writer.Close(); _ = w.reader.Close() })
	w.cache = &countingCache{Cache: w.reader}
	w.service, err = query.New(w.reads, w.cache, w.reader, slog.New(slog.DiscardHandler), c)
	require.NoError(t, err)
	require.NoError(t, w.service.Start(t.Context()))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		require.NoError(t, w.service.Stop(ctx))
	})
	return w
}

func sharedRedis(t testing.TB) string {
	t.Helper()
	url := os.Getenv("REDIS_URL")
	require.NotEmpty(t, url, "REDIS_URL is not set: run make test (or devstack exec)")
	return url
}

// trust lets the service use the cache.
func (w *world) trust() {
	w.t.Helper()
	was, err := w.store.State(w.t.Context())
	require.NoError(w.t, err)
	id, err := w.writer.RunID(w.t.Context())
	require.NoError(w.t, err)
	now, err := w.store.Renew(w.t.Context(), was, id)
	require.NoError(w.t, err)
	// No projector is there to say that it lives.
	_, err = w.owner.Exec(w.t.Context(), `
		INSERT INTO readmodel.heartbeat (at, head, lanes) VALUES (now() + interval '1 hour', 0, '[]') ON CONFLICT (one) DO UPDATE SET at = excluded.at`)
	require.NoError(w.t, err)
	w.reader.Use(now)
}

// put is what a projector does: the read model first, then the cache.
func (w *world) put(id customer.ID, v customer.Version, status customer.Status) {
	w.t.Helper()
	require.NoError(w.t, w.tryPut(v, status, id))
}

func (w *world) tryPut(v customer.Version, status customer.Status, ids ...customer.ID) error {
	ctx := context.Background()
	entries := make([]projection.CacheEntry, len(ids))
	bodies := make([]string, len(ids))
	for i, id := range ids {
		e, err := projection.Row{Data: customer.Data{ID: id, Version: v, Status: status, Email: "ada@example.com"}}.Entry()
		if err != nil {
			return err
		}
		entries[i], bodies[i] = projection.CacheEntry{CustomerID: id, Entry: e}, "{}"
		if e.Live() {
			bodies[i] = string(e.Body)
		}
	}
	_, err := w.owner.Exec(ctx, `
		INSERT INTO readmodel.documents AS d (customer_id, version, position, slot, status, document, created_at, updated_at)
		SELECT id, $3, 1, 0, $4, body::json, now(), now() FROM unnest($1::uuid[], $2::text[]) u (id, body)
		ON CONFLICT (customer_id) DO UPDATE SET version = $3, status = $4, document = excluded.document`,
		ids, bodies, int64(v), string(status))
	if err != nil {
		return err
	}
	if state, err := w.store.State(ctx); err == nil && state.RunID != "" {
		_ = w.writer.Store(ctx, state, entries)
	}
	return nil
}

func token(id customer.ID, v customer.Version) []eventlog.Token {
	return []eventlog.Token{{CustomerID: id, Version: v}}
}

func TestGetAnswersEveryState(t *testing.T) {
	t.Parallel()
	for name, redis := range map[string]string{"with Redis": sharedRedis(t), "without": ""} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, redis, query.Config{})
			if redis != "" {
				w.trust()
			}
			for status, want := range map[customer.Status]error{
				customer.StatusActive: nil, customer.StatusSuspended: nil,
				customer.StatusDeleted: query.ErrDeleted, customer.StatusErased: query.ErrErased,
			} {
				id := uuid.New()
				_, err := w.service.Get(t.Context(), id, nil, 0)
				require.ErrorIs(t, err, query.ErrNotFound)
				w.put(id, 3, status) // right after: nothing was remembered of what was not there
				for range 2 {
					e, err := w.service.Get(t.Context(), id, token(id, 3), 0)
					require.ErrorIs(t, err, want)
					require.Equal(t, customer.Version(3), e.Version)
					require.Equal(t, want == nil, len(e.Body) > 0)
				}
			}
		})
	}
}

func TestOneFillPerKeyAtATime(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sharedRedis(t), query.Config{})
	id := uuid.New()
	w.put(id, 1, customer.StatusActive)
	w.trust() // an empty epoch
	var g errgroup.Group
	for range 200 {
		g.Go(func() error {
			_, err := w.service.Get(t.Context(), id, nil, 0)
			return err
		})
	}
	require.NoError(t, g.Wait())
	require.Less(t, w.reads.entries.Load(), int64(20))
	require.Eventually(t, func() bool { // a slow machine may have tripped the breaker
		before := w.reads.entries.Load()
		_, err := w.service.Get(t.Context(), id, nil, 0)
		return err == nil && before == w.reads.entries.Load()
	}, patience, 10*time.Millisecond, "answered by the cache")
}

// cached has the cache hold a customer, as its first read does.
func (w *world) cached(id customer.ID, v customer.Version) {
	w.t.Helper()
	w.put(id, v, customer.StatusActive)
	_, err := w.service.Get(w.t.Context(), id, nil, 0)
	require.NoError(w.t, err)
	_, ok := w.reader.Get(w.t.Context(), id)
	require.True(w.t, ok)
}

// Whoever finds nobody, or gives up, leaves nothing that keeps the next one from
// filling.
func TestALeaseEndsWithItsRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sharedRedis(t), query.Config{ReadTimeout: 300 * time.Millisecond})
	w.trust()
	id := uuid.New()
	_, err := w.service.Get(t.Context(), id, nil, 0)
	require.ErrorIs(t, err, query.ErrNotFound)
	lease := w.reader.Lease(t.Context(), id)
	require.NotEmpty(t, lease)
	w.reader.Release(t.Context(), id, lease)

	tx, err := w.owner.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), `LOCK readmodel.documents`)
	require.NoError(t, err)
	_, err = w.service.Get(t.Context(), id, nil, 0)
	require.ErrorIs(t, err, query.ErrUnavailable)
	require.NoError(t, tx.Rollback(t.Context()))
	require.NotEmpty(t, w.reader.Lease(t.Context(), id))
}

// While no projector lives, nobody says that something is missing in the cache.
func TestNothingIsTrustedWithoutAProjector(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sharedRedis(t), query.Config{Refresh: 10 * time.Millisecond})
	w.trust()
	id := uuid.New()
	w.cached(id, 1)
	_, err := w.owner.Exec(t.Context(), `UPDATE readmodel.heartbeat SET at = now() - interval '5 seconds'`)
	require.NoError(t, err)
	reads := func() int64 {
		before := w.reads.entries.Load()
		_, err := w.service.Get(t.Context(), id, nil, 0)
		require.NoError(t, err)
		return w.reads.entries.Load() - before
	}
	require.Eventually(t, func() bool { return reads() == 1 }, patience, 10*time.Millisecond)
	_, err = w.owner.Exec(t.Context(), `UPDATE readmodel.heartbeat SET at = now() + interval '1 hour'`)
	require.NoError(t, err)
	require.Eventually(t, func() bool { return reads() == 0 }, patience, 10*time.Millisecond)
}

func TestCacheBehindATokenIsPassedBy(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sharedRedis(t), query.Config{})
	w.trust()
	id := uuid.New()
	w.cached(id, 1)
	_, err := w.owner.Exec(t.Context(), `UPDATE readmodel.documents SET version = 2 WHERE customer_id = $1`, id)
	require.NoError(t, err)
	e, err := w.service.Get(t.Context(), id, token(id, 2), 0)
	require.NoError(t, err)
	require.Equal(t, customer.Version(2), e.Version)
}

func TestTokenNotReachedIsBehind(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "", query.Config{})
	id, other := uuid.New(), uuid.New()
	w.put(id, 1, customer.StatusActive)
	begun := time.Now()
	for _, tokens := range [][]eventlog.Token{token(id, 2), token(other, 1), append(token(id, 1), token(other, 1)...)} {
		_, err := w.service.Get(t.Context(), id, tokens, 300*time.Millisecond)
		behind := (*query.Behind)(nil)
		require.ErrorAs(t, err, &behind)
		require.GreaterOrEqual(t, behind.RetryAfter, time.Second)
	}
	require.Less(t, time.Since(begun), patience)
	_, err := w.service.Get(t.Context(), id, make([]eventlog.Token, 9), 0)
	require.ErrorIs(t, err, query.ErrTooManyTokens)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = w.service.Get(ctx, id, token(id, 2), time.Second)
	require.ErrorIs(t, err, context.Canceled)
}

// A thousand reads wait for a thousand customers: few polls for all of them,
// with announcements and without.
func TestManyWaitersFewPolls(t *testing.T) {
	t.Parallel()
	for name, redis := range map[string]string{"with Redis": sharedRedis(t), "without": ""} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, redis, query.Config{})
			if redis != "" {
				w.trust()
			}
			const n = 1000
			ids := make([]customer.ID, n)
			var waiting, slowest atomic.Int64
			var written sync.Map
			var g errgroup.Group
			for i := range ids {
				ids[i] = uuid.New()
				tokens := token(ids[i], 2)
				if i > 0 {
					tokens = append(tokens, eventlog.Token{CustomerID: ids[i-1], Version: 2})
				}
				g.Go(func() error {
					waiting.Add(1)
					e, err := w.service.Get(t.Context(), ids[i], tokens, 10*time.Second)
					if err == nil && e.Version < 2 {
						err = fmt.Errorf("version %d", e.Version)
					}
					if at, ok := written.Load(i); ok {
						for late := int64(time.Since(at.(time.Time))); ; {
							if was := slowest.Load(); was >= late || slowest.CompareAndSwap(was, late) {
								break
							}
						}
					}
					return err
				})
			}
			require.Eventually(t, func() bool { return waiting.Load() == n }, patience, time.Millisecond)
			begun := time.Now()
			i := 0
			for some := range slices.Chunk(ids, 50) {
				require.NoError(t, w.tryPut(2, customer.StatusActive, some...))
				for range some {
					written.Store(i, time.Now())
					i++
				}
			}
			require.NoError(t, g.Wait())
			polls, most := w.reads.polls.Load(), 20+int64(time.Since(begun)/(10*time.Millisecond))
			t.Logf("%d polls for %d waiters in %s, slowest answer %s after its write",
				polls, n, time.Since(begun), time.Duration(slowest.Load()))
			require.LessOrEqual(t, polls, most)
		})
	}
}

func TestWaitersAreBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "", query.Config{MaxWaiters: 2})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var g errgroup.Group
	var refused atomic.Int64
	for range 5 {
		g.Go(func() error {
			err := w.service.Await(ctx, token(uuid.New(), 1), 10*time.Second)
			if errors.Is(err, query.ErrOverloaded) && refused.Add(1) == 3 {
				cancel()
			}
			return nil
		})
	}
	require.NoError(t, g.Wait())
	require.Equal(t, int64(3), refused.Load())
	// Those who gave up left their places.
	id := uuid.New()
	w.put(id, 1, customer.StatusActive)
	require.NoError(t, w.service.Await(t.Context(), token(id, 1), time.Second))
}

func TestReadModelDown(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sharedRedis(t), query.Config{ReadTimeout: 500 * time.Millisecond})
	w.trust()
	cached, other := uuid.New(), uuid.New()
	w.put(cached, 1, customer.StatusActive)
	w.put(other, 1, customer.StatusActive)
	_, err := w.service.Get(t.Context(), cached, nil, 0)
	require.NoError(t, err)
	w.pool.Close()
	_, err = w.service.Get(t.Context(), cached, nil, 0)
	require.NoError(t, err)
	_, err = w.service.Get(t.Context(), cached, token(other, 2), 300*time.Millisecond)
	require.ErrorIs(t, err, query.ErrUnavailable)
	_, err = w.service.Get(t.Context(), uuid.New(), nil, 0)
	require.ErrorIs(t, err, query.ErrUnavailable)
}

func TestAnswersWhileRedisHangs(t *testing.T) {
	t.Parallel()
	s := rediscachetest.Start(t)
	w := newWorld(t, s.URL, query.Config{})
	w.trust()
	id := uuid.New()
	w.cached(id, 1)
	s.Pause()
	_, err := w.owner.Exec(t.Context(), `UPDATE readmodel.documents SET version = 2 WHERE customer_id = $1`, id)
	require.NoError(t, err)
	e, err := w.service.Get(t.Context(), id, token(id, 2), 5*time.Second)
	require.NoError(t, err)
	require.Equal(t, customer.Version(2), e.Version)
	s.Resume()
}

func TestLag(t *testing.T) {
	t.Parallel()
	beat := time.Now()
	for name, c := range map[string]struct {
		f    query.Freshness
		want time.Duration
	}{
		"nothing beyond the checkpoints": {query.Freshness{Beat: beat, Age: time.Second, Lanes: []query.LaneFreshness{{Head: 5, Applied: 5}}}, 0},
		"a lane is behind":               {query.Freshness{Beat: beat, Age: time.Second, Lanes: []query.LaneFreshness{{Head: 5, Applied: 5}, {Head: 9, Applied: 6, Waiting: 3 * time.Second}}}, 4 * time.Second},
		"an old heartbeat":               {query.Freshness{Beat: beat, Age: time.Minute, Lanes: []query.LaneFreshness{{Head: 5, Applied: 5}}}, time.Minute},
		"no heartbeat ever":              {query.Freshness{Age: time.Minute}, time.Minute},
	} {
		require.Equal(t, c.want, c.f.Lag(), name)
	}
}

func TestLagIsFollowed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "", query.Config{Refresh: 10 * time.Millisecond})
	require.NoError(t, w.store.Beat(t.Context(), projection.Heartbeat{Head: 9, Lanes: []query.LaneFreshness{{Lane: 1, Head: 9, Applied: 4, Waiting: 7 * time.Second}}}))
	require.Eventually(t, func() bool { return w.service.Lag() >= 7*time.Second }, patience, 5*time.Millisecond)
	require.Equal(t, eventlog.Position(4), w.service.Freshness().Lanes[0].Applied)
	require.Equal(t, int64(5), w.service.Freshness().LagEvents())
}
