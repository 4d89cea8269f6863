// Package rabbit carries Watermill messages over RabbitMQ: a publisher that
// knows what the broker has stored, a subscriber that survives the broker's
// absence, and the exchange and queues between them. It knows lanes and topics,
// and nothing of what the messages say.
//
// The log behind the feed is the truth. So everything here may deliver twice,
// and nothing here may hang.
package rabbit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"time"

	amqp091 "github.com/rabbitmq/amqp091-go"

	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
)

// Config is how a process uses the broker. Zero values take the defaults named.
type Config struct {
	URL    string // amqp:// or amqps://
	Name   string // what the broker's listings call the connection; the program by default
	Prefix string // of the exchange and queues: "customer"
	Lanes  int    // eventlog.DefaultLanes

	// ConfirmTimeout bounds a whole Publish call, waiting for a connection
	// included: 10 s.
	ConfirmTimeout time.Duration
	// ConnectTimeout bounds connecting and every question put to the broker
	// while setting up: 5 s.
	ConnectTimeout time.Duration

	Logger *slog.Logger
}

const (
	// heartbeat finds a half-open connection within three times as much.
	heartbeat = 5 * time.Second
	// backoffCeiling is the longest rest between two attempts to connect.
	backoffFloor, backoffCeiling = 100 * time.Millisecond, 2 * time.Second
	// closeTimeout is how long the broker has to answer a goodbye.
	closeTimeout = time.Second
)

func (c Config) withDefaults() (Config, error) {
	if c.Prefix == "" {
		c.Prefix = "customer"
	}
	if c.Lanes == 0 {
		c.Lanes = eventlog.DefaultLanes
	}
	if c.ConfirmTimeout == 0 {
		c.ConfirmTimeout = 10 * time.Second
	}
	if c.ConnectTimeout == 0 {
		c.ConnectTimeout = 5 * time.Second
	}
	if c.Name == "" {
		c.Name = "customer-service"
	}
	var errs []error
	if c.URL == "" {
		errs = append(errs, errors.New("rabbit: the URL is empty"))
	} else if _, err := amqp091.ParseURI(c.URL); err != nil {
		errs = append(errs, errors.New("rabbit: the URL cannot be read")) // the cause may quote its password
	}
	if strings.ContainsAny(c.Prefix, " \t\r\n#*") || len(c.Prefix) > 100 {
		errs = append(errs, fmt.Errorf("rabbit: prefix %q is not usable in names", c.Prefix))
	}
	if c.Lanes < 1 || c.Lanes > eventlog.Slots {
		errs = append(errs, fmt.Errorf("rabbit: %d lanes, want 1 to %d", c.Lanes, eventlog.Slots))
	}
	if c.ConfirmTimeout < 0 || c.ConnectTimeout < 0 {
		errs = append(errs, errors.New("rabbit: a timeout is negative"))
	}
	if c.Logger == nil {
		errs = append(errs, errors.New("rabbit: no logger"))
	}
	return c, errors.Join(errs...)
}

// dialer makes connections whose every write has a deadline, and can cut all
// of them: a broker that stops reading must not hold us for ever.
type dialer struct {
	cfg Config

	mu    sync.Mutex
	conns map[net.Conn]struct{}
}

func newDialer(cfg Config) *dialer { return &dialer{cfg: cfg, conns: make(map[net.Conn]struct{})} }

func (d *dialer) config(ctx context.Context, role string) amqp091.Config {
	return amqp091.Config{
		Heartbeat:  heartbeat,
		Properties: amqp091.Table{"connection_name": d.cfg.Name + " " + role, "product": "customer-service"},
		Dial: func(network, addr string) (net.Conn, error) {
			nd := net.Dialer{Timeout: d.cfg.ConnectTimeout}
			c, err := nd.DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			// For the handshake; amqp091 lifts it once that is over.
			if err := c.SetDeadline(time.Now().Add(d.cfg.ConnectTimeout)); err != nil {
				_ = c.Close()
				return nil, err
			}
			w := &watchedConn{Conn: c, dialer: d}
			d.mu.Lock()
			d.conns[w] = struct{}{}
			d.mu.Unlock()
			return w, nil
		},
	}
}

// cutAll closes the sockets, whatever is under way on them.
func (d *dialer) cutAll() {
	d.mu.Lock()
	conns := make([]net.Conn, 0, len(d.conns))
	for c := range d.conns {
		conns = append(conns, c)
	}
	d.mu.Unlock()
	for _, c := range conns {
		_ = c.Close()
	}
}

type watchedConn struct {
	net.Conn
	dialer *dialer
}

func (c *watchedConn) Write(b []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(c.dialer.cfg.ConfirmTimeout)); err != nil {
		return 0, err
	}
	return c.Conn.Write(b)
}

func (c *watchedConn) Close() error {
	c.dialer.mu.Lock()
	delete(c.dialer.conns, c)
	c.dialer.mu.Unlock()
	return c.Conn.Close()
}

// backoff is a jittered, doubling rest.
type backoff struct{ next time.Duration }

func (b *backoff) reset() { b.next = 0 }

// rest waits and reports whether ctx still holds.
func (b *backoff) rest(ctx context.Context) bool {
	b.next = min(max(2*b.next, backoffFloor), backoffCeiling)
	timer := time.NewTimer(b.next/2 + rand.N(b.next/2)) //nolint:gosec // jitter needs no secrecy
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
