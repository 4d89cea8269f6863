package customer

import (
	"fmt"
	"time"
)

// Registration is what a customer is registered with. Its values are parsed;
// only rules that span values are left to Register.
type Registration struct {
	FirstName, LastName Name
	Email               Email
	Phone               Phone
	Locale              Locale
	ExternalID          ExternalID
	// Addresses are added in order, each with an id of its own. A default that
	// two of them name goes to the later one, as it would had they been added
	// one by one.
	Addresses []Address
	// Tags are a set: one named twice is there once.
	Tags     []Tag
	Metadata map[string]string
	// Consents as given; their At is set by Register.
	Consents map[Channel]Consent
}

// Register decides that s begins to exist. All broken rules are told at once,
// as Violations.
func (s State) Register(r Registration, now time.Time) ([]Event, error) {
	switch {
	case s.data.Status == StatusErased:
		return nil, ErrErased
	case s.data.Version > 0:
		return nil, ErrAlreadyRegistered
	}
	tags := sortedTags(r.Tags)
	if err := r.violations(tags).Err(); err != nil {
		return nil, err
	}
	at := s.stampsFrom(now).at()
	var addresses []Address
	for _, a := range r.Addresses {
		addresses = putAddress(addresses, a)
	}
	consents := cloneMap(r.Consents)
	for ch, c := range consents {
		c.At = at.Time
		consents[ch] = c
	}
	return []Event{Registered{
		At:         at,
		FirstName:  r.FirstName,
		LastName:   r.LastName,
		Email:      r.Email,
		Phone:      r.Phone,
		Locale:     r.Locale,
		ExternalID: r.ExternalID,
		Addresses:  addresses,
		Tags:       tags,
		Metadata:   cloneMap(r.Metadata),
		Consents:   consents,
	}}, nil
}

// Check tells, as Violations, what Register would find wrong with r.
func (r Registration) Check() error { return r.violations(sortedTags(r.Tags)).Err() }

func (r Registration) violations(tags []Tag) Violations {
	var broken Violations
	if r.FirstName == "" && r.LastName == "" {
		broken.Add("/first_name", errNameless())
	}
	if r.Email == "" {
		broken.Add("/email", errEmailRequired())
	}
	if len(r.Addresses) > MaxAddresses {
		broken = append(broken, tooManyAddresses()...)
	}
	seen := make(map[AddressID]bool, len(r.Addresses))
	for i, a := range r.Addresses {
		if seen[a.ID] {
			broken.Add(fmt.Sprintf("/addresses/%d/id", i), &ValueError{Code: CodeDuplicate, Detail: "another address has this id"})
		}
		seen[a.ID] = true
	}
	if len(tags) > MaxTags {
		broken = append(broken, tooManyTags()...)
	}
	if len(r.Metadata) > MaxMetadataKeys {
		broken = append(broken, tooManyMetadataKeys()...)
	}
	return broken
}

func errNameless() error {
	return &ValueError{Code: CodeRequired, Detail: "a first name or a last name is required"}
}

func errEmailRequired() error {
	return &ValueError{Code: CodeRequired, Detail: "an e-mail address is required"}
}
