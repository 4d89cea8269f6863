package audit

import (
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/ebrahem-outlook/customer-service/e2e/history"
	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
)

// Each case spoils a run in which all went well, in one way, and names the
// check that has to find it and a word of what it has to say.
func TestEachCheckFindsWhatItIsFor(t *testing.T) {
	t.Parallel()
	type bad struct {
		name, check, words string
		spoil              func(w *world, ada, bob customer.ID)
	}
	for _, c := range []bad{
		{"lost update", linear, "no order", func(w *world, ada, _ customer.ID) {
			// Both were told that theirs is version 2; the log has one of them.
			lost := w.call(w.ops[5])
			lost.Key = "both"
		}},
		{"a write in the past of another", linear, "no order", func(w *world, ada, _ customer.ID) {
			op := w.rename(ada, "Early")
			op.Call, op.Return = 1, 2
		}},
		{"stale token", linear, "no order", func(w *world, ada, _ customer.ID) { w.get(ada, 2, 3) }},
		{"stale token", tokens, "asks for 3", func(w *world, ada, _ customer.ID) { w.get(ada, 2, 3) }},
		{"a read of what was not written yet", linear, "no order", func(w *world, ada, _ customer.ID) {
			op := w.get(ada, 4, 0)
			op.Call, op.Return = 1, 2
		}},
		{"412 though the version was right", linear, "no order", func(w *world, ada, _ customer.ID) {
			w.call(history.Op{Kind: history.Change, Customer: ada.String(), Key: "right", IfMatch: 4, Version: 4, Outcome: history.Refused, Status: 412, Code: "version-mismatch"})
		}},
		{"If-Match passed over", linear, "no order", func(w *world, ada, _ customer.ID) { w.rename(ada, "Stale").IfMatch = 3 }},
		{"a change after the erasure", linear, "no order", func(w *world, _, bob customer.ID) { w.rename(bob, "Back") }},
		{"an address twice", addresses, "takes it by", func(w *world, _, _ customer.ID) { w.register(uuid.New(), "ada@example.com") }},
		{"an address refused that nobody holds", addresses, "is refused it by", func(w *world, _, _ customer.ID) {
			w.call(history.Op{Kind: history.Register, Email: "free@example.com", Key: "free", Outcome: history.Refused, Status: 409, Code: "email-taken"})
		}},
		{"an acknowledged command lost", acknowledged, "not in the log", func(w *world, _, _ customer.ID) {
			w.register(uuid.New(), "lost@example.com").Key = "unheard of"
		}},
		{"answered as another version", acknowledged, "was answered version 9", func(w *world, ada, _ customer.ID) { w.rename(ada, "Nine").Version = 9 }},
		{"a command's end cut off", acknowledged, "last event is version", func(w *world, ada, _ customer.ID) {
			op := w.rename(ada, "Cut")
			op.Version--
			r := w.records[op.Key]
			r.Version--
			w.records[op.Key] = r
		}},
		{"one effect for two", acknowledged, "both answered", func(w *world, ada, _ customer.ID) {
			op := *w.rename(ada, "One")
			w.records["second"] = w.records[op.Key]
			op.Key = "second"
			w.call(op)
		}},
		{"an effect of what was refused", nothingLeft, "is in the log", func(w *world, ada, _ customer.ID) {
			w.happen(ada, "stale", renamed("Phantom"))
		}},
		{"an effect of a rehearsal", nothingLeft, "dry run", func(w *world, ada, _ customer.ID) {
			w.happen(ada, "dry", renamed("Phantom"))
			w.call(history.Op{Kind: history.Change, Customer: ada.String(), Key: "dry", DryRun: true, Outcome: history.OK, Status: 200, Version: 5})
		}},
		{"an effect without its record", attributed, "asked for by nobody", func(w *world, ada, _ customer.ID) {
			w.happen(ada, "", renamed("Phantom"))
		}},
		{"a registration without its record", attributed, "asked for by nobody", func(w *world, _, _ customer.ID) {
			w.happen(uuid.New(), "", registered("phantom@example.com"))
			w.call(history.Op{Kind: history.Register, Email: "phantom@example.com", Key: "phantom", Outcome: history.Unknown})
		}},
		{"half of a command of unknown outcome", whole, "in parts", func(w *world, ada, _ customer.ID) {
			w.happen(ada, "half", renamed("One"), tagged)
			r := w.records["half"]
			r.Version--
			w.records["half"] = r
			w.call(history.Op{Kind: history.Change, Customer: ada.String(), Key: "half", Outcome: history.Unknown})
		}},
		{"a record without its events", whole, "never came to", func(w *world, ada, _ customer.ID) {
			w.records["hollow"] = Record{Customer: ada, Version: 17, Command: uuid.New()}
			w.call(history.Op{Kind: history.Change, Customer: ada.String(), Key: "hollow", Outcome: history.Unknown})
		}},
		{"a claim left behind", beside, "do not give it", func(w *world, _, bob customer.ID) {
			w.spoil = func(l *Log) { l.Claims[claim{eventlog.ClaimEmail, [32]byte{1}}] = bob }
		}},
		{"a claim lost", beside, "is held by", func(w *world, _, _ customer.ID) { w.spoil = func(l *Log) { clear(l.Claims) } }},
		{"a key that outlives its customer", beside, "data key is true", func(w *world, _, bob customer.ID) {
			w.spoil = func(l *Log) { l.HasKey[bob] = true }
		}},
		{"a head ahead of the events", beside, "is at version 5", func(w *world, ada, _ customer.ID) { w.spoil = func(l *Log) { l.Heads[ada] = 5 } }},
		{"another answer to the same again", repeats, "repeats call", func(w *world, ada, _ customer.ID) {
			op := *w.rename(ada, "Twice")
			op.Repeats, op.Call, op.Return, op.Version = op.ID, 0, 0, op.Version+1
			w.call(op)
		}},
		{"another request under a key taken", repeats, "sends something else", func(w *world, ada, _ customer.ID) {
			op := *w.rename(ada, "Twice")
			op.Repeats, op.Spoiled, op.Call, op.Return = op.ID, true, 0, 0
			w.call(op)
		}},
		{"a position twice", order, "given twice", func(w *world, ada, _ customer.ID) { w.events[ada][2].position = 1 }},
		{"a hole in the versions", order, "is version 9", func(w *world, ada, _ customer.ID) { w.events[ada][2].entry.Version = 9 }},
		{"versions against positions", order, "version before at", func(w *world, ada, _ customer.ID) {
			e := w.events[ada]
			e[0].position, e[1].position = e[1].position, e[0].position
		}},
		{"a document that is not the fold", readsAreFold, "differ in id", func(w *world, ada, _ customer.ID) {
			w.get(ada, 2, 2).Answer = []byte(`{"first_name":"Mallory"}`)
		}},
		{"a document of another version", readsAreFold, "differ in version", func(w *world, ada, _ customer.ID) {
			w.get(ada, 2, 2).Answer = w.document(ada, 3)
		}},
		{"a document of who is erased", readsAreFold, "erased", func(w *world, _, bob customer.ID) { w.get(bob, 4, 0) }},
		{"another version than asked for", readsAreFold, "asks for version 1", func(w *world, ada, _ customer.ID) {
			op := w.get(ada, 2, 0)
			op.Kind, op.Path = history.GetPast, "/v1/customers/x?version=1"
		}},
		{"a command's own answer", ownAnswers, "differ in", func(w *world, ada, _ customer.ID) {
			w.rename(ada, "New").Answer = w.document(ada, 2)
		}},
		{"a deleted customer on a page", onPages, "does not live", func(w *world, _, bob customer.ID) {
			w.call(history.Op{Kind: history.List, Outcome: history.OK, Status: 200, Items: []history.Item{{Customer: bob.String(), Version: 2}}})
		}},
		{"a field that did not arrive", sentIs, "first_name is another one", func(w *world, ada, _ customer.ID) {
			w.rename(ada, "Kept").Body = []byte(`{"first_name":"Sent"}`)
		}},
		{"an event that changes more than it says", saysChanged, "does not say so", func(w *world, ada, _ customer.ID) { w.events[ada][1].changed = []string{"tags"} }},
		{"a history with another value", histories, "tells other values", func(w *world, ada, _ customer.ID) {
			op := w.history(ada)
			op.Answer = []byte(replace(string(op.Answer), `"new":"Grace"`, `"new":"Mallory"`))
		}},
		{"a history with a hole", histories, "tells version 2 after version 0", func(w *world, ada, _ customer.ID) {
			op := w.history(ada)
			op.Answer = []byte(replace(string(op.Answer), `"version":1`, `"version":2`))
		}},
		{"a session that goes back", sessions, "in the same session", func(w *world, ada, _ customer.ID) {
			w.get(ada, 4, 1)
			w.get(ada, 3, 1)
		}},
		{"somebody twice in a walk", pageWalks, "shown before", func(w *world, ada, _ customer.ID) {
			w.walk(2, ada)
			w.walk(2, ada)
		}},
		{"somebody missing in a walk", pageWalks, "misses", func(w *world, _, _ customer.ID) { w.walk(2) }},
		{"somebody missing in the part that a walk came to", pageWalks, "misses", func(w *world, ada, bob customer.ID) {
			last := uuid.New()
			w.register(last, "last@example.com")
			w.get(last, 1, 1)
			w.walk(2, last).Last = false
		}},
		{"a read after the erasure, with its token", staysErased, "names the erasure", func(w *world, _, bob customer.ID) {
			w.get(bob, 4, 4).Token = eventlog.Token{CustomerID: bob, Version: 5}.String()
		}},
		{"a read long after the erasure", staysErased, "read as erased", func(w *world, _, bob customer.ID) {
			w.now += int64(time.Minute)
			w.get(bob, 4, 0)
		}},
	} {
		t.Run(c.name+"/"+c.check[:12], func(t *testing.T) {
			t.Parallel()
			w, ada, bob := life(t)
			c.spoil(w, ada, bob)
			w.requireFound(c.check, c.words)
		})
	}
}

func replace(text, from, to string) string {
	return strings.Replace(text, from, to, 1)
}
