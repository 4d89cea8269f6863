package eventlog

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
)

// foldHash is a digest of what a fixed history folds to, after each of its
// events, on the way through the codec that the log's events take. Nobody has
// to remember to change it: a fold, a field or an event schema that changed
// changes it. It knows only what the history shows, so a rule of Evolve that is
// not in foldHistory has to be added there; tests see to events and fields.
func foldHash(codec *Codec, evolve func(customer.State, customer.Event) customer.State) FoldHash {
	sum := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(codec.byName)) {
		_, _ = fmt.Fprintln(sum, name, codec.byName[name].version)
	}
	id := uuid.UUID{15: 1}
	state := customer.NewState(id)
	for i, e := range foldHistory() {
		place := Place{CustomerID: id, Version: customer.Version(i + 1)}
		envelope, err := codec.Encode(e, place, plain{})
		if err == nil {
			var entry Entry
			if entry, err = codec.Decode(envelope, plain{}); err == nil {
				e = entry.Event
			}
		}
		state = evolve(state, e)
		folded, marshalErr := json.Marshal(state.Data())
		if err != nil || marshalErr != nil {
			panic(fmt.Sprintf("fold history, event %d: %v, %v", i+1, err, marshalErr)) // it is a constant, and tested
		}
		_, _ = sum.Write(folded)
	}
	return FoldHash(sum.Sum(nil))
}

// plain seals nothing: the history is nobody's.
type plain struct{}

func (plain) Seal(plaintext, _ []byte) ([]byte, error) { return plaintext, nil }
func (plain) Open(sealed, _ []byte) ([]byte, error)    { return sealed, nil }

// foldHistory has every event, in states where it means something and in some
// where it means nothing.
func foldHistory() []customer.Event {
	begin := time.Date(2026, 1, 2, 3, 4, 5, 678901000, time.UTC)
	n := 0
	at := func() customer.At {
		n++
		return customer.At{Time: begin.Add(time.Duration(n) * time.Millisecond)}
	}
	address := func(last byte, uses ...customer.AddressUse) customer.Address {
		return customer.Address{
			ID: uuid.UUID{15: last}, Line1: "1 First Street", Line2: "2nd floor", City: "Third Town", State: "Fourth State",
			PostalCode: "5", Country: "FR", Label: "sixth", DefaultFor: uses,
		}
	}
	const billing, shipping = customer.UseBilling, customer.UseShipping
	return []customer.Event{
		customer.Registered{
			At: at(), FirstName: "A", LastName: "B", Email: "a@example.com", Phone: "+14155552671", Locale: "en", ExternalID: "x-1",
			Addresses: []customer.Address{address(1, billing, shipping), address(2, billing)}, Tags: []customer.Tag{"b", "a", "b"},
			Metadata: map[string]string{"k1": "v1", "k2": "v2"},
			Consents: map[customer.Channel]customer.Consent{customer.ChannelPost: {Granted: true, At: begin, Source: "s", Wording: "w"}},
		},
		customer.Renamed{At: at(), FirstName: "C"},
		customer.EmailChanged{At: at(), Email: "c@example.com"},
		customer.PhoneChanged{At: at()},
		customer.LocaleChanged{At: at(), Locale: "vi-VN"},
		customer.ExternalIDChanged{At: at(), ExternalID: "x-2"},
		customer.AddressAdded{At: at(), Address: address(3, shipping)},
		customer.AddressAdded{At: at(), Address: address(3, billing)}, // there already
		customer.AddressChanged{At: at(), Address: address(1, billing, shipping)},
		customer.AddressChanged{At: at(), Address: address(9)}, // nowhere
		customer.AddressRemoved{At: at(), AddressID: uuid.UUID{15: 2}},
		customer.AddressRemoved{At: at(), AddressID: uuid.UUID{15: 9}},
		customer.Tagged{At: at(), Tag: "aa"},
		customer.Tagged{At: at(), Tag: "aa"},
		customer.Untagged{At: at(), Tag: "a"},
		customer.Untagged{At: at(), Tag: "zz"},
		customer.MetadataChanged{At: at(), Set: map[string]string{"k2": "v3", "k3": "v4"}, Removed: []string{"k1", "k3", "k9"}},
		customer.ConsentGranted{At: at(), Channel: customer.ChannelEmail, Source: "s2", Wording: "w2"},
		customer.ConsentWithdrawn{At: at(), Channel: customer.ChannelPost, Source: "s3", Wording: "w3"},
		customer.Reinstated{At: at()}, // not suspended
		customer.Suspended{At: at(), Reason: "r"},
		customer.Suspended{At: at(), Reason: "r2"},
		customer.Restored{At: at()}, // not deleted
		customer.Deleted{At: at()},
		customer.Deleted{At: at()},
		customer.Suspended{At: at(), Reason: "r3"},
		customer.Reinstated{At: at()},
		customer.Renamed{At: at(), LastName: "D"},
		customer.Restored{At: at()},
		customer.Reinstated{At: at()},
		customer.Deleted{At: at()},
		customer.Restored{At: at()},
		customer.Registered{At: at(), FirstName: "E", Email: "e@example.com"}, // registered already
		customer.Deleted{At: at()},
		customer.Erased{At: at(), Actor: "a", Reason: "r", KeyID: "k"},
		customer.Renamed{At: at(), FirstName: "F"},
		customer.Restored{At: at()},
	}
}
