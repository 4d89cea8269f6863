// Package rabbittest gives each test names of its own on the shared broker, and
// a way to it that can be cut. A test that finds no broker fails.
package rabbittest

import (
	"crypto/rand"
	"encoding/hex"
	"io"
	"log/slog"
	"net"
	"net/url"
	"os"
	"sync"
	"testing"

	amqp091 "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
	"github.com/ebrahem-outlook/customer-service/internal/rabbit"
)

// Config is a configuration under a prefix of its own. What is declared under
// it is deleted when the test ends.
func Config(t testing.TB) rabbit.Config {
	t.Helper()
	u := os.Getenv("AMQP_URL")
	if u == "" {
		t.Fatal("AMQP_URL is not set: run make test (or devstack exec)")
	}
	var suffix [6]byte
	_, _ = rand.Read(suffix[:]) // never fails
	cfg := rabbit.Config{
		URL: u, Name: t.Name(), Prefix: "test-" + hex.EncodeToString(suffix[:]),
		Lanes: 2, Logger: slog.New(slog.DiscardHandler),
	}
	t.Cleanup(func() {
		ch := Channel(t, cfg)
		for lane := range eventlog.DefaultLanes {
			_, err := ch.QueueDelete(Queue(cfg, eventlog.Lane(lane)), false, false, false)
			require.NoError(t, err)
		}
		require.NoError(t, ch.ExchangeDelete(Exchange(cfg), false, false))
		_, err := ch.QueueDelete(IntegrationQueue(cfg), false, false, false)
		require.NoError(t, err)
		require.NoError(t, ch.ExchangeDelete(IntegrationExchange(cfg), false, false))
	})
	return cfg
}

// Queue and Exchange are the names the service gives them.
func Queue(cfg rabbit.Config, lane eventlog.Lane) string {
	return Exchange(cfg) + "." + eventlog.FeedTopic(lane)
}

// Exchange is the feed's exchange.
func Exchange(cfg rabbit.Config) string { return cfg.Prefix + ".feed" }

// IntegrationExchange is the one that other services bind to, and
// IntegrationQueue the service's own queue behind it.
func IntegrationExchange(cfg rabbit.Config) string { return cfg.Prefix + ".events" }

// IntegrationQueue is the service's own queue of notices.
func IntegrationQueue(cfg rabbit.Config) string { return IntegrationExchange(cfg) + ".feed" }

// Channel is a channel of its own connection, to look and meddle with. Both
// are closed when the test ends.
func Channel(t testing.TB, cfg rabbit.Config) *amqp091.Channel {
	t.Helper()
	conn, err := amqp091.Dial(cfg.URL)
	require.NoError(t, err, "is the broker of make test (or devstack exec) running?")
	t.Cleanup(func() { _ = conn.Close() })
	ch, err := conn.Channel()
	require.NoError(t, err)
	return ch
}

// Proxy is a way to the broker that fails on demand.
type Proxy struct {
	listener net.Listener
	target   string

	mu      sync.Mutex
	refuse  bool
	stalled chan struct{} // closed while bytes may pass
	conns   map[net.Conn]struct{}
	pumps   sync.WaitGroup
}

// NewProxy returns a proxy and the configuration that goes through it.
func NewProxy(t testing.TB, cfg rabbit.Config) (*Proxy, rabbit.Config) {
	t.Helper()
	u, err := url.Parse(cfg.URL)
	require.NoError(t, err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &Proxy{listener: listener, target: u.Host, stalled: make(chan struct{}), conns: make(map[net.Conn]struct{})}
	close(p.stalled)
	u.Host = listener.Addr().String()
	cfg.URL = u.String()
	p.pumps.Go(p.accept)
	t.Cleanup(func() {
		_ = listener.Close()
		p.Resume()
		p.Cut()
		p.pumps.Wait()
	})
	return p, cfg
}

func (p *Proxy) accept() {
	for {
		in, err := p.listener.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", p.target)
		if err != nil {
			_ = in.Close()
			continue
		}
		p.mu.Lock()
		refuse := p.refuse
		if !refuse {
			p.conns[in], p.conns[out] = struct{}{}, struct{}{}
		}
		p.mu.Unlock()
		if refuse {
			_, _ = in.Close(), out.Close()
			continue
		}
		p.pumps.Go(func() { p.pump(in, out) })
		p.pumps.Go(func() { p.pump(out, in) })
	}
}

func (p *Proxy) pump(from, to net.Conn) {
	defer func() { _, _ = from.Close(), to.Close() }()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		p.mu.Lock()
		stalled := p.stalled
		p.mu.Unlock()
		<-stalled
		if _, err := io.Writer(to).Write(buf[:n]); err != nil {
			return
		}
	}
}

// Refuse turns new connections away, or lets them in again.
func (p *Proxy) Refuse(refuse bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuse = refuse
}

// Cut ends every connection and reports how many there were.
func (p *Proxy) Cut() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.conns) / 2
	for c := range p.conns {
		_ = c.Close()
	}
	clear(p.conns)
	return n
}

// Stall holds every byte back on connections that stay open, as a half-open
// connection does.
func (p *Proxy) Stall() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stalled = make(chan struct{})
}

// Resume lets the bytes pass.
func (p *Proxy) Resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.stalled:
	default:
		close(p.stalled)
	}
}
