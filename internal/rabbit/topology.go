package rabbit

import (
	"fmt"
	"strings"

	"github.com/ThreeDotsLabs/watermill"
	wamqp "github.com/ThreeDotsLabs/watermill-amqp/v2/pkg/amqp"
	amqp091 "github.com/rabbitmq/amqp091-go"

	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
)

const (
	// deliveryLimit is meant never to be reached. Without any limit a quorum
	// queue puts a message that comes back behind all others; with a small one
	// a few restarts of consumers drop everything prefetched.
	deliveryLimit = 1 << 30
	// queueBytes bounds one lane's queue while no projector runs. The oldest
	// messages go first: their readers see the gap and read the log instead.
	queueBytes = 256 << 20
)

// exchange is the feed's: direct, keyed by topic.
func (c Config) exchange() string { return c.Prefix + ".feed" }

// queue is the durable queue of one topic.
func (c Config) queue(topic string) string { return c.exchange() + "." + topic }

// topicOf undoes queue.
func (c Config) topicOf(queue string) string { return strings.TrimPrefix(queue, c.exchange()+".") }

// declareFeed makes the exchange and every lane's queue. Publishers do so
// before their first message, because a message without a queue is lost, and
// as often as they like: declaring what is there changes nothing.
func (c Config) declareFeed(ch *amqp091.Channel) error {
	for lane := range c.Lanes {
		if err := c.declareTopic(ch, eventlog.FeedTopic(eventlog.Lane(lane))); err != nil {
			return err
		}
	}
	return nil
}

// declareTopic makes the exchange and one queue. There is no dead-letter
// exchange: what a queue drops is still in the log, and a copy elsewhere would
// be one more place to erase a person from.
func (c Config) declareTopic(ch *amqp091.Channel, topic string) error {
	if err := ch.ExchangeDeclare(c.exchange(), amqp091.ExchangeDirect, true, false, false, false, nil); err != nil {
		return fmt.Errorf("declare exchange %s: %w", c.exchange(), err)
	}
	queue := c.queue(topic)
	_, err := ch.QueueDeclare(queue, true, false, false, false, amqp091.Table{
		"x-queue-type":             "quorum",
		"x-single-active-consumer": true,
		"x-delivery-limit":         int64(deliveryLimit),
		"x-max-length-bytes":       int64(queueBytes),
		"x-overflow":               "drop-head",
	})
	if err != nil {
		return fmt.Errorf("declare queue %s: %w", queue, err)
	}
	if err := ch.QueueBind(queue, topic, c.exchange(), false, nil); err != nil {
		return fmt.Errorf("bind queue %s: %w", queue, err)
	}
	return nil
}

// topologyBuilder hands the same declarations to watermill-amqp.
type topologyBuilder struct{ cfg Config }

func (b topologyBuilder) BuildTopology(ch *amqp091.Channel, queue, _ string, _ wamqp.Config, _ watermill.LoggerAdapter) error {
	return b.cfg.declareTopic(ch, b.cfg.topicOf(queue))
}

func (b topologyBuilder) ExchangeDeclare(ch *amqp091.Channel, _ string, _ wamqp.Config) error {
	return ch.ExchangeDeclare(b.cfg.exchange(), amqp091.ExchangeDirect, true, false, false, false, nil)
}
