package audit

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
)

// feedPage is how many events are asked for at once: the most there are.
const feedPage = 1000

// lookAtFeed asks the query APIs in turn for the next page of GET /v1/events.
func (o *Observer) lookAtFeed(ctx context.Context) (more bool, err error) {
	o.mu.Lock()
	after, turn := len(o.feed), o.failed
	o.mu.Unlock()
	p := o.cluster.Queries[(after/7+turn)%len(o.cluster.Queries)]
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("%s/v1/events?after=%d&limit=%d", p.URL(), after, feedPage), http.NoBody)
	if err != nil {
		return false, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return false, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return false, err
	}
	if res.StatusCode != http.StatusOK {
		return false, fmt.Errorf("%s answers /v1/events with %d", p.Name, res.StatusCode)
	}
	var page struct {
		Data []eventlog.Notice `json:"data"`
	}
	if err := json.Unmarshal(body, &page); err != nil {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.feedBy = append(o.feedBy, fmt.Sprintf("a page after %d of %s cannot be read: %v", after, p.Name, err))
		return false, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, n := range page.Data {
		if int(n.Position) != len(o.feed)+1 {
			o.feedBy = append(o.feedBy, fmt.Sprintf("%s served position %d when %d was due", p.Name, n.Position, len(o.feed)+1))
			return false, nil
		}
		o.feed = append(o.feed, noticeOf(n))
	}
	return len(page.Data) == feedPage, nil
}

func (o *Observer) queue() string { return o.cluster.Prefix + ".audit" }

func (o *Observer) dial() (*amqp.Connection, *amqp.Channel, error) {
	conn, err := amqp.DialConfig(o.cluster.Stack.URLs().AMQP, amqp.Config{
		Heartbeat: 5 * time.Second, Dial: amqp.DefaultDial(2 * time.Second),
		Properties: amqp.Table{"connection_name": observerName},
	})
	if err != nil {
		return nil, nil, err
	}
	ch, err := conn.Channel()
	if err != nil {
		_ = conn.Close()
		return nil, nil, err
	}
	return conn, ch, nil
}

// bind declares the observer's queue as docs/events.md asks other services to,
// and binds it to every type.
func (o *Observer) bind() error {
	conn, ch, err := o.dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	exchange := o.cluster.Prefix + ".events"
	if err := ch.ExchangeDeclare(exchange, amqp.ExchangeTopic, true, false, false, false, nil); err != nil {
		return err
	}
	if _, err := ch.QueueDeclare(o.queue(), true, false, false, false, amqp.Table{
		"x-queue-type": "quorum", "x-single-active-consumer": true, "x-delivery-limit": 1 << 30,
	}); err != nil {
		return err
	}
	return ch.QueueBind(o.queue(), "#", exchange, false, nil)
}

// consume takes messages for as long as the connection lasts. It declares
// nothing: a queue that is gone has lost messages, and is not to be made anew.
func (o *Observer) consume(ctx context.Context) (more bool, err error) {
	conn, ch, err := o.dial()
	if err != nil {
		return false, err
	}
	defer conn.Close()
	if err := ch.Qos(500, 0, false); err != nil {
		return false, err
	}
	messages, err := ch.Consume(o.queue(), "audit", false, false, false, false, nil)
	if err != nil {
		return false, err
	}
	// Each connection is left after a while even when all is well, by the limit
	// on one look, so that messages come again and their order is seen anew.
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return true, nil
		case m, ok := <-messages:
			if !ok {
				return false, fmt.Errorf("the connection ended")
			}
			o.take(&m)
			if n%50 == 0 || len(messages) == 0 {
				if err := m.Ack(true); err != nil {
					return false, err
				}
			}
		}
	}
}

func (o *Observer) take(m *amqp.Delivery) {
	var n eventlog.Notice
	err := json.Unmarshal(m.Body, &n)
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case err != nil:
		o.gotBy = append(o.gotBy, fmt.Sprintf("a message of type %s cannot be read: %v", m.Type, err))
		return
	case m.MessageId != n.ID.String() || m.RoutingKey != n.Type:
		o.gotBy = append(o.gotBy, fmt.Sprintf("the message at position %d has id %s and routing key %s", n.Position, m.MessageId, m.RoutingKey))
	}
	o.got = append(o.got, noticeOf(n))
	o.had[n.Position] = true
}
