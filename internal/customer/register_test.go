package customer

import (
	"fmt"
	"testing"
)

func TestRegister(t *testing.T) {
	t.Parallel()
	t.Run("keeps everything it names", func(t *testing.T) {
		t.Parallel()
		given().when(register(Registration{
			FirstName: "Zoë", LastName: "Đặng", Email: "zoe@example.com", Phone: "+14155552671", Locale: "vi-VN", ExternalID: "crm-0042",
			Addresses: []Address{home(), work()}, Tags: []Tag{"vip", "beta", "vip"}, Metadata: map[string]string{"plan": "gold"},
			Consents: map[Channel]Consent{ChannelEmail: {Granted: true, Source: "checkout", At: epoch}},
		})).then(Registered{
			FirstName: "Zoë", LastName: "Đặng", Email: "zoe@example.com", Phone: "+14155552671", Locale: "vi-VN", ExternalID: "crm-0042",
			Addresses: []Address{home(), work()}, Tags: []Tag{"beta", "vip"}, Metadata: map[string]string{"plan": "gold"},
			Consents: map[Channel]Consent{ChannelEmail: {Granted: true, Source: "checkout"}},
		}).run(t)
	})
	t.Run("needs only an e-mail and one name", func(t *testing.T) {
		t.Parallel()
		given().when(register(Registration{LastName: "Lovelace", Email: "ada@example.com"})).
			then(Registered{LastName: "Lovelace", Email: "ada@example.com"}).run(t)
	})
	t.Run("gives a default named twice to the later address", func(t *testing.T) {
		t.Parallel()
		a, b := home(), work()
		b.DefaultFor = []AddressUse{UseShipping, UseBilling, UseShipping}
		bare := a
		bare.DefaultFor = nil
		settled := b
		settled.DefaultFor = []AddressUse{UseBilling, UseShipping}
		given().when(register(Registration{FirstName: "Ada", Email: "ada@example.com", Addresses: []Address{a, b}})).
			then(Registered{FirstName: "Ada", Email: "ada@example.com", Addresses: []Address{bare, settled}}).run(t)
	})
	t.Run("tells all that is wrong", func(t *testing.T) {
		t.Parallel()
		tooMuch := Registration{Metadata: map[string]string{}}
		for i := range 51 {
			tooMuch.Tags = append(tooMuch.Tags, Tag(fmt.Sprint(i)))
			tooMuch.Metadata[fmt.Sprint(i)] = ""
		}
		for i := range 21 {
			tooMuch.Addresses = append(tooMuch.Addresses, Address{ID: addressID(byte(i))})
		}
		given().when(register(tooMuch)).thenErr(broken(
			"/first_name", CodeRequired, "/email", CodeRequired,
			"/addresses", CodeTooMany, "/tags", CodeTooMany, "/metadata", CodeTooMany,
		)).run(t)
	})
	t.Run("refuses two addresses under one id", func(t *testing.T) {
		t.Parallel()
		given().when(register(Registration{FirstName: "Ada", Email: "ada@example.com", Addresses: []Address{home(), home()}})).
			thenErr(broken("/addresses/1/id", CodeDuplicate)).run(t)
	})
	t.Run("happens once", func(t *testing.T) {
		t.Parallel()
		again := register(Registration{FirstName: "Ada", Email: "ada@example.com"})
		given(registered("ada@example.com")).when(again).thenErr(ErrAlreadyRegistered).run(t)
		given(registered("ada@example.com"), Deleted{}).when(again).thenErr(ErrAlreadyRegistered).run(t)
		given(registered("ada@example.com"), Erased{}).when(again).thenErr(ErrErased).run(t)
	})
}

// What a caller does to its arguments, or to the events it was given, later is
// no business of the customer.
func TestRegisterSharesNoMemory(t *testing.T) {
	t.Parallel()
	r := Registration{
		FirstName: "Ada", Email: "ada@example.com", Addresses: []Address{home()}, Tags: []Tag{"b", "a"},
		Metadata: map[string]string{"plan": "gold"}, Consents: map[Channel]Consent{ChannelSMS: {Granted: true}},
	}
	events, err := NewState(ada).Register(r, noon)
	if err != nil {
		t.Fatal(err)
	}
	if r.Tags[0] != "b" || !r.Consents[ChannelSMS].At.IsZero() {
		t.Fatal("Register changed its argument")
	}
	e := events[0].(Registered)
	s := NewState(ada).Evolve(e)
	r.Addresses[0].DefaultFor[0], r.Metadata["plan"] = UseBilling, "lead"
	if e.Addresses[0].DefaultFor[0] != UseShipping || e.Metadata["plan"] != "gold" {
		t.Fatal("the event changed with its registration")
	}
	e.Addresses[0].DefaultFor[0], e.Metadata["plan"], e.Tags[0] = UseBilling, "tin", "z"
	e.Consents[ChannelSMS] = Consent{}
	d := s.Data()
	if d.Addresses[0].DefaultFor[0] != UseShipping || d.Metadata["plan"] != "gold" || d.Tags[0] != "a" || !d.Consents[ChannelSMS].Granted {
		t.Fatalf("the state changed with its event: %+v", d)
	}
}
