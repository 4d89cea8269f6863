package customer

import (
	"testing"
	"time"
)

// Every command of the life cycle against every state there is.
func TestLifeCycle(t *testing.T) {
	t.Parallel()
	var (
		active    = []Event{registered("a@b.c")}
		suspended = append(active[:1:1], Suspended{Reason: "fraud"})
		deleted   = append(active[:1:1], Deleted{})
		both      = append(suspended[:2:2], Deleted{})
		erased    = append(active[:1:1], Erased{Actor: "dpo", Reason: "art. 17", KeyID: "k1"})
		back      = append(both[:3:3], Restored{})
	)
	for name, spec := range map[string]*specification{
		"suspend nobody":             given().when(suspend("fraud")).thenErr(ErrNotFound),
		"suspend":                    given(active...).when(suspend("fraud")).then(Suspended{Reason: "fraud"}),
		"suspend the suspended":      given(suspended...).when(suspend("again")).thenNothing(),
		"suspend the deleted":        given(deleted...).when(suspend("fraud")).thenErr(ErrDeleted),
		"suspend the erased":         given(erased...).when(suspend("fraud")).thenErr(ErrErased),
		"reinstate nobody":           given().when(reinstate()).thenErr(ErrNotFound),
		"reinstate the active":       given(active...).when(reinstate()).thenNothing(),
		"reinstate":                  given(suspended...).when(reinstate()).then(Reinstated{}),
		"reinstate what came back":   given(back...).when(reinstate()).then(Reinstated{}),
		"reinstate the deleted":      given(both...).when(reinstate()).thenErr(ErrDeleted),
		"reinstate the erased":       given(erased...).when(reinstate()).thenErr(ErrErased),
		"delete nobody":              given().when(remove()).thenErr(ErrNotFound),
		"delete":                     given(active...).when(remove()).then(Deleted{}),
		"delete the suspended":       given(suspended...).when(remove()).then(Deleted{}),
		"delete the deleted":         given(deleted...).when(remove()).thenNothing(),
		"delete the erased":          given(erased...).when(remove()).thenErr(ErrErased),
		"restore nobody":             given().when(restore()).thenErr(ErrNotFound),
		"restore the active":         given(active...).when(restore()).thenNothing(),
		"restore the suspended":      given(suspended...).when(restore()).thenNothing(),
		"restore":                    given(deleted...).when(restore()).then(Restored{}),
		"restore the erased":         given(erased...).when(restore()).thenErr(ErrErased),
		"erase nobody":               given().when(erase("dpo", "asked", "k1")).thenErr(ErrNotFound),
		"erase":                      given(active...).when(erase("dpo", "asked", "k1")).then(Erased{Actor: "dpo", Reason: "asked", KeyID: "k1"}),
		"erase the suspended":        given(suspended...).when(erase("dpo", "asked", "k1")).then(Erased{Actor: "dpo", Reason: "asked", KeyID: "k1"}),
		"erase the deleted":          given(both...).when(erase("dpo", "asked", "k1")).then(Erased{Actor: "dpo", Reason: "asked", KeyID: "k1"}),
		"erase the erased":           given(erased...).when(erase("other", "again", "k2")).thenNothing(),
		"suspend what is reinstated": given(append(suspended[:2:2], Reinstated{})...).when(suspend("again")).then(Suspended{Reason: "again"}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			spec.run(t)
		})
	}
}

func TestRestoringBringsASuspensionBack(t *testing.T) {
	t.Parallel()
	s := Fold(ada, registered("a@b.c"), Suspended{}, Deleted{})
	if s.Status() != StatusDeleted || s.HoldsClaims() {
		t.Fatalf("deleted: status %q, holds claims %t", s.Status(), s.HoldsClaims())
	}
	if s = s.Evolve(Restored{}); s.Status() != StatusSuspended || !s.HoldsClaims() {
		t.Fatalf("restored: status %q, holds claims %t", s.Status(), s.HoldsClaims())
	}
	if s = Fold(ada, registered("a@b.c"), Deleted{}, Restored{}); s.Status() != StatusActive {
		t.Fatalf("restored: status %q", s.Status())
	}
}

func TestErasureStays(t *testing.T) {
	t.Parallel()
	s := Fold(ada, stamped(epoch, []Event{registered("a@b.c"), Erased{Actor: "dpo", Reason: "asked", KeyID: "k1"}})...)
	want := Erasure{At: epoch.Add(time.Microsecond), Actor: "dpo", Reason: "asked", KeyID: "k1"}
	if got, ok := s.Erasure(); !ok || got != want || s.HoldsClaims() {
		t.Fatalf("erasure %+v, want %+v", got, want)
	}
	if _, ok := Fold(ada, registered("a@b.c")).Erasure(); ok {
		t.Fatal("a living customer has an erasure")
	}
}

// Decisions are stamped after everything before them, whatever the clock says.
func TestTimesOnlyGrow(t *testing.T) {
	t.Parallel()
	updated := time.Date(2026, 1, 2, 0, 0, 0, 5000, time.UTC)
	s := Fold(ada, Registered{At: At{Time: updated}, FirstName: "Ada", Email: "a@b.c"})
	c := Change{FirstName: ptr(Name("Augusta")), Locale: ptr(Locale("fr"))}
	for name, tc := range map[string]struct{ now, first time.Time }{
		"later":             {updated.Add(time.Hour), updated.Add(time.Hour)},
		"in finer grain":    {updated.Add(time.Hour + 999), updated.Add(time.Hour)},
		"elsewhere":         {updated.Add(time.Hour).In(time.FixedZone("", 7200)), updated.Add(time.Hour)},
		"in the same µs":    {updated.Add(999), updated.Add(time.Microsecond)},
		"at the same time":  {updated, updated.Add(time.Microsecond)},
		"in the past":       {updated.Add(-time.Hour), updated.Add(time.Microsecond)},
		"with no clock set": {time.Time{}, updated.Add(time.Microsecond)},
	} {
		events, err := s.Apply(c, tc.now)
		if err != nil || len(events) != 2 {
			t.Fatalf("%s: %v, %v", name, events, err)
		}
		if got := events[0].OccurredAt(); !got.Equal(tc.first) || got.Location() != time.UTC {
			t.Errorf("%s: first at %v, want %v", name, got, tc.first)
		}
		if got := events[1].OccurredAt(); !got.Equal(tc.first.Add(time.Microsecond)) {
			t.Errorf("%s: second at %v", name, got)
		}
		after := s.Evolve(events[0]).Evolve(events[1])
		if !after.UpdatedAt().Equal(events[1].OccurredAt()) || !after.CreatedAt().Equal(updated) {
			t.Errorf("%s: created %v, updated %v", name, after.CreatedAt(), after.UpdatedAt())
		}
	}
}
