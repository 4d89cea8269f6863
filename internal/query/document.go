package query

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
)

// timeFormat is RFC 3339 in UTC with exactly six digits: a document's bytes are
// a function of its state, and no client meets a time without sub-seconds.
const timeFormat = "2006-01-02T15:04:05.000000Z"

// ErrDocument tells that bytes are not a document that Render made.
var ErrDocument = errors.New("not a customer document")

type (
	// Document is the contract's customer. Every field is always present:
	// absent scalars are null, absent collections empty.
	Document struct {
		ID         customer.ID        `json:"id"`
		Version    customer.Version   `json:"version"`
		Status     customer.Status    `json:"status"`
		FirstName  *string            `json:"first_name"`
		LastName   *string            `json:"last_name"`
		Email      *string            `json:"email"`
		Phone      *string            `json:"phone"`
		Locale     *string            `json:"locale"`
		ExternalID *string            `json:"external_id"`
		Addresses  []Address          `json:"addresses"`
		Tags       []customer.Tag     `json:"tags"`
		Metadata   map[string]string  `json:"metadata"`
		Consents   map[string]Consent `json:"consents"`
		CreatedAt  Time               `json:"created_at"`
		UpdatedAt  Time               `json:"updated_at"`
	}

	// Address is one address of a Document. Its texts are empty when absent.
	Address struct {
		ID         customer.AddressID    `json:"id"`
		Line1      string                `json:"line1"`
		Line2      string                `json:"line2"`
		City       string                `json:"city"`
		State      string                `json:"state"`
		PostalCode string                `json:"postal_code"`
		Country    customer.Country      `json:"country"`
		Label      string                `json:"label"`
		DefaultFor []customer.AddressUse `json:"default_for"`
	}

	// Consent is the present state of one channel in a Document.
	Consent struct {
		Granted bool   `json:"granted"`
		At      Time   `json:"at"`
		Source  string `json:"source"`
		Wording string `json:"wording"`
	}

	// Time is an instant as the contract writes it.
	Time time.Time
)

// MarshalText writes RFC 3339, UTC, six digits.
func (t Time) MarshalText() ([]byte, error) {
	return time.Time(t).UTC().AppendFormat(nil, timeFormat), nil
}

// UnmarshalText reads what MarshalText wrote.
func (t *Time) UnmarshalText(b []byte) error {
	v, err := time.Parse(timeFormat, string(b))
	if err != nil {
		return fmt.Errorf("%w: time", ErrDocument) // the value itself may be personal
	}
	*t = Time(v)
	return nil
}

// NewDocument gives d as the contract shows it. What Data holds beyond the
// contract (the status before a deletion, the erasure record) is not in it.
func NewDocument(d customer.Data) Document {
	doc := Document{
		ID: d.ID, Version: d.Version, Status: d.Status,
		FirstName:  optional(d.FirstName),
		LastName:   optional(d.LastName),
		Email:      optional(d.Email),
		Phone:      optional(d.Phone),
		Locale:     optional(d.Locale),
		ExternalID: optional(d.ExternalID),
		Addresses:  make([]Address, len(d.Addresses)),
		Tags:       append([]customer.Tag{}, d.Tags...),
		Metadata:   d.Metadata,
		Consents:   make(map[string]Consent, len(d.Consents)),
		CreatedAt:  Time(d.CreatedAt), UpdatedAt: Time(d.UpdatedAt),
	}
	for i, a := range d.Addresses {
		doc.Addresses[i] = NewAddress(a)
	}
	if doc.Metadata == nil {
		doc.Metadata = map[string]string{}
	}
	for c, v := range d.Consents {
		doc.Consents[string(c)] = NewConsent(v)
	}
	return doc
}

// NewAddress gives a as the contract shows it.
func NewAddress(a customer.Address) Address {
	return Address{
		ID: a.ID, Line1: a.Line1, Line2: a.Line2, City: a.City, State: a.State, PostalCode: a.PostalCode,
		Country: a.Country, Label: a.Label, DefaultFor: append([]customer.AddressUse{}, a.DefaultFor...),
	}
}

// NewConsent gives c as the contract shows it.
func NewConsent(c customer.Consent) Consent {
	return Consent{Granted: c.Granted, At: Time(c.At), Source: c.Source, Wording: c.Wording}
}

// Render is the contract's JSON of a customer, without a trailing newline. Equal
// data give equal bytes.
func Render(d customer.Data) ([]byte, error) {
	b, err := json.Marshal(NewDocument(d))
	if err != nil {
		return nil, fmt.Errorf("render customer %s: %w", d.ID, err)
	}
	return b, nil
}

// Parse is the inverse of Render: it loses nothing that NewDocument shows.
// Empty collections come back as nil. It refuses with ErrDocument what Render
// did not write, so that a foreign value is never taken for a customer.
func Parse(b []byte) (customer.Data, error) {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	var doc Document
	if err := dec.Decode(&doc); err != nil {
		return customer.Data{}, ErrDocument // encoding/json quotes input in its errors
	}
	if dec.More() {
		return customer.Data{}, ErrDocument
	}
	d := customer.Data{
		ID: doc.ID, Version: doc.Version, Status: doc.Status,
		FirstName:  value[customer.Name](doc.FirstName),
		LastName:   value[customer.Name](doc.LastName),
		Email:      value[customer.Email](doc.Email),
		Phone:      value[customer.Phone](doc.Phone),
		Locale:     value[customer.Locale](doc.Locale),
		ExternalID: value[customer.ExternalID](doc.ExternalID),
		CreatedAt:  time.Time(doc.CreatedAt), UpdatedAt: time.Time(doc.UpdatedAt),
	}
	for _, a := range doc.Addresses {
		d.Addresses = append(d.Addresses, customer.Address{
			ID: a.ID, Line1: a.Line1, Line2: a.Line2, City: a.City, State: a.State, PostalCode: a.PostalCode,
			Country: a.Country, Label: a.Label, DefaultFor: nonEmpty(a.DefaultFor),
		})
	}
	d.Tags = nonEmpty(doc.Tags)
	if len(doc.Metadata) > 0 {
		d.Metadata = doc.Metadata
	}
	if len(doc.Consents) > 0 {
		d.Consents = make(map[customer.Channel]customer.Consent, len(doc.Consents))
		for c, v := range doc.Consents {
			d.Consents[customer.Channel(c)] = customer.Consent{
				Granted: v.Granted, At: time.Time(v.At), Source: v.Source, Wording: v.Wording,
			}
		}
	}
	return d, nil
}

func optional[T ~string](v T) *string {
	if v == "" {
		return nil
	}
	s := string(v)
	return &s
}

func value[T ~string](p *string) T {
	if p == nil {
		return ""
	}
	return T(*p)
}

func nonEmpty[T any](s []T) []T {
	if len(s) == 0 {
		return nil
	}
	return slices.Clip(s)
}
