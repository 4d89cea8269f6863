package e2e

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/e2e/cluster"
)

// recovery is how long the service may take to be whole again after a service
// it needs came back.
const recovery = 10 * time.Second

// Processes that start before their services wait, say so, and go on.
func TestStartsBeforeItsServices(t *testing.T) {
	c := cluster.Prepare(t, stack, cluster.Size{})
	ctx := cluster.Within(t, 2*time.Minute)
	require.NoError(t, c.Stack.Postgres().Stop())
	require.NoError(t, c.Stack.RabbitMQ().Stop())
	require.NoError(t, c.Stack.Redis().Stop())
	for _, p := range c.Processes() {
		require.NoError(t, p.Start())
	}
	client := c.NewClient()
	for _, p := range []*cluster.Process{c.Commands[0], c.Queries[0]} {
		require.NoError(t, p.WaitNotReady(ctx))
		live, err := client.ReadFrom(ctx, p, "/livez")
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, live.Status, "a process that waits is alive")
	}
	requireUnavailable(ctx, t, client)

	require.NoError(t, c.Stack.Postgres().Start(ctx))
	back := time.Now()
	for _, p := range []*cluster.Process{c.Commands[0], c.Queries[0]} {
		require.NoError(t, p.WaitReady(cluster.Within(t, recovery)))
	}
	t.Logf("both APIs ready %s after PostgreSQL", time.Since(back).Round(time.Millisecond))
	written, err := client.Write(ctx, http.MethodPost, "/v1/customers", newPerson().json())
	require.NoError(t, err)
	require.Equal(t, http.StatusCreated, written.Status, "commands need neither RabbitMQ nor Redis: %s", written.Body)

	require.NoError(t, c.Stack.RabbitMQ().Start(ctx))
	require.NoError(t, c.Stack.Redis().Start(ctx))
	back = time.Now()
	readable(ctx, t, client, written, recovery)
	t.Logf("what was written meanwhile is readable %s after RabbitMQ and Redis", time.Since(back).Round(time.Millisecond))
	requireReadModelEqualsLog(t, c)
}

// While PostgreSQL is away every request is answered 503 with Retry-After at
// once, and both APIs recover by themselves.
func TestAnswers503WhilePostgresIsAwayAndRecovers(t *testing.T) {
	c := cluster.New(t, stack, cluster.Size{})
	client := c.NewClient()
	ctx := cluster.Within(t, 2*time.Minute)
	before, err := client.Write(ctx, http.MethodPost, "/v1/customers", newPerson().json())
	require.NoError(t, err)
	readable(ctx, t, client, before, recovery)

	require.NoError(t, c.Stack.Postgres().Kill())
	requireUnavailable(ctx, t, client)
	for _, p := range []*cluster.Process{c.Commands[0], c.Queries[0]} {
		require.NoError(t, p.WaitNotReady(cluster.Within(t, recovery)))
	}
	require.NoError(t, c.Stack.Postgres().Start(ctx))
	back := time.Now()
	c.WaitReady(t, recovery)
	after, err := client.Write(ctx, http.MethodPost, "/v1/customers", newPerson().json())
	require.NoError(t, err)
	require.Equal(t, http.StatusCreated, after.Status, "%s", after.Body)
	readable(ctx, t, client, after, recovery-time.Since(back))
	t.Logf("ready, writing and reading %s after PostgreSQL", time.Since(back).Round(time.Millisecond))
	requireReadModelEqualsLog(t, c)
}

// Without RabbitMQ commands go on, and reads follow from the log.
func TestRabbitMQAwayCostsLatencyOnly(t *testing.T) {
	c := cluster.New(t, stack, cluster.Size{})
	client := c.NewClient()
	ctx := cluster.Within(t, 2*time.Minute)
	require.NoError(t, c.Stack.RabbitMQ().Kill())
	for range 5 {
		written, err := client.Write(ctx, http.MethodPost, "/v1/customers", newPerson().json())
		require.NoError(t, err)
		require.Equal(t, http.StatusCreated, written.Status, "%s", written.Body)
		began := time.Now()
		readable(ctx, t, client, written, recovery)
		t.Logf("readable %s after the write, without RabbitMQ", time.Since(began).Round(time.Millisecond))
	}
	require.NoError(t, c.Commands[0].WaitReady(ctx))
	require.NoError(t, c.Stack.RabbitMQ().Start(ctx))
	quick(ctx, t, client)
	requireReadModelEqualsLog(t, c)
}

// Without Redis, with an empty one and with one that hangs, answers are the same.
func TestRedisAwayCostsLatencyOnly(t *testing.T) {
	c := cluster.New(t, stack, cluster.Size{})
	client := c.NewClient()
	ctx := cluster.Within(t, 2*time.Minute)
	redis := c.Stack.Redis()
	t.Cleanup(func() { _ = redis.Resume(); _ = redis.Start(context.Background()) })

	require.NoError(t, redis.Kill())
	t.Run("killed", func(t *testing.T) { pairs(t, client, 200, 4) })
	require.NoError(t, redis.Start(ctx))
	t.Run("empty", func(t *testing.T) { pairs(t, client, 200, 4) })
	require.NoError(t, redis.Pause())
	t.Run("hanging", func(t *testing.T) { pairs(t, client, 200, 4) })
	require.NoError(t, redis.Resume())
	awaitCache(t, c, client)
	t.Run("back", func(t *testing.T) { pairs(t, client, 200, 4) })
	requireReadModelEqualsLog(t, c)
	requireCacheEqualsReadModel(t, c)
}

// SIGTERM lets requests under way finish, and loses nothing.
func TestDrainsOnSIGTERM(t *testing.T) {
	c := cluster.New(t, stack, cluster.Size{Commands: 2, Projectors: 2, Queries: 2})
	load := startLoad(t, c, 16)
	for _, p := range c.Processes() {
		load.progress(cluster.Within(t, time.Minute), t, 100)
		began := time.Now()
		code, err := p.Terminate(12 * time.Second)
		require.NoError(t, err)
		require.Zero(t, code, "%s", p.Tail(20))
		t.Logf("%s drained in %s", p.Name, time.Since(began).Round(time.Millisecond))
		require.NoError(t, p.Start())
		require.NoError(t, p.WaitReady(cluster.Within(t, 30*time.Second)))
	}
	load.stop(t)
	load.requireAllInLog(t)
	requireReadModelEqualsLog(t, c)
}

func requireUnavailable(ctx context.Context, t *testing.T, client *cluster.Client) {
	t.Helper()
	began := time.Now()
	written, err := client.Write(ctx, http.MethodPost, "/v1/customers", newPerson().json())
	require.NoError(t, err)
	requireProblem(t, written, http.StatusServiceUnavailable, "unavailable")
	require.NotEmpty(t, written.Header.Get("Retry-After"))
	read, err := client.Read(ctx, "/v1/customers/01920e5c-7a3e-7c11-9b53-2f0f6b1c9a10")
	require.NoError(t, err)
	requireProblem(t, read, http.StatusServiceUnavailable, "unavailable")
	require.NotEmpty(t, read.Header.Get("Retry-After"))
	require.Less(t, time.Since(began), 15*time.Second, "a request must not hang")
}

// readable reads with the write's token until the read model has it.
func readable(ctx context.Context, t *testing.T, client *cluster.Client, written cluster.Answer, within time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	var read cluster.Answer
	err := cluster.Poll(ctx, 20*time.Millisecond, func() bool {
		a, err := client.Read(ctx, written.Header.Get("Location"), "Consistency-Token", written.Token())
		if err == nil {
			read = a
		}
		return err == nil && a.Status == http.StatusOK
	})
	require.NoError(t, err, "last answer: %d %s", read.Status, read.Body)
	require.Equal(t, string(written.Body), string(read.Body))
}

// quick waits until a write is readable as fast as on a healthy system.
func quick(ctx context.Context, t *testing.T, client *cluster.Client) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	var took time.Duration
	err := cluster.Poll(ctx, 100*time.Millisecond, func() bool {
		written, err := client.Write(ctx, http.MethodPost, "/v1/customers", newPerson().json())
		if err != nil || written.Status != http.StatusCreated {
			return false
		}
		began := time.Now()
		readable(ctx, t, client, written, 10*time.Second)
		took = time.Since(began)
		return took < 500*time.Millisecond
	})
	require.NoError(t, err, "a write is still readable only after %s", took)
}
