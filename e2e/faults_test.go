package e2e

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/e2e/cluster"
	"github.com/ebrahem-outlook/customer-service/internal/devstack"
)

// Each process and each service is killed in turn while customers are being
// registered and changed. Whatever was acknowledged is in the log exactly
// once, and the read model equals the fold of the log for every row.
func TestNothingAcknowledgedIsLostWhenThingsAreKilled(t *testing.T) {
	c := cluster.New(t, stack, cluster.Size{})
	load := startLoad(t, c, 16)
	kills := []struct {
		name  string
		kill  func() error
		start func(context.Context) error
	}{
		process(c.Commands[0]), process(c.Projectors[0]), process(c.Queries[0]),
		service(c.Stack.RabbitMQ()), service(c.Stack.Redis()), service(c.Stack.Postgres()),
	}
	for _, k := range kills {
		ctx := cluster.Within(t, time.Minute)
		load.progress(ctx, t, 200)
		require.NoError(t, k.kill(), "kill %s", k.name)
		down := time.Now()
		require.NoError(t, k.start(ctx), "start %s", k.name)
		up := time.Now()
		load.progress(ctx, t, 200)
		c.WaitReady(t, 10*time.Second)
		load.readBack(ctx, t)
		t.Logf("%s: down for %s, all ready and reading back %s after its return", k.name,
			up.Sub(down).Round(time.Millisecond), time.Since(up).Round(time.Millisecond))
	}
	load.stop(t)
	load.requireAllInLog(t)
	requireReadModelEqualsLog(t, c)
	awaitCache(t, c, load.client)
	paths := slices.Collect(maps.Keys(load.acked))
	for _, path := range paths[:min(1000, len(paths))] {
		a, err := load.client.Read(t.Context(), path)
		require.NoError(t, err)
		require.Contains(t, []int{http.StatusOK, http.StatusGone}, a.Status, "%s: %s", path, a.Body)
	}
	requireCacheEqualsReadModel(t, c)
}

// With two or three of each, the others take over while one is gone.
func TestReplicasTakeOver(t *testing.T) {
	c := cluster.New(t, stack, cluster.Size{Commands: 2, Projectors: 3, Queries: 2})
	load := startLoad(t, c, 16)
	for _, p := range []*cluster.Process{c.Commands[0], c.Commands[1], c.Projectors[0], c.Projectors[1], c.Queries[0]} {
		ctx := cluster.Within(t, time.Minute)
		load.progress(ctx, t, 200)
		p.Kill()
		load.progress(ctx, t, 200)
		began := time.Now()
		load.readBackFrom(ctx, t, c.Queries[1])
		t.Logf("without %s, a write is readable after %s", p.Name, time.Since(began).Round(time.Millisecond))
		require.NoError(t, p.Start())
		require.NoError(t, p.WaitReady(ctx))
	}
	load.stop(t)
	load.requireAllInLog(t)
	requireReadModelEqualsLog(t, c)
}

func process(p *cluster.Process) (k struct {
	name  string
	kill  func() error
	start func(context.Context) error
},
) {
	k.name = p.Name
	k.kill = func() error { p.Kill(); return nil }
	k.start = func(ctx context.Context) error {
		if err := p.Start(); err != nil {
			return err
		}
		return p.WaitReady(ctx)
	}
	return k
}

func service(s *devstack.Service) (k struct {
	name  string
	kill  func() error
	start func(context.Context) error
},
) {
	k.name = string(s.Kind())
	k.kill, k.start = s.Kill, s.Start
	return k
}

// load registers and changes customers until it is stopped, insisting through
// every fault, and remembers what was acknowledged.
type load struct {
	cluster *cluster.Cluster
	client  *cluster.Client
	cancel  context.CancelFunc
	workers sync.WaitGroup
	acks    atomic.Int64
	resent  atomic.Int64

	mu    sync.Mutex
	acked map[string]int64 // path → highest version acknowledged
	last  ack
	fault error
}

type ack struct{ path, etag, token string }

func startLoad(t *testing.T, c *cluster.Cluster, workers int) *load {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	l := &load{cluster: c, client: c.NewClient(), cancel: cancel, acked: map[string]int64{}}
	for range workers {
		l.workers.Go(func() {
			for ctx.Err() == nil {
				if err := l.life(ctx); err != nil && ctx.Err() == nil {
					l.mu.Lock()
					l.fault = err
					l.mu.Unlock()
					return
				}
			}
		})
	}
	t.Cleanup(func() { cancel(); l.workers.Wait() })
	return l
}

// life is one customer's: registered, changed twice; every tenth is deleted.
func (l *load) life(ctx context.Context) error {
	a, err := l.insist(ctx, http.MethodPost, "/v1/customers", newPerson().json(), http.StatusCreated)
	if err != nil {
		return err
	}
	path := a.Header.Get("Location")
	if l.acks.Load()%10 == 0 { // so that what follows finds it in Redis; it may answer 503 meanwhile
		if _, err := l.client.Read(ctx, path, "Consistency-Token", a.Token()); err != nil && ctx.Err() != nil {
			return err
		}
	}
	for i := range 2 {
		if _, err := l.insist(ctx, http.MethodPatch, path, fmt.Sprintf(`{"last_name":"Change %d","phone":"+1415555267%d"}`, i, i), http.StatusOK); err != nil {
			return err
		}
	}
	if l.acks.Load()%10 == 0 {
		_, err = l.insist(ctx, http.MethodDelete, path, "", http.StatusNoContent)
	}
	return err
}

func (l *load) insist(ctx context.Context, method, path, body string, want int) (cluster.Answer, error) {
	a, tries, err := l.client.Insist(ctx, method, path, body)
	if err != nil {
		return a, err
	}
	l.resent.Add(int64(tries - 1))
	if a.Status != want {
		return a, fmt.Errorf("%s %s answered %d: %s", method, path, a.Status, a.Body)
	}
	if location := a.Header.Get("Location"); location != "" {
		path = location
	}
	var version int64
	if _, err := fmt.Sscanf(a.Header.Get("ETag"), `"%d"`, &version); err != nil {
		return a, fmt.Errorf("%s %s: ETag %q: %w", method, path, a.Header.Get("ETag"), err)
	}
	l.mu.Lock()
	l.acked[path] = max(l.acked[path], version)
	if method != http.MethodDelete {
		l.last = ack{path: path, etag: a.Header.Get("ETag"), token: a.Token()}
	}
	l.mu.Unlock()
	l.acks.Add(1)
	return a, nil
}

// progress waits until n more commands were acknowledged.
func (l *load) progress(ctx context.Context, t *testing.T, n int64) {
	t.Helper()
	goal := l.acks.Load() + n
	err := cluster.Poll(ctx, 5*time.Millisecond, func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.acks.Load() >= goal || l.fault != nil
	})
	require.NoError(t, l.fault)
	require.NoError(t, err, "only %d of %d commands were acknowledged", n-(goal-l.acks.Load()), n)
}

// readBack reads the newest acknowledged write with its token, being patient
// with 503s until ctx ends. It is an error to get an older one.
func (l *load) readBack(ctx context.Context, t *testing.T) {
	t.Helper()
	l.readBackFrom(ctx, t, l.cluster.Queries[0])
}

func (l *load) readBackFrom(ctx context.Context, t *testing.T, p *cluster.Process) {
	t.Helper()
	l.mu.Lock()
	last := l.last
	l.mu.Unlock()
	var a cluster.Answer
	err := cluster.Poll(ctx, 50*time.Millisecond, func() bool {
		var err error
		a, err = l.client.ReadFrom(ctx, p, last.path, "Consistency-Token", last.token)
		return err == nil && a.Status != http.StatusServiceUnavailable
	})
	require.NoError(t, err, "last answer: %d %s", a.Status, a.Body)
	if a.Status == http.StatusGone {
		return // deleted since
	}
	require.Equal(t, http.StatusOK, a.Status, "%s", a.Body)
	require.GreaterOrEqual(t, a.Header.Get("ETag"), last.etag) // versions stay below ten here
}

func (l *load) stop(t *testing.T) {
	t.Helper()
	l.cancel()
	l.workers.Wait()
	require.NoError(t, l.fault)
	t.Logf("%d commands acknowledged, %d times a command had to be sent again", l.acks.Load(), l.resent.Load())
}

// requireAllInLog checks every acknowledged version, that versions are dense,
// and that no command took effect twice.
func (l *load) requireAllInLog(t *testing.T) {
	t.Helper()
	ctx := cluster.Within(t, time.Minute)
	rows, err := l.cluster.EventLog().Query(ctx, `
		SELECT customer_id::text, count(*), min(version), max(version), count(DISTINCT event_id),
		       count(*) FILTER (WHERE type = 'customer.renamed')
		FROM eventlog.events GROUP BY customer_id`)
	require.NoError(t, err)
	inLog := map[string]int64{}
	for rows.Next() {
		var id string
		var events, first, last, ids, renames int64
		require.NoError(t, rows.Scan(&id, &events, &first, &last, &ids, &renames))
		require.Equal(t, []int64{1, last, last}, []int64{first, events, ids}, "customer %s: versions are not dense", id)
		require.LessOrEqual(t, renames, int64(2), "customer %s: a command took effect twice", id)
		inLog["/v1/customers/"+id] = last
	}
	require.NoError(t, rows.Err())
	missing := 0
	for path, version := range l.acked {
		if inLog[path] < version {
			missing++
			t.Errorf("%s was acknowledged at version %d, the log has %d", path, version, inLog[path])
		}
	}
	require.Zero(t, missing)
	var doubled int
	require.NoError(t, l.cluster.EventLog().QueryRow(ctx, `
		SELECT count(*) FROM (SELECT digest FROM eventlog.claims GROUP BY kind, digest HAVING count(*) > 1) d`).Scan(&doubled))
	require.Zero(t, doubled)
	t.Logf("%d customers acknowledged, all in the log", len(l.acked))
}
