package audit

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/ebrahem-outlook/customer-service/e2e/history"
	"github.com/ebrahem-outlook/customer-service/internal/customer"
)

// walk is one walk over pages, as far as it came.
type walk struct {
	first      *history.Op
	call, end  int64
	whole      bool // came to the last page
	ops        int
	shown      map[string]int64 // by customer: the call that showed it
	comparable bool             // shows everybody, or everybody of a status
	status     string
	sort       string // as asked for
	last       string // the customer shown last
}

func walks(ops []history.Op, twice func(w *walk, op *history.Op, customer string)) map[int64]*walk {
	all := map[int64]*walk{}
	for i := range ops {
		op := &ops[i]
		if op.Walk == 0 || op.Kind != history.List && op.Kind != history.Search {
			continue
		}
		w := all[op.Walk]
		if w == nil {
			filter := filterOf(op)
			w = &walk{first: op, call: op.Call, shown: map[string]int64{}, status: filter.Get("status"), sort: filter.Get("sort")}
			w.comparable = op.Kind == history.List
			for name := range filter {
				w.comparable = w.comparable && (name == "limit" || name == "sort" || name == "status" || name == "cursor")
			}
			all[op.Walk] = w
		}
		if op.Outcome != history.OK {
			continue // tried again, or the walk ended here
		}
		w.ops++
		w.end, w.whole = op.Return, op.Last
		for _, item := range op.Items {
			if _, again := w.shown[item.Customer]; again {
				twice(w, op, item.Customer)
			}
			w.shown[item.Customer], w.last = op.ID, item.Customer
		}
	}
	return all
}

// presence is from when to when a customer is known to have been in lists
// without a change that could take it from one.
type presence struct {
	id          string
	since, till int64 // history times; till is never while nothing has happened
	status      customer.Status
	registered  time.Time
}

// due tells whom a walk should have shown: everybody when it came to its end,
// else, in the orders of registration, in which nobody moves, those up to where
// it came. It is nil for a walk that says nothing of anybody it did not show.
func (w *walk) due(log *Log) func(presence) bool {
	last := log.At(idOf(w.last), 1)
	switch {
	case w.whole:
		return func(presence) bool { return true }
	case last == nil:
		return nil
	}
	order := func(p presence) int {
		return cmp.Or(p.registered.Compare(last.Event.OccurredAt()), cmp.Compare(p.id, w.last))
	}
	switch w.sort {
	case "", "created_at":
		return func(p presence) bool { return order(p) <= 0 }
	case "-created_at":
		return func(p presence) bool { return order(p) >= 0 }
	default:
		return nil
	}
}

// checkWalks is P7 for lists: nobody twice, and everybody who was there.
func checkWalks(ops []history.Op, log *Log, e effects) Verdict {
	v := Verdict{Promise: "P7", Check: "a walk over pages shows nobody twice and misses nobody who was there throughout", Unit: "customers due on walks"}
	all := walks(ops, func(_ *walk, op *history.Op, customer string) {
		v.Violate("%s shows %s, whom its walk has shown before", tell(op), customer)
	})
	there := presences(ops, log, e)
	whole, held := 0, 0
	for _, w := range all {
		v.Checked += int64(len(w.shown))
		if w.whole {
			whole++
		}
		due := w.due(log)
		if !w.comparable || due == nil {
			continue
		}
		held++
		for _, p := range there {
			if p.since > w.call {
				break // they are in the order of since
			}
			if p.till < w.end || w.status != "" && string(p.status) != w.status || !due(p) {
				continue
			}
			v.Checked++
			if _, ok := w.shown[p.id]; !ok {
				v.Violate("the walk of call %d (%s to %s, %d pages) misses %s, who was there from %s on", w.first.ID, seconds(w.call), seconds(w.end), w.ops, p.id, seconds(p.since))
			}
		}
	}
	v.Note = fmt.Sprintf("%d walks, %d came to their end, %d are held to who was there", len(all), whole, held)
	return v
}

// presences are the customers who were once seen in the read model. One that
// a read has answered at some version is in every later list, until something
// is asked for that takes it out of some.
func presences(ops []history.Op, log *Log, e effects) []presence {
	seenAt := map[customer.ID]presence{}
	see := func(text string, version customer.Version, at int64) {
		id := idOf(text)
		v := log.At(id, version)
		if v == nil || !live(v.State.Status()) {
			return
		}
		if p, ok := seenAt[id]; !ok || at < p.since {
			seenAt[id] = presence{id: text, since: at, till: never, status: v.State.Status(), registered: v.State.CreatedAt()}
		}
	}
	for i := range ops {
		op := &ops[i]
		if op.Outcome != history.OK {
			continue
		}
		if op.Kind == history.Get && (op.Status == 200 || op.Status == 304) {
			see(op.Customer, customer.Version(op.Version), op.Return)
		}
		for _, item := range op.Items {
			see(item.Customer, customer.Version(item.Version), op.Return)
		}
	}
	// Whatever changes the status, from when it was first asked for, ends it;
	// customers that come back are left out, which is simple and loses few.
	for op, f := range e.of {
		switch op.Kind {
		case history.Delete, history.Erase, history.Restore, history.Suspend, history.Reinstate:
			if p, ok := seenAt[f.customer]; ok && op.Call < p.till {
				p.till = op.Call
				seenAt[f.customer] = p
			}
		default:
		}
	}
	list := make([]presence, 0, len(seenAt))
	for _, p := range seenAt {
		if p.till > p.since {
			list = append(list, p)
		}
	}
	slices.SortFunc(list, func(a, b presence) int { return cmp.Or(cmp.Compare(a.since, b.since), cmp.Compare(a.id, b.id)) })
	return list
}
