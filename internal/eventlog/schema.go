package eventlog

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
)

// schema is the present stored form of one event.
type schema struct {
	name    string
	version int16
	event   reflect.Type
	encode  func(customer.Event) (data, personal []byte, err error)
	// decode gets a nil personal when there is none or the key is gone.
	decode func(at customer.At, data, personal []byte) (customer.Event, error)
}

// none is the personal part of an event that has none.
type none struct{}

// define declares how event E is split into D, readable by all, and P, sealed.
func define[E customer.Event, D, P any](name string, version int16, split func(E) (D, P), join func(customer.At, D, P) (E, error)) schema {
	_, bare := any(*new(P)).(none)
	return schema{
		name:    name,
		version: version,
		event:   reflect.TypeFor[E](),
		encode: func(e customer.Event) (data, personal []byte, err error) {
			d, p := split(e.(E)) //nolint:forcetypeassert // the codec looks the schema up by type
			if data, err = json.Marshal(d); err != nil || bare {
				return data, nil, err
			}
			personal, err = json.Marshal(p)
			return data, personal, err
		},
		decode: func(at customer.At, data, personal []byte) (customer.Event, error) {
			var d D
			var p P
			// Causes are left out: they quote what they could not read.
			if json.Unmarshal(data, &d) != nil {
				return nil, errors.New("data is not what its type says")
			}
			if bare && personal != nil {
				return nil, errors.New("a personal part where none belongs")
			}
			if personal != nil && json.Unmarshal(personal, &p) != nil {
				return nil, errors.New("the personal part is not what its type says")
			}
			e, err := join(at, d, p)
			if err != nil {
				return nil, err
			}
			return e, nil
		},
	}
}

// changed is in every event's data: which fields it changed, for those who
// may not see values.
type changed struct {
	Changed []string `json:"changed"`
}

func changedBy(e customer.Event) changed { return changed{Changed: customer.Changed(e)} }

// marker declares an event that says nothing but that it happened.
func marker[E customer.Event](name string, make func(customer.At) E) schema {
	return define(name, 1,
		func(e E) (changed, none) { return changedBy(e), none{} },
		func(at customer.At, _ changed, _ none) (E, error) { return make(at), nil })
}

var errNoAddressID = errors.New("no address id")

// schemas declares every event. A name, once used, is stored for ever.
func schemas() []schema {
	return []schema{
		define("customer.registered", 1, splitRegistered, joinRegistered),
		define("customer.renamed", 1,
			func(e customer.Renamed) (changed, names) { return changedBy(e), names{e.FirstName, e.LastName} },
			func(at customer.At, _ changed, p names) (customer.Renamed, error) {
				return customer.Renamed{At: at, FirstName: p.FirstName, LastName: p.LastName}, nil
			}),
		define("customer.email_changed", 1,
			func(e customer.EmailChanged) (changed, value[customer.Email]) {
				return changedBy(e), value[customer.Email]{e.Email}
			},
			func(at customer.At, _ changed, p value[customer.Email]) (customer.EmailChanged, error) {
				return customer.EmailChanged{At: at, Email: p.Value}, nil
			}),
		define("customer.phone_changed", 1,
			func(e customer.PhoneChanged) (changed, value[customer.Phone]) {
				return changedBy(e), value[customer.Phone]{e.Phone}
			},
			func(at customer.At, _ changed, p value[customer.Phone]) (customer.PhoneChanged, error) {
				return customer.PhoneChanged{At: at, Phone: p.Value}, nil
			}),
		define("customer.locale_changed", 1,
			func(e customer.LocaleChanged) (changed, value[customer.Locale]) {
				return changedBy(e), value[customer.Locale]{e.Locale}
			},
			func(at customer.At, _ changed, p value[customer.Locale]) (customer.LocaleChanged, error) {
				return customer.LocaleChanged{At: at, Locale: p.Value}, nil
			}),
		define("customer.external_id_changed", 1,
			func(e customer.ExternalIDChanged) (changed, value[customer.ExternalID]) {
				return changedBy(e), value[customer.ExternalID]{e.ExternalID}
			},
			func(at customer.At, _ changed, p value[customer.ExternalID]) (customer.ExternalIDChanged, error) {
				return customer.ExternalIDChanged{At: at, ExternalID: p.Value}, nil
			}),
		define("customer.address_added", 1,
			func(e customer.AddressAdded) (addressData, address) {
				return addressData{changedBy(e), e.Address.ID}, addressOf(e.Address)
			},
			func(at customer.At, d addressData, p address) (customer.AddressAdded, error) {
				return customer.AddressAdded{At: at, Address: p.with(d.AddressID)}, d.check()
			}),
		define("customer.address_changed", 1,
			func(e customer.AddressChanged) (addressData, address) {
				return addressData{changedBy(e), e.Address.ID}, addressOf(e.Address)
			},
			func(at customer.At, d addressData, p address) (customer.AddressChanged, error) {
				return customer.AddressChanged{At: at, Address: p.with(d.AddressID)}, d.check()
			}),
		define("customer.address_removed", 1,
			func(e customer.AddressRemoved) (addressData, none) {
				return addressData{changedBy(e), e.AddressID}, none{}
			},
			func(at customer.At, d addressData, _ none) (customer.AddressRemoved, error) {
				return customer.AddressRemoved{At: at, AddressID: d.AddressID}, d.check()
			}),
		define("customer.tagged", 1,
			func(e customer.Tagged) (changed, value[customer.Tag]) {
				return changedBy(e), value[customer.Tag]{e.Tag}
			},
			func(at customer.At, _ changed, p value[customer.Tag]) (customer.Tagged, error) {
				return customer.Tagged{At: at, Tag: p.Value}, nil
			}),
		define("customer.untagged", 1,
			func(e customer.Untagged) (changed, value[customer.Tag]) {
				return changedBy(e), value[customer.Tag]{e.Tag}
			},
			func(at customer.At, _ changed, p value[customer.Tag]) (customer.Untagged, error) {
				return customer.Untagged{At: at, Tag: p.Value}, nil
			}),
		define("customer.metadata_changed", 1,
			func(e customer.MetadataChanged) (changed, metadataChange) {
				return changedBy(e), metadataChange{e.Set, e.Removed}
			},
			func(at customer.At, _ changed, p metadataChange) (customer.MetadataChanged, error) {
				return customer.MetadataChanged{At: at, Set: p.Set, Removed: p.Removed}, nil
			}),
		define("customer.consent_granted", 1,
			func(e customer.ConsentGranted) (channelData, consent) {
				return channelData{changedBy(e), e.Channel, true}, consent{e.Source, e.Wording}
			},
			func(at customer.At, d channelData, p consent) (customer.ConsentGranted, error) {
				return customer.ConsentGranted{At: at, Channel: d.Channel, Source: p.Source, Wording: p.Wording}, d.check(true)
			}),
		define("customer.consent_withdrawn", 1,
			func(e customer.ConsentWithdrawn) (channelData, consent) {
				return channelData{changedBy(e), e.Channel, false}, consent{e.Source, e.Wording}
			},
			func(at customer.At, d channelData, p consent) (customer.ConsentWithdrawn, error) {
				return customer.ConsentWithdrawn{At: at, Channel: d.Channel, Source: p.Source, Wording: p.Wording}, d.check(false)
			}),
		define("customer.suspended", 1,
			func(e customer.Suspended) (changed, value[string]) { return changedBy(e), value[string]{e.Reason} },
			func(at customer.At, _ changed, p value[string]) (customer.Suspended, error) {
				return customer.Suspended{At: at, Reason: p.Value}, nil
			}),
		marker("customer.reinstated", func(at customer.At) customer.Reinstated { return customer.Reinstated{At: at} }),
		marker("customer.deleted", func(at customer.At) customer.Deleted { return customer.Deleted{At: at} }),
		marker("customer.restored", func(at customer.At) customer.Restored { return customer.Restored{At: at} }),
		define("customer.erased", 1,
			func(e customer.Erased) (erasedData, none) {
				return erasedData{changedBy(e), e.Actor, e.Reason, e.KeyID}, none{}
			},
			func(at customer.At, d erasedData, _ none) (customer.Erased, error) {
				return customer.Erased{At: at, Actor: d.Actor, Reason: d.Reason, KeyID: d.KeyID}, nil
			}),
	}
}

func (d addressData) check() error {
	if d.AddressID == (customer.AddressID{}) {
		return errNoAddressID
	}
	return nil
}

func (d channelData) check(granted bool) error {
	if d.Channel == "" || d.Granted != granted {
		return fmt.Errorf("channel data does not fit its type")
	}
	return nil
}
