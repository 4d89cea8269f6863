package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/e2e/cluster"
)

// eventsExchange is the name that other services know.
func eventsExchange(c *cluster.Cluster) string { return c.Prefix + ".events" }

// bindAll makes another service's queue for all events.
func bindAll(t *testing.T, c *cluster.Cluster) string {
	t.Helper()
	ch := channel(t, c)
	name := eventsExchange(c) + ".another"
	_, err := ch.QueueDeclare(name, true, false, false, false, amqp.Table{"x-queue-type": "quorum"})
	require.NoError(t, err)
	// The command API makes the exchange as soon as it is connected.
	require.NoError(t, cluster.Poll(cluster.Within(t, 20*time.Second), 20*time.Millisecond, func() bool {
		ch := channel(t, c)
		return ch.QueueBind(name, "#", eventsExchange(c), false, nil) == nil
	}))
	return name
}

// drain hands over the queue's messages until done says that it was the last.
func drain(t *testing.T, c *cluster.Cluster, queue string, done func(amqp.Delivery) bool) {
	t.Helper()
	ctx := cluster.Within(t, time.Minute)
	deliveries, err := channel(t, c).ConsumeWithContext(ctx, queue, "", true, false, false, false, nil)
	require.NoError(t, err)
	for {
		select {
		case m := <-deliveries:
			if done(m) {
				return
			}
		case <-ctx.Done():
			t.Fatal("messages are missing")
		}
	}
}

// headOf is the log's last position, once every event has one.
func headOf(t *testing.T, c *cluster.Cluster) (head int64) {
	t.Helper()
	ctx := cluster.Within(t, 30*time.Second)
	var events int64
	require.NoError(t, cluster.Poll(ctx, 20*time.Millisecond, func() bool {
		err := c.EventLog().QueryRow(ctx, `
			SELECT (SELECT count(*) FROM eventlog.events), (SELECT coalesce(max(pos), 0) FROM eventlog.positions)`).Scan(&events, &head)
		return err == nil && events == head
	}), "%d events, %d positions", events, head)
	return head
}

// requireFeedEqualsLog waits until the feed is at the log's head and compares
// every row.
func requireFeedEqualsLog(t *testing.T, c *cluster.Cluster) {
	t.Helper()
	ctx := cluster.Within(t, time.Minute)
	head := headOf(t, c)
	var at int64
	require.NoError(t, cluster.Poll(ctx, 20*time.Millisecond, func() bool {
		err := c.ReadModel().QueryRow(ctx, `SELECT position FROM readmodel.events_checkpoint`).Scan(&at)
		return err == nil && at >= head
	}), "the feed is at %d of %d", at, head)
	const columns = `string_agg(concat_ws('|', pos, event_id, type, customer_id, version, changed, at), ';' ORDER BY pos)`
	var log, feed string
	require.NoError(t, c.EventLog().QueryRow(ctx, `SELECT md5(`+columns+`) FROM (
		SELECT p.pos, e.event_id, e.type, e.customer_id, e.version, e.recorded_at AS at,
		       ARRAY(SELECT jsonb_array_elements_text(e.data -> 'changed')) AS changed
		  FROM eventlog.positions p JOIN eventlog.events e ON e.id = p.event) l`).Scan(&log))
	require.NoError(t, c.ReadModel().QueryRow(ctx, `SELECT md5(`+columns+`) FROM (
		SELECT position AS pos, event_id, type, customer_id, version, at, changed FROM readmodel.events) f`).Scan(&feed))
	require.Equal(t, log, feed, "the feed is not the log")
}

// follower is one client that follows the events and comes back to where it was
// whenever it is cut off.
type follower struct {
	cancel context.CancelFunc
	done   chan struct{}

	mu          sync.Mutex
	at          int64
	connections int
	fault       error
}

func follow(t *testing.T, c *cluster.Cluster, first int) *follower {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	f := &follower{cancel: cancel, done: make(chan struct{})}
	t.Cleanup(func() { cancel(); <-f.done })
	go func() {
		defer close(f.done)
		for n := first; ctx.Err() == nil && f.err() == nil; n++ {
			f.connect(ctx, c.Queries[n%len(c.Queries)].URL())
			select {
			case <-ctx.Done():
			case <-time.After(50 * time.Millisecond): // sooner than it is asked to
			}
		}
	}()
	return f
}

func (f *follower) connect(ctx context.Context, url string) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/v1/events", http.NoBody)
	if err != nil {
		f.fail(err)
		return
	}
	req.Header.Set("Accept", "text/event-stream")
	if at := f.position(); at > 0 {
		req.Header.Set("Last-Event-ID", strconv.FormatInt(at, 10))
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return
	}
	f.mu.Lock()
	f.connections++
	f.mu.Unlock()
	lines := bufio.NewScanner(res.Body)
	var id string
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), ": ")
		switch name {
		case "id":
			id = value
		case "data":
			f.take(id, value)
		}
	}
}

// take requires the next position, no other.
func (f *follower) take(id, data string) {
	var n notice
	err := json.Unmarshal([]byte(data), &n)
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil || id != strconv.FormatInt(n.Position, 10) || n.Position != f.at+1 {
		f.fault = fmt.Errorf("after %d came id %q, %s (%w)", f.at, id, data, err)
		return
	}
	f.at = n.Position
}

func (f *follower) position() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.at
}

func (f *follower) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fault = err
}

func (f *follower) err() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.fault
}

// stop returns how often the follower had to connect again.
func (f *follower) stop(t *testing.T) int {
	t.Helper()
	f.cancel()
	<-f.done
	require.NoError(t, f.err())
	return f.connections - 1
}
