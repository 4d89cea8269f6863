package query

import (
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
)

const (
	// l1Silence is how old the proof may be that no announcement is outstanding.
	// It bounds what a tokenless read can miss when Redis stops answering without
	// ending its connections.
	l1Silence = time.Second
	// l1Age is after how long an entry is asked for again whatever was or was not
	// announced. Nothing relies on it; it bounds what nobody thought of.
	l1Age = 10 * time.Second
	// l1Overhead is what an entry costs beside its document: key, node and policy.
	l1Overhead = 256
	// l1Stripes bounds what is remembered of announcements while fills are under
	// way. Two customers on one stripe cost a fill that is not kept: at 10,000
	// announcements a second and fills of 1 ms, one in a hundred.
	l1Stripes = 1024
)

// l1 keeps the entries this process answered lately, so that reads of a hot
// customer leave the process only after it changed.
//
// It serves only while it can show that no announcement is outstanding: within
// a session, which begins when the subscription to the server that the cache
// state names stands, and ends with either. Everything published before a ping
// was sent has been heard once it is answered, because Redis answers on the
// connection it publishes on, in order; so what is served is at most l1Silence
// behind, however the connection fails. Whatever else may have been missed, the
// cache state moves on for, as it does for Redis itself.
type l1 struct {
	entries *otter.Cache[customer.ID, l1Entry]
	born    time.Time
	heard   atomic.Int64 // when the last answered ping was sent, since born
	session atomic.Int64 // 0 while nothing may be served
	stripes [l1Stripes]l1Stripe

	mu       sync.Mutex
	sessions int64 // so far
	state    CacheState
	server   string // that announcements come from; empty while they do not
}

type l1Entry struct {
	Entry
	session int64
	at      time.Duration // since born
}

// l1Stripe counts the announcements of some customers.
type l1Stripe struct {
	mu        sync.Mutex
	announced uint64
}

// l1Fill is the right to keep an entry that was asked for after it was taken.
type l1Fill struct {
	session   int64
	announced uint64
}

const never = math.MinInt64 / 2

// newL1 returns an empty one of so many bytes and entries. Without bytes it
// keeps nothing.
func newL1(bytes int64, entries int) (*l1, error) {
	c := &l1{born: time.Now()}
	c.heard.Store(never)
	if bytes <= 0 {
		return c, nil
	}
	// A least weight makes the bound on bytes one on entries too.
	least := max(l1Overhead, bytes/int64(entries))
	var err error
	c.entries, err = otter.New(&otter.Options[customer.ID, l1Entry]{
		MaximumWeight: uint64(bytes),
		Weigher: func(_ customer.ID, e l1Entry) uint32 {
			return uint32(min(max(least, l1Overhead+int64(len(e.Body))), math.MaxUint32)) //nolint:gosec // cut to 32 bits
		},
	})
	if err != nil {
		return nil, fmt.Errorf("query: L1: %w", err)
	}
	return c, nil
}

func (c *l1) close() {
	if c.entries != nil {
		c.entries.StopAllGoroutines()
	}
}

// get answers what is kept of id, if it may be served and is new enough.
func (c *l1) get(id customer.ID, want customer.Version) (Entry, bool) {
	session := c.session.Load()
	if session == 0 {
		return Entry{}, false
	}
	now := time.Since(c.born)
	if now-time.Duration(c.heard.Load()) > l1Silence {
		return Entry{}, false
	}
	e, ok := c.entries.GetIfPresent(id)
	if !ok || e.session != session || e.Version < want || now-e.at > l1Age {
		return Entry{}, false
	}
	return e.Entry, true
}

// begin is called before id is asked for anywhere else.
func (c *l1) begin(id customer.ID) l1Fill {
	f := l1Fill{session: c.session.Load()}
	if f.session == 0 {
		return f
	}
	s := c.stripe(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	f.announced = s.announced
	return f
}

// keep keeps what was answered since f began, unless something was announced
// meanwhile: then nobody knows which was first.
func (c *l1) keep(id customer.ID, f l1Fill, e Entry) {
	if f.session == 0 {
		return
	}
	s := c.stripe(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.announced != f.announced || c.session.Load() != f.session {
		return
	}
	// Fills through Redis and past it may overlap.
	if have, ok := c.entries.GetIfPresent(id); ok && have.session == f.session && have.Version > e.Version {
		return
	}
	c.entries.Set(id, l1Entry{Entry: e, session: f.session, at: time.Since(c.born)})
}

// changed drops what is older than v, or as old: a customer whose key is gone
// loses its values without a new version.
func (c *l1) changed(id customer.ID, v customer.Version) {
	if c.entries == nil {
		return
	}
	s := c.stripe(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.announced++
	if have, ok := c.entries.GetIfPresent(id); ok && have.Version <= v {
		c.entries.Invalidate(id)
	}
}

func (c *l1) stripe(id customer.ID) *l1Stripe {
	// The last bytes of a UUID are random in every version that is used.
	return &c.stripes[(int(id[14])<<8|int(id[15]))%l1Stripes]
}

// use follows the cache state.
func (c *l1) use(state CacheState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state != state {
		c.state = state
		c.renew()
	}
}

// connected begins to hear what server announces.
func (c *l1) connected(server string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.server = server
	c.heard.Store(never)
	c.renew()
}

// proven tells that whatever was announced before asOf has been heard.
func (c *l1) proven(asOf time.Time) { c.heard.Store(int64(asOf.Sub(c.born))) }

// lost tells that announcements may be missed from now on.
func (c *l1) lost() { c.connected("") }

// renew is called with mu held. What an earlier session kept is not served in
// a later one; dropping it only frees memory.
func (c *l1) renew() {
	c.session.Store(0)
	if c.entries == nil {
		return
	}
	c.entries.InvalidateAll()
	if c.server != "" && c.server == c.state.RunID {
		c.sessions++
		c.session.Store(c.sessions)
	}
}
