package rabbit_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/internal/devstack"
	"github.com/ebrahem-outlook/customer-service/internal/rabbit"
)

// A broker out of memory stops every publisher on it, so this test has a broker
// of its own.
func TestPublishOutlivesAMemoryAlarm(t *testing.T) {
	t.Parallel()
	stack, err := devstack.Start(t.Context(), devstack.Config{Dir: t.TempDir(), Fresh: true, Services: []devstack.Kind{devstack.RabbitMQ}})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, stack.Stop()) })
	watermark := func(share string) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := stack.Rabbitmqctl(ctx, "set_vm_memory_high_watermark", share)
		require.NoError(t, err)
	}
	cfg := rabbit.Config{
		URL: stack.URLs().AMQP, Lanes: 2, ConfirmTimeout: time.Second, Logger: slog.New(slog.DiscardHandler),
	}
	p, s := newPublisher(t, cfg), newSubscriber(t, cfg)
	c := subscribe(t, s, "lane.00")
	require.Eventually(t, func() bool { return p.Publish("lane.00", numbered(0, 1)...) == nil }, patience, time.Millisecond)

	watermark("0.000001")
	began := time.Now()
	require.Eventually(t, func() bool { return p.Publish("lane.01", numbered(0, 300)...) != nil }, patience, time.Millisecond)
	require.ErrorIs(t, p.Publish("lane.01", numbered(0, 300)...), rabbit.ErrBlocked)
	require.Less(t, time.Since(began), patience, "every call has its deadline")
	require.False(t, p.Connected())
	receive(t, c).Ack() // consumers go on

	blocked := newPublisher(t, cfg)
	_ = blocked.Publish("lane.00", numbered(1, 1)...)
	closed := make(chan error)
	go func() { closed <- blocked.Close() }()
	require.NoError(t, receive(t, closed), "Close does not wait for memory")

	watermark("0.6")
	require.Eventually(t, func() bool { return p.Publish("lane.00", numbered(2, 1)...) == nil }, patience, time.Millisecond)
	for {
		msg := receive(t, c)
		msg.Ack()
		if msg.UUID == "2" {
			break
		}
	}
}
