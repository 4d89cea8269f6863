package audit

import (
	"fmt"
	"math"
	"time"

	"github.com/ebrahem-outlook/customer-service/e2e/history"
	"github.com/ebrahem-outlook/customer-service/internal/customer"
)

// staleLimit is how long after the read model has an erasure a read without a
// token may still be answered from memory or Redis: ten seconds, by
// docs/consistency.md, and some for a machine that is busy.
const staleLimit = 15 * time.Second

// checkErasedReads is P10 as clients saw it: an erased customer does not come
// back. Reads with a token of the erasure never see it; others, not long after
// the first answer that said so.
func checkErasedReads(ops []history.Op, log *Log, e effects) Verdict {
	v := Verdict{Promise: "P10", Check: "no read answers a customer after its erasure", Unit: "calls on erased customers"}
	type end struct {
		version customer.Version
		acked   int64 // when a client was first told of the erasure
		read    int64 // when a read was first answered that it is erased
	}
	ends := map[customer.ID]*end{}
	for _, s := range log.sorted() {
		if s.erased() {
			ends[s.ID] = &end{version: erasedAt(s), acked: math.MaxInt64, read: math.MaxInt64}
		}
	}
	for i := range ops {
		op := &ops[i]
		at := ends[idOf(op.Customer)]
		if at == nil || op.Outcome == history.Pending {
			continue
		}
		if f, ok := e.of[op]; ok && op.Kind == history.Erase && op.Outcome == history.OK && f.to >= at.version {
			at.acked = min(at.acked, op.Return)
		}
		if op.Code == "customer-erased" && op.Return > 0 {
			if op.Command() {
				at.acked = min(at.acked, op.Return)
			} else {
				at.read = min(at.read, op.Return)
			}
		}
	}
	acked := 0
	for _, at := range ends {
		if at.acked != math.MaxInt64 {
			acked++
		}
	}
	for i := range ops {
		op := &ops[i]
		id := idOf(op.Customer)
		at := ends[id]
		if at == nil {
			continue
		}
		v.Checked++
		if op.Outcome != history.OK || op.DryRun || op.Repeats != 0 {
			continue
		}
		shows := (op.Kind == history.Get || op.Kind == history.GetPast) && (op.Status == 200 || op.Status == 304)
		switch {
		case op.Command() && op.Call > at.acked && op.Kind != history.Erase:
			v.Violate("%s was answered %d although the customer was erased before", tell(op), op.Status)
		case shows && demanded(op, id) >= at.version:
			v.Violate("%s shows the customer, though its token names the erasure", tell(op))
		case shows && at.read != math.MaxInt64 && op.Call > at.read+int64(staleLimit):
			v.Violate("%s shows the customer, who was read as erased %s before", tell(op), seconds(op.Call-at.read))
		}
	}
	v.Note = fmt.Sprintf("%d customers were erased, %d with a client being told", len(ends), acked)
	return v
}

func erasedAt(s *Stream) customer.Version {
	for i := range s.Versions {
		if s.Versions[i].State.Status() == customer.StatusErased {
			return s.Versions[i].Version
		}
	}
	return 0
}

// checkErasedRows is P10 at rest: nothing of an erased customer is in any table.
// That its claims and snapshots are gone is held by checkBeside.
func checkErasedRows(log *Log, rows map[customer.ID]*row) Verdict {
	v := Verdict{Promise: "P10", Check: "keys, documents, histories and lists of erased customers are empty", Unit: "erased customers"}
	for _, s := range log.sorted() {
		if !s.erased() {
			continue
		}
		v.Checked++
		if log.HasKey[s.ID] {
			v.Violate("the key of erased customer %s is still there: its values can be opened", s.ID)
		}
		r := rows[s.ID]
		switch {
		case r == nil:
		case r.listed != "" || r.listState != "":
			v.Violate("erased customer %s is listed", s.ID)
		case r.told > 0:
			v.Violate("the history of erased customer %s has %d events with values", s.ID, r.told)
		case len(r.holds) > 0:
			v.Violate("the document of erased customer %s holds its %v", s.ID, r.holds)
		case r.status != string(customer.StatusErased):
			v.Violate("erased customer %s is %q in the read model", s.ID, r.status)
		}
	}
	return v
}
