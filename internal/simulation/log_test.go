package simulation_test

import (
	"context"
	"slices"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
)

// fate of a transaction
const (
	running = iota
	committed
	aborted
)

// log is the event log's database: rows with the transactions that wrote them.
type log struct {
	w       *world
	nextXID int64
	ended   int64         // the highest transaction id that has ended
	xids    map[int64]int // by id: running, committed, aborted

	nextID  int64
	rows    []row                            // ascending by id
	streams map[customer.ID]customer.Version // committed
	locks   map[customer.ID]*tx
	keys    map[customer.ID]eventlog.WrappedKey

	positions []place                          // by position, from 1
	placed    map[int64]bool                   // ids that have one
	truth     map[customer.ID][]customer.Event // committed, by version
}

type row struct {
	id, xid int64
	env     eventlog.Envelope
	event   customer.Event
}

type place struct {
	row  int // in rows
	lane eventlog.Lane
}

// snapshot is PostgreSQL's: everything below xmax has ended, but for xip.
type snapshot struct {
	xmax int64
	xip  []int64
}

func (s snapshot) sees(xid int64) bool { return xid < s.xmax && !slices.Contains(s.xip, xid) }

func newLog(w *world) *log {
	return &log{
		w: w, nextXID: 700, ended: 699, xids: map[int64]int{}, streams: map[customer.ID]customer.Version{},
		locks: map[customer.ID]*tx{}, keys: map[customer.ID]eventlog.WrappedKey{},
		placed: map[int64]bool{}, truth: map[customer.ID][]customer.Event{},
	}
}

// begin gives out a transaction id.
func (l *log) begin() int64 {
	xid := l.nextXID
	l.nextXID++
	l.xids[xid] = running
	return xid
}

func (l *log) end(xid int64, how int) {
	if xid == 0 || l.xids[xid] != running {
		return
	}
	l.xids[xid] = how
	l.ended = max(l.ended, xid)
}

func (l *log) snapshot() snapshot {
	s := snapshot{xmax: l.ended + 1}
	for xid := range l.xids {
		if l.xids[xid] == running && xid < s.xmax {
			s.xip = append(s.xip, xid)
		}
	}
	slices.Sort(s.xip)
	return s
}

// tx is a transaction that appends.
type tx struct {
	l      *log
	xid    int64
	locked []customer.ID
	rows   []int
	over   bool
}

func (t *tx) take() {
	if t.xid == 0 {
		t.xid = t.l.begin()
	}
}

// lock takes a stream's row lock; the caller has made sure that it is free.
func (t *tx) lock(id customer.ID) {
	t.take() // an UPDATE has an id before it waits
	t.l.locks[id] = t
	t.locked = append(t.locked, id)
}

// insert draws the next id for an event.
func (t *tx) insert(env eventlog.Envelope, e customer.Event) {
	t.take()
	t.l.nextID++
	t.l.rows = append(t.l.rows, row{id: t.l.nextID, xid: t.xid, env: env, event: e})
	t.rows = append(t.rows, len(t.l.rows)-1)
}

func (t *tx) finish(how int) {
	if t.over {
		return
	}
	t.over = true
	for _, id := range t.locked {
		if t.l.locks[id] == t {
			delete(t.l.locks, id)
		}
	}
	if how == committed {
		for _, n := range t.rows {
			r := t.l.rows[n]
			id := r.env.CustomerID
			t.l.streams[id] = r.env.Version
			t.l.truth[id] = append(t.l.truth[id], r.event)
			if r.env.Version != customer.Version(len(t.l.truth[id])) {
				t.l.w.fail("the model's own log has version %d after %d", r.env.Version, len(t.l.truth[id])-1)
			}
		}
	}
	t.l.end(t.xid, how)
}

func (l *log) visible(r row) bool { return l.xids[r.xid] == committed }

// logPort is the log as one process sees it.
type logPort struct {
	l *log
	p *proc
}

func (o logPort) sequenced(n int) eventlog.Sequenced {
	return eventlog.Sequenced{Position: eventlog.Position(n + 1), Envelope: o.l.rows[o.l.positions[n].row].env}
}

func (o logPort) Head(ctx context.Context) (eventlog.Position, error) {
	return at(ctx, o.p, "log.head", 0, nil, func() (eventlog.Position, error) {
		return eventlog.Position(len(o.l.positions)), nil
	})
}

func (o logPort) LaneHeads(ctx context.Context) (map[eventlog.Lane]eventlog.Position, error) {
	return at(ctx, o.p, "log.lane_heads", 0, nil, func() (map[eventlog.Lane]eventlog.Position, error) {
		heads := map[eventlog.Lane]eventlog.Position{}
		for n, p := range o.l.positions {
			heads[p.lane] = eventlog.Position(n + 1)
		}
		return heads, nil
	})
}

func (o logPort) ReadLane(
	ctx context.Context, lane eventlog.Lane, after, through eventlog.Position, limit int,
) ([]eventlog.Sequenced, error) {
	return at(ctx, o.p, "log.read_lane", int64(lane), nil, func() (out []eventlog.Sequenced, _ error) {
		for n := int(after); n < len(o.l.positions) && len(out) < limit; n++ {
			if through > 0 && n+1 > int(through) {
				break
			}
			if o.l.positions[n].lane == lane {
				out = append(out, o.sequenced(n))
			}
		}
		return out, nil
	})
}

func (o logPort) ReadStream(
	ctx context.Context, id customer.ID, after customer.Version, limit int,
) ([]eventlog.Sequenced, error) {
	return at(ctx, o.p, "log.read_stream", 0, nil, func() (out []eventlog.Sequenced, _ error) {
		for n := range o.l.positions {
			s := o.sequenced(n)
			if s.CustomerID == id && s.Version > after {
				out = append(out, s)
			}
		}
		slices.SortFunc(out, func(a, b eventlog.Sequenced) int { return int(a.Version - b.Version) })
		return out[:min(limit, len(out))], nil
	})
}

func (o logPort) Keys(ctx context.Context, ids []customer.ID) (map[customer.ID]eventlog.WrappedKey, error) {
	return at(ctx, o.p, "log.keys", 0, nil, func() (map[customer.ID]eventlog.WrappedKey, error) {
		out := map[customer.ID]eventlog.WrappedKey{}
		for _, id := range ids {
			if k, ok := o.l.keys[id]; ok {
				out[id] = k
			}
		}
		return out, nil
	})
}

func (o logPort) ReadNotices(ctx context.Context, after eventlog.Position, limit int) ([]eventlog.Notice, error) {
	return at(ctx, o.p, "log.read_notices", 0, nil, func() (out []eventlog.Notice, _ error) {
		for n := int(after); n < len(o.l.positions) && len(out) < limit; n++ {
			out = append(out, o.l.notice(n))
		}
		return out, nil
	})
}

func (l *log) notice(n int) eventlog.Notice {
	env := l.rows[l.positions[n].row].env
	changed, err := eventlog.Changed(env)
	if err != nil {
		panic(err)
	}
	if changed == nil {
		changed = []string{}
	}
	return eventlog.Notice{
		Position: eventlog.Position(n + 1), ID: env.EventID, Type: env.Type, CustomerID: env.CustomerID,
		Version: env.Version, Changed: changed, Time: env.RecordedAt,
	}
}
