package simulation_test

import (
	"bytes"
	"context"
	"errors"
	"reflect"
	"slices"
	"time"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/query"
)

// sequencedOne holds every position, as it is given, to the order of versions.
func (w *world) sequencedOne(r row) {
	w.counts.sequenced++
	id, n := r.env.CustomerID, 0
	var last int64
	for _, p := range w.log.positions[:len(w.log.positions)-1] {
		o := w.log.rows[p.row]
		last = max(last, o.id)
		if o.env.CustomerID == id {
			n++
		}
	}
	if last > r.id {
		w.counts.late++ // a transaction that drew its ids early and ended late
	}
	if int(r.env.Version) != n+1 {
		w.fail("position %d is version %d of a customer whose last was %d", len(w.log.positions), r.env.Version, n)
	}
}

// cursor is what the planted identity cursor reads after.
func (w *world) cursor() int {
	last := -1
	for _, p := range w.log.positions {
		last = max(last, p.row)
	}
	return last
}

// verify holds everything to the log, once it is at rest.
func (w *world) verify() {
	w.verifyModel()
	for i, n := range w.model.events {
		if want := w.log.notice(i); !reflect.DeepEqual(n, want) {
			w.fail("the event feed has %+v at %d, the log %+v", n, i+1, want)
		}
	}
	if w.failed == "" {
		w.verifyCache()
	}
}

func (w *world) verifyModel() {
	for _, p := range w.life.people {
		version := w.log.streams[p.id]
		row, has := w.model.rows[p.id]
		if row.Data.Version != version {
			w.fail("the read model has version %d, the log %d", row.Data.Version, version)
			return
		}
		if !has {
			continue
		}
		if w.life.destroyed(p.id) != row.Shredded {
			w.fail("key destroyed %v, erased %v", w.life.destroyed(p.id), row.Shredded)
		}
		d := row.Data
		if row.Shredded {
			if d.FirstName != "" || d.LastName != "" || d.Email != "" || d.Tags != nil || d.Metadata != nil {
				w.fail("an erased customer still has values")
			}
		} else if want := w.life.fold(p.id, version); !bytes.Equal(row.Document, w.life.document(p.id, version)) {
			w.fail("the read model has %s at version %d, the log means %+v", row.Document, version, want)
		}
		w.verifyHistory(p.id, version, row.Shredded)
	}
}

func (w *world) verifyHistory(id customer.ID, version customer.Version, shredded bool) {
	history := slices.Clone(w.model.history[id])
	if len(history) != int(version) {
		w.fail("history has %d of %d versions", len(history), version)
	}
	at := map[customer.Version]int{}
	for n, p := range w.log.positions {
		if env := w.log.rows[p.row].env; env.CustomerID == id {
			at[env.Version] = n + 1
		}
	}
	for i, h := range history {
		if int(h.Version) != i+1 {
			w.fail("history has version %d after %d", h.Version, i)
		}
		if int(h.Position) != at[h.Version] {
			w.fail("history has version %d at %d, the log at %d", h.Version, h.Position, at[h.Version])
		}
		if shredded && (h.Actor != "" || h.CorrelationID != "" || len(h.Changes) > 0 || h.Keyframe != nil) {
			w.fail("history of an erased customer has values at version %d", h.Version)
		}
	}
}

// verifyCache reads everybody through every layer, and looks into the cache.
func (w *world) verifyCache() {
	for _, k := range w.redis.keys() {
		v := w.redis.values[k]
		row := w.model.rows[k.id]
		if k.epoch != w.model.cache.Epoch || v.lease != "" {
			continue
		}
		if want, err := row.Entry(); err != nil || v.Version != want.Version || v.Status != want.Status || !bytes.Equal(v.Body, want.Body) {
			w.fail("the cache has version %d (%s), the read model %d (%s)", v.Version, v.Status, want.Version, want.Status)
			return
		}
	}
	for range 2 { // the second time from memory
		for _, q := range w.procs {
			for _, p := range w.life.people {
				if q.parts.service != nil && w.failed == "" {
					w.readNow(q, p)
				}
			}
		}
	}
}

// readNow reads somebody without a token: nothing is under way, so the answer
// has to be the newest.
func (w *world) readNow(q *proc, p *person) {
	done := false
	w.start(q, "last read", func(ctx context.Context) error {
		e, err := q.parts.service.Get(ctx, p.id, nil, time.Second)
		want, has := w.model.rows[p.id]
		switch {
		case !has:
			if !errors.Is(err, query.ErrNotFound) {
				w.fail("nobody is answered at version %d", e.Version)
			}
		case e.Version != want.Data.Version || e.Status != want.Status():
			w.fail("at rest version %d (%s) is answered, the read model has %d (%s): %v", e.Version, e.Status, want.Data.Version, want.Status(), err)
		case e.Live() && !bytes.Equal(e.Body, want.Document):
			w.fail("at rest another document is answered at version %d", e.Version)
		}
		return nil
	}, func(error, bool) { done = true })
	w.settle()
	for n := 0; !done && n < 200; n++ {
		if calls := w.waiting(true); len(calls) > 0 {
			w.release(calls[w.rnd.IntN(len(calls))], verdict{})
			w.settle()
			continue
		}
		w.redis.ping()
		w.settle()
		w.sleep(10 * time.Millisecond)
	}
	if !done {
		w.fail("a read at rest does not end")
	}
}
