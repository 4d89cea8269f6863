package rabbit

import (
	"fmt"
	"strings"
	"time"

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

// topology is an exchange and the queues behind it.
type topology interface {
	exchange() string
	queue(topic string) string // the durable queue of one topic
	topicOf(queue string) string
	// declareAll and declareTopic make the exchange with all queues, or with
	// one. Declaring what is there changes nothing.
	declareAll(ch *amqp091.Channel) error
	declareTopic(ch *amqp091.Channel, topic string) error
	declareExchange(ch *amqp091.Channel) error
	// address completes a message and returns its routing key, and whether it
	// is an error that no queue takes it.
	address(topic string, p *amqp091.Publishing) (key string, mandatory bool)
	redeclare() time.Duration // how often publishers declare again; 0 for when they are told to
	prefetch() int            // how many unacknowledged messages a consumer holds
}

// feedTopology is the private feed's: a direct exchange, keyed by topic, and a
// queue a lane.
type feedTopology struct{ cfg Config }

func (t feedTopology) exchange() string { return t.cfg.Prefix + ".feed" }

func (t feedTopology) queue(topic string) string { return t.exchange() + "." + topic }

func (t feedTopology) topicOf(queue string) string {
	return strings.TrimPrefix(queue, t.exchange()+".")
}

// declareAll makes the exchange and every lane's queue. Publishers do so
// before their first message, because a message without a queue is lost.
func (t feedTopology) declareAll(ch *amqp091.Channel) error {
	for lane := range t.cfg.Lanes {
		if err := t.declareTopic(ch, eventlog.FeedTopic(eventlog.Lane(lane))); err != nil {
			return err
		}
	}
	return nil
}

// declareTopic makes the exchange and one queue. There is no dead-letter
// exchange: what a queue drops is still in the log, and a copy elsewhere would
// be one more place to erase a person from.
func (t feedTopology) declareTopic(ch *amqp091.Channel, topic string) error {
	return declareQueue(ch, t, t.queue(topic), topic, queueBytes)
}

func (t feedTopology) declareExchange(ch *amqp091.Channel) error {
	return declareExchange(ch, t.exchange(), amqp091.ExchangeDirect)
}

func (t feedTopology) address(topic string, _ *amqp091.Publishing) (key string, mandatory bool) {
	return topic, true
}

// redeclare is left to returned messages.
func (feedTopology) redeclare() time.Duration { return 0 }

// prefetch is 1: with more than one unacknowledged message, what comes back
// after a Nack or a restart comes back behind later ones.
func (feedTopology) prefetch() int { return 1 }

func declareExchange(ch *amqp091.Channel, name, kind string) error {
	if err := ch.ExchangeDeclare(name, kind, true, false, false, false, nil); err != nil {
		return fmt.Errorf("declare exchange %s: %w", name, err)
	}
	return nil
}

// declareQueue makes a queue bound to t's exchange under key, and the exchange.
func declareQueue(ch *amqp091.Channel, t topology, queue, key string, maxBytes int64) error {
	if err := t.declareExchange(ch); err != nil {
		return err
	}
	_, err := ch.QueueDeclare(queue, true, false, false, false, amqp091.Table{
		"x-queue-type":             "quorum",
		"x-single-active-consumer": true,
		"x-delivery-limit":         int64(deliveryLimit),
		"x-max-length-bytes":       maxBytes,
		"x-overflow":               "drop-head",
	})
	if err != nil {
		return fmt.Errorf("declare queue %s: %w", queue, err)
	}
	if err := ch.QueueBind(queue, key, t.exchange(), false, nil); err != nil {
		return fmt.Errorf("bind queue %s: %w", queue, err)
	}
	return nil
}

// topologyBuilder hands the same declarations to watermill-amqp.
type topologyBuilder struct{ topology }

func (b topologyBuilder) BuildTopology(ch *amqp091.Channel, queue, _ string, _ wamqp.Config, _ watermill.LoggerAdapter) error {
	return b.declareTopic(ch, b.topicOf(queue))
}

func (b topologyBuilder) ExchangeDeclare(ch *amqp091.Channel, _ string, _ wamqp.Config) error {
	return b.declareExchange(ch)
}
