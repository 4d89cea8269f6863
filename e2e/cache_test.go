package e2e

import (
	"fmt"
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
