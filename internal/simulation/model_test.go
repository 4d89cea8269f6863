package simulation_test

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
	"github.com/ebrahem-outlook/customer-service/internal/projection"
	"github.com/ebrahem-outlook/customer-service/internal/query"
)

// model is the read model's database.
type model struct {
	w           *world
	checkpoints []projection.Checkpoint
	locks       []*proc // of checkpoints, by lane
	rows        map[customer.ID]projection.Row
	history     map[customer.ID][]projection.HistoryRow
	parked      map[customer.ID]projection.Parked
	passed      map[customer.ID][]customer.Version
	cache       query.CacheState
	beat        projection.Heartbeat
	events      []eventlog.Notice // the event feed
	feedLock    *proc
}

func newModel(w *world) *model {
	m := &model{
		w: w, locks: make([]*proc, w.cfg.lanes), rows: map[customer.ID]projection.Row{},
		history: map[customer.ID][]projection.HistoryRow{}, parked: map[customer.ID]projection.Parked{},
		passed: map[customer.ID][]customer.Version{}, cache: query.CacheState{Epoch: 1},
	}
	for lane := range w.cfg.lanes {
		m.checkpoints = append(m.checkpoints, projection.Checkpoint{Lane: eventlog.Lane(lane)}) //nolint:gosec // a handful
	}
	return m
}

// modelPort is the read model as one process sees it. It is every port of it.
type modelPort struct {
	m *model
	p *proc
}

func (o modelPort) unlocked(lane eventlog.Lane) func() bool {
	return func() bool { return o.m.locks[lane] == nil }
}

// Update is a transaction that holds the lane's lock from its first statement.
// It ends at tx.commit: before it nothing has happened, after it everything,
// whether or not the caller hears of it.
func (o modelPort) Update(
	ctx context.Context, lane eventlog.Lane, customers []customer.ID, fold func(projection.View) (projection.Delta, error),
) error {
	m := o.m
	if _, err := o.p.park(ctx, "tx.lock", int64(lane), o.unlocked(lane)); err != nil {
		return err
	}
	m.locks[lane] = o.p
	held := true
	unlock := func() {
		if held {
			held, m.locks[lane] = false, nil
		}
	}
	defer unlock()
	if _, err := o.p.park(ctx, "tx.read", int64(lane), nil); err != nil {
		return err
	}
	v := projection.View{
		Checkpoint: m.checkpoints[lane], Rows: map[customer.ID]projection.Row{},
		Parked: map[customer.ID]projection.Parked{}, Cache: m.cache,
	}
	for _, id := range customers {
		if r, ok := m.rows[id]; ok {
			r.Document = nil
			v.Rows[id] = r
		}
		if p, ok := m.parked[id]; ok {
			v.Parked[id] = p
		}
	}
	d, err := fold(v)
	if err != nil {
		return err
	}
	if m.w.cfg.bug == bugCheckpointOutside && !d.Probe && len(d.Rows) > 0 {
		m.checkpoints[lane].Position = d.Position
		if _, err := o.p.park(ctx, "tx.checkpoint", int64(lane), nil); err != nil {
			return err
		}
	}
	c, err := o.p.park(ctx, "tx.commit", int64(lane), nil)
	if err != nil {
		return err
	}
	if err := m.check(lane, d); err != nil {
		return fmt.Errorf("write lane %d: %w", lane, err)
	}
	if d.Probe {
		return nil
	}
	m.write(lane, d)
	unlock()
	if c.stop {
		if _, err := o.p.park(ctx, "tx.commit'", int64(lane), nil); err != nil {
			m.w.counts.doubts++
			return err
		}
	}
	return nil
}

// check is what the tables' keys and guards refuse.
func (m *model) check(lane eventlog.Lane, d projection.Delta) error {
	if d.Cached > d.Position {
		m.w.fail("lane %d: cached up to %d, applied up to %d", lane, d.Cached, d.Position)
	}
	if d.Position < m.checkpoints[lane].Position {
		m.w.fail("lane %d goes back from %d to %d", lane, m.checkpoints[lane].Position, d.Position)
	}
	for _, r := range d.Rows {
		have, ok := m.rows[r.Data.ID]
		if ok && have.Shredded && !r.Shredded {
			m.w.fail("an erased customer comes back at version %d", r.Data.Version)
		}
		if ok && (r.Data.Version < have.Data.Version || r.Data.Version == have.Data.Version && !r.Shredded) {
			return fmt.Errorf("%w: version %d over %d", projection.ErrRejected, r.Data.Version, have.Data.Version)
		}
	}
	for _, h := range d.History {
		if slices.ContainsFunc(m.history[h.CustomerID], func(o projection.HistoryRow) bool { return o.Version == h.Version }) {
			return fmt.Errorf("%w: history has version %d", projection.ErrRejected, h.Version)
		}
	}
	return nil
}

func (m *model) write(lane eventlog.Lane, d projection.Delta) {
	c := &m.checkpoints[lane]
	c.Position, c.Cached = d.Position, d.Cached
	if d.Rewind {
		c.Rewinds++
	}
	for _, id := range d.Blank {
		for i := range m.history[id] {
			h := &m.history[id][i]
			h.Actor, h.CorrelationID, h.Changes, h.Keyframe = "", "", nil, nil
		}
	}
	for _, r := range d.Rows {
		m.rows[r.Data.ID] = r
	}
	for _, h := range d.History {
		m.history[h.CustomerID] = append(m.history[h.CustomerID], h)
	}
	for _, id := range d.Unpark {
		delete(m.parked, id)
	}
	for _, p := range d.Park {
		if _, ok := m.parked[p.CustomerID]; !ok {
			m.w.counts.parked++
		}
		m.parked[p.CustomerID] = p
	}
	for _, p := range d.PassedOver {
		m.passed[p.CustomerID] = append(m.passed[p.CustomerID], p.Version)
	}
}

func (o modelPort) Rows(
	ctx context.Context, customers []customer.ID,
) (map[customer.ID]projection.Row, map[customer.ID][]projection.HistoryRow, error) {
	rows, err := at(ctx, o.p, "model.rows", 0, nil, func() (map[customer.ID]projection.Row, error) {
		out := map[customer.ID]projection.Row{}
		for _, id := range customers {
			if r, ok := o.m.rows[id]; ok {
				out[id] = r
			}
		}
		return out, nil
	})
	return rows, nil, err
}

func (o modelPort) Customers(context.Context, customer.ID, int) ([]customer.ID, error) {
	panic("nobody asks") // only a verification does
}

func (o modelPort) Checkpoints(ctx context.Context) ([]projection.Checkpoint, error) {
	return at(ctx, o.p, "model.checkpoints", 0, nil, func() ([]projection.Checkpoint, error) {
		return slices.Clone(o.m.checkpoints), nil
	})
}

func (o modelPort) Beat(ctx context.Context, h projection.Heartbeat) error {
	_, err := at(ctx, o.p, "model.beat", 0, nil, func() (any, error) { o.m.beat = h; return nil, nil })
	return err
}

func (o modelPort) Parked(ctx context.Context) ([]projection.Parked, error) {
	return at(ctx, o.p, "model.parked", 0, nil, func() ([]projection.Parked, error) {
		out := slices.Collect(maps.Values(o.m.parked))
		slices.SortFunc(out, func(a, b projection.Parked) int { return int(a.Position - b.Position) })
		return out, nil
	})
}

func (o modelPort) State(ctx context.Context) (query.CacheState, error) {
	return at(ctx, o.p, "ledger.state", 0, nil, func() (query.CacheState, error) { return o.m.cache, nil })
}

// Renew takes every lane's lock, in order.
func (o modelPort) Renew(ctx context.Context, was query.CacheState, runID string) (query.CacheState, error) {
	m := o.m
	var held []int
	unlock := func() {
		for _, lane := range held {
			m.locks[lane] = nil
		}
		held = nil
	}
	defer unlock()
	for lane := range m.locks {
		if _, err := o.p.park(ctx, "renew.lock", int64(lane), o.unlocked(eventlog.Lane(lane))); err != nil { //nolint:gosec // a handful
			return query.CacheState{}, err
		}
		m.locks[lane] = o.p
		held = append(held, lane)
	}
	v, err := o.p.park(ctx, "renew.commit", 0, nil)
	if err != nil {
		return query.CacheState{}, err
	}
	if m.cache.Epoch == was.Epoch {
		m.cache = query.CacheState{Epoch: was.Epoch + 1, RunID: runID}
		if m.w.cfg.bug == bugSameEpoch {
			m.cache.Epoch = was.Epoch
		}
		for i := range m.checkpoints {
			m.checkpoints[i].Cached = m.checkpoints[i].Position
		}
		m.w.counts.renewals++
	}
	now := m.cache
	unlock()
	if v.stop {
		if _, err := o.p.park(ctx, "renew.commit'", 0, nil); err != nil {
			return query.CacheState{}, err
		}
	}
	return now, nil
}

func (o modelPort) Suspend(ctx context.Context) error {
	_, err := at(ctx, o.p, "ledger.suspend", 0, nil, func() (any, error) { o.m.cache.RunID = ""; return nil, nil })
	return err
}

// ChangedAfter is two statements: who changed, and what they are like now.
func (o modelPort) ChangedAfter(
	ctx context.Context, lane eventlog.Lane, after eventlog.Position, limit int,
) ([]projection.Row, eventlog.Position, bool, error) {
	m, through, more := o.m, after, false
	ids, err := at(ctx, o.p, "ledger.changed", int64(lane), nil, func() ([]customer.ID, error) {
		var found []projection.HistoryRow
		for _, id := range m.w.life.ids() {
			if eventlog.LaneOf(eventlog.SlotOf(id), m.w.cfg.lanes) != lane {
				continue
			}
			for _, h := range m.history[id] {
				if h.Position > after {
					found = append(found, h)
				}
			}
		}
		slices.SortFunc(found, func(a, b projection.HistoryRow) int { return int(a.Position - b.Position) })
		if more = len(found) >= limit; more {
			found = found[:limit]
		}
		var ids []customer.ID
		for _, h := range found {
			through = h.Position
			if !slices.Contains(ids, h.CustomerID) {
				ids = append(ids, h.CustomerID)
			}
		}
		return ids, nil
	})
	if err != nil {
		return nil, 0, false, err
	}
	rows, err := at(ctx, o.p, "ledger.rows", int64(lane), nil, func() ([]projection.Row, error) {
		var out []projection.Row
		for _, id := range ids {
			out = append(out, m.rows[id])
		}
		return out, nil
	})
	return rows, through, more, err
}

func (o modelPort) MarkCached(ctx context.Context, lane eventlog.Lane, through eventlog.Position, rewinds int64) error {
	_, err := at(ctx, o.p, "ledger.mark", int64(lane), o.unlocked(lane), func() (any, error) {
		if c := &o.m.checkpoints[lane]; c.Rewinds == rewinds {
			c.Cached = max(c.Cached, min(through, c.Position))
		}
		return nil, nil
	})
	return err
}
