package customer

import (
	"slices"
)

// Evolve is s after e. It never fails, validates or reads a clock, and leaves
// s as it was. An event that makes no sense where it stands (a change to an
// address that is not there, anything after Erased) still counts: the version
// and the time move on, because both say how far the history was read.
func (s State) Evolve(e Event) State {
	if e == nil {
		return s
	}
	d := s.data
	d.Version++
	d.UpdatedAt = e.OccurredAt()
	if d.Version == 1 {
		d.CreatedAt = d.UpdatedAt
	}
	if d.Status != StatusErased {
		d.apply(e)
	}
	return State{data: d}
}

// apply changes what e says. d's slices and maps belong to the previous state
// too, so each change makes a new one.
func (d *Data) apply(e Event) {
	switch e := e.(type) {
	case Registered:
		d.register(e)
	case Renamed:
		d.FirstName, d.LastName = e.FirstName, e.LastName
	case EmailChanged:
		d.Email = e.Email
	case PhoneChanged:
		d.Phone = e.Phone
	case LocaleChanged:
		d.Locale = e.Locale
	case ExternalIDChanged:
		d.ExternalID = e.ExternalID
	case AddressAdded:
		d.Addresses = putAddress(d.Addresses, e.Address)
	case AddressChanged:
		if addressIndex(d.Addresses, e.Address.ID) >= 0 {
			d.Addresses = putAddress(d.Addresses, e.Address)
		}
	case AddressRemoved:
		d.Addresses = cloneSlice(slices.DeleteFunc(slices.Clone(d.Addresses), func(a Address) bool { return a.ID == e.AddressID }))
	case Tagged:
		if i, found := slices.BinarySearch(d.Tags, e.Tag); !found {
			d.Tags = slices.Insert(slices.Clone(d.Tags), i, e.Tag)
		}
	case Untagged:
		d.Tags = cloneSlice(slices.DeleteFunc(slices.Clone(d.Tags), func(t Tag) bool { return t == e.Tag }))
	case MetadataChanged:
		d.Metadata = changeMetadata(d.Metadata, e.Set, e.Removed)
	case ConsentGranted:
		d.consent(e.Channel, Consent{Granted: true, At: e.Time, Source: e.Source, Wording: e.Wording})
	case ConsentWithdrawn:
		d.consent(e.Channel, Consent{At: e.Time, Source: e.Source, Wording: e.Wording})
	case Suspended:
		if d.Status == StatusActive {
			d.Status = StatusSuspended
		}
	case Reinstated:
		if d.Status == StatusSuspended {
			d.Status = StatusActive
		}
	case Deleted:
		if d.Status == StatusActive || d.Status == StatusSuspended {
			d.StatusBeforeDeletion, d.Status = d.Status, StatusDeleted
		}
	case Restored:
		if d.Status == StatusDeleted {
			d.Status, d.StatusBeforeDeletion = d.StatusBeforeDeletion, StatusNone
		}
	case Erased:
		d.erase(e)
	}
}

func (d *Data) register(e Registered) {
	d.Status, d.StatusBeforeDeletion = StatusActive, StatusNone
	d.FirstName, d.LastName = e.FirstName, e.LastName
	d.Email, d.Phone, d.Locale, d.ExternalID = e.Email, e.Phone, e.Locale, e.ExternalID
	d.Addresses = nil
	for _, a := range e.Addresses {
		d.Addresses = putAddress(d.Addresses, a)
	}
	d.Tags = sortedTags(e.Tags)
	d.Metadata = cloneMap(e.Metadata)
	d.Consents = cloneMap(e.Consents)
}

func (d *Data) consent(ch Channel, c Consent) {
	consents := make(map[Channel]Consent, len(d.Consents)+1)
	for k, v := range d.Consents {
		consents[k] = v
	}
	consents[ch] = c
	d.Consents = consents
}

// erase keeps what the tombstone needs and drops the rest by naming what
// stays, so that a field added later is dropped as well.
func (d *Data) erase(e Erased) {
	*d = Data{
		ID:        d.ID,
		Version:   d.Version,
		Status:    StatusErased,
		CreatedAt: d.CreatedAt,
		UpdatedAt: d.UpdatedAt,
		Erasure:   &Erasure{At: e.Time, Actor: e.Actor, Reason: e.Reason, KeyID: e.KeyID},
	}
}

// sortedTags is tags as the set they are.
func sortedTags(tags []Tag) []Tag {
	out := cloneSlice(tags)
	slices.Sort(out)
	return slices.Compact(out)
}

// changeMetadata is m without removed and with set, in a map of its own.
func changeMetadata(m, set map[string]string, removed []string) map[string]string {
	out := make(map[string]string, len(m)+len(set))
	for k, v := range m {
		out[k] = v
	}
	for _, k := range removed {
		delete(out, k)
	}
	for k, v := range set {
		out[k] = v
	}
	if len(out) == 0 {
		return nil
	}
	return out
}
