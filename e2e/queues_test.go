package e2e

import (
	"context"
	"net/http"
	"syscall"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/e2e/cluster"
)

// What happens to queues and messages changes when a write is readable, and
// nothing else: the projector heals from the log.
func TestQueueFaultsCostLatencyOnly(t *testing.T) {
	c := cluster.New(t, stack, cluster.Size{})
	client := c.NewClient()
	ctx := cluster.Within(t, 3*time.Minute)
	admin := channel(t, c)

	t.Run("purged queues", func(t *testing.T) {
		held := whileHeld(ctx, t, c, client, 100, func() {
			purged := 0
			require.NoError(t, cluster.Poll(ctx, 20*time.Millisecond, func() bool {
				for _, q := range laneQueues(c) {
					n, err := admin.QueuePurge(q, false)
					require.NoError(t, err)
					purged += n
				}
				return purged > 0
			}), "there was nothing to purge")
			t.Logf("%d messages purged", purged)
		})
		allReadable(ctx, t, client, held)
	})
	t.Run("deleted queues", func(t *testing.T) {
		held := whileHeld(ctx, t, c, client, 100, func() {
			for _, q := range laneQueues(c) {
				_, err := admin.QueueDelete(q, false, false, false)
				require.NoError(t, err)
			}
		})
		allReadable(ctx, t, client, held)
		quick(ctx, t, client) // the queues are there again
	})
	t.Run("removed bindings", func(t *testing.T) {
		for i, q := range laneQueues(c) {
			require.NoError(t, admin.QueueUnbind(q, laneKeys()[i], feedExchange(c), nil))
		}
		written := register(ctx, t, client, 50)
		allReadable(ctx, t, client, written)
		quick(ctx, t, client)
	})
	t.Run("every message twice, and all of them again at the end", func(t *testing.T) {
		messages := spy(t, c)
		written := register(ctx, t, client, 200)
		allReadable(ctx, t, client, written)
		again := messages()
		require.NotEmpty(t, again)
		for range 2 {
			for _, m := range again {
				require.NoError(t, admin.PublishWithContext(ctx, m.Exchange, m.RoutingKey, true, false, amqp.Publishing{
					Headers: m.Headers, ContentType: m.ContentType, MessageId: m.MessageId, Type: m.Type, Timestamp: m.Timestamp,
					DeliveryMode: amqp.Persistent, Body: m.Body,
				}))
			}
		}
		allReadable(ctx, t, client, register(ctx, t, client, 50)) // behind the duplicates
		allReadable(ctx, t, client, written)
		t.Logf("%d messages published twice more", len(again))
	})
	t.Run("foreign and malformed messages", func(t *testing.T) {
		for _, key := range laneKeys() {
			for _, body := range []string{"", "{", "[]", `[{"specversion":"1.0"}]`, "\x00\xff"} {
				require.NoError(t, admin.PublishWithContext(ctx, feedExchange(c), key, true, false, amqp.Publishing{Body: []byte(body)}))
			}
		}
		allReadable(ctx, t, client, register(ctx, t, client, 50))
		quick(ctx, t, client)
	})
	requireReadModelEqualsLog(t, c)
	requireCacheEqualsReadModel(t, c)
}

// whileHeld registers n customers while all projectors are stopped, so that
// their messages stay in the queues, lets fault act on those, and goes on.
func whileHeld(ctx context.Context, t *testing.T, c *cluster.Cluster, client *cluster.Client, n int, fault func()) []cluster.Answer {
	t.Helper()
	for _, p := range c.Projectors {
		require.NoError(t, p.Signal(syscall.SIGSTOP))
		defer func() { require.NoError(t, p.Signal(syscall.SIGCONT)) }()
	}
	written := register(ctx, t, client, n)
	fault()
	return written
}

func register(ctx context.Context, t *testing.T, client *cluster.Client, n int) []cluster.Answer {
	t.Helper()
	all := make([]cluster.Answer, n)
	for i := range all {
		a, err := client.Write(ctx, http.MethodPost, "/v1/customers", newPerson().json())
		require.NoError(t, err)
		require.Equal(t, http.StatusCreated, a.Status, "%s", a.Body)
		all[i] = a
	}
	return all
}

func allReadable(ctx context.Context, t *testing.T, client *cluster.Client, written []cluster.Answer) {
	t.Helper()
	began := time.Now()
	for _, a := range written {
		readable(ctx, t, client, a, 15*time.Second)
	}
	t.Logf("all %d readable after %s", len(written), time.Since(began).Round(time.Millisecond))
}

func channel(t *testing.T, c *cluster.Cluster) *amqp.Channel {
	t.Helper()
	conn, err := amqp.Dial(c.Stack.URLs().AMQP)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	ch, err := conn.Channel()
	require.NoError(t, err)
	return ch
}
