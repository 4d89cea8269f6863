package rediscache

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/redis/go-redis/v9"
)

// errMoved tells that the address leads to another server than it did.
var errMoved = errors.New("another server answers")

// pool is connections to one server: the one that its first connection reached.
// An address may lead to another server from one moment to the next, when
// Redis restarts or another takes over, while connections to the old one live
// on. A pool that held both would read what the other one never heard of.
type pool struct {
	*redis.Client
	server atomic.Pointer[string] // nil before the first connection
}

func (c *client) newPool() *pool {
	p, o := new(pool), c.options()
	o.OnConnect = func(ctx context.Context, conn *redis.Conn) error {
		id, err := identity(ctx, conn)
		if err != nil {
			return err
		}
		if p.server.CompareAndSwap(nil, &id) || *p.server.Load() == id {
			return nil
		}
		c.leave(p)
		return errMoved
	}
	p.Client = redis.NewClient(o)
	return p
}

// leave replaces p, if that is still in use, by a pool without connections.
func (c *client) leave(p *pool) {
	fresh := c.newPool()
	if !c.pool.CompareAndSwap(p, fresh) {
		_ = fresh.Close()
		return
	}
	// Not here: this may be p's own connection on its way up.
	go func() { _ = p.Close() }()
}

type commander interface {
	Info(ctx context.Context, sections ...string) *redis.StringCmd
}

// identity names a server process and the data set it has: the second part
// changes when a server takes over another one's.
func identity(ctx context.Context, on commander) (string, error) {
	server, err := on.Info(ctx, "server").Result()
	if err != nil {
		return "", fmt.Errorf("identify server: %w", err)
	}
	replication, err := on.Info(ctx, "replication").Result()
	if err != nil {
		return "", fmt.Errorf("identify server: %w", err)
	}
	run, set := field(server, "run_id:"), field(replication, "master_replid:")
	if run == "" {
		return "", errors.New("identify server: it has no run id")
	}
	return run + "/" + set, nil
}

func field(info, name string) string {
	_, rest, _ := strings.Cut(info, "\n"+name)
	value, _, _ := strings.Cut(rest, "\r")
	return value
}
