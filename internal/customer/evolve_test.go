package customer

import (
	"reflect"
	"testing"
	"time"

	"github.com/google/uuid"
)

// onceEach is a life in which every event happens, for tests of what holds for
// all of them.
func onceEach() []Event {
	changed := home()
	changed.City = "Lyon"
	return stamped(epoch, []Event{
		Registered{
			FirstName: "Zoë", LastName: "Đặng", Email: "zoe@example.com", Phone: "+14155552671", Locale: "vi-VN", ExternalID: "crm-0042",
			Addresses: []Address{work()}, Tags: []Tag{"new"}, Metadata: map[string]string{"plan": "gold"},
			Consents: map[Channel]Consent{ChannelPost: {Granted: true, Source: "form", Wording: "Yes."}},
		},
		Renamed{FirstName: "Zoë", LastName: "King"},
		EmailChanged{Email: "king@example.com"},
		PhoneChanged{Phone: "+442079460000"},
		LocaleChanged{Locale: "fr"},
		ExternalIDChanged{ExternalID: "crm-1"},
		AddressAdded{Address: home()},
		AddressChanged{Address: changed},
		AddressRemoved{AddressID: work().ID},
		Tagged{Tag: "vip"},
		Untagged{Tag: "new"},
		MetadataChanged{Set: map[string]string{"seat": "1"}, Removed: []string{"plan"}},
		ConsentGranted{Channel: ChannelEmail, Source: "checkout", Wording: "Yes."},
		ConsentWithdrawn{Channel: ChannelPost, Source: "call centre"},
		Suspended{Reason: "fraud"},
		Reinstated{},
		Deleted{},
		Restored{},
		Erased{Actor: "dpo", Reason: "asked", KeyID: "k1"},
	})
}

func TestFold(t *testing.T) {
	t.Parallel()
	life := onceEach()
	s := Fold(ada, life[:len(life)-1]...)
	changed := home()
	changed.City = "Lyon"
	want := Data{
		ID: ada, Version: 18, Status: StatusActive,
		FirstName: "Zoë", LastName: "King", Email: "king@example.com", Phone: "+442079460000", Locale: "fr", ExternalID: "crm-1",
		Addresses: []Address{changed}, Tags: []Tag{"vip"}, Metadata: map[string]string{"seat": "1"},
		Consents: map[Channel]Consent{
			ChannelEmail: {Granted: true, At: epoch.Add(12 * time.Microsecond), Source: "checkout", Wording: "Yes."},
			ChannelPost:  {At: epoch.Add(13 * time.Microsecond), Source: "call centre"},
		},
		CreatedAt: epoch, UpdatedAt: epoch.Add(17 * time.Microsecond),
	}
	if got := s.Data(); !reflect.DeepEqual(got, want) {
		t.Fatalf("\n%+v, want\n%+v", got, want)
	}
	tombstone := Data{
		ID: ada, Version: 19, Status: StatusErased, CreatedAt: epoch, UpdatedAt: epoch.Add(18 * time.Microsecond),
		Erasure: &Erasure{At: epoch.Add(18 * time.Microsecond), Actor: "dpo", Reason: "asked", KeyID: "k1"},
	}
	if got := s.Evolve(life[18]).Data(); !reflect.DeepEqual(got, tombstone) {
		t.Fatalf("\n%+v, want\n%+v", got, tombstone)
	}
}

func TestAccessors(t *testing.T) {
	t.Parallel()
	s := NewState(ada)
	if s.ID() != ada || s.Version() != 0 || s.Status() != StatusNone || s.HoldsClaims() {
		t.Fatalf("a customer before its first event: %+v", s.Data())
	}
	if (State{}).ID() != uuid.Nil {
		t.Fatal("the zero state has an id")
	}
	s = Fold(ada, onceEach()[:7]...)
	if s.Email() != "king@example.com" || s.ExternalID() != "crm-1" || !s.HoldsClaims() || !s.CreatedAt().Equal(epoch) {
		t.Fatalf("accessors disagree with %+v", s.Data())
	}
	a, ok := s.Address(home().ID)
	if !ok || !reflect.DeepEqual(a, home()) {
		t.Fatalf("address %+v", a)
	}
	a.DefaultFor[0] = UseBilling
	if again, _ := s.Address(home().ID); again.DefaultFor[0] != UseShipping {
		t.Fatal("the address found shares memory with the state")
	}
	if _, ok := s.Address(addressID(9)); ok {
		t.Fatal("found an address that is not there")
	}
}

// No order of events, however odd, stops a fold; and each event counts.
func TestEvolveIsTotal(t *testing.T) {
	t.Parallel()
	life := onceEach()
	for _, first := range life {
		for _, second := range life {
			for _, third := range life {
				s := Fold(ada, first, second, third)
				if s.Version() != 3 || !s.UpdatedAt().Equal(third.OccurredAt()) || !s.CreatedAt().Equal(first.OccurredAt()) {
					t.Fatalf("%T, %T, %T: %+v", first, second, third, s.Data())
				}
				s.Data()
			}
		}
	}
}

func TestEvolveInOddOrder(t *testing.T) {
	t.Parallel()
	s := Fold(ada, registered("a@b.c"))
	for name, tc := range map[string]struct {
		events []Event
		holds  func(Data) bool
	}{
		"nothing at all":                    {[]Event{nil}, func(d Data) bool { return d.Version == 1 }},
		"a change to an unknown address":    {[]Event{AddressChanged{Address: home()}}, func(d Data) bool { return d.Addresses == nil }},
		"a removal of an unknown address":   {[]Event{AddressRemoved{AddressID: home().ID}}, func(d Data) bool { return d.Addresses == nil }},
		"an address twice":                  {[]Event{AddressAdded{Address: home()}, AddressAdded{Address: home()}}, func(d Data) bool { return len(d.Addresses) == 1 }},
		"a tag twice":                       {[]Event{Tagged{Tag: "x"}, Tagged{Tag: "x"}}, func(d Data) bool { return len(d.Tags) == 1 }},
		"a tag taken that is not there":     {[]Event{Untagged{Tag: "x"}}, func(d Data) bool { return d.Tags == nil }},
		"a key taken that is not there":     {[]Event{MetadataChanged{Removed: []string{"x"}}}, func(d Data) bool { return d.Metadata == nil }},
		"a restoration of the living":       {[]Event{Restored{}}, func(d Data) bool { return d.Status == StatusActive }},
		"a suspension of the deleted":       {[]Event{Deleted{}, Suspended{}}, func(d Data) bool { return d.Status == StatusDeleted }},
		"a second deletion":                 {[]Event{Suspended{}, Deleted{}, Deleted{}, Restored{}}, func(d Data) bool { return d.Status == StatusSuspended }},
		"a reinstatement of the deleted":    {[]Event{Deleted{}, Reinstated{}}, func(d Data) bool { return d.Status == StatusDeleted }},
		"a change after erasure":            {[]Event{Erased{}, EmailChanged{Email: "x@y.z"}}, func(d Data) bool { return d.Email == "" && d.Version == 3 }},
		"a registration after erasure":      {[]Event{Erased{}, registered("x@y.z")}, func(d Data) bool { return d.Email == "" && d.Status == StatusErased }},
		"a second erasure":                  {[]Event{Erased{KeyID: "1"}, Erased{KeyID: "2"}}, func(d Data) bool { return d.Erasure.KeyID == "1" }},
		"a restoration after erasure":       {[]Event{Deleted{}, Erased{}, Restored{}}, func(d Data) bool { return d.Status == StatusErased }},
		"a registration with one id twice":  {[]Event{Registered{Addresses: []Address{home(), home()}}}, func(d Data) bool { return len(d.Addresses) == 1 }},
		"a registration with a tag twice":   {[]Event{Registered{Tags: []Tag{"b", "a", "b"}}}, func(d Data) bool { return len(d.Tags) == 2 && d.Tags[0] == "a" }},
		"an event this release cannot know": {[]Event{At{Time: noon}}, func(d Data) bool { return d.Version == 2 && d.UpdatedAt.Equal(noon) }},
	} {
		state := s
		for _, e := range tc.events {
			state = state.Evolve(e)
		}
		if !tc.holds(state.Data()) {
			t.Errorf("%s: %+v", name, state.Data())
		}
	}
}

func TestDataSharesNoMemory(t *testing.T) {
	t.Parallel()
	life := onceEach()
	for _, history := range [][]Event{life[:18], life} {
		s, want := Fold(ada, history...), Fold(ada, history...).Data()
		vandal := s.Data()
		copied := FromData(vandal)
		for i := range vandal.Addresses {
			vandal.Addresses[i].City = ""
			vandal.Addresses[i].DefaultFor[0] = UseBilling
		}
		clear(vandal.Tags)
		clear(vandal.Metadata)
		clear(vandal.Consents)
		if vandal.Erasure != nil {
			vandal.Erasure.Actor = ""
		}
		if !reflect.DeepEqual(s.Data(), want) || !reflect.DeepEqual(copied.Data(), want) {
			t.Fatal("the data shares memory with its state")
		}
	}
}

// A codec may order sets as it likes and write what is empty as it likes.
func TestFromDataPutsInOrder(t *testing.T) {
	t.Parallel()
	s := FromData(Data{ID: ada, Version: 1, Status: StatusActive, Tags: []Tag{"vip", "beta", "vip"}, Addresses: []Address{}, Metadata: map[string]string{}})
	if events, err := s.Tag("vip", noon); err != nil || events != nil {
		t.Fatalf("tagged again: %v, %v", events, err)
	}
	if d := s.Data(); len(d.Tags) != 2 || d.Addresses != nil || d.Metadata != nil {
		t.Fatalf("%+v", d)
	}
}

func TestChanged(t *testing.T) {
	t.Parallel()
	want := [][]string{
		{"addresses", "consents", "email", "external_id", "first_name", "last_name", "locale", "metadata", "phone", "status", "tags"},
		{"first_name", "last_name"},
		{"email"},
		{"phone"},
		{"locale"},
		{"external_id"},
		{"addresses"},
		{"addresses"},
		{"addresses"},
		{"tags"},
		{"tags"},
		{"metadata"},
		{"consents"},
		{"consents"},
		{"status"},
		{"status"},
		{"status"},
		{"status"},
		{"addresses", "consents", "email", "external_id", "first_name", "last_name", "locale", "metadata", "phone", "status", "tags"},
	}
	for i, e := range onceEach() {
		if got := Changed(e); !reflect.DeepEqual(got, want[i]) {
			t.Errorf("%T: %v, want %v", e, got, want[i])
		}
	}
	if got := Changed(registered("a@b.c")); !reflect.DeepEqual(got, []string{"email", "first_name", "status"}) {
		t.Errorf("a bare registration: %v", got)
	}
	if got := Changed(At{}); got != nil {
		t.Errorf("an unknown event: %v", got)
	}
}
