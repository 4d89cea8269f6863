package rabbit

import (
	"errors"
	"fmt"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	amqp091 "github.com/rabbitmq/amqp091-go"
)

// ContentType is the metadata key that becomes the message's content-type
// property; every other key becomes a header.
const ContentType = "content_type"

// errNoDelivery tells of the empty message watermill-amqp makes up when the
// queue under a consumer is deleted. As an error it ends the consumer, which
// then declares the queue again, and no handler ever sees it.
var errNoDelivery = errors.New("the consumer was cancelled by the broker")

// marshaler maps messages. Watermill's default one refuses any header that is
// not a string, and the broker itself adds a number when it delivers a second
// time, so that each redelivered message would be lost.
type marshaler struct{}

// Marshal implements watermill-amqp's Marshaler.
func (marshaler) Marshal(msg *message.Message) (amqp091.Publishing, error) {
	p := amqp091.Publishing{
		MessageId:    msg.UUID,
		DeliveryMode: amqp091.Persistent,
		ContentType:  msg.Metadata.Get(ContentType),
		Headers:      make(amqp091.Table, len(msg.Metadata)),
		Body:         msg.Payload,
	}
	for k, v := range msg.Metadata {
		if k != ContentType {
			p.Headers[k] = v
		}
	}
	return p, nil
}

// Unmarshal implements watermill-amqp's Marshaler. It passes on whatever the
// broker delivers: what to think of it is the handler's to say.
func (marshaler) Unmarshal(d amqp091.Delivery) (*message.Message, error) {
	if d.Acknowledger == nil {
		return nil, errNoDelivery
	}
	msg := message.NewMessage(d.MessageId, d.Body)
	if d.ContentType != "" {
		msg.Metadata.Set(ContentType, d.ContentType)
	}
	for k, v := range d.Headers {
		switch v := v.(type) {
		case string:
			msg.Metadata.Set(k, v)
		case bool, byte, int8, int, int16, int32, int64, float32, float64:
			msg.Metadata.Set(k, fmt.Sprint(v))
		case time.Time:
			msg.Metadata.Set(k, v.UTC().Format(time.RFC3339))
		default: // tables and lists are the broker's own, as in x-death
		}
	}
	return msg, nil
}
