// Package rediscache keeps customers' documents in Redis, in front of the read
// model, and announces them as they change.
//
// An entry is written by compare-and-set on its version, and filled by readers
// only under a lease taken before they asked the read model, so that nothing
// forgotten (a flush, an eviction, an expiry) can be replaced by something
// older. Keys carry an epoch; which epoch of which server may be trusted is
// kept in the read model, not here. No key and no announcement holds personal data.
package rediscache

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
)

// schemaVersion is in every key: a release that renders documents differently
// raises it, and two releases that run side by side share no entry.
const schemaVersion = 1

// Config is how Redis is reached. Zero values take the defaults named.
type Config struct {
	URL    string
	Prefix string        // of every key and channel; "customer"
	TTL    time.Duration // of entries, give or take a fifth; 1 h
	// Timeout bounds every answer; 100 ms for readers, which have the read model
	// to turn to, and 500 ms for writers, which send many entries at once.
	Timeout  time.Duration
	PoolSize int // 16
	Logger   *slog.Logger
}

// client is what readers and writers share.
type client struct {
	options func() *redis.Options // of a connection pool
	pool    atomic.Pointer[pool]
	prefix  string
	ttl     time.Duration
	log     *slog.Logger
}

func open(c Config, timeout time.Duration) (*client, error) {
	if c.Prefix == "" {
		c.Prefix = "customer"
	}
	if c.TTL == 0 {
		c.TTL = time.Hour
	}
	if c.Timeout == 0 {
		c.Timeout = timeout
	}
	if c.PoolSize == 0 {
		c.PoolSize = 16
	}
	var errs []error
	if c.TTL < time.Second || c.Timeout < 0 || c.PoolSize < 0 {
		errs = append(errs, errors.New("redis: negative or too short settings"))
	}
	if strings.ContainsAny(c.Prefix, "{}*?[]\\ ") {
		errs = append(errs, errors.New("redis: the prefix has characters that mean something in keys or patterns"))
	}
	if c.Logger == nil {
		errs = append(errs, errors.New("redis: no logger"))
	}
	if _, err := redis.ParseURL(c.URL); err != nil {
		errs = append(errs, errors.New("redis: the URL cannot be read")) // the cause may quote the password
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	cl := &client{prefix: c.Prefix, ttl: c.TTL, log: c.Logger, options: func() *redis.Options {
		o, _ := redis.ParseURL(c.URL) // read before
		o.DialTimeout, o.ReadTimeout, o.WriteTimeout, o.PoolTimeout = 2*c.Timeout, c.Timeout, c.Timeout, c.Timeout
		o.ContextTimeoutEnabled = true
		o.MaxRetries = -1 // a retry is one more timeout; the read model answers sooner
		o.DialerRetries = 1
		o.PoolSize = c.PoolSize
		o.DisableIdentity = true
		o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
		return o
	}}
	cl.pool.Store(cl.newPool())
	return cl, nil
}

// Close ends all connections.
func (c *client) Close() error { return c.pool.Load().Close() }

func (c *client) key(epoch int64, id customer.ID) string {
	return c.epochPrefix(epoch) + "{" + id.String() + "}"
}

func (c *client) epochPrefix(epoch int64) string {
	return c.prefix + ":" + strconv.Itoa(schemaVersion) + ":" + strconv.FormatInt(epoch, 10) + ":"
}

func (c *client) channel() string { return c.prefix + ":" + strconv.Itoa(schemaVersion) + ":changed" }

// expiry is in milliseconds, spread so that what was written together does not
// expire together.
func (c *client) expiry() int64 {
	ms := c.ttl.Milliseconds()
	return ms - ms/5 + rand.Int64N(2*ms/5+1) //nolint:gosec // jitter needs no secrecy
}

// driverLogger takes what the driver would print to standard error: a line for
// each failed dial, where this package logs each change of state.
type driverLogger struct{ log *slog.Logger }

func (l driverLogger) Printf(ctx context.Context, format string, v ...any) {
	l.log.DebugContext(ctx, "redis driver", "message", fmt.Sprintf(format, v...))
}

// LogDriver sends what the Redis driver logs to log, at debug level. The driver
// has one logger per process: call it once, before any client is made.
func LogDriver(log *slog.Logger) { redis.SetLogger(driverLogger{log: log}) }
