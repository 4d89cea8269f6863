package customer

import (
	"fmt"
	"slices"
	"time"
)

// AddAddress decides that the customer can also be found at a. Defaults that a
// takes move from the addresses that had them. The very same address again is
// no change; another one under a known id is ErrStateConflict.
func (s State) AddAddress(a Address, now time.Time) ([]Event, error) {
	if err := s.mustLive(); err != nil {
		return nil, err
	}
	a = a.clone()
	if i := addressIndex(s.data.Addresses, a.ID); i >= 0 {
		if s.data.Addresses[i].equal(a) {
			return nil, nil
		}
		return nil, fmt.Errorf("add address: id in use: %w", ErrStateConflict)
	}
	if len(s.data.Addresses) >= MaxAddresses {
		return nil, tooManyAddresses()
	}
	return []Event{AddressAdded{At: s.stampsFrom(now).at(), Address: a}}, nil
}

// ChangeAddress decides that the address with a's id is a from now on.
func (s State) ChangeAddress(a Address, now time.Time) ([]Event, error) {
	if err := s.mustLive(); err != nil {
		return nil, err
	}
	a = a.clone()
	i := addressIndex(s.data.Addresses, a.ID)
	if i < 0 {
		return nil, ErrAddressNotFound
	}
	if s.data.Addresses[i].equal(a) {
		return nil, nil
	}
	return []Event{AddressChanged{At: s.stampsFrom(now).at(), Address: a}}, nil
}

// RemoveAddress decides that the customer is no longer found at an address.
// Removing one that is not there is ErrAddressNotFound, not silence: the id is
// the service's own, so a wrong one is a mistake.
func (s State) RemoveAddress(id AddressID, now time.Time) ([]Event, error) {
	if err := s.mustLive(); err != nil {
		return nil, err
	}
	if addressIndex(s.data.Addresses, id) < 0 {
		return nil, ErrAddressNotFound
	}
	return []Event{AddressRemoved{At: s.stampsFrom(now).at(), AddressID: id}}, nil
}

// Tag decides that the customer carries t.
func (s State) Tag(t Tag, now time.Time) ([]Event, error) {
	if err := s.mustLive(); err != nil {
		return nil, err
	}
	if _, found := slices.BinarySearch(s.data.Tags, t); found {
		return nil, nil
	}
	if len(s.data.Tags) >= MaxTags {
		return nil, tooManyTags()
	}
	return []Event{Tagged{At: s.stampsFrom(now).at(), Tag: t}}, nil
}

// Untag decides that the customer does not carry t. Tags are a set, so taking
// away one that is not there changes nothing.
func (s State) Untag(t Tag, now time.Time) ([]Event, error) {
	if err := s.mustLive(); err != nil {
		return nil, err
	}
	if _, found := slices.BinarySearch(s.data.Tags, t); !found {
		return nil, nil
	}
	return []Event{Untagged{At: s.stampsFrom(now).at(), Tag: t}}, nil
}

// GrantConsent decides that the customer allows ch. The same consent again
// (same source, same wording) is no change; another wording is, because the
// ledger must say what the customer agreed to.
func (s State) GrantConsent(ch Channel, source, wording string, now time.Time) ([]Event, error) {
	if err := s.mustLive(); err != nil {
		return nil, err
	}
	if s.hasConsent(ch, Consent{Granted: true, Source: source, Wording: wording}) {
		return nil, nil
	}
	return []Event{ConsentGranted{At: s.stampsFrom(now).at(), Channel: ch, Source: source, Wording: wording}}, nil
}

// WithdrawConsent decides that the customer does not allow ch. Refusing what
// was never granted is recorded too: an objection is a fact of its own.
func (s State) WithdrawConsent(ch Channel, source, wording string, now time.Time) ([]Event, error) {
	if err := s.mustLive(); err != nil {
		return nil, err
	}
	if s.hasConsent(ch, Consent{Source: source, Wording: wording}) {
		return nil, nil
	}
	return []Event{ConsentWithdrawn{At: s.stampsFrom(now).at(), Channel: ch, Source: source, Wording: wording}}, nil
}

// hasConsent compares all but the time.
func (s State) hasConsent(ch Channel, c Consent) bool {
	have, found := s.data.Consents[ch]
	c.At = have.At
	return found && have == c
}

func tooManyAddresses() Violations {
	return tooMany("/addresses", fmt.Sprintf("a customer has at most %d addresses", MaxAddresses))
}

func tooManyTags() Violations {
	return tooMany("/tags", fmt.Sprintf("a customer has at most %d tags", MaxTags))
}

func tooManyMetadataKeys() Violations {
	return tooMany("/metadata", fmt.Sprintf("metadata has at most %d keys", MaxMetadataKeys))
}
