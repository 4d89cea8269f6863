package rabbit

import (
	"context"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	wamqp "github.com/ThreeDotsLabs/watermill-amqp/v2/pkg/amqp"
	"github.com/ThreeDotsLabs/watermill/message"
)

// subscriber is watermill-amqp's, which connects when it is made and not
// again if that fails, behind one that is there before the broker is.
type subscriber struct {
	cfg    Config
	from   topology
	dialer *dialer
	log    watermill.LoggerAdapter
	ctx    context.Context // ends with Close
	stop   context.CancelFunc
	work   sync.WaitGroup

	ready chan struct{} // closed once inner is set
	inner *wamqp.Subscriber

	mu     sync.Mutex
	closed bool

	// calling is held by those who begin a subscription. watermill-amqp must not
	// be closed meanwhile: both look at whether it is connected, unguarded.
	calling sync.RWMutex
}

// NewSubscriber returns a subscriber to the feed's topics, one lane each. It
// connects in the background, so neither it nor Subscribe fails because the
// broker is away, and a connection of its own keeps consumers running when the
// broker blocks publishers.
//
// The broker gives each topic to one subscriber at a time, in order, one
// message at a time; the next comes when the handler has acknowledged. A
// message that was not is delivered again, before any later one.
func NewSubscriber(cfg Config) (message.Subscriber, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	return newSubscriber(cfg, feedTopology{cfg}), nil
}

func newSubscriber(cfg Config, from topology) message.Subscriber {
	ctx, stop := context.WithCancel(context.Background())
	s := &subscriber{
		cfg: cfg, from: from, dialer: newDialer(cfg), log: watermill.NewSlogLogger(cfg.Logger),
		ctx: ctx, stop: stop, ready: make(chan struct{}),
	}
	s.work.Go(s.connect)
	return s
}

// connect makes the first connection; watermill-amqp makes the later ones.
func (s *subscriber) connect() {
	var pause backoff
	for {
		inner, err := wamqp.NewSubscriber(s.config(), s.log)
		if err == nil {
			s.inner = inner
			close(s.ready)
			return
		}
		s.dialer.cutAll()
		if s.ctx.Err() != nil {
			return
		}
		s.cfg.Logger.WarnContext(s.ctx, "cannot reach the broker to consume", "error", err)
		if !pause.rest(s.ctx) {
			return
		}
	}
}

func (s *subscriber) config() wamqp.Config {
	dial := s.dialer.config(s.ctx, "consume")
	return wamqp.Config{
		Connection: wamqp.ConnectionConfig{
			AmqpURI: s.cfg.URL, AmqpConfig: &dial,
			// Randomised by half, so at most twice the floor under the ceiling.
			Reconnect: &wamqp.ReconnectConfig{
				BackoffInitialInterval: backoffFloor, BackoffRandomizationFactor: 0.5,
				BackoffMultiplier: 2, BackoffMaxInterval: backoffCeiling * 2 / 3,
			},
		},
		Marshaler:       marshaler{},
		Exchange:        wamqp.ExchangeConfig{GenerateName: func(string) string { return s.from.exchange() }},
		Queue:           wamqp.QueueConfig{GenerateName: s.from.queue},
		TopologyBuilder: topologyBuilder{s.from},
		Consume:         wamqp.ConsumeConfig{Qos: wamqp.QosConfig{PrefetchCount: s.from.prefetch()}},
	}
}

// Subscribe implements message.Subscriber. The channel closes with ctx or Close.
func (s *subscriber) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(s.ctx, cancel)
	out := make(chan *message.Message)
	s.work.Go(func() {
		defer close(out)
		defer cancel()
		defer stop()
		select {
		case <-s.ready:
		case <-ctx.Done():
			return
		}
		var pause backoff
		for ctx.Err() == nil {
			// It refuses while it is not connected.
			in, err := s.begin(ctx, topic)
			if err == nil {
				pause.reset()
				pass(ctx, in, out)
			}
			if !pause.rest(ctx) {
				return
			}
		}
	})
	return out, nil
}

func (s *subscriber) begin(ctx context.Context, topic string) (<-chan *message.Message, error) {
	s.calling.RLock()
	defer s.calling.RUnlock()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return s.inner.Subscribe(ctx, topic)
}

// pass hands messages on until in is closed. A message that nobody takes any
// more is given back, because watermill-amqp waits for its answer alone.
func pass(ctx context.Context, in <-chan *message.Message, out chan<- *message.Message) {
	for msg := range in {
		select {
		case out <- msg:
		case <-ctx.Done():
			msg.Nack()
		}
	}
}

// Close implements message.Subscriber. It waits for the handlers' answers a
// moment only: what is unanswered is delivered again.
func (s *subscriber) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	s.stop() // first: watermill-amqp's Close waits for its subscriptions, which may be waiting for the broker
	cut := time.AfterFunc(closeTimeout, s.dialer.cutAll)
	defer cut.Stop()
	select {
	case <-s.ready:
		s.calling.Lock() // for as long as the broker takes to answer, or until it is cut off
		_ = s.inner.Close()
		s.calling.Unlock()
	default:
		s.dialer.cutAll()
	}
	s.work.Wait()
	select {
	case <-s.ready: // it connected while we were closing
		_ = s.inner.Close()
	default:
	}
	s.dialer.cutAll() // a connection it made while closing would stay open
	return nil
}
