package customer

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// marker is in every personal value the properties make, so that one glance
// tells whether any is left.
const marker = "personal"

func drawName(t *rapid.T) Name {
	return rapid.SampledFrom([]Name{"", marker, marker + " Ada"}).Draw(t, "name")
}

func drawEmail(t *rapid.T) Email {
	return rapid.SampledFrom([]Email{marker + "@example.com", "PERSONAL@example.com", marker + "2@example.com"}).Draw(t, "email")
}

func drawAddress(t *rapid.T) Address {
	return Address{
		ID:         drawAddressID(t),
		Line1:      marker,
		City:       rapid.SampledFrom([]string{marker, marker + " Paris"}).Draw(t, "city"),
		Country:    "FR",
		DefaultFor: rapid.SliceOfN(rapid.SampledFrom([]AddressUse{UseBilling, UseShipping}), 0, 3).Draw(t, "default_for"),
	}
}

func drawAddressID(t *rapid.T) AddressID {
	return addressID(rapid.ByteRange(1, 30).Draw(t, "address"))
}

func drawTag(t *rapid.T) Tag {
	return Tag(fmt.Sprintf("%s-%d", marker, rapid.IntRange(0, 60).Draw(t, "tag")))
}

func drawMetadata(t *rapid.T) map[string]string {
	text := rapid.SampledFrom([]string{marker + "1", marker + "2", marker + "3"})
	return rapid.MapOfN(text, text, 0, 3).Draw(t, "metadata")
}

func drawRegistration(t *rapid.T) Registration {
	r := Registration{
		FirstName: drawName(t), LastName: drawName(t), Email: drawEmail(t), Phone: marker, Locale: marker, ExternalID: marker,
		Metadata: drawMetadata(t),
		Consents: map[Channel]Consent{ChannelEmail: {Granted: rapid.Bool().Draw(t, "granted"), Source: marker}},
	}
	for range rapid.IntRange(0, 22).Draw(t, "addresses") {
		r.Addresses = append(r.Addresses, drawAddress(t))
	}
	for range rapid.IntRange(0, 52).Draw(t, "tags") {
		r.Tags = append(r.Tags, drawTag(t))
	}
	return r
}

func drawChange(t *rapid.T) Change {
	var c Change
	maybe := func(set func()) {
		if rapid.Bool().Draw(t, "set") {
			set()
		}
	}
	maybe(func() { c.FirstName = ptr(drawName(t)) })
	maybe(func() { c.LastName = ptr(drawName(t)) })
	maybe(func() { c.Email = ptr(drawEmail(t)) })
	maybe(func() { c.Phone = ptr(rapid.SampledFrom([]Phone{"", marker + "1"}).Draw(t, "phone")) })
	maybe(func() { c.Locale = ptr(rapid.SampledFrom([]Locale{"", marker + "1"}).Draw(t, "locale")) })
	maybe(func() { c.ExternalID = ptr(rapid.SampledFrom([]ExternalID{"", marker + "1"}).Draw(t, "external_id")) })
	maybe(func() {
		c.Metadata = &MetadataChange{Set: drawMetadata(t), Remove: []string{marker + "1"}, Clear: rapid.Bool().Draw(t, "clear")}
	})
	return c
}

// drawCommand is any command with any arguments.
func drawCommand(t *rapid.T) command {
	channel := rapid.SampledFrom([]Channel{ChannelEmail, ChannelSMS}).Draw(t, "channel")
	source := rapid.SampledFrom([]string{"", marker}).Draw(t, "source")
	switch rapid.SampledFrom([]string{
		"register", "change", "change", "change", "add", "add", "add", "replace", "remove", "tag", "tag", "untag", "grant", "withdraw",
		"suspend", "reinstate", "delete", "restore", "restore", "erase",
	}).Draw(t, "command") {
	case "register":
		return register(drawRegistration(t))
	case "change":
		return change(drawChange(t))
	case "add":
		return addAddress(drawAddress(t))
	case "replace":
		return changeAddress(drawAddress(t))
	case "remove":
		return removeAddress(drawAddressID(t))
	case "tag":
		return tag(drawTag(t))
	case "untag":
		return untag(drawTag(t))
	case "grant":
		return grant(channel, source, source)
	case "withdraw":
		return withdraw(channel, source, source)
	case "suspend":
		return suspend(source)
	case "reinstate":
		return reinstate()
	case "delete":
		return remove()
	case "restore":
		return restore()
	default:
		return erase("dpo", "asked", "k1")
	}
}

// A clock that stands still, jumps and goes back.
func drawNow(t *rapid.T) time.Time {
	return epoch.Add(time.Duration(rapid.Int64Range(0, 5000).Draw(t, "now")))
}

// checkInvariants holds of every customer whose history was decided.
func checkInvariants(t *rapid.T, d Data) {
	if d.Status == StatusErased {
		if all := fmt.Sprintf("%+v", d); strings.Contains(strings.ToLower(all), marker) || d.Erasure == nil {
			t.Fatalf("erased, and yet: %s", all)
		}
		return
	}
	if d.Version > 0 && (d.FirstName == "" && d.LastName == "" || d.Email == "") {
		t.Fatalf("nameless or out of reach: %+v", d)
	}
	if len(d.Addresses) > MaxAddresses || len(d.Tags) > MaxTags || len(d.Metadata) > MaxMetadataKeys {
		t.Fatalf("over a limit: %+v", d)
	}
	if !slices.IsSorted(d.Tags) || len(slices.Compact(slices.Clone(d.Tags))) != len(d.Tags) {
		t.Fatalf("tags are no set: %v", d.Tags)
	}
	defaults, ids := map[AddressUse]int{}, map[AddressID]bool{}
	for _, a := range d.Addresses {
		if ids[a.ID] {
			t.Fatalf("two addresses with one id: %+v", d.Addresses)
		}
		ids[a.ID] = true
		for _, use := range a.DefaultFor {
			if defaults[use]++; defaults[use] > 1 {
				t.Fatalf("two defaults for %s: %+v", use, d.Addresses)
			}
		}
	}
}

// One life, lived through any commands. On its way it shows that
//   - what is decided can be folded, and moves version and time strictly on;
//   - a decision is taken once: repeated on its own outcome, it gives nothing or a refusal;
//   - an event changes what Changed says, and nothing else;
//   - folding leaves the states before as they were;
//   - a state that went through its data decides and evolves as the state itself;
//   - what every customer must be, it stays.
func TestAnyLife(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := NewState(ada)
		var history []Event
		run := func(c command) {
			now := drawNow(t)
			before := s.Data()
			events, err := c(s, now)
			if err != nil && events != nil {
				t.Fatalf("an error came with events: %v", events)
			}
			twin := FromData(before)
			twinEvents, twinErr := c(twin, now)
			if !reflect.DeepEqual(twinEvents, events) || fmt.Sprint(twinErr) != fmt.Sprint(err) {
				t.Fatalf("from its data it decides %v, %v, not %v, %v", twinEvents, twinErr, events, err)
			}
			start := s
			for _, e := range events {
				next := s.Evolve(e)
				if next.Version() != s.Version()+1 || !next.UpdatedAt().After(s.UpdatedAt()) || next.ID() != s.ID() {
					t.Fatalf("%T leads from %+v to %+v", e, s.Data(), next.Data())
				}
				checkChanged(t, e, s.Data(), next.Data())
				s, twin = next, twin.Evolve(e)
			}
			if !reflect.DeepEqual(start.Data(), before) {
				t.Fatal("folding changed the state before")
			}
			if !reflect.DeepEqual(twin.Data(), s.Data()) {
				t.Fatalf("from its data it evolves to %+v, not %+v", twin.Data(), s.Data())
			}
			if again, _ := c(s, now); err == nil && again != nil {
				t.Fatalf("decided again, it gives %+v", again)
			}
			checkInvariants(t, s.Data())
			history = append(history, events...)
		}
		run(register(drawRegistration(t)))
		for range rapid.IntRange(0, 40).Draw(t, "commands") {
			run(drawCommand(t))
		}
		if got := Fold(ada, history...).Data(); !reflect.DeepEqual(got, s.Data()) {
			t.Fatalf("the whole history folds to %+v, not %+v", got, s.Data())
		}
	})
}

// checkChanged holds Changed against what two documents differ in.
func checkChanged(t *rapid.T, e Event, before, after Data) {
	differs := map[string]bool{
		"first_name": before.FirstName != after.FirstName, "last_name": before.LastName != after.LastName,
		"email": before.Email != after.Email, "phone": before.Phone != after.Phone, "locale": before.Locale != after.Locale,
		"external_id": before.ExternalID != after.ExternalID, "status": before.Status != after.Status,
		"addresses": !reflect.DeepEqual(before.Addresses, after.Addresses), "tags": !slices.Equal(before.Tags, after.Tags),
		"metadata": !reflect.DeepEqual(before.Metadata, after.Metadata), "consents": !reflect.DeepEqual(before.Consents, after.Consents),
	}
	changed := Changed(e)
	for field, differs := range differs {
		if differs && !slices.Contains(changed, field) {
			t.Fatalf("%T changes %s and says %v", e, field, changed)
		}
	}
	if !slices.ContainsFunc(changed, func(field string) bool { return differs[field] }) {
		t.Fatalf("%T changes nothing and says %v", e, changed)
	}
}

// Events in any order, as no decision would give them.
func TestAnyEvents(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := NewState(ada)
		for i, e := range rapid.SliceOfN(rapid.SampledFrom(onceEach()), 0, 40).Draw(t, "events") {
			before := s.Data()
			next := s.Evolve(e)
			if next.Version() != Version(i+1) || !reflect.DeepEqual(s.Data(), before) {
				t.Fatalf("%T leads from %+v to %+v", e, before, next.Data())
			}
			if !reflect.DeepEqual(FromData(before).Evolve(e).Data(), next.Data()) {
				t.Fatalf("%T: from its data it evolves otherwise", e)
			}
			s = next
		}
	})
}
