package audit

import (
	"context"
	"fmt"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/ebrahem-outlook/customer-service/e2e/cluster"
)

// lanes are how many the feed has in a cluster for tests.
const lanes = 8

// checkQueues is P11 and P6 for the broker at rest: the service's queues are
// there, whatever happened to them, and are empty.
func checkQueues(ctx context.Context, c *cluster.Cluster) Verdict {
	v := Verdict{Promise: "P6, P11", Check: "the service's queues are there and empty", Unit: "queues"}
	names := []string{c.Prefix + ".events.feed"}
	for lane := range lanes {
		names = append(names, fmt.Sprintf("%s.feed.lane.%02d", c.Prefix, lane))
	}
	for _, name := range names {
		wrong := "never asked"
		within, cancel := context.WithTimeout(ctx, 15*time.Second)
		_ = cluster.Poll(within, 200*time.Millisecond, func() bool {
			wrong = askQueue(c, name)
			return wrong == ""
		})
		cancel()
		v.Checked++
		if wrong != "" {
			v.Violate("queue %s: %s", name, wrong)
		}
	}
	return v
}

// askQueue tells what is wrong with a queue. A question about one that is not
// there costs the channel, so each has its own connection.
func askQueue(c *cluster.Cluster, name string) string {
	conn, err := amqp.Dial(c.Stack.URLs().AMQP)
	if err != nil {
		return err.Error()
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		return err.Error()
	}
	q, err := ch.QueueDeclarePassive(name, true, false, false, false, nil)
	switch {
	case err != nil:
		return err.Error()
	case q.Messages != 0:
		return fmt.Sprintf("it holds %d messages", q.Messages)
	case q.Consumers == 0:
		return "nobody consumes it"
	default:
		return ""
	}
}
