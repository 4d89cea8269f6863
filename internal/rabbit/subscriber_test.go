package rabbit_test

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	wamqp "github.com/ThreeDotsLabs/watermill-amqp/v2/pkg/amqp"
	"github.com/ThreeDotsLabs/watermill/message"
	amqp091 "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/internal/rabbit"
	"github.com/ebrahem-outlook/customer-service/internal/rabbit/rabbittest"
)

func newSubscriber(t testing.TB, cfg rabbit.Config) message.Subscriber {
	t.Helper()
	s, err := rabbit.NewSubscriber(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

func subscribe(t testing.TB, s message.Subscriber, topic string) <-chan *message.Message {
	t.Helper()
	c, err := s.Subscribe(context.Background(), topic)
	require.NoError(t, err)
	return c
}

func TestSubscribeDeliversInOrderEachLaneByItself(t *testing.T) {
	t.Parallel()
	cfg := rabbittest.Config(t)
	p, s := newPublisher(t, cfg), newSubscriber(t, cfg)
	zero, one := subscribe(t, s, "lane.00"), subscribe(t, s, "lane.01")
	require.NoError(t, p.Publish("lane.00", numbered(0, 20)...))
	require.NoError(t, p.Publish("lane.01", numbered(0, 20)...))
	held := receive(t, zero) // does not hold the other lane up
	for i := range 20 {
		msg := receive(t, one)
		require.Equal(t, strconv.Itoa(i), msg.UUID)
		msg.Ack()
	}
	held.Ack()
	for i := 1; i < 20; i++ {
		msg := receive(t, zero)
		require.Equal(t, strconv.Itoa(i), msg.UUID)
		msg.Ack()
	}
}

// The broker counts deliveries in a header that is a number.
func TestNackedMessageComesBackFirst(t *testing.T) {
	t.Parallel()
	cfg := rabbittest.Config(t)
	p, s := newPublisher(t, cfg), newSubscriber(t, cfg)
	c := subscribe(t, s, "lane.00")
	require.NoError(t, p.Publish("lane.00", numbered(0, 3)...))
	for range 3 {
		msg := receive(t, c)
		require.Equal(t, "0", msg.UUID)
		msg.Nack()
	}
	for i := range 3 {
		msg := receive(t, c)
		require.Equal(t, strconv.Itoa(i), msg.UUID)
		if i == 0 {
			require.Equal(t, "3", msg.Metadata.Get("x-delivery-count"))
		}
		msg.Ack()
	}
}

func TestForeignMessageReachesTheHandler(t *testing.T) {
	t.Parallel()
	cfg := rabbittest.Config(t)
	newPublisher(t, cfg)
	s := newSubscriber(t, cfg)
	c := subscribe(t, s, "lane.00")
	foreign := amqp091.Publishing{
		Body:    []byte{0xff, 0x00},
		Headers: amqp091.Table{"n": int64(7), "list": []any{"x"}, "table": amqp091.Table{"a": 1}, "when": time.Unix(0, 0)},
	}
	require.Eventually(t, func() bool { return routed(t, cfg, "lane.00", foreign) }, patience, 10*time.Millisecond)
	msg := receive(t, c)
	require.Empty(t, msg.UUID)
	require.Equal(t, []byte{0xff, 0x00}, []byte(msg.Payload))
	require.Equal(t, message.Metadata{"n": "7", "when": "1970-01-01T00:00:00Z"}, msg.Metadata)
	msg.Ack()
}

// routed publishes past the service's own publisher, and tells whether a queue
// took the message: the exchange, the queue and what binds them are declared
// one after another, and what comes before the last is dropped.
func routed(t *testing.T, cfg rabbit.Config, topic string, p amqp091.Publishing) bool {
	ch := rabbittest.Channel(t, cfg)
	require.NoError(t, ch.Confirm(false))
	returned := ch.NotifyReturn(make(chan amqp091.Return, 1))
	confirmed, err := ch.PublishWithDeferredConfirm(rabbittest.Exchange(cfg), topic, true, false, p)
	if err != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if ok, err := confirmed.WaitContext(ctx); !ok || err != nil {
		return false // no exchange: the channel was closed
	}
	return len(returned) == 0 // a return comes before its confirm
}

func TestDeletedQueueIsDeclaredAgainAndNothingEmptyArrives(t *testing.T) {
	t.Parallel()
	cfg := rabbittest.Config(t)
	p, s := newPublisher(t, cfg), newSubscriber(t, cfg)
	c := subscribe(t, s, "lane.00")
	require.NoError(t, p.Publish("lane.00", numbered(0, 1)...))
	receive(t, c).Ack()
	for range 3 {
		_, err := rabbittest.Channel(t, cfg).QueueDelete(rabbittest.Queue(cfg, 0), false, false, false)
		require.NoError(t, err)
		require.NoError(t, p.Publish("lane.00", numbered(1, 1)...))
		msg := receive(t, c)
		require.Equal(t, "1", msg.UUID)
		msg.Ack()
	}
}

func TestCloseSubscriber(t *testing.T) {
	t.Parallel()
	direct := rabbittest.Config(t)
	proxy, cfg := rabbittest.NewProxy(t, direct)
	p := newPublisher(t, direct)
	require.NoError(t, p.Publish("lane.00", numbered(0, 2)...))
	for name, before := range map[string]func(){"with a broker": func() {}, "without": func() { proxy.Refuse(true); proxy.Cut() }, "silent": proxy.Stall} {
		s := newSubscriber(t, cfg)
		if name != "without" {
			c := subscribe(t, s, "lane.00")
			receive(t, c) // unanswered
		} else {
			subscribe(t, s, "lane.01")
		}
		before()
		closed := make(chan error)
		go func() { closed <- s.Close() }()
		require.NoError(t, receive(t, closed), name)
		require.NoError(t, s.Close())
		_, err := s.Subscribe(context.Background(), "lane.00")
		require.ErrorIs(t, err, rabbit.ErrClosed)
		proxy.Resume()
		proxy.Refuse(false)
		proxy.Cut()
	}
}

func TestCancelledSubscriptionGivesItsMessageBack(t *testing.T) {
	t.Parallel()
	cfg := rabbittest.Config(t)
	p, s := newPublisher(t, cfg), newSubscriber(t, cfg)
	ctx, cancel := context.WithCancel(context.Background())
	c, err := s.Subscribe(ctx, "lane.00")
	require.NoError(t, err)
	require.NoError(t, p.Publish("lane.00", numbered(0, 1)...))
	cancel()
	for msg := range c { // it may have been on its way
		msg.Nack()
	}
	msg := receive(t, subscribe(t, s, "lane.00"))
	require.Equal(t, "0", msg.UUID)
	msg.Ack()
}

// BenchmarkPublishStock is watermill-amqp's publisher on the same queue.
func BenchmarkPublishStock(b *testing.B) {
	cfg := rabbittest.Config(b)
	newPublisher(b, cfg)
	w := wamqp.NewDurablePubSubConfig(cfg.URL, nil)
	w.Exchange.GenerateName = func(string) string { return rabbittest.Exchange(cfg) }
	w.Exchange.Type = "direct"
	w.Publish.GenerateRoutingKey = func(topic string) string { return topic }
	w.Publish.ConfirmDelivery = true
	w.Publish.ChannelPoolSize = 1
	p, err := wamqp.NewPublisher(w, watermill.NopLogger{})
	require.NoError(b, err)
	b.Cleanup(func() { _ = p.Close() })
	benchmarkPublish(b, p, cfg)
}
