package chaos

import (
	"context"
	"fmt"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/ebrahem-outlook/customer-service/e2e/cluster"
)

const (
	// settleQueues is how long RabbitMQ is left alone once queues were made: a
	// node of version 3.10 that is killed within about a second of that can lose
	// a quorum queue's leader for good. See docs/operations.md.
	settleQueues = 3 * time.Second
	// redeclared is how long the service may take to make queues again. That of
	// the event feed is looked at every 10 s.
	redeclared = 30 * time.Second
)

// rabbitFaults are what can happen to RabbitMQ beside its end.
func rabbitFaults(c *cluster.Cluster) []Fault {
	target := []string{"rabbitmq"}
	ctl := func(ctx context.Context, args ...string) error {
		_, err := c.Stack.Rabbitmqctl(ctx, args...)
		return err
	}
	// between runs one command now and another one to undo it.
	between := func(do, undo []string) func(context.Context, *Injection) error {
		return func(ctx context.Context, in *Injection) error {
			in.Undo(func(ctx context.Context) error { return ctl(ctx, undo...) })
			return ctl(ctx, do...)
		}
	}
	return []Fault{
		{Kind: "stop-app", Targets: target, Most: 4 * time.Second, Inject: between([]string{"stop_app"}, []string{"start_app"})},
		{Kind: "memory-alarm", Targets: target, Inject: between(
			[]string{"set_vm_memory_high_watermark", "0.0000001"}, []string{"set_vm_memory_high_watermark", "0.4"})},
		{Kind: "disk-alarm", Targets: target, Inject: between(
			[]string{"set_disk_free_limit", "1000000GB"}, []string{"set_disk_free_limit", "50MB"})},
		{Kind: "close-connections", Targets: target, Most: time.Second, Inject: func(ctx context.Context, _ *Injection) error {
			return ctl(ctx, "close_all_connections", "--global", "fault")
		}},
		{Kind: "purge-queues", Targets: target, Most: 3 * time.Second, Inject: func(_ context.Context, in *Injection) error {
			in.During(func(ctx context.Context) error { return purge(ctx, in, c) })
			return nil
		}},
		{Kind: "delete-queues", Targets: target, Most: 2 * time.Second, Inject: func(_ context.Context, in *Injection) error {
			in.Settle(func(ctx context.Context) error { return settle(ctx, c) })
			return administer(c, func(ch *amqp.Channel) error {
				for _, q := range queues(c) {
					if _, err := ch.QueueDelete(q, false, false, false); err != nil {
						return err
					}
				}
				in.Say("%d queues", len(queues(c)))
				return nil
			})
		}},
		{Kind: "delete-bindings", Targets: target, Most: 2 * time.Second, Inject: func(_ context.Context, in *Injection) error {
			return administer(c, func(ch *amqp.Channel) error {
				for _, q := range queues(c) {
					key, exchange := binding(c, q)
					if err := ch.QueueUnbind(q, key, exchange, nil); err != nil {
						return err
					}
				}
				in.Say("%d bindings", len(queues(c)))
				return nil
			})
		}},
	}
}

// lanes is the feed's default, which clusters keep to.
const lanes = 8

// queues are the service's: one a lane, and that of the event feed.
func queues(c *cluster.Cluster) []string {
	names := []string{c.Prefix + ".events.feed"}
	for lane := range lanes {
		names = append(names, fmt.Sprintf("%s.feed.lane.%02d", c.Prefix, lane))
	}
	return names
}

// administer opens a channel beside the service's own.
func administer(c *cluster.Cluster, do func(*amqp.Channel) error) error {
	conn, err := amqp.Dial(c.Stack.URLs().AMQP)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	return do(ch)
}

// binding is how a queue of the service is bound: one a lane to the feed, and
// one to what other services are told.
func binding(c *cluster.Cluster, queue string) (key, exchange string) {
	if lane, ok := strings.CutPrefix(queue, c.Prefix+".feed."); ok {
		return lane, c.Prefix + ".feed"
	}
	return "#", c.Prefix + ".events"
}

// purge empties the queues again and again: each message is there for so short
// a time that one purge may well find none.
func purge(ctx context.Context, in *Injection, c *cluster.Cluster) error {
	total := 0
	err := administer(c, func(ch *amqp.Channel) error {
		for {
			for _, q := range queues(c) {
				n, err := ch.QueuePurge(q, false)
				if err != nil {
					return fmt.Errorf("purge %s: %w", q, err)
				}
				total += n
			}
			if !pause(ctx, 20*time.Millisecond) {
				return nil
			}
		}
	})
	in.Say("%d messages", total)
	return err
}

// settle waits until the queues are there again and on disk.
func settle(ctx context.Context, c *cluster.Cluster) error {
	limited, cancel := context.WithTimeout(ctx, redeclared)
	defer cancel()
	var missing error
	err := cluster.Poll(limited, 200*time.Millisecond, func() bool {
		missing = administer(c, func(ch *amqp.Channel) error {
			for _, q := range queues(c) {
				if _, err := ch.QueueDeclarePassive(q, true, false, false, false, nil); err != nil {
					return err
				}
			}
			return nil
		})
		return missing == nil
	})
	if err != nil {
		return fmt.Errorf("not all queues were made again within %s: %w", redeclared, missing)
	}
	pause(ctx, settleQueues)
	return ctx.Err()
}
