package rediscache

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/ebrahem-outlook/customer-service/internal/projection"
	"github.com/ebrahem-outlook/customer-service/internal/query"
)

// storeScript replaces what is there by something newer, and announces what it
// has unless what is there was newer still. Where nothing is, it writes nothing:
// a process may have been stopped for any time between its commit and this, and
// what the server has forgotten meanwhile cannot show that it is late. Only who
// took a lease before reading the read model fills an empty key, and the lease
// is told what was committed meanwhile: what its owner has read may be older.
//
// A tombstone goes over its own version, and ends a lease: a customer may lose
// its values without a new event. pcall, because the key may hold another type.
// A server that is full takes no value but still forgets one.
//
// KEYS[1] key; ARGV version, value, milliseconds, "1" for erased, channel, announcement.
const storeScript = `
local have = redis.pcall('GET', KEYS[1])
if type(have) ~= 'string' then have = '' end
local version = tonumber(ARGV[1])
local v = tonumber(string.match(have, '^1:(%d+):'))
if v and v > version then return 0 end
local lease, least = string.match(have, '^(L:%w+):?(%d*)$')
local set = {}
if v then
  if v < version or ARGV[4] == '1' then set = redis.pcall('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) end
elseif lease and ARGV[4] ~= '1' then
  if version > (tonumber(least) or 0) then set = redis.pcall('SET', KEYS[1], lease .. ':' .. ARGV[1], 'KEEPTTL') end
else
  redis.call('DEL', KEYS[1])
end
if set.err then redis.call('DEL', KEYS[1]) end
redis.call('PUBLISH', ARGV[5], ARGV[6])
if set.err then return set end
return 1`

const (
	// storeChunk bounds one pipeline: at 2 KB an entry, half a megabyte.
	storeChunk = 256
	// sweepChunk is how many keys one step of removing an epoch looks at.
	sweepChunk = 500
	probeTTL   = 10 * time.Second
)

// Writer is a projector's side of the cache. It implements projection.Cache.
type Writer struct {
	*client
	store *redis.Script
}

var _ projection.Cache = (*Writer)(nil)

// NewWriter returns a writer that connects when first used.
func NewWriter(c Config) (*Writer, error) {
	cl, err := open(c, 500*time.Millisecond)
	if err != nil {
		return nil, err
	}
	return &Writer{client: cl, store: redis.NewScript(storeScript)}, nil
}

// Store replaces what is there by entries that are newer.
func (w *Writer) Store(ctx context.Context, state query.CacheState, entries []projection.CacheEntry) error {
	p, epoch := w.pool.Load(), state.Epoch
	if p.server.Load() == nil {
		if err := p.Ping(ctx).Err(); err != nil {
			return fmt.Errorf("store %d entries: %w", len(entries), err)
		}
	}
	if *p.server.Load() != state.RunID {
		return fmt.Errorf("store %d entries: %w", len(entries), errMoved)
	}
	for len(entries) > 0 {
		n := min(len(entries), storeChunk)
		err := w.storeChunk(ctx, p, epoch, entries[:n])
		if redis.HasErrorPrefix(err, "NOSCRIPT") {
			// A server that was restarted or flushed has forgotten it.
			if err = w.store.Load(ctx, p).Err(); err == nil {
				err = w.storeChunk(ctx, p, epoch, entries[:n])
			}
		}
		if err != nil {
			return fmt.Errorf("store %d entries: %w", n, err)
		}
		entries = entries[n:]
	}
	return nil
}

func (w *Writer) storeChunk(ctx context.Context, p *pool, epoch int64, entries []projection.CacheEntry) error {
	_, err := p.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for _, e := range entries {
			value, err := encode(e.CustomerID, e.Entry)
			if err != nil {
				return err
			}
			erased := "0"
			if !e.Live() {
				erased = "1"
			}
			w.store.EvalSha(ctx, pipe, []string{w.key(epoch, e.CustomerID)},
				int64(e.Version), value, w.expiry(), erased, w.channel(), announcement(e.CustomerID, e.Version))
		}
		return nil
	})
	return err
}

// RunID names the server that answers, provided that it takes writes.
func (w *Writer) RunID(ctx context.Context) (string, error) {
	p := w.pool.Load()
	id, err := identity(ctx, p)
	if err == nil {
		if err = p.Set(ctx, w.prefix+":probe", "1", probeTTL).Err(); err != nil {
			err = fmt.Errorf("probe: %w", err)
		}
	}
	if err == nil && id == *p.server.Load() {
		return id, nil
	}
	// Its role or its data set changed, or the address leads to another by now.
	w.leave(p)
	if err == nil {
		err = errMoved
	}
	return "", err
}

// Sweep removes the entries of earlier epochs.
func (w *Writer) Sweep(ctx context.Context, epoch int64) error {
	schema := w.prefix + ":" + strconv.Itoa(schemaVersion) + ":"
	p := w.pool.Load()
	var cursor uint64
	for {
		keys, next, err := p.Scan(ctx, cursor, schema+"*", sweepChunk).Result()
		if err != nil {
			return fmt.Errorf("sweep: %w", err)
		}
		var old []string
		for _, k := range keys {
			number, _, isEntry := strings.Cut(strings.TrimPrefix(k, schema), ":")
			if n, err := strconv.ParseInt(number, 10, 64); isEntry && err == nil && n < epoch {
				old = append(old, k)
			}
		}
		if len(old) > 0 {
			if err := p.Unlink(ctx, old...).Err(); err != nil {
				return fmt.Errorf("sweep: %w", err)
			}
		}
		if cursor = next; cursor == 0 {
			return nil
		}
	}
}
