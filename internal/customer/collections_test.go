package customer

import (
	"fmt"
	"reflect"
	"testing"
)

func TestAddresses(t *testing.T) {
	t.Parallel()
	full := Registered{Email: "a@b.c"}
	for i := range MaxAddresses {
		full.Addresses = append(full.Addresses, Address{ID: addressID(byte(100 + i)), City: "Paris"})
	}
	moved, otherHome := work(), home()
	moved.DefaultFor = []AddressUse{UseBilling, UseShipping}
	otherHome.City = "Lyon"
	withHome := AddressAdded{Address: home()}
	for name, spec := range map[string]*specification{
		"add":                      given(registered("a@b.c")).when(addAddress(home())).then(AddressAdded{Address: home()}),
		"add what is there":        given(registered("a@b.c"), withHome).when(addAddress(home())).thenNothing(),
		"add under a known id":     given(registered("a@b.c"), withHome).when(addAddress(otherHome)).thenErr(ErrStateConflict),
		"add the 21st":             given(full).when(addAddress(home())).thenErr(broken("/addresses", CodeTooMany)),
		"add to nobody":            given().when(addAddress(home())).thenErr(ErrNotFound),
		"add to the deleted":       given(full, Deleted{}).when(addAddress(home())).thenErr(ErrDeleted),
		"add to the erased":        given(full, Erased{}).when(addAddress(home())).thenErr(ErrErased),
		"change":                   given(registered("a@b.c"), withHome).when(changeAddress(otherHome)).then(AddressChanged{Address: otherHome}),
		"change to take a default": given(registered("a@b.c"), withHome, AddressAdded{Address: work()}).when(changeAddress(moved)).then(AddressChanged{Address: moved}),
		"change nothing":           given(registered("a@b.c"), withHome).when(changeAddress(home())).thenNothing(),
		"change the unknown":       given(registered("a@b.c"), withHome).when(changeAddress(work())).thenErr(ErrAddressNotFound),
		"change the 20th":          given(full).when(changeAddress(Address{ID: addressID(100)})).then(AddressChanged{Address: Address{ID: addressID(100)}}),
		"change nobody's":          given().when(changeAddress(home())).thenErr(ErrNotFound),
		"change the deleted's":     given(registered("a@b.c"), withHome, Deleted{}).when(changeAddress(home())).thenErr(ErrDeleted),
		"change the erased's":      given(registered("a@b.c"), withHome, Erased{}).when(changeAddress(home())).thenErr(ErrErased),
		"remove":                   given(registered("a@b.c"), withHome).when(removeAddress(home().ID)).then(AddressRemoved{AddressID: home().ID}),
		"remove the unknown":       given(registered("a@b.c"), withHome).when(removeAddress(work().ID)).thenErr(ErrAddressNotFound),
		"remove the removed":       given(registered("a@b.c"), withHome, AddressRemoved{AddressID: home().ID}).when(removeAddress(home().ID)).thenErr(ErrAddressNotFound),
		"remove nobody's":          given().when(removeAddress(home().ID)).thenErr(ErrNotFound),
		"remove the deleted's":     given(registered("a@b.c"), withHome, Deleted{}).when(removeAddress(home().ID)).thenErr(ErrDeleted),
		"remove the erased's":      given(registered("a@b.c"), withHome, Erased{}).when(removeAddress(home().ID)).thenErr(ErrErased),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			spec.run(t)
		})
	}
}

func TestDefaultsMove(t *testing.T) {
	t.Parallel()
	taking := work()
	taking.DefaultFor = []AddressUse{UseShipping}
	defaults := func(s State) (out []string) {
		for _, a := range s.Data().Addresses {
			out = append(out, fmt.Sprint(a.City, a.DefaultFor))
		}
		return out
	}
	s := Fold(ada, registered("a@b.c"), AddressAdded{Address: home()})
	for name, next := range map[string]struct {
		state State
		want  []string
	}{
		"by adding":   {s.Evolve(AddressAdded{Address: taking}), []string{"Paris[]", "Berlin[shipping]"}},
		"by changing": {s.Evolve(AddressAdded{Address: work()}).Evolve(AddressChanged{Address: taking}), []string{"Paris[]", "Berlin[shipping]"}},
		"not by removing": {
			s.Evolve(AddressAdded{Address: taking}).Evolve(AddressRemoved{AddressID: taking.ID}), []string{"Paris[]"},
		},
	} {
		if got := defaults(next.state); !reflect.DeepEqual(got, next.want) {
			t.Errorf("%s: %v, want %v", name, got, next.want)
		}
	}
	if got := defaults(s); !reflect.DeepEqual(got, []string{"Paris[shipping]"}) {
		t.Errorf("the state before changed to %v", got)
	}
}

func TestTags(t *testing.T) {
	t.Parallel()
	full := Registered{Email: "a@b.c"}
	for i := range MaxTags {
		full.Tags = append(full.Tags, Tag(fmt.Sprintf("t%02d", i)))
	}
	for name, spec := range map[string]*specification{
		"tag":                 given(registered("a@b.c")).when(tag("vip")).then(Tagged{Tag: "vip"}),
		"tag again":           given(registered("a@b.c"), Tagged{Tag: "vip"}).when(tag("vip")).thenNothing(),
		"tag after untagging": given(registered("a@b.c"), Tagged{Tag: "vip"}, Untagged{Tag: "vip"}).when(tag("vip")).then(Tagged{Tag: "vip"}),
		"the 51st":            given(full).when(tag("vip")).thenErr(broken("/tags", CodeTooMany)),
		"the 50th again":      given(full).when(tag("t49")).thenNothing(),
		"the suspended":       given(registered("a@b.c"), Suspended{}).when(tag("vip")).then(Tagged{Tag: "vip"}),
		"nobody":              given().when(tag("vip")).thenErr(ErrNotFound),
		"the deleted":         given(full, Deleted{}).when(tag("t49")).thenErr(ErrDeleted),
		"the erased":          given(full, Erased{}).when(tag("t49")).thenErr(ErrErased),
		"untag":               given(full).when(untag("t07")).then(Untagged{Tag: "t07"}),
		"untag the untagged":  given(full).when(untag("vip")).thenNothing(),
		"untag nobody":        given().when(untag("vip")).thenErr(ErrNotFound),
		"untag the deleted":   given(full, Deleted{}).when(untag("t07")).thenErr(ErrDeleted),
		"untag the erased":    given(full, Erased{}).when(untag("t07")).thenErr(ErrErased),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			spec.run(t)
		})
	}
}

func TestConsents(t *testing.T) {
	t.Parallel()
	granted := ConsentGranted{Channel: ChannelEmail, Source: "checkout", Wording: "Yes, write to me."}
	withdrawn := ConsentWithdrawn{Channel: ChannelEmail, Source: "call centre"}
	again := grant(ChannelEmail, "checkout", "Yes, write to me.")
	for name, spec := range map[string]*specification{
		"grant":                         given(registered("a@b.c")).when(again).then(granted),
		"grant again":                   given(registered("a@b.c"), granted).when(again).thenNothing(),
		"grant as registered":           given(Registered{Email: "a@b.c", Consents: map[Channel]Consent{ChannelSMS: {Granted: true, Source: "form"}}}).when(grant(ChannelSMS, "form", "")).thenNothing(),
		"grant from elsewhere":          given(registered("a@b.c"), granted).when(grant(ChannelEmail, "app", "Yes, write to me.")).then(ConsentGranted{Channel: ChannelEmail, Source: "app", Wording: "Yes, write to me."}),
		"grant in other words":          given(registered("a@b.c"), granted).when(grant(ChannelEmail, "checkout", "Yes.")).then(ConsentGranted{Channel: ChannelEmail, Source: "checkout", Wording: "Yes."}),
		"grant another channel":         given(registered("a@b.c"), granted).when(grant(ChannelPost, "checkout", "Yes, write to me.")).then(ConsentGranted{Channel: ChannelPost, Source: "checkout", Wording: "Yes, write to me."}),
		"grant after withdrawal":        given(registered("a@b.c"), granted, withdrawn).when(again).then(granted),
		"withdraw":                      given(registered("a@b.c"), granted).when(withdraw(ChannelEmail, "call centre", "")).then(withdrawn),
		"withdraw again":                given(registered("a@b.c"), granted, withdrawn).when(withdraw(ChannelEmail, "call centre", "")).thenNothing(),
		"withdraw what was not granted": given(registered("a@b.c")).when(withdraw(ChannelEmail, "call centre", "")).then(withdrawn),
		"withdraw with nothing said":    given(registered("a@b.c")).when(withdraw(ChannelPhone, "", "")).then(ConsentWithdrawn{Channel: ChannelPhone}),
		"nobody grants":                 given().when(again).thenErr(ErrNotFound),
		"nobody withdraws":              given().when(withdraw(ChannelEmail, "", "")).thenErr(ErrNotFound),
		"the deleted grants":            given(registered("a@b.c"), granted, Deleted{}).when(again).thenErr(ErrDeleted),
		"the deleted withdraws":         given(registered("a@b.c"), Deleted{}).when(withdraw(ChannelEmail, "", "")).thenErr(ErrDeleted),
		"the erased grants":             given(registered("a@b.c"), Erased{}).when(again).thenErr(ErrErased),
		"the erased withdraws":          given(registered("a@b.c"), Erased{}).when(withdraw(ChannelEmail, "", "")).thenErr(ErrErased),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			spec.run(t)
		})
	}
}
