package rabbit_test

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	amqp091 "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
	"github.com/ebrahem-outlook/customer-service/internal/rabbit"
	"github.com/ebrahem-outlook/customer-service/internal/rabbit/rabbittest"
)

const patience = 20 * time.Second

func newPublisher(t testing.TB, cfg rabbit.Config) *rabbit.Publisher {
	t.Helper()
	p, err := rabbit.NewPublisher(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Close()) })
	return p
}

func numbered(from, n int) []*message.Message {
	messages := make([]*message.Message, n)
	for i := range messages {
		messages[i] = message.NewMessage(strconv.Itoa(from+i), []byte(`{"n":1}`))
	}
	return messages
}

// stored takes everything out of a lane's queue: what comes before a last
// message of its own.
func stored(t testing.TB, cfg rabbit.Config, lane eventlog.Lane) (got []amqp091.Delivery) {
	t.Helper()
	ch := rabbittest.Channel(t, cfg)
	queue := rabbittest.Queue(cfg, lane)
	require.NoError(t, ch.Publish("", queue, true, false, amqp091.Publishing{MessageId: "end"}))
	deliveries, err := ch.Consume(queue, "", true, false, false, false, nil)
	require.NoError(t, err)
	for {
		d := receive(t, deliveries)
		if d.MessageId == "end" {
			require.NoError(t, ch.Close())
			return got
		}
		got = append(got, d)
	}
}

func ids(deliveries []amqp091.Delivery) (got []string) {
	for _, d := range deliveries {
		got = append(got, d.MessageId)
	}
	return got
}

func wantIDs(n int) (want []string) {
	for i := range n {
		want = append(want, strconv.Itoa(i))
	}
	return want
}

func TestPublishStoresInOrder(t *testing.T) {
	t.Parallel()
	cfg := rabbittest.Config(t)
	p := newPublisher(t, cfg)
	messages := numbered(0, 600) // more than two windows
	messages[0].Metadata.Set("lane", "1")
	messages[0].Metadata.Set(rabbit.ContentType, "text/x")
	require.NoError(t, p.Publish("lane.01", messages[:500]...))
	require.NoError(t, p.Publish("lane.01", messages[500:]...))
	require.NoError(t, p.Publish("lane.01"))
	got := stored(t, cfg, 1)
	require.Equal(t, wantIDs(600), ids(got))
	require.Equal(t, amqp091.Table{"lane": "1"}, got[0].Headers)
	require.Equal(t, "text/x", got[0].ContentType)
	require.Equal(t, uint8(amqp091.Persistent), got[0].DeliveryMode)
	require.True(t, p.Connected())
}

func TestPublishReportsWhatNoQueueTakes(t *testing.T) {
	t.Parallel()
	cfg := rabbittest.Config(t)
	p := newPublisher(t, cfg)
	require.ErrorIs(t, p.Publish("lane.77", numbered(0, 3)...), rabbit.ErrUnroutable)
	require.NoError(t, p.Publish("lane.00", numbered(0, 1)...), "it works on")
}

func TestPublishDeclaresAgainWhatWasDeleted(t *testing.T) {
	t.Parallel()
	cfg := rabbittest.Config(t)
	p := newPublisher(t, cfg)
	require.NoError(t, p.Publish("lane.00", numbered(0, 1)...))
	ch := rabbittest.Channel(t, cfg)

	_, err := ch.QueueDelete(rabbittest.Queue(cfg, 0), false, false, false)
	require.NoError(t, err)
	require.NoError(t, p.Publish("lane.00", numbered(0, 3)...))
	require.Equal(t, wantIDs(3), ids(stored(t, cfg, 0)))

	require.NoError(t, ch.ExchangeDelete(rabbittest.Exchange(cfg), false, false))
	require.NoError(t, p.Publish("lane.00", numbered(0, 3)...))
	require.Equal(t, wantIDs(3), ids(stored(t, cfg, 0)))
}

func TestPublishWaitsForABrokerThatIsNotThereYet(t *testing.T) {
	t.Parallel()
	proxy, cfg := rabbittest.NewProxy(t, rabbittest.Config(t))
	proxy.Refuse(true)
	impatient := cfg
	impatient.ConfirmTimeout = 100 * time.Millisecond
	require.ErrorIs(t, newPublisher(t, impatient).Publish("lane.00", numbered(0, 1)...), rabbit.ErrNotConnected)

	p := newPublisher(t, cfg)
	require.False(t, p.Connected())
	published := make(chan error)
	go func() { published <- p.Publish("lane.00", numbered(0, 1)...) }()
	proxy.Refuse(false)
	require.NoError(t, receive(t, published))
}

func TestPublishLosesNothingWhenCut(t *testing.T) {
	t.Parallel()
	direct := rabbittest.Config(t)
	proxy, cfg := rabbittest.NewProxy(t, direct)
	p := newPublisher(t, cfg)
	var publishing errgroup.Group
	const calls, size = 120, 20
	retried := 0
	publishing.Go(func() error {
		for n := 0; n < calls; {
			if err := p.Publish("lane.00", numbered(n*size, size)...); err != nil {
				retried++
				continue
			}
			n++
			if n%15 == 0 { // in the middle of a later call, more often than not
				go proxy.Cut()
			}
		}
		return nil
	})
	require.NoError(t, publishing.Wait())
	next := 0
	for _, d := range stored(t, direct, 0) {
		n, err := strconv.Atoi(d.MessageId)
		require.NoError(t, err)
		require.LessOrEqual(t, n, next, "a later message before an earlier one")
		next = max(next, n+1)
	}
	require.Equal(t, calls*size, next)
	t.Logf("%d calls repeated", retried)
}

func TestPublishGivesUpOnASilentBroker(t *testing.T) {
	t.Parallel()
	direct := rabbittest.Config(t)
	proxy, cfg := rabbittest.NewProxy(t, direct)
	cfg.ConfirmTimeout = time.Second
	cfg.ConnectTimeout = time.Second
	p := newPublisher(t, cfg)
	require.NoError(t, p.Publish("lane.00", numbered(0, 1)...))
	proxy.Stall()
	began := time.Now()
	require.ErrorIs(t, p.Publish("lane.00", numbered(1, 1)...), rabbit.ErrUnconfirmed)
	require.Less(t, time.Since(began), patience/2)
	proxy.Resume()
	require.Eventually(t, func() bool { return p.Publish("lane.00", numbered(1, 1)...) == nil }, patience, time.Millisecond)

	proxy.Stall()
	ctx, cancel := context.WithCancel(context.Background())
	msg := numbered(2, 1)
	msg[0].SetContext(ctx)
	published := make(chan error)
	go func() { published <- p.Publish("lane.01", msg...) }()
	cancel()
	require.ErrorIs(t, receive(t, published), context.Canceled)
	go func() { published <- p.Publish("lane.01", numbered(2, 1)...) }()
	closed := make(chan error)
	go func() { closed <- p.Close() }()
	require.NoError(t, receive(t, closed), "Close must not wait for a broker that says nothing")
	require.Error(t, receive(t, published))
	require.ErrorIs(t, p.Publish("lane.00", numbered(2, 1)...), rabbit.ErrClosed)
}

func TestNewPublisherReportsEveryFault(t *testing.T) {
	t.Parallel()
	_, err := rabbit.NewPublisher(rabbit.Config{URL: "amqp://u:secret@h:port/", Prefix: "a b", Lanes: -1, ConfirmTimeout: -1})
	for _, part := range []string{"URL", "prefix", "lanes", "timeout", "logger"} {
		require.ErrorContains(t, err, part)
	}
	require.NotContains(t, err.Error(), "secret")
}

func receive[T any](t testing.TB, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		require.FailNow(t, "nothing came")
		panic("unreachable")
	}
}

// BenchmarkPublish sends windows of 64 messages of 1 kB to a quorum queue.
func BenchmarkPublish(b *testing.B) {
	cfg := rabbittest.Config(b)
	benchmarkPublish(b, newPublisher(b, cfg), cfg)
}

func benchmarkPublish(b *testing.B, p message.Publisher, _ rabbit.Config) {
	const size = 64
	body := make([]byte, 1024)
	publish := func() {
		messages := make([]*message.Message, size)
		for i := range messages {
			messages[i] = message.NewMessage(fmt.Sprint(i), body)
		}
		require.NoError(b, p.Publish("lane.00", messages...))
	}
	publish()
	for b.Loop() {
		publish()
	}
	b.ReportMetric(float64(size*b.N)/b.Elapsed().Seconds(), "msg/s")
}
