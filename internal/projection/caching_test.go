package projection_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
	"github.com/ebrahem-outlook/customer-service/internal/projection"
	"github.com/ebrahem-outlook/customer-service/internal/query"
	"github.com/ebrahem-outlook/customer-service/internal/rediscache"
	"github.com/ebrahem-outlook/customer-service/internal/rediscache/rediscachetest"
)

// severed is a cache that a process never reaches, as when it is killed
// between its commit and its write.
type severed struct{ projection.Cache }

func (severed) Store(context.Context, query.CacheState, []projection.CacheEntry) error {
	return errors.New("severed")
}

// flaky fails to store while told to.
type flaky struct {
	projection.Cache
	fail atomic.Bool
}

func (f *flaky) Store(ctx context.Context, state query.CacheState, entries []projection.CacheEntry) error {
	if f.fail.Load() {
		return errors.New("flaky")
	}
	return f.Cache.Store(ctx, state, entries)
}

// readCache is a query process's cache, following the read model as one does.
func (w *world) readCache() *rediscache.Reader {
	w.t.Helper()
	r, err := rediscache.NewReader(rediscache.Config{
		URL: w.redisURL, Prefix: w.prefix, Timeout: time.Second, Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(w.t, err)
	w.t.Cleanup(func() { _ = r.Close() })
	return r
}

// follow brings a cache's trust up to date, and tells whether it trusts any.
func (w *world) follow(r *rediscache.Reader) query.CacheState {
	w.t.Helper()
	f, err := w.reader.Freshness(w.ctx)
	require.NoError(w.t, err)
	r.Use(f.Cache)
	return f.Cache
}

// trusted waits until there is an epoch to read.
func (w *world) trusted(r *rediscache.Reader) query.CacheState {
	w.t.Helper()
	var s query.CacheState
	require.Eventually(w.t, func() bool { s = w.follow(r); return s.RunID != "" }, patience, 10*time.Millisecond)
	return s
}

// read fills the cache with customers as the first read of each does.
func (w *world) read(r *rediscache.Reader, people ...*person) {
	w.t.Helper()
	for _, p := range people {
		require.Eventually(w.t, func() bool {
			w.follow(r)
			if lease := r.Lease(w.ctx, p.id); lease != "" {
				r.Fill(w.ctx, p.id, lease, w.entry(p.id))
			}
			_, ok := r.Get(w.ctx, p.id)
			return ok
		}, patience, 10*time.Millisecond)
	}
}

// cachedAsRead waits until the cache has every customer as the read model does.
func (w *world) cachedAsRead(r *rediscache.Reader, people ...*person) {
	w.t.Helper()
	for _, p := range people {
		want := w.entry(p.id)
		require.Eventually(w.t, func() bool {
			w.follow(r)
			e, ok := r.Get(w.ctx, p.id)
			return ok && e.Version == want.Version && e.Status == want.Status
		}, patience, 10*time.Millisecond, "customer at version %d", want.Version)
	}
}

func TestCacheHasWhatWasCommitted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p, r := w.projector(), w.readCache()
	w.start(p)
	w.trusted(r)
	ada := w.register("ada@example.com")
	w.feed(p)
	_, ok := r.Get(w.ctx, ada.id)
	require.False(t, ok, "nobody has read her")
	w.read(r, ada)
	w.append(ada, customer.Tagged{At: w.now(), Tag: "vip"})
	w.feed(p)
	e, ok := r.Get(w.ctx, ada.id)
	require.True(t, ok)
	require.Equal(t, w.entry(ada.id), e)
	w.append(ada, customer.Erased{At: w.now(), Actor: "dpo", KeyID: ada.wrapped.ID()})
	w.feed(p)
	e, ok = r.Get(w.ctx, ada.id)
	require.True(t, ok)
	require.Equal(t, query.Entry{Version: 3, Status: customer.StatusErased}, e)
	require.Eventually(t, func() bool {
		return w.count(`SELECT count(*) FROM readmodel.checkpoints WHERE cached_position < position`) == 0
	}, patience, 10*time.Millisecond)
}

func TestProjectorKilledBeforeItsCacheWriteIsMadeGood(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.readCache()
	state, ada, bob := w.killedBeforeItsCacheWrite(r)

	next := w.projector()
	w.append(ada, customer.Tagged{At: w.now(), Tag: "vip"}) // does not hide what bob's lane lacks
	w.feed(next)
	w.exec(`UPDATE readmodel.heartbeat SET at = clock_timestamp()`) // as if others had gone on
	w.start(next)
	w.cachedAsRead(r, ada, bob)
	require.Equal(t, state, w.follow(r), "repaired entry by entry")
}

// With nobody there for a while, readers go past the cache; the first sign of
// life must not send them back to what is not made good yet.
func TestTheFirstBeatAfterASilenceVouchesForNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.readCache()
	state, ada, bob := w.killedBeforeItsCacheWrite(r)
	beat := func(age time.Duration) query.CacheState {
		w.exec(`UPDATE readmodel.heartbeat SET at = clock_timestamp() - make_interval(secs => $1)`, age.Seconds())
		require.NoError(t, w.store.Beat(w.ctx, projection.Heartbeat{}))
		return w.follow(r)
	}
	require.Equal(t, state, beat(query.HeartbeatGrace/2), "others went on")
	require.Equal(t, query.CacheState{Epoch: state.Epoch}, beat(query.HeartbeatGrace+time.Second))
	next := w.projector()
	w.start(next)
	require.Greater(t, w.trusted(r).Epoch, state.Epoch)
	w.read(r, ada, bob)
	w.cachedAsRead(r, ada, bob)

	// All of it is there: a silence is no reason to begin anew.
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()
	require.NoError(t, next.Stop(ctx))
	state = w.follow(r)
	require.NotEmpty(t, state.RunID)
	require.Equal(t, state, beat(time.Hour))
}

// killedBeforeItsCacheWrite leaves two customers in the cache as they are no
// more, as a projector that is killed at the worst moment does.
func (w *world) killedBeforeItsCacheWrite(r *rediscache.Reader) (state query.CacheState, ada, bob *person) {
	w.t.Helper()
	first := w.projector()
	w.start(first)
	state = w.trusted(r)
	ada, bob = w.register("ada@example.com"), w.register("bob@example.com")
	w.feed(first)
	w.read(r, ada, bob)
	w.cachedAsRead(r, ada, bob)
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()
	require.NoError(w.t, first.Stop(ctx))

	killed := w.projector(func(d *projection.Deps) { d.Cache = severed{d.Cache} })
	w.append(ada, customer.Renamed{At: w.now(), FirstName: "Augusta"})
	w.append(bob, customer.Erased{At: w.now(), Actor: "dpo", KeyID: bob.wrapped.ID()})
	w.feed(killed)
	e, ok := r.Get(w.ctx, ada.id)
	require.True(w.t, ok)
	require.Equal(w.t, customer.Version(1), e.Version, "or there is nothing to make good")
	return state, ada, bob
}

func TestFailedWriteIsRepairedUnderLoad(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var cache *flaky
	p := w.projector(func(d *projection.Deps) { cache = &flaky{Cache: d.Cache}; d.Cache = cache })
	r := w.readCache()
	w.start(p)
	w.trusted(r)
	ada := w.register("ada@example.com")
	// Another customer of the same lane keeps it busy.
	busy := w.register("busy@example.com")
	for eventlog.LaneOf(eventlog.SlotOf(busy.id), 8) != eventlog.LaneOf(eventlog.SlotOf(ada.id), 8) {
		busy = w.register("busy@example.com")
	}
	w.feed(p)
	w.read(r, ada)
	w.cachedAsRead(r, ada)
	cache.fail.Store(true)
	w.append(ada, customer.Tagged{At: w.now(), Tag: "vip"})
	w.feed(p)
	cache.fail.Store(false)
	require.Eventually(t, func() bool {
		from := w.head()
		w.append(busy, customer.Renamed{At: w.now(), FirstName: "Busy"})
		w.deliver(p, after(w.batches(1), from)...)
		w.follow(r)
		e, ok := r.Get(w.ctx, ada.id)
		return ok && e.Version == 2
	}, patience, 50*time.Millisecond)
}

func TestCustomerLetGoReachesTheCache(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.readCache()
	old := w.projector(func(d *projection.Deps) {
		d.Codec = &selective{Codec: w.codec, unknown: map[string]error{"customer.tagged": eventlog.ErrUnknownType}}
	})
	w.start(old)
	w.trusted(r)
	ada := w.register("ada@example.com")
	w.append(ada, customer.Tagged{At: w.now(), Tag: "vip"})
	w.feed(old)
	w.read(r, ada)
	require.Eventually(t, func() bool {
		return w.count(`SELECT count(*) FROM readmodel.checkpoints WHERE cached_position < position`) == 0
	}, patience, 10*time.Millisecond)
	killed := w.projector(func(d *projection.Deps) { d.Cache = severed{d.Cache} })
	_, err := killed.Retry(w.ctx, ada.id)
	require.NoError(t, err)
	w.cachedAsRead(r, ada)
}

// An epoch that ends elsewhere, as with a rebuild, leaves nothing behind: what
// it held is out of an erasure's reach.
func TestAFormerEpochIsForgotten(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p, r := w.projector(), w.readCache()
	w.start(p)
	former := w.trusted(r)
	ada := w.register("ada@example.com")
	w.feed(p)
	w.read(r, ada)
	w.cachedAsRead(r, ada)
	options, err := redis.ParseURL(w.redisURL)
	require.NoError(t, err)
	direct := redis.NewClient(options)
	t.Cleanup(func() { _ = direct.Close() })
	left := func() []string {
		keys, err := direct.Keys(w.ctx, fmt.Sprintf("%s:*:%d:*", w.prefix, former.Epoch)).Result()
		require.NoError(t, err)
		return keys
	}
	require.Len(t, left(), 1)
	w.exec(`UPDATE readmodel.cache_state SET epoch = epoch + 1`)
	require.Eventually(t, func() bool { return len(left()) == 0 }, patience, 10*time.Millisecond)
	// Read by somebody who had not heard yet.
	r.Use(former)
	lease := r.Lease(w.ctx, ada.id)
	require.NotEmpty(t, lease)
	r.Fill(w.ctx, ada.id, lease, w.entry(ada.id))
	require.Len(t, left(), 1)
	require.Eventually(t, func() bool { return len(left()) == 0 }, 2*patience, 10*time.Millisecond)
}

// After any outage, within five seconds of its end, no read is older than the
// read model: a server that comes back with an old data set, one that was
// flushed, one that hung.
func TestCacheIsNeverOlderAfterAnOutage(t *testing.T) {
	t.Parallel()
	for name, outage := range map[string]struct {
		begin, end func(s *rediscachetest.Server)
	}{
		"restart with old data": {func(s *rediscachetest.Server) { s.Save(); s.Kill() }, func(s *rediscachetest.Server) { s.Run() }},
		"hang":                  {func(s *rediscachetest.Server) { s.Pause() }, func(s *rediscachetest.Server) { s.Resume() }},
		"flush": {func(s *rediscachetest.Server) {
			require.NoError(t, s.Admin.FlushAll(context.Background()).Err())
		}, func(*rediscachetest.Server) {}},
		"read only": {func(s *rediscachetest.Server) {
			require.NoError(t, s.Admin.ReplicaOf(context.Background(), "127.0.0.1", "1").Err())
		}, func(s *rediscachetest.Server) {
			require.NoError(t, s.Admin.ReplicaOf(context.Background(), "NO", "ONE").Err())
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			s := rediscachetest.Start(t)
			w.redisURL = s.URL
			p, r := w.projector(), w.readCache()
			w.start(p)
			w.trusted(r)
			ada := w.register("ada@example.com")
			w.feed(p)
			w.read(r, ada)
			w.cachedAsRead(r, ada)

			outage.begin(s)
			w.append(ada, customer.Renamed{At: w.now(), FirstName: "Augusta"})
			w.feed(p)
			require.Equal(t, customer.Version(2), w.entry(ada.id).Version, "the read model does not wait for the cache")
			outage.end(s)

			ended, tick := time.Now(), time.NewTicker(10*time.Millisecond)
			defer tick.Stop()
			stale := func() bool {
				w.follow(r)
				e, ok := r.Get(w.ctx, ada.id)
				return ok && e.Version < 2
			}
			for time.Since(ended) < 2*time.Second || stale() {
				require.Less(t, time.Since(ended), 5*time.Second, "still stale")
				<-tick.C
			}
			w.trusted(r)
			w.read(r, ada)
			w.append(ada, customer.Tagged{At: w.now(), Tag: "vip"})
			w.feed(p)
			w.cachedAsRead(r, ada)
		})
	}
}
