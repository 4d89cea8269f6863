package customer

import (
	"time"

	"github.com/google/uuid"
)

type (
	// ID names a customer: a UUIDv7 chosen by the command side.
	ID = uuid.UUID
	// AddressID names an address within one customer: a UUIDv7.
	AddressID = uuid.UUID
	// Version counts a customer's events: 0 before it exists, then 1, 2, … without gaps.
	Version int64
)

// The values below are made by their Parse functions, or read back from the
// log, which holds nothing else. The zero value means absent.
type (
	// Name is one part of a person's name: NFC, trimmed, at most 200 code points.
	Name string
	// Email is one address as given (NFC, trimmed, domain in lower-case ASCII
	// or as the person writes it); Canonical tells which two are the same.
	Email string
	// Phone is an E.164 number, as in +14155552671.
	Phone string
	// Locale is a canonical BCP 47 tag, as in vi-VN.
	Locale string
	// ExternalID is another system's name for the customer: 1–128 printable ASCII characters.
	ExternalID string
	// Country is an ISO 3166-1 alpha-2 code in upper case.
	Country string
	// Tag is 1–40 characters of a–z, 0–9, '-', '_', '.'.
	Tag string
	// Channel is a way to reach a customer that consent is given for.
	Channel string
	// AddressUse is what an address can be the default for.
	AddressUse string
	// Status is where a customer is in its life.
	Status string
)

// The channels, uses and states there are.
const (
	ChannelEmail Channel = "email"
	ChannelSMS   Channel = "sms"
	ChannelPhone Channel = "phone"
	ChannelPost  Channel = "post"

	UseShipping AddressUse = "shipping"
	UseBilling  AddressUse = "billing"

	StatusNone      Status = ""
	StatusActive    Status = "active"
	StatusSuspended Status = "suspended"
	StatusDeleted   Status = "deleted"
	StatusErased    Status = "erased"
)

// Limits on collections and texts, from the HTTP contract.
const (
	MaxNameLength          = 200 // code points
	MaxEmailLength         = 254 // octets, RFC 5321 §4.5.3.1.3 less the brackets
	MaxExternalIDLength    = 128 // characters
	MaxTagLength           = 40  // characters
	MaxTags                = 50
	MaxAddresses           = 20
	MaxMetadataKeys        = 50
	MaxMetadataKeyLength   = 40  // code points
	MaxMetadataValueLength = 500 // code points
	MaxReasonLength        = 500 // code points, also of a consent's source
	MaxWordingLength       = 2000
)

// Address is one postal address of a customer.
type Address struct {
	ID                                    AddressID
	Line1, Line2, City, State, PostalCode string
	Country                               Country
	Label                                 string
	DefaultFor                            []AddressUse // sorted, no duplicates
}

// Consent is the present state of one channel; the ledger is the history.
type Consent struct {
	Granted         bool
	At              time.Time
	Source, Wording string
}

// Erasure is what stays known about an erased customer.
type Erasure struct {
	At            time.Time
	Actor, Reason string
	KeyID         string
}

// Data is everything a State holds, as plain values for codecs and views. It
// shares no memory with the State it came from.
type Data struct {
	ID                   ID
	Version              Version
	Status               Status
	StatusBeforeDeletion Status // what Restored brings back
	FirstName, LastName  Name
	Email                Email
	Phone                Phone
	Locale               Locale
	ExternalID           ExternalID
	Addresses            []Address // in the order they were added
	Tags                 []Tag     // sorted
	Metadata             map[string]string
	Consents             map[Channel]Consent
	CreatedAt, UpdatedAt time.Time
	Erasure              *Erasure // set once Erased
}
