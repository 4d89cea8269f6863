package audit

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/ebrahem-outlook/customer-service/e2e/cluster"
	"github.com/ebrahem-outlook/customer-service/internal/customer"
)

// cached is what Redis holds under one key that reads may be answered from.
type cached struct {
	key     string
	id      customer.ID
	version string
	state   string
	body    string
	current bool // of the epoch that is trusted now
}

// readCache reads every document that Redis holds of this cluster.
func readCache(ctx context.Context, c *cluster.Cluster) ([]cached, error) {
	var epoch int64
	if err := c.ReadModel().QueryRow(ctx, `SELECT epoch FROM readmodel.cache_state`).Scan(&epoch); err != nil {
		return nil, err
	}
	options, err := redis.ParseURL(c.Stack.URLs().Redis)
	if err != nil {
		return nil, err
	}
	client := redis.NewClient(options)
	defer client.Close()
	var (
		all    []cached
		cursor uint64
	)
	for {
		keys, next, err := client.Scan(ctx, cursor, c.Prefix+"*", 1000).Result()
		if err != nil {
			return nil, err
		}
		if len(keys) > 0 {
			values, err := client.MGet(ctx, keys...).Result()
			if err != nil {
				return nil, err
			}
			for i, value := range values {
				if text, ok := value.(string); ok {
					if one, ok := parseCached(keys[i], text, epoch); ok {
						all = append(all, one)
					}
				}
			}
		}
		if cursor = next; cursor == 0 {
			return all, nil
		}
	}
}

// parseCached takes an entry apart. A lease, which no read is answered from, is none.
func parseCached(key, value string, epoch int64) (cached, bool) {
	from, to := strings.IndexByte(key, '{'), strings.IndexByte(key, '}')
	parts := strings.SplitN(value, ":", 5)
	if from < 0 || to < from || len(parts) < 5 || parts[0] != "1" {
		return cached{}, false
	}
	return cached{
		key: key, id: idOf(key[from+1 : to]), version: parts[1], state: parts[2], body: parts[4],
		current: strings.Contains(key, ":"+strconv.FormatInt(epoch, 10)+":{"),
	}, true
}

// checkCache is P9: what Redis holds is what PostgreSQL holds, and of who is
// erased it holds nothing.
func checkCache(log *Log, entries []cached) Verdict {
	v := Verdict{Promise: "P9", Check: "every entry in Redis is the customer as it is, none is left of who is erased", Unit: "entries"}
	stale := 0
	letters := map[customer.Status]string{
		customer.StatusActive: "a", customer.StatusSuspended: "s", customer.StatusDeleted: "d", customer.StatusErased: "e",
	}
	for _, e := range entries {
		v.Checked++
		s := log.Streams[e.id]
		switch {
		case s == nil:
			v.Violate("%s is of a customer that the log does not have", e.key)
			continue
		case s.erased() && e.body != "":
			v.Violate("%s holds a document of an erased customer", e.key)
			continue
		case !e.current:
			stale++ // of an epoch that nobody reads any more
			continue
		}
		head := s.head()
		status := head.State.Status()
		switch {
		case e.version != strconv.FormatInt(int64(head.Version), 10):
			v.Violate("%s is at version %s, the customer at %d", e.key, e.version, head.Version)
		case e.state != letters[status] || live(status) != (e.body != ""):
			v.Violate("%s has state %q, the customer is %s", e.key, e.state, status)
		case live(status) && s.Opened && digestOf([]byte(e.body)) != head.Document:
			v.Violate("%s holds another document of version %d", e.key, head.Version)
		}
	}
	v.Note = fmt.Sprintf("%d of an earlier epoch", stale)
	return v
}

// settleCache compares until nothing differs or the five seconds are over that
// repairs have.
func settleCache(ctx context.Context, c *cluster.Cluster, log *Log) Verdict {
	within, cancel := context.WithTimeout(ctx, 6*time.Second)
	defer cancel()
	var (
		v    Verdict
		last error
	)
	err := cluster.Poll(within, 500*time.Millisecond, func() bool {
		entries, err := readCache(ctx, c)
		if last = err; err != nil {
			return false
		}
		v = checkCache(log, entries)
		return v.Violated == 0
	})
	if last != nil {
		v = Verdict{Promise: "P9", Check: "every entry in Redis is the customer as it is", Unit: "entries", Error: errors.Join(err, last).Error()}
	}
	return v
}
