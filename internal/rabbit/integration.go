package rabbit

import (
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	amqp091 "github.com/rabbitmq/amqp091-go"
)

const (
	// typeHeader and timeHeader are the CloudEvents attributes that notices are
	// routed and stamped by.
	typeHeader = "cloudEvents:type"
	timeHeader = "cloudEvents:time"

	// integrationBytes bounds the service's own queue of notices, some 600 bytes
	// each, while no projector runs. The oldest go first: they are read from the
	// log instead.
	integrationBytes = 64 << 20
	// integrationRedeclare is how soon the service's own queue is bound again
	// after somebody removed it or its binding. Nobody would tell: a notice that
	// no queue takes is no error, for there may be no other service.
	integrationRedeclare = 10 * time.Second
	// integrationPrefetch hides the way to the broker and back, which otherwise
	// every message waits for: at 1 a consumer that does nothing was measured at
	// 350 messages a second, at 100 at 14,500. The order of redelivered messages
	// is of no matter here, because the consumer goes by position.
	integrationPrefetch = 100
)

// NewIntegrationPublisher returns a publisher to the exchange that other
// services bind their queues to. It connects in the background and keeps the
// order of each call's messages.
//
// A message goes out under its CloudEvents type as routing key, whatever the
// topic. Publish returns nil once every queue that a message was routed to has
// stored it; none is as good as many.
func NewIntegrationPublisher(cfg Config) (*Publisher, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	return newPublisher(cfg, integrationTopology{cfg}), nil
}

// NewIntegrationSubscriber returns a subscriber to all that is told to other
// services, under any one topic. The broker gives the messages to one subscriber
// at a time. It connects in the background; messages may come twice, and out of
// order after a fault.
func NewIntegrationSubscriber(cfg Config) (message.Subscriber, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	return newSubscriber(cfg, integrationTopology{cfg}), nil
}

// integrationTopology is the public topic exchange, with the service's own
// queue. Other services declare theirs.
type integrationTopology struct{ cfg Config }

func (t integrationTopology) exchange() string { return t.cfg.Prefix + ".events" }

func (t integrationTopology) queue(string) string { return t.exchange() + ".feed" }

func (integrationTopology) topicOf(string) string { return "" }

func (t integrationTopology) declareAll(ch *amqp091.Channel) error { return t.declareTopic(ch, "") }

func (t integrationTopology) declareTopic(ch *amqp091.Channel, topic string) error {
	return declareQueue(ch, t, t.queue(topic), "#", integrationBytes)
}

func (t integrationTopology) declareExchange(ch *amqp091.Channel) error {
	return declareExchange(ch, t.exchange(), amqp091.ExchangeTopic)
}

func (integrationTopology) address(_ string, p *amqp091.Publishing) (key string, mandatory bool) {
	key, _ = p.Headers[typeHeader].(string)
	p.Type = key
	if at, ok := p.Headers[timeHeader].(string); ok {
		if t, err := time.Parse(time.RFC3339Nano, at); err == nil {
			p.Timestamp = t
		}
	}
	return key, false
}

func (integrationTopology) redeclare() time.Duration { return integrationRedeclare }

func (integrationTopology) prefetch() int { return integrationPrefetch }
