package e2e

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/e2e/cluster"
)

// requireCacheEqualsReadModel compares every document that Redis holds and
// that a read could be answered from with the read model's. It gives repairs
// the five seconds they have.
func requireCacheEqualsReadModel(t *testing.T, c *cluster.Cluster) {
	t.Helper()
	var compared int
	var different []string
	err := cluster.Poll(cluster.Within(t, 5*time.Second), 200*time.Millisecond, func() bool {
		compared, different = compareCache(t, c)
		return len(different) == 0
	})
	require.NoError(t, err, "Redis differs from the read model: %v", different)
	require.NotZero(t, compared, "Redis holds no document at all")
	t.Logf("%d documents in Redis, all as in PostgreSQL", compared)
}

// awaitCache waits until what is read is put into Redis.
func awaitCache(t *testing.T, c *cluster.Cluster, client *cluster.Client) {
	t.Helper()
	ctx := cluster.Within(t, recovery)
	require.NoError(t, cluster.Poll(ctx, 10*time.Millisecond, func() bool {
		_, err := registerThenRead(ctx, client)
		require.NoError(t, err)
		compared, _ := compareCache(t, c)
		return compared > 0
	}), "Redis is not used")
}

func compareCache(t *testing.T, c *cluster.Cluster) (compared int, different []string) {
	t.Helper()
	ctx := cluster.Within(t, 30*time.Second)
	var epoch int64
	require.NoError(t, c.ReadModel().QueryRow(ctx, `SELECT epoch FROM readmodel.cache_state`).Scan(&epoch))
	type row struct {
		version  int64
		document string
		live     bool
	}
	rows := map[string]row{}
	found, err := c.ReadModel().Query(ctx, `SELECT customer_id::text, version, document::text, status IN ('active', 'suspended') FROM readmodel.documents`)
	require.NoError(t, err)
	for found.Next() {
		var id string
		var r row
		require.NoError(t, found.Scan(&id, &r.version, &r.document, &r.live))
		rows[id] = r
	}
	require.NoError(t, found.Err())

	client := connectRedis(t, c)
	for _, key := range redisKeys(t, c) {
		if !strings.Contains(key, fmt.Sprintf(":%d:", epoch)) {
			continue // nobody reads it any more
		}
		value, err := client.Get(ctx, key).Result()
		if err != nil || !strings.HasPrefix(value, "1:") {
			continue // gone since, or no document
		}
		id := key[strings.IndexByte(key, '{')+1 : strings.IndexByte(key, '}')]
		parts := strings.SplitN(value, ":", 5)
		want := rows[id]
		compared++
		switch {
		case parts[1] != fmt.Sprint(want.version):
			different = append(different, fmt.Sprintf("%s: version %s, should be %d", id, parts[1], want.version))
		case want.live && parts[4] != want.document, !want.live && parts[4] != "":
			different = append(different, id+": other content")
		}
	}
	return compared, different
}

// BenchmarkHotReads reads 100 hot customers over HTTP with 16 clients, in turns
// from a query API with documents in memory and from one without.
func BenchmarkHotReads(b *testing.B) {
	const customers, clients, rounds, length = 100, 16, 9, time.Second
	b.Setenv("L1_MEGABYTES", "64")
	with := cluster.New(b, stack, cluster.Size{})
	b.Setenv("L1_MEGABYTES", "0")
	ladders := []struct {
		name                  string
		c                     *cluster.Cluster
		paths                 []string
		rates, medians, tails []float64
	}{{name: "memory", c: with}, {name: "Redis", c: cluster.New(b, stack, cluster.Size{})}}
	for i := range ladders {
		client := ladders[i].c.NewClient()
		for range customers {
			a, _, err := client.Insist(b.Context(), http.MethodPost, "/v1/customers", newPerson().json())
			require.NoError(b, err)
			ladders[i].paths = append(ladders[i].paths, a.Header.Get("Location"))
			read, err := client.Read(b.Context(), a.Header.Get("Location"), "Consistency-Token", a.Token(), "Prefer", "wait=10")
			require.NoError(b, err)
			require.Equal(b, http.StatusOK, read.Status)
		}
	}
	for b.Loop() {
		for range rounds {
			for i := range ladders {
				l := &ladders[i]
				took := readFor(b, l.c.NewClient(), l.paths, clients, length)
				l.rates = append(l.rates, float64(len(took))/length.Seconds())
				l.medians = append(l.medians, float64(took[len(took)/2].Microseconds()))
				l.tails = append(l.tails, float64(took[len(took)*99/100].Microseconds()))
			}
		}
	}
	spread := func(x []float64) string {
		slices.Sort(x)
		return fmt.Sprintf("%.0f (%.0f–%.0f)", x[len(x)/2], x[0], x[len(x)-1])
	}
	for _, l := range ladders {
		b.Logf("%s: %s reads/s, p50 %s µs, p99 %s µs", l.name, spread(l.rates), spread(l.medians), spread(l.tails))
	}
}

// readFor answers how long each read took, shortest first.
func readFor(b *testing.B, client *cluster.Client, paths []string, clients int, length time.Duration) []time.Duration {
	b.Helper()
	all := make(chan []time.Duration, clients)
	began := time.Now()
	for c := range clients {
		go func() {
			var took []time.Duration
			for i := c; time.Since(began) < length; i++ {
				at := time.Now()
				a, err := client.Read(b.Context(), paths[i%len(paths)])
				if err != nil || a.Status != http.StatusOK {
					b.Errorf("read: %d: %v", a.Status, err)
					break
				}
				took = append(took, time.Since(at))
			}
			all <- took
		}()
	}
	var took []time.Duration
	for range clients {
		took = append(took, <-all...)
	}
	slices.Sort(took)
	return took
}

func redisKeys(t *testing.T, c *cluster.Cluster) []string {
	t.Helper()
	ctx := cluster.Within(t, 30*time.Second)
	var keys []string
	found := connectRedis(t, c).Scan(ctx, 0, c.Prefix+"*", 1000).Iterator()
	for found.Next(ctx) {
		keys = append(keys, found.Val())
	}
	require.NoError(t, found.Err())
	return keys
}

func connectRedis(t *testing.T, c *cluster.Cluster) *redis.Client {
	t.Helper()
	options, err := redis.ParseURL(c.Stack.URLs().Redis)
	require.NoError(t, err)
	client := redis.NewClient(options)
	t.Cleanup(func() { _ = client.Close() })
	return client
}
