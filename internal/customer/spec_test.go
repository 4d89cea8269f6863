package customer

import (
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/google/uuid"
)

// A specification reads: given these events, when this command comes, then
// these events follow, or this error. Times are the machinery's: the history
// is stamped from epoch on, the command comes at noon, and what follows has to
// be stamped from noon on, a microsecond apart.

var (
	epoch = time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)
	noon  = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	ada   = uuid.MustParse("01920e5c-7a3e-7c11-9b53-2f0f6b1c9a10")
)

type command func(s State, now time.Time) ([]Event, error)

type specification struct {
	history []Event
	command command
	events  []Event
	err     error
}

func given(history ...Event) *specification {
	return &specification{history: stamped(epoch, history)}
}

func (spec *specification) when(c command) *specification {
	spec.command = c
	return spec
}

func (spec *specification) then(events ...Event) *specification {
	spec.events = stamped(noon, events)
	return spec
}

func (spec *specification) thenNothing() *specification { return spec.then() }

func (spec *specification) thenErr(err error) *specification {
	spec.err = err
	return spec
}

func (spec *specification) run(t *testing.T) {
	t.Helper()
	state := Fold(ada, spec.history...)
	before := state.Data()
	events, err := spec.command(state, noon)
	switch want, isViolations := errors.AsType[Violations](spec.err); {
	case isViolations:
		got, _ := errors.AsType[Violations](err)
		if !reflect.DeepEqual(places(got), places(want)) {
			t.Fatalf("error %v, want %v", err, want)
		}
	case !errors.Is(err, spec.err):
		t.Fatalf("error %v, want %v", err, spec.err)
	}
	if err != nil && events != nil {
		t.Fatalf("an error came with events: %v", events)
	}
	if len(events) != len(spec.events) || len(events) > 0 && !reflect.DeepEqual(events, spec.events) {
		t.Fatalf("events\n%+v, want\n%+v", events, spec.events)
	}
	if !reflect.DeepEqual(state.Data(), before) {
		t.Fatal("the decision changed the state it was made on")
	}
	// A command that has taken effect changes nothing when it comes again.
	if err == nil {
		for _, e := range events {
			state = state.Evolve(e)
		}
		if again, err := spec.command(state, noon); len(again) > 0 && err == nil {
			t.Fatalf("decided again, it gave %+v", again)
		}
	}
}

// places are violations without the prose.
func places(vs Violations) []string {
	var out []string
	for _, v := range vs {
		out = append(out, v.Pointer+" "+v.Code)
	}
	return out
}

// broken is what a command breaks: pairs of pointer and code.
func broken(pairs ...string) Violations {
	var out Violations
	for i := 0; i < len(pairs); i += 2 {
		out = append(out, Violation{Pointer: pairs[i], Code: pairs[i+1]})
	}
	return out
}

// stamped gives events their times. The consents of a registration are given
// in the instant it occurs.
func stamped(from time.Time, events []Event) []Event {
	out := make([]Event, len(events))
	for i, e := range events {
		at := from.Add(time.Duration(i) * time.Microsecond)
		v := reflect.New(reflect.TypeOf(e)).Elem()
		v.Set(reflect.ValueOf(e))
		v.FieldByName("At").Set(reflect.ValueOf(At{Time: at}))
		out[i] = v.Interface().(Event)
		if r, ok := out[i].(Registered); ok {
			r.Consents = cloneMap(r.Consents)
			for ch, c := range r.Consents {
				c.At = at
				r.Consents[ch] = c
			}
			out[i] = r
		}
	}
	return out
}

// The vocabulary of the specifications.

func registered(email string) Event { return Registered{FirstName: "Ada", Email: Email(email)} }

func register(r Registration) command {
	return func(s State, now time.Time) ([]Event, error) { return s.Register(r, now) }
}

func change(c Change) command {
	return func(s State, now time.Time) ([]Event, error) { return s.Apply(c, now) }
}

func addAddress(a Address) command {
	return func(s State, now time.Time) ([]Event, error) { return s.AddAddress(a, now) }
}

func changeAddress(a Address) command {
	return func(s State, now time.Time) ([]Event, error) { return s.ChangeAddress(a, now) }
}

func removeAddress(id AddressID) command {
	return func(s State, now time.Time) ([]Event, error) { return s.RemoveAddress(id, now) }
}

func tag(t Tag) command {
	return func(s State, now time.Time) ([]Event, error) { return s.Tag(t, now) }
}

func untag(t Tag) command {
	return func(s State, now time.Time) ([]Event, error) { return s.Untag(t, now) }
}

func grant(ch Channel, source, wording string) command {
	return func(s State, now time.Time) ([]Event, error) { return s.GrantConsent(ch, source, wording, now) }
}

func withdraw(ch Channel, source, wording string) command {
	return func(s State, now time.Time) ([]Event, error) { return s.WithdrawConsent(ch, source, wording, now) }
}

func suspend(reason string) command {
	return func(s State, now time.Time) ([]Event, error) { return s.Suspend(reason, now) }
}

func reinstate() command {
	return func(s State, now time.Time) ([]Event, error) { return s.Reinstate(now) }
}

func remove() command {
	return func(s State, now time.Time) ([]Event, error) { return s.Delete(now) }
}

func restore() command {
	return func(s State, now time.Time) ([]Event, error) { return s.Restore(now) }
}

func erase(actor, reason, keyID string) command {
	return func(s State, now time.Time) ([]Event, error) { return s.Erase(actor, reason, keyID, now) }
}

func addressID(n byte) AddressID { return AddressID{6: 0x70, 8: 0x80, 15: n} }

func home() Address {
	return Address{ID: addressID(1), Line1: "1 Rue de Rivoli", City: "Paris", PostalCode: "75001", Country: "FR", DefaultFor: []AddressUse{UseShipping}}
}

func work() Address {
	return Address{ID: addressID(2), Line1: "Unter den Linden 1", City: "Berlin", PostalCode: "10117", Country: "DE"}
}

func ptr[T any](v T) *T { return &v }
