package customer

import (
	"slices"
	"time"
)

// Change is what a customer is to be from now on. Nil leaves a thing alone; a
// pointer to the zero value removes it.
type Change struct {
	FirstName, LastName *Name
	Email               *Email
	Phone               *Phone
	Locale              *Locale
	ExternalID          *ExternalID
	Metadata            *MetadataChange
}

// MetadataChange is a merge into the metadata: Clear empties it first, then
// Remove takes keys away, then Set has the last word.
type MetadataChange struct {
	Set    map[string]string
	Remove []string
	Clear  bool
}

// Apply decides c: one event for each thing that differs from what it was, in
// the order Renamed, EmailChanged, PhoneChanged, LocaleChanged,
// ExternalIDChanged, MetadataChanged. All broken rules are told at once, as
// Violations, and then nothing is decided.
func (s State) Apply(c Change, now time.Time) ([]Event, error) {
	if err := s.mustLive(); err != nil {
		return nil, err
	}
	if err := s.violations(c).Err(); err != nil {
		return nil, err
	}
	d := s.data
	stamps := s.stampsFrom(now)
	var events []Event
	first, last := valueOr(c.FirstName, d.FirstName), valueOr(c.LastName, d.LastName)
	if first != d.FirstName || last != d.LastName {
		events = append(events, Renamed{At: stamps.at(), FirstName: first, LastName: last})
	}
	// Another spelling of the same e-mail is a change: it is kept as given.
	if email := valueOr(c.Email, d.Email); email != d.Email {
		events = append(events, EmailChanged{At: stamps.at(), Email: email})
	}
	if phone := valueOr(c.Phone, d.Phone); phone != d.Phone {
		events = append(events, PhoneChanged{At: stamps.at(), Phone: phone})
	}
	if locale := valueOr(c.Locale, d.Locale); locale != d.Locale {
		events = append(events, LocaleChanged{At: stamps.at(), Locale: locale})
	}
	if id := valueOr(c.ExternalID, d.ExternalID); id != d.ExternalID {
		events = append(events, ExternalIDChanged{At: stamps.at(), ExternalID: id})
	}
	if set, removed := c.Metadata.difference(d.Metadata); len(set)+len(removed) > 0 {
		events = append(events, MetadataChanged{At: stamps.at(), Set: set, Removed: removed})
	}
	return events, nil
}

func (s State) violations(c Change) Violations {
	var broken Violations
	first, last := valueOr(c.FirstName, s.data.FirstName), valueOr(c.LastName, s.data.LastName)
	// Only a change of the names can break the rule about them, and the fault
	// is where the change is.
	if first == "" && last == "" {
		switch {
		case c.FirstName != nil:
			broken.Add("/first_name", errNameless())
		case c.LastName != nil:
			broken.Add("/last_name", errNameless())
		}
	}
	if c.Email != nil && *c.Email == "" {
		broken.Add("/email", errEmailRequired())
	}
	if c.Metadata != nil && len(c.Metadata.result(s.data.Metadata)) > MaxMetadataKeys {
		broken = append(broken, tooManyMetadataKeys()...)
	}
	return broken
}

// result is what m becomes.
func (c *MetadataChange) result(m map[string]string) map[string]string {
	switch {
	case c == nil:
		return m
	case c.Clear:
		return changeMetadata(nil, c.Set, nil)
	default:
		return changeMetadata(m, c.Set, c.Remove)
	}
}

// difference is what the change does to m: the keys that get another value,
// and, sorted, those that go.
func (c *MetadataChange) difference(m map[string]string) (set map[string]string, removed []string) {
	if c == nil {
		return nil, nil
	}
	after := c.result(m)
	for k, v := range after {
		if old, had := m[k]; !had || old != v {
			if set == nil {
				set = make(map[string]string)
			}
			set[k] = v
		}
	}
	for k := range m {
		if _, stays := after[k]; !stays {
			removed = append(removed, k)
		}
	}
	slices.Sort(removed)
	return set, removed
}

func valueOr[T any](p *T, old T) T {
	if p == nil {
		return old
	}
	return *p
}
