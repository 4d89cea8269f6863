package customer

import "time"

// Event is a fact about one customer, in the past tense. The set is closed:
// only this package declares events. A customer's nth event makes version n.
//
// OccurredAt is strictly increasing along a customer's events (microsecond
// resolution, UTC), so that "as of updated_at" always names one version.
type Event interface {
	OccurredAt() time.Time
	isEvent()
}

// At is when an event occurred, embedded by every event.
type At struct{ Time time.Time }

// OccurredAt returns when the event occurred, UTC, in whole microseconds.
func (a At) OccurredAt() time.Time { return a.Time }

func (At) isEvent() {}

type (
	// Registered begins a customer with everything the registration named.
	Registered struct {
		At
		FirstName, LastName Name
		Email               Email
		Phone               Phone
		Locale              Locale
		ExternalID          ExternalID
		Addresses           []Address
		Tags                []Tag
		Metadata            map[string]string
		Consents            map[Channel]Consent
	}

	// Renamed gives both names as they are from now on.
	Renamed struct {
		At
		FirstName, LastName Name
	}

	// EmailChanged gives the new e-mail address.
	EmailChanged struct {
		At
		Email Email
	}

	// PhoneChanged gives the new phone number; empty when it was removed.
	PhoneChanged struct {
		At
		Phone Phone
	}

	// LocaleChanged gives the new locale; empty when it was removed.
	LocaleChanged struct {
		At
		Locale Locale
	}

	// ExternalIDChanged gives the new external id; empty when it was removed.
	ExternalIDChanged struct {
		At
		ExternalID ExternalID
	}

	// AddressAdded appends an address. A default it takes moves from the
	// address that had it.
	AddressAdded struct {
		At
		Address Address
	}

	// AddressChanged replaces the address with the same id, defaults included.
	AddressChanged struct {
		At
		Address Address
	}

	// AddressRemoved removes one address and the defaults it held.
	AddressRemoved struct {
		At
		AddressID AddressID
	}

	// Tagged adds one tag.
	Tagged struct {
		At
		Tag Tag
	}

	// Untagged removes one tag.
	Untagged struct {
		At
		Tag Tag
	}

	// MetadataChanged sets some keys and removes others.
	MetadataChanged struct {
		At
		Set     map[string]string
		Removed []string
	}

	// ConsentGranted records that the customer allowed a channel.
	ConsentGranted struct {
		At
		Channel         Channel
		Source, Wording string
	}

	// ConsentWithdrawn records that the customer no longer allows a channel.
	ConsentWithdrawn struct {
		At
		Channel         Channel
		Source, Wording string
	}

	// Suspended keeps the customer readable and changeable, but marked.
	Suspended struct {
		At
		Reason string
	}

	// Reinstated ends a suspension.
	Reinstated struct{ At }

	// Deleted takes the customer from all reads; its history stays.
	Deleted struct{ At }

	// Restored undoes a deletion; a suspension it had comes back with it.
	Restored struct{ At }

	// Erased ends the customer for good. Everything in it stays readable after
	// the data key is gone, so none of it may describe the person.
	Erased struct {
		At
		Actor, Reason string
		KeyID         string
	}
)
