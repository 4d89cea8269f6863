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
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
)

// world is a small run made by hand: a log that is as it should be, and the
// calls that led to it. Tests then spoil one or the other.
type world struct {
	t       *testing.T
	events  map[customer.ID][]logged
	records map[string]Record
	ops     []history.Op
	next    eventlog.Position
	now     int64
	spoil   func(*Log)
}

func newWorld(t *testing.T) *world {
	t.Helper()
	return &world{t: t, events: map[customer.ID][]logged{}, records: map[string]Record{}}
}

var began = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// happen appends one command's events to a customer.
func (w *world) happen(id customer.ID, key string, events ...func(customer.At) customer.Event) customer.Version {
	w.t.Helper()
	command := uuid.New()
	for _, e := range events {
		w.next++
		event := e(customer.At{Time: began.Add(time.Duration(w.next) * time.Second)})
		env, err := eventlog.NewCodec().Encode(event, eventlog.Place{EventID: uuid.New(), CustomerID: id}, plain{})
		require.NoError(w.t, err)
		w.events[id] = append(w.events[id], logged{
			position: w.next, kind: env.Type, changed: customer.Changed(event),
			entry: eventlog.Entry{
				EventID: env.EventID, CustomerID: id, Version: customer.Version(len(w.events[id]) + 1), Event: event,
				Metadata: eventlog.Metadata{Actor: principal, CommandID: command},
			},
		})
	}
	v := customer.Version(len(w.events[id]))
	if key != "" {
		w.records[key] = Record{Customer: id, Version: v, Command: command}
	}
	return v
}

// plain seals nothing.
type plain struct{}

func (plain) Seal(text, _ []byte) ([]byte, error) { return text, nil }

// call adds a call that took ten milliseconds, one after the other.
func (w *world) call(op history.Op) *history.Op {
	op.ID = int64(len(w.ops)) + 1
	if op.Call == 0 {
		w.now += int64(20 * time.Millisecond)
		op.Call = w.now
	}
	if op.Return == 0 && op.Outcome != history.Pending {
		op.Return = op.Call + int64(10*time.Millisecond)
	}
	if op.Attempts == 0 {
		op.Attempts = 1
	}
	w.ops = append(w.ops, op)
	return &w.ops[len(w.ops)-1]
}

func registered(email string) func(customer.At) customer.Event {
	return func(at customer.At) customer.Event {
		return customer.Registered{At: at, FirstName: "Ada", Email: customer.Email(email)}
	}
}

func renamed(name string) func(customer.At) customer.Event {
	return func(at customer.At) customer.Event { return customer.Renamed{At: at, FirstName: customer.Name(name)} }
}

func deleted(at customer.At) customer.Event { return customer.Deleted{At: at} }

func restored(at customer.At) customer.Event { return customer.Restored{At: at} }

func erased(at customer.At) customer.Event { return customer.Erased{At: at, Actor: principal} }

func tagged(at customer.At) customer.Event { return customer.Tagged{At: at, Tag: "vip"} }

// ok does a command and has it answered as the service would.
func (w *world) ok(kind history.Kind, id customer.ID, body string, events ...func(customer.At) customer.Event) *history.Op {
	w.t.Helper()
	key := fmt.Sprintf("key-%d", len(w.ops)+1)
	v := w.happen(id, key, events...)
	op := w.call(history.Op{
		Kind: kind, Customer: id.String(), Key: key, Outcome: history.OK, Status: 200, Version: int64(v),
		AnswerToken: eventlog.Token{CustomerID: id, Version: v}.String(), Path: "/v1/customers/" + id.String(),
	})
	if body != "" {
		op.Body = json.RawMessage(body)
	}
	if kind != history.Delete && kind != history.Erase {
		op.Answer = w.document(id, v)
	}
	return op
}

func (w *world) register(id customer.ID, email string) *history.Op {
	w.t.Helper()
	op := w.ok(history.Register, id, `{"first_name":"Ada","email":"`+email+`"}`, registered(email))
	op.Email, op.Status = email, 201
	return op
}

func (w *world) rename(id customer.ID, name string) *history.Op {
	w.t.Helper()
	return w.ok(history.Change, id, `{"first_name":"`+name+`"}`, renamed(name))
}

// get is a read of a version, with a token of another one; 0 for none.
func (w *world) get(id customer.ID, v, token customer.Version) *history.Op {
	w.t.Helper()
	op := w.call(history.Op{
		Kind: history.Get, Session: 1, Customer: id.String(), Outcome: history.OK, Status: 200, Version: int64(v), Answer: w.document(id, v),
	})
	if token > 0 {
		op.Token = eventlog.Token{CustomerID: id, Version: token}.String()
	}
	return op
}

func (w *world) document(id customer.ID, v customer.Version) json.RawMessage {
	state := customer.NewState(id)
	for _, e := range w.events[id][:v] {
		state = state.Evolve(e.entry.Event)
	}
	return documentOf(state)
}

// log opens what happened.
func (w *world) log() *Log {
	w.t.Helper()
	l := newLog()
	for id, events := range w.events {
		s, err := newStream(id, events)
		require.NoError(w.t, err)
		l.add(s)
		l.Heads[id] = s.head().Version
		l.HasKey[id] = !s.erased()
		if email := held(s.head().State); email != "" {
			l.Claims[claim{eventlog.ClaimEmail, plainDigest("claim/email", []byte(email))}] = id
		}
	}
	for key, r := range w.records {
		l.Records[key] = r
	}
	if w.spoil != nil {
		w.spoil(l)
	}
	return l
}

func plainDigest(domain string, parts ...[]byte) (sum [32]byte) {
	for _, p := range append(parts, []byte(domain)) {
		d := digestOf(p)
		for i := range d {
			sum[i] = sum[i]*31 + d[i]
		}
	}
	return sum
}

// judge runs every check that needs no cluster.
func (w *world) judge() []Verdict {
	w.t.Helper()
	l := w.log()
	e := attribute(w.ops, l)
	all := []Verdict{
		checkAcknowledged(w.ops, l, e), checkAttributed(w.ops, l, e), checkBeside(l, plainDigest), checkRepeats(w.ops, l, e),
		checkLinear(w.ops, l, e), checkEmails(w.ops, l, e), checkOrder(l), checkChanged(l), checkSent(l, e), checkHistories(w.ops, l),
		checkTokens(w.ops, l), checkSessions(w.ops), checkWalks(w.ops, l, e), checkErasedReads(w.ops, l, e),
	}
	return append(append(all, checkWhole(w.ops, l, e)...), checkAnswers(w.ops, l)...)
}

// requireFound is that a check found what is wrong, by its words.
func (w *world) requireFound(check, words string) {
	w.t.Helper()
	for _, v := range w.judge() {
		if v.Check == check {
			require.Positive(w.t, v.Violated, "%s: found nothing", check)
			require.Contains(w.t, fmt.Sprint(v.Violations), words)
			return
		}
	}
	w.t.Fatalf("there is no check %q", check)
}

// requireSound is that no check finds anything.
func (w *world) requireSound() {
	w.t.Helper()
	for _, v := range w.judge() {
		require.Empty(w.t, v.Violations, v.Check)
		require.Empty(w.t, v.Error, v.Check)
	}
}
