package consumer_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/api/examples/consumer"
)

// ledger applies an event once, going by the customer's version. A map stands
// for the service's database.
type ledger struct {
	mu       sync.Mutex
	versions map[string]int64
	applied  []consumer.Event
	fail     int // how many calls fail before their effect
}

func (l *ledger) Apply(_ context.Context, e consumer.Event) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e.Version <= l.versions[e.CustomerID] {
		return nil // had it
	}
	if l.fail > 0 {
		l.fail--
		return errors.New("the database is away")
	}
	l.versions[e.CustomerID] = e.Version
	l.applied = append(l.applied, e)
	return nil
}

func (l *ledger) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.applied)
}

func TestEachEventHasItsEffectOnceAndInOrder(t *testing.T) {
	t.Parallel()
	url := os.Getenv("AMQP_URL")
	require.NotEmpty(t, url, "AMQP_URL is not set: run make test (or devstack exec)")
	name := "test-" + uuid.NewString()
	c := consumer.Config{URL: url, Exchange: name + ".events", Queue: name + ".billing", Types: []string{"#"}}
	conn, err := amqp.Dial(url)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	ch, err := conn.Channel()
	require.NoError(t, err)
	t.Cleanup(func() {
		_, err := ch.QueueDelete(c.Queue, false, false, false)
		require.NoError(t, err)
		require.NoError(t, ch.ExchangeDelete(c.Exchange, false, false))
	})

	l := &ledger{versions: map[string]int64{}, fail: 3}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			_ = consumer.Run(ctx, c, l) // once for each failure, and at the end
		}
	}()
	queued := func() bool { // declaring it passively closes the channel when it is not there
		probe, err := conn.Channel()
		require.NoError(t, err)
		defer func() { _ = probe.Close() }()
		_, err = probe.QueueDeclarePassive(c.Queue, true, false, false, false, nil)
		return err == nil
	}
	require.Eventually(t, queued, 15*time.Second, 20*time.Millisecond)

	customers := []string{uuid.NewString(), uuid.NewString()}
	const each = 50
	var bodies [][]byte
	for version := int64(1); version <= each; version++ {
		for i, id := range customers {
			body, err := json.Marshal(consumer.Event{
				Position: (version-1)*2 + int64(i) + 1, ID: uuid.NewString(), Type: "customer.tagged", CustomerID: id, Version: version,
				Changed: []string{"tags"}, Time: time.Now(), Token: "token",
			})
			require.NoError(t, err)
			bodies = append(bodies, body)
		}
	}
	publish := func(body []byte) {
		require.NoError(t, ch.PublishWithContext(ctx, c.Exchange, "customer.tagged", false, false, amqp.Publishing{
			ContentType: "application/json", DeliveryMode: amqp.Persistent, Body: body,
		}))
	}
	for i, body := range bodies {
		publish(body)
		if i == len(bodies)/2 { // as after a fault
			publish([]byte("not an event"))
			for _, again := range bodies[:i] {
				publish(again)
			}
		}
	}
	require.Eventually(t, func() bool { return l.count() == len(bodies) }, 15*time.Second, 10*time.Millisecond)
	cancel()
	<-done
	for i, e := range l.applied {
		require.EqualValues(t, i+1, e.Position)
	}
}
