package projection

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
	"github.com/ebrahem-outlook/customer-service/internal/query"
)

const (
	cachePeriod = time.Second
	// repairPage bounds memory: so many documents, of 2 KB or so, at once.
	repairPage = 500
	// repairLimit is how many entries are written again one by one before it is
	// better to begin an empty epoch: readers then fill what they ask for.
	repairLimit = 20000
	// forgetAgain is how many periods after an epoch was first seen its
	// predecessors are removed once more: whoever wrote to them knows by then,
	// also one who took a lease of ten seconds just before it heard.
	forgetAgain = 20
)

// cachedThrough is what the checkpoint may say about the cache when it is
// committed next.
func (l *lane) cachedThrough(c Checkpoint) eventlog.Position {
	l.cacheMu.Lock()
	defer l.cacheMu.Unlock()
	if l.cached.rewinds != c.Rewinds {
		return c.Cached
	}
	return max(c.Cached, min(l.cached.through, c.Position))
}

// writeCache writes what was committed. Nothing depends on its success but
// latency: Cached stays behind until a repair.
func (l *lane) writeCache(ctx context.Context, from View, d Delta) {
	if from.Cache.RunID == "" {
		return // nobody reads the cache, and an empty epoch follows
	}
	// The rows are committed: they are written even if the message is given up.
	ctx = context.WithoutCancel(ctx)
	err := l.p.cacheRows(ctx, from.Cache, d.Rows)
	l.cacheMu.Lock()
	defer l.cacheMu.Unlock()
	if err != nil {
		if l.cached.failing.IsZero() {
			l.cached.failing = time.Now()
			l.log.WarnContext(ctx, "cache cannot be written, will be repaired", "error", err)
		}
		return
	}
	l.cached.failing = time.Time{}
	known := max(from.Cached, d.Cached)
	if l.cached.rewinds == from.Rewinds {
		known = max(known, l.cached.through)
	}
	if known >= from.Position { // no hole before what was just written
		l.cached.through, l.cached.rewinds = d.Position, from.Rewinds
	}
}

// cacheRows writes rows into the epoch of the cache that readers trust.
func (p *Projector) cacheRows(ctx context.Context, state query.CacheState, rows []Row) error {
	if len(rows) == 0 {
		return nil
	}
	entries := make([]CacheEntry, len(rows))
	for i, r := range rows {
		e, err := r.Entry()
		if err != nil {
			return err
		}
		entries[i] = CacheEntry{CustomerID: r.Data.ID, Entry: e}
	}
	if err := p.cache.Store(ctx, state, entries); err != nil {
		return &errCache{cause: err}
	}
	return nil
}

// keeper watches over the cache: that readers trust no server which may have
// forgotten something, and that what was missed is written again.
type keeper struct {
	p     *Projector
	seen  map[eventlog.Lane]eventlog.Position // checkpoints a period ago
	older map[eventlog.Lane]eventlog.Position // and two periods ago
	down  bool

	epoch   int64 // that was trusted when it last looked
	periods int   // for which it has been
}

func (k *keeper) once(ctx context.Context) (time.Duration, error) {
	state, err := k.p.ledger.State(ctx)
	if err != nil {
		return 0, err
	}
	runID, err := k.p.cache.RunID(ctx)
	if err != nil {
		return cachePeriod, k.unreachable(ctx, state, err)
	}
	if k.down {
		k.down = false
		k.p.logger.InfoContext(ctx, "cache is back")
	}
	if state.RunID != runID {
		if err := k.renew(ctx, state, runID); err != nil {
			return 0, err
		}
		return cachePeriod, nil
	}
	k.forget(ctx, state.Epoch)
	err = k.repair(ctx, state)
	if broken := (*errCache)(nil); errors.As(err, &broken) {
		return cachePeriod, k.unreachable(ctx, state, err)
	}
	return cachePeriod, err
}

// errCache tells that the cache failed and not the read model.
type errCache struct{ cause error }

func (e *errCache) Error() string { return "write cache: " + e.cause.Error() }
func (e *errCache) Unwrap() error { return e.cause }

// unreachable keeps readers from entries that this process cannot replace. A
// reader may well reach the cache when a projector does not.
func (k *keeper) unreachable(ctx context.Context, state query.CacheState, cause error) error {
	if !k.down {
		k.down = true
		k.p.logger.WarnContext(ctx, "cache is unreachable, reads go past it", "error", cause)
	}
	if state.RunID == "" {
		return nil
	}
	return k.p.ledger.Suspend(ctx)
}

// renew begins an empty epoch. A server that restarted may have come back with
// what it held long ago; one that was out of reach has missed writes.
func (k *keeper) renew(ctx context.Context, was query.CacheState, runID string) error {
	now, err := k.p.ledger.Renew(ctx, was, runID)
	if err != nil {
		return err
	}
	k.p.logger.InfoContext(ctx, "cache begins an empty epoch", "epoch", now.Epoch)
	for _, l := range k.p.lanes {
		l.cacheMu.Lock()
		l.cached.failing = time.Time{}
		l.cacheMu.Unlock()
	}
	k.forget(ctx, now.Epoch)
	return nil
}

// forget removes what earlier epochs left: nobody reads it, but it holds
// values, and no erasure reaches it. An epoch may begin elsewhere, as at the end
// of a rebuild, so that each process looks for itself.
func (k *keeper) forget(ctx context.Context, epoch int64) {
	if k.epoch != epoch {
		k.epoch, k.periods = epoch, 0
	}
	k.periods++
	if k.periods != 1 && k.periods != forgetAgain {
		return
	}
	if err := k.p.cache.Sweep(ctx, epoch); err != nil {
		k.epoch = 0 // to try again
		k.p.logger.WarnContext(ctx, "earlier epochs of the cache were not removed, will try again", "error", err)
	}
}

// repair writes again what lanes committed and nobody is known to have written:
// a write that failed, or a projector that died between commit and write.
func (k *keeper) repair(ctx context.Context, state query.CacheState) error {
	checkpoints, err := k.p.store.Checkpoints(ctx)
	if err != nil {
		return err
	}
	older := k.older
	k.older, k.seen = k.seen, make(map[eventlog.Lane]eventlog.Position, len(checkpoints))
	for _, c := range checkpoints {
		k.seen[c.Lane] = c.Position
		if int(c.Lane) >= len(k.p.lanes) {
			continue
		}
		if c.Cached == c.Position {
			continue
		}
		if own := k.p.lanes[c.Lane].cachedThrough(c); own > c.Cached {
			if err := k.p.ledger.MarkCached(ctx, c.Lane, own, c.Rewinds); err != nil {
				return err
			}
			c.Cached = own
		}
		// Whoever applied up to where the lane was two periods ago has had the
		// time to write and to say so.
		if c.Cached >= older[c.Lane] {
			continue
		}
		if err := k.repairLane(ctx, state, c); err != nil {
			return err
		}
	}
	return nil
}

func (k *keeper) repairLane(ctx context.Context, state query.CacheState, c Checkpoint) error {
	after, written := c.Cached, 0
	for {
		rows, through, more, err := k.p.ledger.ChangedAfter(ctx, c.Lane, after, repairPage)
		if err != nil {
			return err
		}
		if err := k.p.cacheRows(ctx, state, rows); err != nil {
			return fmt.Errorf("repair cache of lane %d: %w", c.Lane, err)
		}
		written += len(rows)
		after = through
		if !more {
			break
		}
		if written >= repairLimit {
			k.p.logger.InfoContext(ctx, "cache misses too much to be repaired", "lane", c.Lane)
			return k.renew(ctx, state, state.RunID)
		}
	}
	k.p.logger.InfoContext(ctx, "cache repaired", "lane", c.Lane, "after", c.Cached, "entries", written)
	return k.p.ledger.MarkCached(ctx, c.Lane, c.Position, c.Rewinds)
}
