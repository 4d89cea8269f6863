package simulation_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
	"github.com/ebrahem-outlook/customer-service/internal/relay"
)

// handler is what consumes a queue's messages.
type handler = message.NoPublishHandlerFunc

// broker has a queue per lane, one for the event feed, and the queue of another
// service that is told of every event.
type broker struct {
	w       *world
	queues  []*queue
	others  *otherService
	running []*delivery // handlers under way, also of what was taken back
}

// queue is a durable queue with a single active consumer and prefetch 1.
type queue struct {
	name     string
	lane     int // -1: of notices
	messages []*message.Message
	active   *proc
	inflight *delivery
	handlers func(p *proc) handler
	sent     eventlog.Position // the last position that was ever in it
}

type delivery struct {
	q    *queue
	msg  *message.Message
	task *task
	lost bool // the broker has taken it back
	done bool // handled, and not acknowledged yet
}

func newBroker(w *world) *broker {
	b := &broker{w: w, others: &otherService{w: w}}
	for lane := range w.cfg.lanes {
		b.queues = append(b.queues, &queue{
			name: eventlog.FeedTopic(eventlog.Lane(lane)), lane: lane, //nolint:gosec // a handful
			handlers: func(p *proc) handler {
				if len(p.parts.lanes) == 0 {
					return nil
				}
				return p.parts.lanes[lane]
			},
		})
	}
	b.queues = append(b.queues, &queue{name: eventlog.NoticeTopic, lane: -1, handlers: func(p *proc) handler { return p.parts.feed }})
	return b
}

// mqPort is the publisher of one process.
type mqPort struct {
	b *broker
	p *proc
}

func (o mqPort) Close() error { return nil }

// Publish stores messages in order and returns nil once all are stored. When it
// fails some of them may be, the first ones.
func (o mqPort) Publish(topic string, messages ...*message.Message) error {
	w := o.b.w
	i := slices.IndexFunc(o.b.queues, func(q *queue) bool { return q.name == topic })
	q := o.b.queues[i]
	_, err := at(messages[0].Context(), o.p, "broker.publish", int64(q.lane), nil, func() (any, error) {
		stored := len(messages)
		var err error
		if w.faults && w.rnd.IntN(12) == 0 {
			stored = w.rnd.IntN(len(messages) + 1)
			err = fmt.Errorf("publish: %w", errFault)
			w.counts.unconfirmed++
			if w.cfg.bug == bugNoConfirms {
				err = nil
			}
		}
		for _, m := range messages[:stored] {
			o.b.store(q, m)
		}
		return nil, err
	})
	return err
}

func (b *broker) store(q *queue, m *message.Message) {
	// As it is read from the wire.
	c := message.NewMessage(m.UUID, slices.Clone(m.Payload))
	for k, v := range m.Metadata {
		c.Metadata.Set(k, v)
	}
	q.messages = append(q.messages, c)
	if q.lane < 0 {
		b.others.take(c)
	} else {
		b.checkChain(q, c)
	}
}

// checkChain holds the feed to its order: a message may repeat what was said,
// but nothing comes before what it follows.
func (b *broker) checkChain(q *queue, m *message.Message) {
	var at [2]eventlog.Position
	for i, header := range []string{relay.HeaderPrevious, relay.HeaderLast} {
		n, err := strconv.ParseInt(m.Metadata.Get(header), 10, 64)
		if err != nil {
			b.w.fail("a message of the feed does not say where it is: %v", err)
			return
		}
		at[i] = eventlog.Position(n)
	}
	if at[0] > q.sent && b.w.cfg.bug == bugNone {
		b.w.fail("lane %d: a message follows %d, the last one ended at %d", q.lane, at[0], q.sent)
	}
	if at[1] <= q.sent {
		b.w.counts.repeated++
	}
	q.sent = max(q.sent, at[1])
}

// consumers are the processes that could be a queue's active one.
func (b *broker) consumers(q *queue) []*proc {
	var out []*proc
	for _, p := range b.w.procs {
		if !p.dead.Load() && q.handlers(p) != nil {
			out = append(out, p)
		}
	}
	return out
}

// deliverable lists the queues that have something for somebody.
func (b *broker) deliverable() []*queue {
	var out []*queue
	for _, q := range b.queues {
		if len(q.messages) == 0 || q.inflight != nil {
			continue
		}
		if q.active == nil {
			if c := b.consumers(q); len(c) > 0 {
				q.active = c[b.w.rnd.IntN(len(c))]
			}
		}
		if q.active != nil && q.active.idle == 0 {
			out = append(out, q)
		}
	}
	return out
}

// deliver hands the first message to the queue's consumer.
func (b *broker) deliver(q *queue) {
	d := &delivery{q: q, msg: q.messages[0]}
	q.messages = q.messages[1:]
	q.inflight = d
	handle := q.handlers(q.active)
	d.task = b.w.start(q.active, "message of "+q.name, func(ctx context.Context) error {
		m := message.NewMessage(d.msg.UUID, b.payload(d))
		m.Metadata = d.msg.Metadata
		m.SetContext(ctx)
		return handle(m)
	}, func(err error, died bool) {
		b.running = slices.DeleteFunc(b.running, func(o *delivery) bool { return o == d })
		d.done = err == nil && !died
		if !d.done || b.w.cfg.bug == bugAckFirst {
			b.back(d)
		}
	})
	b.running = append(b.running, d)
	if b.w.cfg.bug == bugAckFirst {
		d.lost, q.inflight = true, nil
	}
}

// back takes an unacknowledged message back, to be delivered before all others.
func (b *broker) back(d *delivery) {
	if d.lost {
		return
	}
	d.lost = true
	d.q.inflight = nil
	d.q.messages = slices.Insert(d.q.messages, 0, d.msg)
	b.w.counts.redelivered++
}

// unacknowledged lists deliveries that were handled.
func (b *broker) unacknowledged() []*delivery {
	var out []*delivery
	for _, q := range b.queues {
		if q.inflight != nil && q.inflight.done && !q.inflight.lost {
			out = append(out, q.inflight)
		}
	}
	return out
}

func (b *broker) acknowledge(d *delivery) { d.lost, d.q.inflight = true, nil }

// move gives a queue to another consumer, while the old one may still be at it.
func (b *broker) move(q *queue) {
	if d := q.inflight; d != nil {
		b.back(d)
		if b.w.rnd.IntN(2) == 0 {
			d.task.cancel() // it is told that its connection is gone
		}
	}
	q.active = nil
	b.w.counts.moves++
}

// disconnect takes from a dead process what it had.
func (b *broker) disconnect(p *proc) {
	for _, q := range b.queues {
		if q.active == p {
			if q.inflight != nil {
				b.back(q.inflight)
			}
			q.active = nil
		}
	}
}

// giveUp ends the waiting of handlers that have failed: their connections are
// cut before virtual time passes, since they wait for a random time.
func (b *broker) giveUp() {
	for _, d := range b.running {
		if !b.w.atPort(d.task) {
			d.task.cancel()
		}
	}
	b.w.settle()
}

// spoil does something to a queue that a broker may do.
func (b *broker) spoil(q *queue) {
	n := len(q.messages)
	r := b.w.rnd
	switch r.IntN(5) {
	case 0: // purged, or deleted and made again
		if b.w.cfg.heal && n > 0 {
			b.w.counts.purged += n
			q.messages = nil
		}
	case 1: // one is lost
		if b.w.cfg.heal && n > 0 {
			i := r.IntN(n)
			q.messages = slices.Delete(q.messages, i, i+1)
			b.w.counts.purged++
		}
	case 2: // one comes again later
		if n > 0 {
			q.messages = slices.Insert(q.messages, r.IntN(n+1), q.messages[r.IntN(n)])
			b.w.counts.duplicated++
		}
	case 3:
		if n > 1 {
			r.Shuffle(n, func(i, j int) { q.messages[i], q.messages[j] = q.messages[j], q.messages[i] })
			b.w.counts.shuffled++
		}
	case 4: // what a subscriber hands over when its queue is deleted
		if r.IntN(4) == 0 {
			q.messages = append(q.messages, message.NewMessage("", nil))
		}
	}
}

// payload is what the consumer gets of a message.
func (b *broker) payload(d *delivery) []byte {
	if b.w.cfg.bug != bugIgnorePrevious {
		return d.msg.Payload
	}
	batch, err := eventlog.UnmarshalBatch(d.msg.Payload)
	if err != nil {
		return d.msg.Payload
	}
	batch.Previous = 0
	body, err := eventlog.MarshalBatch(batch)
	if err != nil {
		panic(err)
	}
	return body
}
