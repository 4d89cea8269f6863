package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/e2e/cluster"
)

// Clients follow the events while projectors and query APIs are killed and
// stopped and writes go on. Each goes on by Last-Event-ID at whichever process
// answers, and sees each position once.
func TestFollowersSeeEachEventOnce(t *testing.T) {
	c := cluster.New(t, stack, cluster.Size{Projectors: 2, Queries: 2})
	load := startLoad(t, c, 8)
	followers := make([]*follower, 12)
	for i := range followers {
		followers[i] = follow(t, c, i)
	}
	for _, p := range []*cluster.Process{c.Projectors[0], c.Queries[0], c.Projectors[1], c.Queries[1]} {
		ctx := cluster.Within(t, time.Minute)
		load.progress(ctx, t, 200)
		if p == c.Queries[1] {
			began := time.Now()
			code, err := p.Terminate(15 * time.Second)
			require.NoError(t, err)
			require.Zero(t, code)
			t.Logf("%s drained with its streams in %s", p.Name, time.Since(began).Round(time.Millisecond))
		} else {
			p.Kill()
		}
		load.progress(ctx, t, 100)
		require.NoError(t, p.Start())
		require.NoError(t, p.WaitReady(ctx))
	}
	load.stop(t)
	head := headOf(t, c)
	ctx := cluster.Within(t, time.Minute)
	reconnected := 0
	for i, f := range followers {
		require.NoError(t, cluster.Poll(ctx, 10*time.Millisecond, func() bool { return f.position() >= head || f.err() != nil }),
			"follower %d is at %d of %d", i, f.position(), head)
		reconnected += f.stop(t)
	}
	require.GreaterOrEqual(t, reconnected, len(followers), "hardly anybody was cut off")
	t.Logf("%d followers saw %d events each, once and in order, over %d connections", len(followers), head, reconnected+len(followers))
	requireFeedEqualsLog(t, c)
}

// What other services are told is the log: nothing missing, and in order for
// whoever goes by position, though command API and RabbitMQ are killed.
func TestIntegrationMessagesAreTheLog(t *testing.T) {
	c := cluster.New(t, stack, cluster.Size{Commands: 2})
	queue := bindAll(t, c)
	// RabbitMQ 3.10 forgets a binding when it is killed a second after it was made.
	<-time.After(3 * time.Second)
	load := startLoad(t, c, 8)
	for _, k := range []struct {
		name  string
		kill  func() error
		start func(context.Context) error
	}{process(c.Commands[0]), service(c.Stack.RabbitMQ()), process(c.Commands[1]), process(c.Projectors[0])} {
		ctx := cluster.Within(t, time.Minute)
		load.progress(ctx, t, 200)
		require.NoError(t, k.kill())
		require.NoError(t, k.start(ctx))
		load.progress(ctx, t, 100)
		c.WaitReady(t, 10*time.Second)
	}
	load.stop(t)
	head := headOf(t, c)

	log := map[int64]string{}
	rows, err := c.EventLog().Query(t.Context(), `SELECT pos, event_id::text FROM eventlog.positions JOIN eventlog.events ON event = id`)
	require.NoError(t, err)
	for rows.Next() {
		var at int64
		var id string
		require.NoError(t, rows.Scan(&at, &id))
		log[at] = id
	}
	require.NoError(t, rows.Err())
	versions := map[uuid.UUID]int64{}
	at, told := int64(0), 0
	drain(t, c, queue, func(m amqp.Delivery) bool {
		e := noticeOf(t, m.Body)
		require.Equal(t, log[e.Position], e.ID, "position %d", e.Position)
		require.Equal(t, e.ID, m.MessageId)
		told++
		if e.Position > at { // a message again is passed over
			require.Equal(t, at+1, e.Position, "a message is missing")
			require.Equal(t, versions[e.CustomerID]+1, e.Version)
			at, versions[e.CustomerID] = e.Position, e.Version
		}
		return at == head
	})
	require.Equal(t, head, at)
	t.Logf("%d events, %d messages", head, told)
	requireFeedEqualsLog(t, c)
}

// What happens to the feed's queue changes when an event is there, and nothing
// else.
func TestEventQueueFaultsCostLatencyOnly(t *testing.T) {
	c := cluster.New(t, stack, cluster.Size{})
	client := c.NewClient()
	ctx := cluster.Within(t, 2*time.Minute)
	admin := channel(t, c)
	queue, exchange := eventsExchange(c)+".feed", eventsExchange(c)

	for _, fault := range []struct {
		name string
		do   func()
	}{
		{"purged queue", func() {
			_, err := admin.QueuePurge(queue, false)
			require.NoError(t, err)
		}},
		{"deleted queue", func() {
			_, err := admin.QueueDelete(queue, false, false, false)
			require.NoError(t, err)
		}},
		{"removed binding", func() { require.NoError(t, admin.QueueUnbind(queue, "#", exchange, nil)) }},
		{"deleted exchange", func() { require.NoError(t, admin.ExchangeDelete(exchange, false, false)) }},
		{"foreign and malformed messages", func() {
			forged := `{"position":1000000,"id":"` + uuid.NewString() + `","type":"customer.erased","customer_id":"` + uuid.NewString() + `"}`
			for _, body := range []string{"", "{", "[]", "\x00\xff", forged} {
				require.NoError(t, admin.PublishWithContext(ctx, exchange, "customer.erased", false, false, amqp.Publishing{Body: []byte(body)}))
			}
		}},
	} {
		t.Run(fault.name, func(t *testing.T) {
			var written []cluster.Answer
			func() {
				require.NoError(t, c.Projectors[0].Signal(syscall.SIGSTOP))
				defer func() { require.NoError(t, c.Projectors[0].Signal(syscall.SIGCONT)) }()
				written = register(ctx, t, client, 30)
				fault.do()
			}()
			written = append(written, register(ctx, t, client, 20)...)
			began := time.Now()
			for _, w := range written {
				var a cluster.Answer
				require.NoError(t, cluster.Poll(cluster.Within(t, 20*time.Second), 20*time.Millisecond, func() bool {
					var err error
					a, err = client.Read(ctx, "/v1/events?limit=1", "Consistency-Token", w.Token(), "Prefer", "wait=10")
					require.NoError(t, err)
					return a.Status == http.StatusOK
				}), "%d %s", a.Status, a.Body)
			}
			t.Logf("all %d in the feed after %s", len(written), time.Since(began).Round(time.Millisecond))
		})
	}
	// And the queue is there again, bound, and consumed.
	probe := channel(t, c)
	require.NoError(t, probe.Confirm(false))
	returned := probe.NotifyReturn(make(chan amqp.Return, 100))
	require.NoError(t, cluster.Poll(cluster.Within(t, 30*time.Second), 100*time.Millisecond, func() bool {
		register(ctx, t, client, 1)
		confirm, err := probe.PublishWithDeferredConfirm(exchange, "customer.tagged", true, false, amqp.Publishing{Body: []byte("{}")})
		require.NoError(t, err)
		stored, err := confirm.WaitContext(ctx)
		require.NoError(t, err)
		if len(returned) > 0 { // which comes before the confirm
			<-returned
			return false
		}
		q, err := probe.QueueDeclarePassive(queue, true, false, false, false, nil)
		return err == nil && stored && q.Consumers == 1
	}))
	requireFeedEqualsLog(t, c)
}

// Marks in every field of customers that are changed and erased are in no
// message and not in the feed's table.
func TestEventsHoldNoPersonalData(t *testing.T) {
	c := cluster.New(t, stack, cluster.Size{})
	client := c.NewClient()
	ctx := cluster.Within(t, time.Minute)
	queue := bindAll(t, c)
	var marks []string
	for i := range 10 {
		p, changed := newFullPerson(), newPerson()
		marks = append(marks, append(personalValues(p), personalValues(changed)...)...)
		a, err := client.Write(ctx, http.MethodPost, "/v1/customers", p.json())
		require.NoError(t, err)
		require.Equal(t, http.StatusCreated, a.Status, "%s", a.Body)
		path := a.Header.Get("Location")
		a, err = client.Write(ctx, http.MethodPatch, path, changed.json(), "X-Correlation-ID", "order-1")
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, a.Status, "%s", a.Body)
		if i%2 == 0 {
			a, err = client.Write(ctx, http.MethodPost, path+"/erase", `{"reason":"asked for it"}`)
			require.NoError(t, err)
			require.Equal(t, http.StatusOK, a.Status, "%s", a.Body)
		}
	}
	requireFeedEqualsLog(t, c)
	head, at := headOf(t, c), int64(0)
	search := newSearch(marks)
	drain(t, c, queue, func(m amqp.Delivery) bool {
		search.in(t, "a message", []byte(fmt.Sprintf("%v %s %s", m.Headers, m.RoutingKey, m.Body)))
		at = max(at, noticeOf(t, m.Body).Position)
		return at == head
	})
	rows, err := c.ReadModel().Query(ctx, `SELECT to_json(e)::text FROM readmodel.events e`)
	require.NoError(t, err)
	for rows.Next() {
		var row string
		require.NoError(t, rows.Scan(&row))
		search.in(t, "the feed's table", []byte(row))
	}
	require.NoError(t, rows.Err())
	a, err := client.Read(ctx, "/v1/events?limit=1000")
	require.NoError(t, err)
	search.in(t, "the feed", a.Body)
}

type notice struct {
	Position   int64     `json:"position"`
	ID         string    `json:"id"`
	Type       string    `json:"type"`
	CustomerID uuid.UUID `json:"customer_id"`
	Version    int64     `json:"version"`
}

func noticeOf(t *testing.T, body []byte) notice {
	t.Helper()
	var n notice
	require.NoError(t, json.Unmarshal(body, &n), "%s", body)
	return n
}
