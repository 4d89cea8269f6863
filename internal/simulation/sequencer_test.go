package simulation_test

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
	"github.com/ebrahem-outlook/customer-service/internal/relay"
)

// sequence is what migrations/eventlog/00002 keeps besides positions: leases,
// the sequencer's row and its newest tick, and the relays' checkpoints.
type sequence struct {
	w *world
	l *log

	holder  string
	until   time.Time
	lease   int64 // its epoch
	epoch   int64 // of the last sequencer that began
	lock    *proc // who has locked the sequencer's row
	tick    tick
	relays  map[string][]eventlog.Position
	fencing map[string]int64
}

type tick struct {
	taken  snapshot
	pos    int
	target *snapshot
	after  int64
	since  int64
}

func newSequence(w *world, l *log) *sequence {
	return &sequence{
		w: w, l: l, tick: tick{taken: l.snapshot()},
		relays: map[string][]eventlog.Position{}, fencing: map[string]int64{},
	}
}

// seqPort is relay.Leases, relay.Sequence and relay.Checkpoints of one process.
type seqPort struct {
	s *sequence
	p *proc
}

func (o seqPort) Acquire(ctx context.Context, duty, holder string, ttl time.Duration) (relay.Fence, bool, error) {
	got := false
	f, err := at(ctx, o.p, "lease.acquire", 0, nil, func() (relay.Fence, error) {
		if o.s.until.After(time.Now()) {
			return relay.Fence{}, nil
		}
		if o.s.lease > 0 {
			o.s.w.counts.leaders++
		}
		o.s.lease++
		o.s.holder, o.s.until, got = holder, time.Now().Add(ttl), true
		return relay.Fence{Duty: duty, Epoch: o.s.lease}, nil
	})
	return f, got && err == nil, err
}

func (o seqPort) Renew(ctx context.Context, f relay.Fence, ttl time.Duration) error {
	_, err := at(ctx, o.p, "lease.renew", 0, nil, func() (any, error) {
		if o.s.lease != f.Epoch {
			return nil, fmt.Errorf("renew: %w", relay.ErrFenced)
		}
		o.s.until = time.Now().Add(ttl)
		return nil, nil
	})
	return err
}

func (o seqPort) Release(ctx context.Context, f relay.Fence) error {
	_, err := at(ctx, o.p, "lease.release", 0, nil, func() (any, error) {
		if o.s.lease == f.Epoch {
			o.s.until = time.Time{}
		}
		return nil, nil
	})
	return err
}

func (o seqPort) fenced(f relay.Fence) bool {
	old := o.s.epoch > f.Epoch || o.s.lease != f.Epoch
	if old {
		o.s.w.counts.fenced++
	}
	return old
}

func (o seqPort) free() bool { return o.s.lock == nil }

// unlock ends the sequencer's transaction, however it ends.
func (o seqPort) unlock(xid int64, how *int) {
	if xid != 0 {
		o.s.l.end(xid, *how)
	}
	if o.s.lock == o.p {
		o.s.lock = nil
	}
}

func (o seqPort) BeginTerm(ctx context.Context, f relay.Fence, lanes int) (int64, error) {
	_, err := at(ctx, o.p, "sequencer.begin", 0, o.free, func() (any, error) {
		if o.fenced(f) {
			return nil, fmt.Errorf("begin: %w", relay.ErrFenced)
		}
		if lanes != o.s.w.cfg.lanes {
			return nil, &relay.LanesError{Have: o.s.w.cfg.lanes, Want: lanes}
		}
		o.s.epoch = f.Epoch
		return nil, nil
	})
	return 0, err
}

// TickOnce follows eventlog.sequence_tick. Other transactions end between its
// statements, each of which sees what was committed when it began.
func (o seqPort) TickOnce(ctx context.Context, f relay.Fence, limit int) (relay.Tick, error) {
	s, l := o.s, o.s.l
	var (
		t        tick
		cur      snapshot
		finished []int64
		fresh    []int
		xid      int64
		how      = aborted
	)
	defer func() { o.unlock(xid, &how) }()
	for pass := 1; pass <= 2; pass++ {
		if _, err := o.p.park(ctx, "tick.snapshot", int64(pass), nil); err != nil {
			return relay.Tick{}, err
		}
		t = s.tick
		cur = l.snapshot()
		if t.target != nil {
			cur = *t.target
		}
		finished = nil
		for _, x := range t.taken.xip {
			if cur.sees(x) {
				finished = append(finished, x)
			}
		}
		if t.target == nil {
			if _, err := o.p.park(ctx, "tick.find", int64(pass), nil); err != nil {
				return relay.Tick{}, err
			}
			fresh = o.fresh(t, cur, finished)
			if len(fresh) == 0 {
				break
			}
		}
		if pass == 1 {
			if _, err := o.p.park(ctx, "tick.lock", 0, o.free); err != nil {
				return relay.Tick{}, err
			}
			s.lock = o.p
			xid = l.begin()
			if o.fenced(f) {
				return relay.Tick{}, fmt.Errorf("tick: %w", relay.ErrFenced)
			}
		}
	}
	if t.target == nil && len(fresh) == 0 {
		if s.lease != f.Epoch {
			return relay.Tick{}, fmt.Errorf("tick: %w", relay.ErrFenced)
		}
		return relay.Tick{Head: eventlog.Position(t.pos)}, nil
	}
	if t.target == nil && len(fresh) > limit {
		t.target, t.after, t.since = &cur, 0, 1<<62
		for _, r := range l.rows {
			if l.visible(r) && r.xid >= t.taken.xmax && r.xid < cur.xmax {
				t.since = min(t.since, r.id)
			}
		}
	}
	part, more := false, false
	if t.target != nil {
		if _, err := o.p.park(ctx, "tick.part", 0, nil); err != nil {
			return relay.Tick{}, err
		}
		fresh = o.part(t, finished, limit)
		part, more = len(fresh) == limit, true
		s.w.counts.parts++
	}
	v, err := o.p.park(ctx, "tick.commit", 0, nil)
	if err != nil {
		return relay.Tick{}, err
	}
	out := relay.Tick{Sequenced: len(fresh), More: more}
	for _, n := range fresh {
		r := l.rows[n]
		if l.placed[r.id] {
			return relay.Tick{}, fmt.Errorf("event %d has a position", r.id) // UNIQUE
		}
		lane := eventlog.LaneOf(eventlog.SlotOf(r.env.CustomerID), s.w.cfg.lanes)
		l.positions, l.placed[r.id] = append(l.positions, place{n, lane}), true
		t.after = r.id
		if !slices.Contains(out.Lanes, lane) {
			out.Lanes = append(out.Lanes, lane)
		}
		s.w.sequencedOne(r)
	}
	t.pos += len(fresh)
	if t.pos != len(l.positions) {
		s.w.fail("two sequencers gave out positions at once")
	}
	if !part {
		t = tick{taken: cur, pos: t.pos}
	}
	s.tick, how = t, committed
	out.Head = eventlog.Position(t.pos)
	o.unlock(xid, &how)
	if v.stop {
		if _, err := o.p.park(ctx, "tick.commit'", 0, nil); err != nil {
			return relay.Tick{}, err
		}
	}
	return out, nil
}

// fresh are the events that became visible between two snapshots, by id.
func (o seqPort) fresh(t tick, cur snapshot, finished []int64) []int {
	l := o.s.l
	var out []int
	for n, r := range l.rows {
		if !l.visible(r) || l.placed[r.id] {
			continue
		}
		if o.s.w.cfg.bug == bugIdentityCursor {
			if n > o.s.w.cursor() {
				out = append(out, n)
			}
			continue
		}
		late := r.xid >= t.taken.xmax && r.xid < cur.xmax && cur.sees(r.xid)
		if late || slices.Contains(finished, r.xid) {
			out = append(out, n)
		}
	}
	if o.s.w.cfg.bug == bugTransactionOrder {
		slices.SortStableFunc(out, func(a, b int) int { return cmp.Compare(l.rows[a].xid, l.rows[b].xid) })
	}
	return out
}

// part is the next of a difference that is worked off in parts.
func (o seqPort) part(t tick, finished []int64, limit int) []int {
	l := o.s.l
	var out []int
	for n, r := range l.rows {
		if !l.visible(r) || l.placed[r.id] || r.id <= t.after || len(out) == limit {
			continue
		}
		late := r.id >= t.since && r.xid >= t.taken.xmax && t.target.sees(r.xid)
		if late || slices.Contains(finished, r.xid) {
			out = append(out, n)
		}
	}
	return out
}

func (o seqPort) BeginRelay(
	ctx context.Context, f relay.Fence, name string, lanes int,
) (map[eventlog.Lane]eventlog.Position, error) {
	return at(ctx, o.p, "checkpoints.begin", 0, nil, func() (map[eventlog.Lane]eventlog.Position, error) {
		if o.s.relays[name] == nil {
			o.s.relays[name] = make([]eventlog.Position, lanes)
		}
		if o.s.lease != f.Epoch || o.s.fencing[name] > f.Epoch {
			return nil, fmt.Errorf("begin relay: %w", relay.ErrFenced)
		}
		o.s.fencing[name] = f.Epoch
		out := map[eventlog.Lane]eventlog.Position{}
		for lane, pos := range o.s.relays[name] {
			out[eventlog.Lane(lane)] = pos
		}
		return out, nil
	})
}

func (o seqPort) Advance(ctx context.Context, f relay.Fence, name string, lane eventlog.Lane, to eventlog.Position) error {
	_, err := at(ctx, o.p, "checkpoints.advance", int64(lane), nil, func() (any, error) {
		if o.s.lease != f.Epoch || o.s.fencing[name] != f.Epoch {
			o.s.w.counts.fenced++
			return nil, fmt.Errorf("advance: %w", relay.ErrFenced)
		}
		o.s.relays[name][lane] = max(o.s.relays[name][lane], to)
		return nil, nil
	})
	return err
}
