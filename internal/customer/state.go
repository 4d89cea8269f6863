package customer

import (
	"maps"
	"slices"
	"time"
)

// State is one customer as its events left it. The zero value is a customer
// that does not exist yet. A State is never changed: Evolve makes the next one,
// so that it may be shared between goroutines and kept in caches.
type State struct {
	// data's slices and maps are shared between states that follow each other,
	// so nothing in this package writes to them once they are in a State.
	data Data
}

// NewState is the customer id before its first event.
func NewState(id ID) State { return State{data: Data{ID: id}} }

// Fold is the customer id after events.
func Fold(id ID, events ...Event) State {
	s := NewState(id)
	for _, e := range events {
		s = s.Evolve(e)
	}
	return s
}

// FromData is the state that d describes: the inverse of State.Data, for
// snapshots and projections. It trusts d, as Evolve trusts events.
func FromData(d Data) State {
	d = d.clone()
	// A codec may give sets in any order; lookups here rely on theirs.
	slices.Sort(d.Tags)
	d.Tags = slices.Compact(d.Tags)
	return State{data: d}
}

// Data is everything s holds, sharing no memory with it.
func (s State) Data() Data { return s.data.clone() }

// ID names the customer.
func (s State) ID() ID { return s.data.ID }

// Version counts the events so far.
func (s State) Version() Version { return s.data.Version }

// Status is where the customer is in its life.
func (s State) Status() Status { return s.data.Status }

// Email is the customer's e-mail address, empty once erased.
func (s State) Email() Email { return s.data.Email }

// ExternalID is the other system's name for the customer, if it has one.
func (s State) ExternalID() ExternalID { return s.data.ExternalID }

// CreatedAt is when the first event occurred.
func (s State) CreatedAt() time.Time { return s.data.CreatedAt }

// UpdatedAt is when the latest event occurred.
func (s State) UpdatedAt() time.Time { return s.data.UpdatedAt }

// Address finds one of the customer's addresses.
func (s State) Address(id AddressID) (Address, bool) {
	i := addressIndex(s.data.Addresses, id)
	if i < 0 {
		return Address{}, false
	}
	return s.data.Addresses[i].clone(), true
}

// Erasure is what stays known of an erased customer.
func (s State) Erasure() (Erasure, bool) {
	if s.data.Erasure == nil {
		return Erasure{}, false
	}
	return *s.data.Erasure, true
}

// HoldsClaims tells whether the customer's e-mail and external id are its own,
// refused to all others. Deleting and erasing free both: the contract says so
// of the e-mail, and a rule that differed for the external id would make a
// customer deleted and imported again impossible to register.
func (s State) HoldsClaims() bool {
	return s.data.Status == StatusActive || s.data.Status == StatusSuspended
}

func (d Data) clone() Data {
	d.Addresses = cloneAddresses(d.Addresses)
	d.Tags = cloneSlice(d.Tags)
	d.Metadata = cloneMap(d.Metadata)
	d.Consents = cloneMap(d.Consents)
	if d.Erasure != nil {
		erasure := *d.Erasure
		d.Erasure = &erasure
	}
	return d
}

// cloneSlice and cloneMap make nil of what is empty, so that equal states are
// deeply equal whatever codec they went through.
func cloneSlice[T any](in []T) []T {
	if len(in) == 0 {
		return nil
	}
	return slices.Clone(in)
}

func cloneMap[K comparable, V any](in map[K]V) map[K]V {
	if len(in) == 0 {
		return nil
	}
	return maps.Clone(in)
}
