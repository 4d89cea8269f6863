package audit

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/e2e/history"
	"github.com/ebrahem-outlook/customer-service/internal/customer"
)

const (
	linear       = "commands and reads of one customer are linearizable"
	addresses    = "an e-mail address is held by one customer at a time, refused to others meanwhile and free otherwise"
	acknowledged = "acknowledged commands are in the log once, at the version answered"
	attributed   = "every effect in the log was asked for once, and is whole"
	nothingLeft  = "refused commands and dry runs left nothing"
	whole        = "commands of unknown outcome are whole or nowhere"
	beside       = "claims, stream heads, keys and snapshots are what the events say"
	repeats      = "one key, one effect, one answer"
	order        = "versions and positions are dense and in one order"
	readsAreFold = "every document read is the fold of the log at the version it names"
	ownAnswers   = "every document a command answers is the fold of the log at its version"
	onPages      = "every customer on a page lives at the version it is shown at"
	sentIs       = "what was sent and acknowledged is in the customer at the version answered"
	saysChanged  = "every event changes what it says and nothing else"
	histories    = "every event told in a history is the log's, with the values it changed"
	tokens       = "reads with a token see its version or a later one, or are refused"
	sessions     = "a session with tokens never goes back"
	pageWalks    = "a walk over pages shows nobody twice and misses nobody who was there throughout"
	staysErased  = "no read answers a customer after its erasure"
)

// life is a run in which all goes well: two customers, one of them deleted,
// restored and erased, refusals, reads, a history, a walk and a repeated key.
func life(t *testing.T) (w *world, ada, bob customer.ID) {
	t.Helper()
	w, ada, bob = newWorld(t), uuid.New(), uuid.New()
	w.register(ada, "ada@example.com")
	w.register(bob, "bob@example.com")
	w.get(ada, 1, 1)
	w.get(bob, 1, 1)
	w.call(history.Op{Kind: history.Register, Email: "ada@example.com", Key: "taken", Outcome: history.Refused, Status: 409, Code: "email-taken"})
	w.rename(ada, "Grace").IfMatch = 1
	w.call(history.Op{Kind: history.Change, Customer: ada.String(), Key: "stale", IfMatch: 1, Version: 2, Outcome: history.Refused, Status: 412, Code: "version-mismatch"})
	w.get(ada, 1, 0) // without a token: it may be old
	w.get(ada, 2, 2)
	first := w.ok(history.AddTag, ada, "", tagged)
	first.Path += "/tags/vip"
	again := *first
	again.Repeats, again.Call, again.Return = first.ID, 0, 0
	w.call(again)
	w.call(history.Op{Kind: history.Change, Customer: ada.String(), Key: first.Key, Repeats: first.ID, Spoiled: true, Outcome: history.Refused, Status: 422, Code: "idempotency-key-reused"})
	w.ok(history.Delete, bob, "", deleted)
	carl := uuid.New()
	w.register(carl, "bob@example.com")
	w.call(history.Op{Kind: history.Restore, Customer: bob.String(), Key: "no way back", Outcome: history.Refused, Status: 409, Code: "email-taken"})
	w.ok(history.Delete, carl, "", deleted)
	w.ok(history.Restore, bob, "", restored)
	w.call(history.Op{Kind: history.Change, Customer: ada.String(), Key: "lost", Outcome: history.Unknown, Attempts: 2})
	w.happen(ada, "lost", renamed("Lovelace"))
	w.get(ada, 4, 2)
	w.walk(1, bob, ada)
	w.ok(history.Erase, bob, "", erased)
	read := w.get(bob, 1, 4)
	read.Status, read.Version, read.Code, read.Answer = 410, 0, "customer-erased", nil
	w.history(ada)
	return w, ada, bob
}

// walk is a walk over one page that shows customers as they are.
func (w *world) walk(n int64, shown ...customer.ID) *history.Op {
	w.t.Helper()
	op := w.call(history.Op{Kind: history.List, Path: "/v1/customers?limit=100", Walk: n, Last: true, Outcome: history.OK, Status: 200})
	for _, id := range shown {
		op.Items = append(op.Items, history.Item{Customer: id.String(), Version: int64(len(w.events[id]))})
	}
	return op
}

// history is a read of a customer's whole history.
func (w *world) history(id customer.ID) *history.Op {
	w.t.Helper()
	s, err := newStream(id, w.events[id])
	require.NoError(w.t, err)
	l := newLog()
	l.add(s)
	var page struct {
		Data []map[string]any `json:"data"`
	}
	for i := range s.Versions {
		v := &s.Versions[i]
		before, after := fieldsOf(l, id, v.Version-1), fieldsOf(l, id, v.Version)
		changes := []map[string]any{}
		for name, value := range after {
			if !equalValue(name, value, before[name]) {
				changes = append(changes, map[string]any{"field": name, "old": orNull(name, before[name]), "new": value})
			}
		}
		page.Data = append(page.Data, map[string]any{
			"version": v.Version, "type": v.Type, "at": v.State.UpdatedAt().Format("2006-01-02T15:04:05.000000Z"),
			"actor": v.Metadata.Actor, "correlation_id": nil, "changes": changes,
		})
	}
	answer, err := json.Marshal(page)
	require.NoError(w.t, err)
	return w.call(history.Op{Kind: history.History, Customer: id.String(), Outcome: history.OK, Status: 200, Answer: answer, Path: "/v1/customers/x/history"})
}

func TestAllIsWell(t *testing.T) {
	t.Parallel()
	w, _, _ := life(t)
	w.requireSound()
	for _, v := range w.judge() {
		require.Positive(t, v.Checked, "%s is vacuous", v.Check)
	}
}

// A hot customer has thousands of calls under way at a time that is never
// quiet, and is decided soon.
func TestHotCustomerIsDecidedSoon(t *testing.T) {
	t.Parallel()
	w, id := newWorld(t), uuid.New()
	w.register(id, "hot@example.com")
	for i := range 4000 {
		op := w.rename(id, fmt.Sprintf("Name %d", i))
		// Each overlaps with the forty before and after it.
		op.Return += int64(800 * time.Millisecond)
		for range 3 {
			read := w.get(id, customer.Version(op.Version), customer.Version(op.Version)/2+1)
			read.Call, read.Return = op.Call, op.Return+int64(time.Second)
		}
	}
	start := time.Now()
	l := w.log()
	v := checkLinear(w.ops, l, attribute(w.ops, l))
	require.True(t, v.OK(), "%v", v)
	require.Less(t, time.Since(start), 20*time.Second)
	t.Logf("%d calls on one customer in %s", v.Checked, time.Since(start))
}
