package rabbit

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	amqp091 "github.com/rabbitmq/amqp091-go"
)

// What Publish may answer. After any of them some of the messages may have
// been stored; publishing all of them again loses and reorders nothing.
var (
	ErrClosed       = errors.New("rabbit: the publisher is closed")
	ErrNotConnected = errors.New("rabbit: not connected")
	ErrBlocked      = errors.New("rabbit: the broker accepts no messages now")
	ErrUnroutable   = errors.New("rabbit: no queue takes the message")
	ErrUnconfirmed  = errors.New("rabbit: the broker did not confirm")
)

// window is how many messages may be unconfirmed in one topic. Past this, a
// quorum queue gains nothing from more.
const window = 256

// deletionRest lets the broker finish deleting a queue before we make it again.
// A consumer of a quorum queue that is made anew within some 20 ms was seen to
// get neither a message nor word that its queue is gone (RabbitMQ 3.10.8);
// after 100 ms it was told.
const deletionRest = 500 * time.Millisecond

// Publisher is Watermill's Publisher, on confirms that are awaited together.
// watermill-amqp's own awaits them one by one, takes a returned message for
// sent, and waits for ever on a broker that is out of memory.
//
// Publish returns nil once every message is in a queue of the broker's. The
// messages of one topic are stored in the order given, also across calls. It
// connects and reconnects by itself, and waits for that as for everything: at
// most ConfirmTimeout, and no longer than the first message's context lasts.
type Publisher struct {
	cfg  Config
	to   topology
	stop context.CancelFunc
	ctx  context.Context // ends with Close
	done chan struct{}

	mu      sync.Mutex
	session *session      // nil while there is no connection
	changed chan struct{} // closed and replaced whenever session changes
	last    error         // why there is none
	turns   map[string]chan struct{}
}

var _ message.Publisher = (*Publisher)(nil)

// NewPublisher returns a publisher to the feed that connects in the background.
func NewPublisher(cfg Config) (*Publisher, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	return newPublisher(cfg, feedTopology{cfg}), nil
}

func newPublisher(cfg Config, to topology) *Publisher {
	ctx, stop := context.WithCancel(context.Background())
	p := &Publisher{
		cfg: cfg, to: to, ctx: ctx, stop: stop, done: make(chan struct{}),
		changed: make(chan struct{}), turns: make(map[string]chan struct{}),
	}
	go p.stayConnected()
	return p
}

func (p *Publisher) stayConnected() {
	defer close(p.done)
	var pause backoff
	for p.ctx.Err() == nil {
		s, err := dialSession(p.ctx, p.cfg, p.to)
		if err != nil {
			p.set(nil, err)
			p.cfg.Logger.WarnContext(p.ctx, "cannot reach the broker", "error", err)
			pause.rest(p.ctx)
			continue
		}
		pause.reset()
		p.set(s, nil)
		p.cfg.Logger.InfoContext(p.ctx, "connected to the broker for publishing")
		select {
		case <-s.gone:
			p.set(nil, s.why)
			p.cfg.Logger.WarnContext(p.ctx, "lost the broker", "error", s.why)
			s.dialer.cutAll()
			pause.rest(p.ctx)
		case <-p.ctx.Done():
			p.set(nil, nil)
			s.close()
		}
	}
}

func (p *Publisher) set(s *session, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.session, p.last = s, err
	close(p.changed)
	p.changed = make(chan struct{})
}

// Connected reports whether messages could be sent now.
func (p *Publisher) Connected() bool {
	p.mu.Lock()
	s := p.session
	p.mu.Unlock()
	return s != nil && !s.isBlocked()
}

// Close ends the connection. Calls to Publish under way return ErrClosed.
func (p *Publisher) Close() error {
	p.stop()
	<-p.done
	return nil
}

// Publish implements message.Publisher.
func (p *Publisher) Publish(topic string, messages ...*message.Message) error {
	if len(messages) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(messages[0].Context(), p.cfg.ConfirmTimeout, ErrUnconfirmed)
	defer cancel()
	defer context.AfterFunc(p.ctx, cancel)()

	err := p.publish(ctx, topic, messages)
	switch {
	case err == nil:
		return nil
	case p.ctx.Err() != nil:
		return ErrClosed
	case ctx.Err() != nil && !errors.Is(err, context.Cause(ctx)):
		// The call ended while it waited for something that has no deadline but
		// the connection's; what that said is not why.
		err = fmt.Errorf("%w: %w", context.Cause(ctx), err)
	}
	return fmt.Errorf("publish %d to %s: %w", len(messages), topic, err)
}

func (p *Publisher) publish(ctx context.Context, topic string, messages []*message.Message) error {
	turn := p.turn(topic)
	select {
	case turn <- struct{}{}:
		defer func() { <-turn }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	s, err := p.awaitSession(ctx)
	if err != nil {
		return err
	}
	if err := s.keepDeclared(); err != nil {
		return err
	}
	err = p.send(ctx, s, topic, messages)
	if !missing(err) {
		return err
	}
	// Somebody deleted a queue or the exchange: make them again, and try once more.
	timer := time.NewTimer(deletionRest)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return err
	}
	if err := s.declare(); err != nil {
		return err
	}
	p.cfg.Logger.InfoContext(ctx, "declared exchange and queues again", "topic", topic)
	return p.send(ctx, s, topic, messages)
}

// turn is a lock per topic that can be waited for with a deadline. Topics are
// lanes, so there are few.
func (p *Publisher) turn(topic string) chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.turns[topic] == nil {
		p.turns[topic] = make(chan struct{}, 1)
	}
	return p.turns[topic]
}

// awaitSession returns a session that is not blocked.
func (p *Publisher) awaitSession(ctx context.Context) (*session, error) {
	for {
		p.mu.Lock()
		s, changed, last := p.session, p.changed, p.last
		p.mu.Unlock()
		if s == nil {
			select {
			case <-changed:
				continue
			case <-ctx.Done():
				return nil, fmt.Errorf("%w: %w", ErrNotConnected, errors.Join(last, context.Cause(ctx)))
			}
		}
		if !s.isBlocked() {
			return s, nil
		}
		select {
		case <-s.unblocked():
		case <-changed:
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", ErrBlocked, context.Cause(ctx))
		}
	}
}

func (p *Publisher) send(ctx context.Context, s *session, topic string, messages []*message.Message) error {
	o, err := s.outlet(topic)
	if err != nil {
		return err
	}
	for start := 0; start < len(messages); start += window {
		part := messages[start:min(start+window, len(messages))]
		if err := p.sendWindow(ctx, s, o, topic, part); err != nil {
			return err
		}
	}
	return nil
}

func (p *Publisher) sendWindow(ctx context.Context, s *session, o *outlet, topic string, messages []*message.Message) error {
	for len(o.returned) > 0 { // left behind by a window that was given up
		<-o.returned
	}
	confirms := make([]*amqp091.DeferredConfirmation, len(messages))
	for i, msg := range messages {
		publishing, err := marshaler{}.Marshal(msg)
		if err != nil {
			return err
		}
		key, mandatory := p.to.address(topic, &publishing)
		// Every write has a deadline of its own (watchedConn), so this cannot hang.
		if confirms[i], err = o.ch.PublishWithDeferredConfirm(p.to.exchange(), key, mandatory, false, publishing); err != nil {
			return s.whyClosed(err)
		}
	}
	for _, confirm := range confirms {
		select {
		case <-confirm.Done():
		case <-ctx.Done():
			return p.giveUp(ctx, s)
		}
	}
	// The broker returns a message before it confirms it, and amqp091 passes
	// both on in order: whatever was returned is here by now.
	if len(o.returned) > 0 {
		r := <-o.returned
		return fmt.Errorf("%w: %d %s", ErrUnroutable, r.ReplyCode, r.ReplyText)
	}
	for _, confirm := range confirms {
		if confirm.Acked() {
			continue
		}
		if o.ch.IsClosed() {
			return s.whyClosed(amqp091.ErrClosed)
		}
		return fmt.Errorf("%w: it refused the message", ErrUnconfirmed)
	}
	return nil
}

// giveUp decides what a connection is worth on which confirms are overdue. One
// that is blocked works again some day, and what waits in it is then delivered,
// twice at worst; reconnecting meanwhile would only pile up more. One that is
// silent without a word is dead.
func (p *Publisher) giveUp(ctx context.Context, s *session) error {
	cause := context.Cause(ctx)
	if s.isBlocked() {
		return fmt.Errorf("%w: %w", ErrBlocked, cause)
	}
	if errors.Is(cause, ErrUnconfirmed) {
		s.dialer.cutAll()
		return fmt.Errorf("%w within %s", ErrUnconfirmed, p.cfg.ConfirmTimeout)
	}
	return cause
}

// whyClosed tells a lost connection from a channel that the broker closed on a
// connection that lives: then it found the exchange missing, or the like.
func (s *session) whyClosed(err error) error {
	switch {
	case s.conn.IsClosed():
		return fmt.Errorf("%w: %w", ErrNotConnected, err)
	case errors.Is(err, amqp091.ErrClosed):
		return fmt.Errorf("%w: %w", ErrUnconfirmed, errChannelClosed)
	}
	return err
}

var errChannelClosed = errors.New("the broker closed the channel")

// missing reports whether declaring the topology again may help.
func missing(err error) bool {
	return errors.Is(err, ErrUnroutable) || errors.Is(err, errChannelClosed)
}
