// Package consumer shows how another service takes customer events from
// RabbitMQ: with a durable queue of its own, each event's effect once, in order
// per customer, and an acknowledgement only when the effect is there. It needs
// nothing of the service but what api/asyncapi.yaml says; copy it and put your
// work into Effects.
package consumer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// Event is the body of a message. Members that are not here are passed over.
type Event struct {
	Position   int64     `json:"position"`
	ID         string    `json:"id"`
	Type       string    `json:"type"`
	CustomerID string    `json:"customer_id"`
	Version    int64     `json:"version"`
	Changed    []string  `json:"changed"`
	Time       time.Time `json:"time"`
	Token      string    `json:"token"` // for the header Consistency-Token
}

// Effects is what the service does with events.
//
// Apply must have its effect and remember the version in one transaction of the
// service's own database, and do nothing for a version of the customer that it
// has had: messages come at least once, and after a fault some come again. It
// is called in the order that the broker delivers in.
type Effects interface {
	Apply(ctx context.Context, e Event) error
}

// Config is where to consume and what.
type Config struct {
	URL      string   // amqp://user:password@host:port/vhost
	Exchange string   // customer.events, unless AMQP_PREFIX says otherwise
	Queue    string   // this service's own, as in billing.customers
	Types    []string // what it wants; "#" is all
}

// Run consumes until ctx ends or the connection is lost; then call it again.
// After an error of Apply the message, and those behind it, come again.
func Run(ctx context.Context, c Config, effects Effects) error {
	conn, err := amqp.Dial(c.URL)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer func() { _ = conn.Close() }()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	ch, err := conn.Channel()
	if err != nil {
		return fmt.Errorf("open channel: %w", err)
	}
	if err := declare(ch, c); err != nil {
		return err
	}
	// A few messages under way hide the network; acknowledging one acknowledges
	// those before it, so they must be applied in order.
	if err := ch.Qos(50, 0, false); err != nil {
		return fmt.Errorf("set prefetch: %w", err)
	}
	deliveries, err := ch.ConsumeWithContext(ctx, c.Queue, "", false, false, false, false, nil)
	if err != nil {
		return fmt.Errorf("consume: %w", err)
	}
	for d := range deliveries {
		var e Event
		if err := json.Unmarshal(d.Body, &e); err != nil || e.Position == 0 {
			// Nothing that can be read will ever come of it, and the service does
			// not send such.
			if err := d.Reject(false); err != nil {
				return fmt.Errorf("reject: %w", err)
			}
			continue
		}
		if err := effects.Apply(ctx, e); err != nil {
			// Closing the channel gives back all that is not acknowledged, in its
			// order; Nack would put this one event behind others.
			return fmt.Errorf("apply the event at %d: %w", e.Position, err)
		}
		if err := d.Ack(false); err != nil {
			return fmt.Errorf("acknowledge: %w", err)
		}
	}
	return errors.Join(ctx.Err(), errLost)
}

var errLost = errors.New("the broker ended the consumer")

// declare makes the service's queue. The exchange is declared as the customer
// service does, so that it does not matter who starts first.
func declare(ch *amqp.Channel, c Config) error {
	if err := ch.ExchangeDeclare(c.Exchange, amqp.ExchangeTopic, true, false, false, false, nil); err != nil {
		return fmt.Errorf("declare exchange: %w", err)
	}
	_, err := ch.QueueDeclare(c.Queue, true, false, false, false, amqp.Table{
		"x-queue-type":             "quorum", // survives the loss of a node
		"x-single-active-consumer": true,     // replicas stand by; two would share the events, and lose their order
		"x-delivery-limit":         1 << 30,  // the default drops a message after some restarts
	})
	if err != nil {
		return fmt.Errorf("declare queue: %w", err)
	}
	for _, t := range c.Types {
		if err := ch.QueueBind(c.Queue, t, c.Exchange, false, nil); err != nil {
			return fmt.Errorf("bind: %w", err)
		}
	}
	return nil
}
