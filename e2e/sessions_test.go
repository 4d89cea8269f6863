package e2e

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/ebrahem-outlook/customer-service/e2e/cluster"
)

// staleness is how far behind the read model a read without a token may be,
// whatever Redis does.
const staleness = 5 * time.Second

// patient is for reads on a machine that is busy with other things.
var patient = []string{"Prefer", "wait=10"}

// A client that sends along the token of its last answer never reads an older
// version, from whichever of two query APIs, each with a memory of its own, and
// whatever Redis does meanwhile; every read is answered. Without a token none is
// older than what the read model had five seconds before.
func TestSessionsNeverGoBackWhateverRedisDoes(t *testing.T) {
	c := cluster.New(t, stack, cluster.Size{Projectors: 2, Queries: 2})
	client := c.NewClient()
	ctx := cluster.Within(t, 3*time.Minute)
	admin := connectRedis(t, c)
	t.Cleanup(func() {
		_ = c.Stack.Redis().Resume()
		_ = c.Stack.Redis().Start(context.Background())
		heal(admin)
	})
	written, err := client.Write(ctx, http.MethodPost, "/v1/customers", newPerson().json())
	require.NoError(t, err)
	require.Equal(t, http.StatusCreated, written.Status, "%s", written.Body)
	s := &sessions{c: c, client: client, path: written.Header.Get("Location"), id: strings.TrimPrefix(written.Header.Get("Location"), "/v1/customers/")}
	readable(ctx, t, client, written, recovery)

	running, stop := context.WithCancel(ctx)
	group, running := errgroup.WithContext(running)
	group.Go(func() error { return s.watchReadModel(running) })
	group.Go(func() error { return s.change(running) })
	for range 8 {
		group.Go(func() error { return s.session(running) })
	}
	for range 2 {
		group.Go(func() error { return s.stranger(running) })
	}
	group.Go(func() error { return s.erase(running) })
	for _, f := range redisFaults(c, admin, s.id) {
		if running.Err() != nil {
			break
		}
		s.begin()
		f.begin(running)
		_ = pause(running, f.length)
		f.end(ctx)
		_ = pause(running, 500*time.Millisecond)
		t.Logf("%-24s %s", f.name, s.report())
	}
	stop()
	if err := group.Wait(); !errors.Is(err, context.Canceled) {
		require.NoError(t, err)
	}
	require.Greater(t, s.erased.Load(), int64(5))
	requireReadModelEqualsLog(t, c)
	requireCacheEqualsReadModel(t, c)
}

// sessions are clients of one customer that keeps changing.
type sessions struct {
	c        *cluster.Cluster
	client   *cluster.Client
	path, id string
	erased   atomic.Int64

	mu      sync.Mutex
	known   []known // of the read model, oldest first
	took    []time.Duration
	behind  time.Duration // the read model, at most, of reads without a token
	changes int
}

type known struct {
	at      time.Time
	version int64
}

func (s *sessions) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.took, s.behind, s.changes = nil, 0, 0
}

func (s *sessions) report() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.took) == 0 {
		return "no reads"
	}
	slices.Sort(s.took)
	return fmt.Sprintf("%d changes, %d reads, median %s, p99 %s, longest %s; without a token %s behind PostgreSQL at most",
		s.changes, len(s.took), s.took[len(s.took)/2], s.took[len(s.took)*99/100], s.took[len(s.took)-1], s.behind.Round(time.Millisecond))
}

// watchReadModel remembers what the read model had when.
func (s *sessions) watchReadModel(ctx context.Context) error {
	for {
		at := time.Now() // before: the version was there by then or later
		var v int64
		if err := s.c.ReadModel().QueryRow(ctx, `SELECT version FROM readmodel.documents WHERE customer_id = $1`, s.id).Scan(&v); err != nil {
			return fmt.Errorf("watch: %w", errors.Join(err, ctx.Err()))
		}
		s.mu.Lock()
		if len(s.known) == 0 || s.known[len(s.known)-1].version < v {
			// Committed between the look before and this one: taken for the later, which
			// makes reads look no fresher than they were by more than a look.
			s.known = append(s.known, known{time.Now(), v})
		}
		s.mu.Unlock()
		if err := pause(ctx, 10*time.Millisecond-time.Since(at)); err != nil {
			return err
		}
	}
}

// since is how long the read model had had a newer version than v at the time at.
func (s *sessions) since(at time.Time, v int64) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, _ := slices.BinarySearchFunc(s.known, v+1, func(k known, v int64) int { return int(k.version - v) })
	if i == len(s.known) {
		return 0
	}
	return max(0, at.Sub(s.known[i].at))
}

func (s *sessions) change(ctx context.Context) error {
	for i := 0; ; i++ {
		a, _, err := s.client.Insist(ctx, http.MethodPatch, s.path, fmt.Sprintf(`{"first_name":"Ada %d"}`, i))
		if err != nil || a.Status != http.StatusOK {
			return fmt.Errorf("change: %d %s: %w", a.Status, a.Body, errors.Join(err, ctx.Err()))
		}
		s.mu.Lock()
		s.changes++
		s.mu.Unlock()
		if err := pause(ctx, 10*time.Millisecond); err != nil {
			return err
		}
	}
}

// read is one read of the customer from either query API; it answers the
// version read and the token that came with it.
func (s *sessions) read(ctx context.Context, token string) (int64, string, error) {
	header := patient
	if token != "" {
		header = []string{"Consistency-Token", token, patient[0], patient[1]}
	}
	from := s.c.Queries[rand.IntN(len(s.c.Queries))]
	began := time.Now()
	a, err := s.client.ReadFrom(ctx, from, s.path, header...)
	took := time.Since(began)
	if err != nil || a.Status != http.StatusOK {
		return 0, "", fmt.Errorf("read from %s: %d %s after %s: %w", from.Name, a.Status, a.Body, took, errors.Join(err, ctx.Err()))
	}
	d, err := a.Document()
	if err != nil {
		return 0, "", err
	}
	if tag := a.Header.Get("ETag"); tag != strconv.Quote(strconv.FormatInt(d.Version, 10)) {
		return 0, "", fmt.Errorf("ETag %s of version %d", tag, d.Version)
	}
	s.mu.Lock()
	s.took = append(s.took, took)
	s.mu.Unlock()
	return d.Version, a.Token(), nil
}

// session reads with the token of the read before, and now and then writes.
func (s *sessions) session(ctx context.Context) error {
	var last int64
	var token string
	for {
		if rand.IntN(20) == 0 {
			a, _, err := s.client.Insist(ctx, http.MethodPatch, s.path, fmt.Sprintf(`{"last_name":"Lovelace %d"}`, rand.Int64()))
			if err != nil || a.Status != http.StatusOK {
				return fmt.Errorf("session: %d %s: %w", a.Status, a.Body, errors.Join(err, ctx.Err()))
			}
			d, err := a.Document()
			if err != nil {
				return err
			}
			last, token = d.Version, a.Token()
		}
		v, next, err := s.read(ctx, token)
		switch {
		case err != nil:
			return err
		case v < last:
			return fmt.Errorf("a session went back from version %d to %d", last, v)
		case next == "":
			return errors.New("a read answered no token")
		}
		last, token = v, next
		if err := pause(ctx, 5*time.Millisecond); err != nil {
			return err
		}
	}
}

// stranger reads without a token.
func (s *sessions) stranger(ctx context.Context) error {
	for {
		began := time.Now()
		v, _, err := s.read(ctx, "")
		if err != nil {
			return err
		}
		behind := s.since(began, v)
		if behind > staleness {
			return fmt.Errorf("version %d was read %s after the read model had a newer one", v, behind)
		}
		s.mu.Lock()
		s.behind = max(s.behind, behind)
		s.mu.Unlock()
		if err := pause(ctx, 5*time.Millisecond); err != nil {
			return err
		}
	}
}

// erase erases customers that both query APIs have in memory.
func (s *sessions) erase(ctx context.Context) error {
	for {
		a, _, err := s.client.Insist(ctx, http.MethodPost, "/v1/customers", newPerson().json())
		if err != nil || a.Status != http.StatusCreated {
			return fmt.Errorf("register: %d %s: %w", a.Status, a.Body, errors.Join(err, ctx.Err()))
		}
		path := a.Header.Get("Location")
		for range 3 {
			for _, q := range s.c.Queries {
				if got, err := s.client.ReadFrom(ctx, q, path, "Consistency-Token", a.Token(), patient[0], patient[1]); err != nil || got.Status != http.StatusOK {
					return fmt.Errorf("read: %d %s: %w", got.Status, got.Body, errors.Join(err, ctx.Err()))
				}
			}
		}
		erased, _, err := s.client.Insist(ctx, http.MethodPost, path+"/erase", `{"reason":"asked to be forgotten"}`)
		if err != nil || erased.Status != http.StatusOK {
			return fmt.Errorf("erase: %d %s: %w", erased.Status, erased.Body, errors.Join(err, ctx.Err()))
		}
		for _, q := range s.c.Queries {
			if got, err := s.client.ReadFrom(ctx, q, path, "Consistency-Token", erased.Token(), patient[0], patient[1]); err != nil || got.Status != http.StatusGone {
				return fmt.Errorf("read with the erasure's token: %d %s: %w", got.Status, got.Body, errors.Join(err, ctx.Err()))
			}
		}
		// The read model has it by now.
		applied := time.Now()
		for _, q := range s.c.Queries {
			for {
				began := time.Now()
				got, err := s.client.ReadFrom(ctx, q, path)
				if err == nil && got.Status == http.StatusGone {
					break
				}
				if err != nil || began.Sub(applied) > staleness {
					return fmt.Errorf("%s after its erasure was applied: %d %s: %w", began.Sub(applied), got.Status, got.Body, errors.Join(err, ctx.Err()))
				}
			}
		}
		s.erased.Add(1)
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
}

// pause is ctx's error if ctx ends first.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// redisFault is something that Redis does for a while.
type redisFault struct {
	name       string
	length     time.Duration
	begin, end func(context.Context)
}

func redisFaults(c *cluster.Cluster, admin *redis.Client, id string) []redisFault {
	process := c.Stack.Redis()
	nothing := func(context.Context) {}
	again := func(every time.Duration, do func(context.Context)) func(context.Context) {
		return func(ctx context.Context) {
			for range 10 {
				do(ctx)
				_ = pause(ctx, every)
			}
		}
	}
	spoil := func(value string) func(context.Context) {
		return func(ctx context.Context) {
			for keys := admin.Scan(ctx, 0, c.Prefix+":*{"+id+"}", 1000).Iterator(); keys.Next(ctx); {
				if value == "" {
					_ = admin.Del(ctx, keys.Val()).Err()
					_ = admin.LPush(ctx, keys.Val(), "x").Err()
					continue
				}
				_ = admin.Set(ctx, keys.Val(), value, 0).Err()
			}
		}
	}
	return []redisFault{
		{"nothing", 2 * time.Second, nothing, nothing},
		{"flushed", 0, again(100*time.Millisecond, func(ctx context.Context) { _ = admin.FlushAll(ctx).Err() }), nothing},
		{"scripts forgotten", 0, again(100*time.Millisecond, func(ctx context.Context) { _ = admin.ScriptFlush(ctx).Err() }), nothing},
		{"subscriptions cut", 0, again(100*time.Millisecond, func(ctx context.Context) { _ = admin.ClientKillByFilter(ctx, "TYPE", "pubsub").Err() }), nothing},
		{"connections cut", 0, again(100*time.Millisecond, func(ctx context.Context) { _ = admin.ClientKillByFilter(ctx, "TYPE", "normal").Err() }), nothing},
		{"garbage", 0, again(100*time.Millisecond, spoil("1:99999999:a:00000000:{}")), nothing},
		{"another type", 0, again(100*time.Millisecond, spoil("")), nothing},
		{"slow", 0, again(300*time.Millisecond, func(ctx context.Context) { _ = admin.ClientPause(ctx, 250*time.Millisecond).Err() }), nothing},
		{"full", 3 * time.Second, func(ctx context.Context) {
			_ = admin.ConfigSet(ctx, "maxmemory-policy", "noeviction").Err()
			_ = admin.ConfigSet(ctx, "maxmemory", "1").Err()
		}, func(context.Context) { heal(admin) }},
		{"evicting all it has", 2 * time.Second, func(ctx context.Context) {
			_ = admin.ConfigSet(ctx, "maxmemory-policy", "allkeys-random").Err()
			_ = admin.ConfigSet(ctx, "maxmemory", "1500000").Err()
		}, func(context.Context) { heal(admin) }},
		{"read only", 3 * time.Second, func(ctx context.Context) { _ = admin.ReplicaOf(ctx, "127.0.0.1", "1").Err() }, func(context.Context) { heal(admin) }},
		{"hanging", 3 * time.Second, func(context.Context) { _ = process.Pause() }, func(context.Context) { _ = process.Resume() }},
		{"killed", 2 * time.Second, func(context.Context) { _ = process.Kill() }, func(ctx context.Context) { _ = process.Start(ctx) }},
		{"nothing again", 3 * time.Second, nothing, nothing},
	}
}

// heal undoes what faults configured.
func heal(admin *redis.Client) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_ = admin.ConfigSet(ctx, "maxmemory", "0").Err()
	_ = admin.ConfigSet(ctx, "maxmemory-policy", "noeviction").Err()
	_ = admin.ReplicaOf(ctx, "NO", "ONE").Err()
}
