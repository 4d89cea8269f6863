package simulation_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/projection"
	"github.com/ebrahem-outlook/customer-service/internal/query"
)

// redis is one server at a time, with what it holds and who listens to it.
type redis struct {
	w       *world
	servers int // so far
	runID   string
	values  map[key]value
	saved   map[key]value // what it would come back with
	leases  int
	away    struct{ writers, readers bool } // out of their reach
	subs    []*subscription
}

type key struct {
	epoch int64
	id    customer.ID
}

// value is an entry, or a lease of somebody who fills and what it was told.
type value struct {
	query.Entry
	lease string
	least customer.Version
}

// subscription is what a server sends to one listener, in order.
type subscription struct {
	p     *proc
	inbox []any // announcement or time.Time, of which it is the answer to a ping
	cut   bool
}

type announcement struct {
	id customer.ID
	v  customer.Version
}

func newRedis(w *world) *redis {
	return &redis{w: w, servers: 1, runID: "server-1", values: map[key]value{}, saved: map[key]value{}}
}

// pending tells whether something that was announced has not been told.
func (s *subscription) pending() bool {
	return slices.ContainsFunc(s.inbox, func(m any) bool { _, ok := m.(announcement); return ok })
}

func (r *redis) publish(a announcement) {
	for _, s := range r.subs {
		if !s.cut {
			s.inbox = append(s.inbox, a)
		}
	}
}

// ping asks every listener's subscription whether it lives.
func (r *redis) ping() {
	for _, s := range r.subs {
		if !s.cut && !r.away.readers {
			s.inbox = append(s.inbox, time.Now())
		}
	}
}

func (r *redis) cut() {
	for _, s := range r.subs {
		s.cut, s.inbox = true, s.inbox[:r.w.rnd.IntN(len(s.inbox)+1)]
	}
}

func (r *redis) disconnect(p *proc) {
	r.subs = slices.DeleteFunc(r.subs, func(s *subscription) bool { return s.p == p })
}

// spoil does something to the server.
func (r *redis) spoil() {
	r.w.counts.cacheFaults++
	if r.w.rnd.IntN(3) == 0 {
		r.saved = maps.Clone(r.values)
	}
	switch r.w.rnd.IntN(7) {
	case 0: // FLUSHALL: the same process, which has forgotten everything
		clear(r.values)
	case 1: // keys are evicted
		for _, k := range r.keys() {
			if r.w.rnd.IntN(4) == 0 {
				delete(r.values, k)
			}
		}
	case 2, 3: // it restarts, with what it saved last
		r.restart(maps.Clone(r.saved))
	case 4:
		r.cut()
	case 5:
		r.away.writers = r.w.rnd.IntN(4) == 0
	case 6:
		r.away.readers = r.w.rnd.IntN(4) == 0
		if r.away.readers && r.w.rnd.IntN(2) == 0 {
			r.cut()
		}
	}
}

func (r *redis) restart(with map[key]value) {
	r.servers++
	if r.w.cfg.bug != bugSameRunID {
		r.runID = "server-" + strconv.Itoa(r.servers)
	}
	r.values = with
	r.cut()
}

func (r *redis) keys() []key {
	return slices.SortedFunc(maps.Keys(r.values), func(a, b key) int {
		if d := int(a.epoch - b.epoch); d != 0 {
			return d
		}
		return slices.Compare(a.id[:], b.id[:])
	})
}

// cacheWriter is projection.Cache.
type cacheWriter struct {
	r *redis
	p *proc
}

// Store is a pipeline of scripts, of which the first may be run and the last not.
func (o cacheWriter) Store(ctx context.Context, state query.CacheState, entries []projection.CacheEntry) error {
	r := o.r
	_, err := at(ctx, o.p, "cache.store", int64(len(entries)), nil, func() (any, error) {
		switch {
		case r.away.writers:
			return nil, fmt.Errorf("store: %w", errFault)
		case r.runID != state.RunID:
			return nil, fmt.Errorf("store: another server: %w", errFault)
		}
		n := len(entries)
		var err error
		if r.w.faults && r.w.rnd.IntN(10) == 0 {
			n, err = r.w.rnd.IntN(n+1), fmt.Errorf("store: %w", errFault)
		}
		for _, e := range entries[:n] {
			r.set(key{state.Epoch, e.CustomerID}, e.Entry)
		}
		return nil, err
	})
	return err
}

// set is the script that stores.
func (r *redis) set(k key, e query.Entry) {
	have, ok := r.values[k]
	switch {
	case r.w.cfg.bug == bugLastWriteWins:
		r.values[k] = value{Entry: e}
	case ok && have.lease != "" && e.Status != customer.StatusErased:
		have.least = max(have.least, e.Version)
		r.values[k] = have
	case !ok || have.lease != "":
		delete(r.values, k)
	case have.Version > e.Version:
		r.w.counts.olderWrites++
		return
	case have.Version < e.Version || e.Status == customer.StatusErased:
		r.values[k] = value{Entry: e}
	}
	if r.w.cfg.bug != bugNoAnnouncements {
		r.publish(announcement{k.id, e.Version})
	}
}

func (o cacheWriter) RunID(ctx context.Context) (string, error) {
	return at(ctx, o.p, "cache.run_id", 0, nil, func() (string, error) {
		if o.r.away.writers {
			return "", errFault
		}
		return o.r.runID, nil
	})
}

func (o cacheWriter) Sweep(ctx context.Context, epoch int64) error {
	_, err := at(ctx, o.p, "cache.sweep", epoch, nil, func() (any, error) {
		if o.r.away.writers {
			return nil, errFault
		}
		maps.DeleteFunc(o.r.values, func(k key, _ value) bool { return k.epoch < epoch })
		return nil, nil
	})
	return err
}

// cacheReader is query.Cache and query.Announcements.
type cacheReader struct {
	r     *redis
	p     *proc
	state *query.CacheState
}

func (o cacheReader) Use(s query.CacheState) { *o.state = s }

func (o cacheReader) trusted() (int64, bool) {
	return o.state.Epoch, o.state.RunID != "" && o.state.RunID == o.r.runID && !o.r.away.readers
}

func (o cacheReader) Get(ctx context.Context, id customer.ID) (query.Entry, bool) {
	epoch := o.state.Epoch
	e, err := at(ctx, o.p, "cache.get", o.r.w.life.number(id), nil, func() (query.Entry, error) {
		now, ok := o.trusted()
		v, has := o.r.values[key{now, id}]
		if !ok || !has || v.lease != "" || now != epoch {
			return query.Entry{}, errFault
		}
		o.r.w.counts.cacheHits++
		return v.Entry, nil
	})
	if err != nil || o.state.Epoch != epoch || o.state.RunID == "" {
		return query.Entry{}, false
	}
	return e, true
}

func (o cacheReader) Lease(ctx context.Context, id customer.ID) query.Lease {
	l, _ := at(ctx, o.p, "cache.lease", o.r.w.life.number(id), nil, func() (query.Lease, error) {
		epoch, ok := o.trusted()
		k := key{epoch, id}
		if _, has := o.r.values[k]; !ok || has {
			return "", errFault
		}
		o.r.leases++
		lease := fmt.Sprintf("%d %d", epoch, o.r.leases)
		o.r.values[k] = value{lease: lease}
		return query.Lease(lease), nil
	})
	return l
}

func (o cacheReader) Fill(ctx context.Context, id customer.ID, l query.Lease, e query.Entry) {
	var epoch int64
	if _, err := fmt.Sscanf(string(l), "%d ", &epoch); err != nil {
		return
	}
	_, _ = at(ctx, o.p, "cache.fill", o.r.w.life.number(id), nil, func() (any, error) {
		k := key{epoch, id}
		have := o.r.values[k]
		switch {
		case o.r.away.readers:
		case have.lease == string(l) && have.least <= e.Version || o.r.w.cfg.bug == bugFillWithoutLease:
			o.r.values[k] = value{Entry: e}
			o.r.w.counts.fills++
		default:
			if have.lease == string(l) {
				delete(o.r.values, k)
			}
			o.r.w.counts.lostLeases++
		}
		return nil, nil
	})
}

func (o cacheReader) Release(ctx context.Context, id customer.ID, l query.Lease) {
	var epoch int64
	if _, err := fmt.Sscanf(string(l), "%d ", &epoch); err != nil {
		return
	}
	_, _ = at(ctx, o.p, "cache.release", o.r.w.life.number(id), nil, func() (any, error) {
		k := key{epoch, id}
		if !o.r.away.readers && o.r.values[k].lease == string(l) {
			delete(o.r.values, k)
		}
		return nil, nil
	})
}

// Listen tells what is announced. It returns nil where the real one returns an
// error, which would make the service rest for a random time.
func (o cacheReader) Listen(ctx context.Context, to query.Listener) error {
	reachable := func() bool { return !o.r.away.readers }
	s, err := at(ctx, o.p, "listen.connect", 0, reachable, func() (*subscription, error) {
		s := &subscription{p: o.p}
		o.r.subs = append(o.r.subs, s)
		return s, nil
	})
	if err != nil {
		return nil //nolint:nilerr // see above
	}
	defer func() { o.r.subs = slices.DeleteFunc(o.r.subs, func(x *subscription) bool { return x == s }) }()
	to.Connected(o.r.runID)
	for {
		told := func() bool { return s.cut || len(s.inbox) > 0 }
		if _, err := o.p.park(ctx, "listen.next", 0, told); err != nil || len(s.inbox) == 0 {
			return nil //nolint:nilerr // see above
		}
		next := s.inbox[0]
		s.inbox = s.inbox[1:]
		switch m := next.(type) {
		case announcement:
			o.r.w.counts.announced++
			to.Changed(m.id, m.v)
		case time.Time:
			to.Heard(m)
		}
	}
}
