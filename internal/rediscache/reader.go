package rediscache

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/query"
)

const (
	// leaseScript takes the right to fill a key that holds nothing of use. A
	// lease that somebody else has is left to them, if it is one: it ends.
	// KEYS[1] key; ARGV lease, milliseconds.
	leaseScript = `
local have = redis.pcall('GET', KEYS[1])
if type(have) == 'string' and string.match(have, '^1:%d+:[asden]:') then return 0 end
if type(have) == 'string' and string.match(have, '^L:%w+:?%d*$') and redis.call('PTTL', KEYS[1]) > 0 then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1`

	// fillScript replaces a lease by a value, if it is still there and nothing
	// later was committed meanwhile, as far as the lease was told.
	// KEYS[1] key; ARGV lease, value, milliseconds, version.
	fillScript = `
local have = redis.pcall('GET', KEYS[1])
if type(have) ~= 'string' or string.sub(have, 1, #ARGV[1]) ~= ARGV[1] then return 0 end
local least = string.match(have, '^:(%d+)$', #ARGV[1] + 1)
if least and tonumber(least) > tonumber(ARGV[4]) then return redis.call('DEL', KEYS[1]) end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1`

	// releaseScript gives a lease up, whatever it was told.
	// KEYS[1] key; ARGV lease.
	releaseScript = `
local have = redis.pcall('GET', KEYS[1])
if type(have) == 'string' and string.sub(have, 1, #ARGV[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0`

	// dropScript removes a value that cannot be read, unless it was replaced.
	// KEYS[1] key; ARGV value.
	dropScript = `
if redis.pcall('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0`

	// leaseTTL is above the longest question to the read model, and how long a
	// key stays unfilled when whoever took the lease died.
	leaseTTL = 10 * time.Second
)

// Reader is a query process's side of the cache. It implements query.Cache and
// query.Announcements. Whatever goes wrong is a miss.
type Reader struct {
	*client
	breaker                    *breaker
	lease, fill, release, drop *redis.Script
	state                      atomic.Pointer[query.CacheState]
}

var (
	_ query.Cache         = (*Reader)(nil)
	_ query.Announcements = (*Reader)(nil)
)

// NewReader returns a reader that trusts nothing until Use says what.
func NewReader(c Config) (*Reader, error) {
	cl, err := open(c, 100*time.Millisecond)
	if err != nil {
		return nil, err
	}
	return &Reader{
		client: cl, breaker: newBreaker(c.Logger),
		lease: redis.NewScript(leaseScript), fill: redis.NewScript(fillScript),
		release: redis.NewScript(releaseScript), drop: redis.NewScript(dropScript),
	}, nil
}

// Use says which entries may be trusted from now on.
func (r *Reader) Use(s query.CacheState) {
	r.state.Store(&s)
	p := r.pool.Load()
	if _, ok := r.epoch(p); ok || s.RunID == "" || !r.breaker.allow() {
		return
	}
	// Not connected yet, or to a server that the projector has left, or that has
	// another data set than it had when it was connected to.
	if p.server.Load() != nil {
		r.leave(p)
		p = r.pool.Load()
	}
	ctx := context.Background()
	r.breaker.report(ctx, p.Ping(ctx).Err())
}

// epoch is the one whose entries are trusted on the server that p is connected to.
func (r *Reader) epoch(p *pool) (int64, bool) {
	state, server := r.state.Load(), p.server.Load()
	if state == nil || server == nil || state.RunID != *server {
		return 0, false
	}
	return state.Epoch, true
}

// Get answers what the cache has of id and may be trusted.
func (r *Reader) Get(ctx context.Context, id customer.ID) (query.Entry, bool) {
	p := r.pool.Load()
	epoch, ok := r.epoch(p)
	if !ok || !r.breaker.allow() {
		return query.Entry{}, false
	}
	key := r.key(epoch, id)
	value, err := p.Get(ctx, key).Bytes()
	switch {
	case errors.Is(err, redis.Nil), redis.HasErrorPrefix(err, "WRONGTYPE"):
		r.breaker.report(ctx, nil)
		return query.Entry{}, false
	case err != nil:
		r.report(ctx, p, err)
		return query.Entry{}, false
	}
	r.breaker.report(ctx, nil)
	if now, ok := r.epoch(p); !ok || now != epoch {
		return query.Entry{}, false
	}
	e, err := decode(id, value)
	if err == nil {
		return e, true
	}
	if len(value) < len(leasePrefix) || string(value[:len(leasePrefix)]) != leasePrefix {
		r.report(ctx, p, r.drop.Run(ctx, p, []string{key}, value).Err())
	}
	return query.Entry{}, false
}

// Lease takes the right to fill id's entry, if nobody has it.
func (r *Reader) Lease(ctx context.Context, id customer.ID) query.Lease {
	p := r.pool.Load()
	epoch, ok := r.epoch(p)
	if !ok || !r.breaker.allow() {
		return ""
	}
	ctx = context.WithoutCancel(ctx) // what was taken has to be known
	lease := leasePrefix + rand.Text()
	got, err := r.lease.Run(ctx, p, []string{r.key(epoch, id)}, lease, leaseTTL.Milliseconds()).Int()
	r.report(ctx, p, err)
	if err != nil || got == 0 {
		return ""
	}
	return query.Lease(fmt.Sprintf("%d %s", epoch, lease))
}

// Fill stores what the read model answered since the lease was taken.
func (r *Reader) Fill(ctx context.Context, id customer.ID, l query.Lease, e query.Entry) {
	value, err := encode(id, e)
	if err != nil {
		r.Release(ctx, id, l)
		return
	}
	r.end(ctx, id, l, r.fill, value, r.expiry(), int64(e.Version))
}

// Release gives up the right to fill id's entry.
func (r *Reader) Release(ctx context.Context, id customer.ID, l query.Lease) {
	r.end(ctx, id, l, r.release)
}

// end runs the script that ends a lease, also for a caller who gave up: nobody
// else can fill before a lease has ended. The server's timeout bounds it.
func (r *Reader) end(ctx context.Context, id customer.ID, l query.Lease, script *redis.Script, args ...any) {
	var (
		epoch int64
		lease string
	)
	if n, err := fmt.Sscanf(string(l), "%d %s", &epoch, &lease); n != 2 || err != nil || !r.breaker.allow() {
		return
	}
	ctx = context.WithoutCancel(ctx)
	p := r.pool.Load() // a lease is random: on another server it is not there
	r.report(ctx, p, script.Run(ctx, p, []string{r.key(epoch, id)}, append([]any{lease}, args...)...).Err())
}

// report tells the breaker, but for what says nothing of the server: a caller
// that gave up, a burst that found every connection taken, connections that
// were left.
func (r *Reader) report(ctx context.Context, p *pool, err error) {
	if err != nil && (ctx.Err() != nil || errors.Is(err, redis.ErrPoolTimeout) || p != r.pool.Load()) {
		return
	}
	r.breaker.report(ctx, err)
}
