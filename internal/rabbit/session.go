package rabbit

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	amqp091 "github.com/rabbitmq/amqp091-go"
)

// session is one connection of a publisher, from the declared topology to the
// loss of the connection.
type session struct {
	cfg    Config
	to     topology
	conn   *amqp091.Connection
	dialer *dialer
	gone   chan struct{} // closed when the connection is lost
	why    error         // set before gone is closed

	mu       sync.Mutex
	passable chan struct{} // closed unless the broker has blocked us; replaced when it does
	outlets  map[string]*outlet
	declared time.Time // when the topology was declared last
}

// outlet is one topic's channel. One channel per topic keeps the topic's
// messages in order and lets an error close no other topic's channel.
type outlet struct {
	ch       *amqp091.Channel
	returned chan amqp091.Return
}

func dialSession(ctx context.Context, cfg Config, to topology) (*session, error) {
	s := &session{
		cfg: cfg, to: to, dialer: newDialer(cfg), gone: make(chan struct{}),
		passable: make(chan struct{}), outlets: make(map[string]*outlet),
	}
	close(s.passable)
	stop := context.AfterFunc(ctx, s.dialer.cutAll)
	defer stop()
	conn, err := amqp091.DialConfig(cfg.URL, s.dialer.config(ctx, "publish"))
	if err != nil {
		s.dialer.cutAll()
		return nil, fmt.Errorf("connect: %w", err)
	}
	s.conn = conn
	// Buffered, as amqp091 asks, so that neither side waits for the other.
	go s.watchBlocked(ctx, conn.NotifyBlocked(make(chan amqp091.Blocking, 16)))
	lost := conn.NotifyClose(make(chan *amqp091.Error, 1))
	go func() {
		if err := <-lost; err != nil {
			s.why = err
		}
		close(s.gone)
	}()
	if err := s.declare(); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// watchBlocked ends with the connection, which closes the channel.
func (s *session) watchBlocked(ctx context.Context, changes <-chan amqp091.Blocking) {
	for change := range changes {
		s.mu.Lock()
		select {
		case <-s.passable:
			if change.Active {
				s.passable = make(chan struct{})
				s.cfg.Logger.WarnContext(ctx, "the broker has blocked publishing", "reason", change.Reason)
			}
		default:
			if !change.Active {
				close(s.passable)
				s.cfg.Logger.InfoContext(ctx, "the broker accepts messages again")
			}
		}
		s.mu.Unlock()
	}
}

func (s *session) unblocked() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.passable
}

func (s *session) isBlocked() bool {
	select {
	case <-s.unblocked():
		return false
	default:
		return true
	}
}

// ask runs questions to the broker that amqp091 puts no deadline on: when they
// take too long, the socket is closed under them.
func (s *session) ask(questions func() error) error {
	cut := time.AfterFunc(s.cfg.ConnectTimeout, s.dialer.cutAll)
	defer cut.Stop()
	return questions()
}

// declare makes the topology, on a channel of its own because a refusal closes it.
func (s *session) declare() error {
	return s.ask(func() error {
		ch, err := s.conn.Channel()
		if err != nil {
			return fmt.Errorf("open channel: %w", err)
		}
		err = s.to.declareAll(ch)
		return errors.Join(err, ignoreClosed(ch.Close()))
	})
}

// keepDeclared declares the topology again when that was long ago, where
// nothing else would tell that a part of it is gone.
func (s *session) keepDeclared() error {
	every := s.to.redeclare()
	s.mu.Lock()
	due := every > 0 && time.Since(s.declared) > every
	if due || s.declared.IsZero() {
		s.declared = time.Now()
	}
	s.mu.Unlock()
	if !due {
		return nil
	}
	return s.declare()
}

// outlet returns topic's channel and opens it when there is none.
func (s *session) outlet(topic string) (*outlet, error) {
	s.mu.Lock()
	o := s.outlets[topic]
	s.mu.Unlock()
	if o != nil && !o.ch.IsClosed() {
		return o, nil
	}
	o = &outlet{}
	err := s.ask(func() (err error) {
		if o.ch, err = s.conn.Channel(); err != nil {
			return fmt.Errorf("open channel: %w", err)
		}
		if err = o.ch.Confirm(false); err != nil {
			return fmt.Errorf("ask for confirms: %w", err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	// Room for two windows: amqp091's reader must never wait for us, and an
	// abandoned window may leave its returns behind.
	o.returned = o.ch.NotifyReturn(make(chan amqp091.Return, 2*window))
	s.mu.Lock()
	s.outlets[topic] = o
	s.mu.Unlock()
	return o, nil
}

// close says goodbye, briefly, and then closes the socket whatever was said.
func (s *session) close() {
	_ = s.conn.CloseDeadline(time.Now().Add(closeTimeout))
	s.dialer.cutAll()
}

func ignoreClosed(err error) error {
	if errors.Is(err, amqp091.ErrClosed) {
		return nil
	}
	return err
}
