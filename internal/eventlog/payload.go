package eventlog

import (
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
)

// The stored forms below are version 1 of their types. Empty values are left
// out, so that a value added later costs nothing where it is absent.

type (
	value[T ~string] struct {
		Value T `json:"value,omitempty"`
	}

	names struct {
		FirstName customer.Name `json:"first_name,omitempty"`
		LastName  customer.Name `json:"last_name,omitempty"`
	}

	address struct {
		Line1      string                `json:"line1,omitempty"`
		Line2      string                `json:"line2,omitempty"`
		City       string                `json:"city,omitempty"`
		State      string                `json:"state,omitempty"`
		PostalCode string                `json:"postal_code,omitempty"`
		Country    customer.Country      `json:"country,omitempty"`
		Label      string                `json:"label,omitempty"`
		DefaultFor []customer.AddressUse `json:"default_for,omitempty"`
	}

	addressData struct {
		changed
		AddressID customer.AddressID `json:"address_id"`
	}

	metadataChange struct {
		Set     map[string]string `json:"set,omitempty"`
		Removed []string          `json:"removed,omitempty"`
	}

	consent struct {
		Source  string `json:"source,omitempty"`
		Wording string `json:"wording,omitempty"`
	}

	channelData struct {
		changed
		Channel customer.Channel `json:"channel"`
		Granted bool             `json:"granted"`
	}

	erasedData struct {
		changed
		Actor  string `json:"actor"`
		Reason string `json:"reason"`
		KeyID  string `json:"key_id"`
	}

	registeredData struct {
		changed
		AddressIDs []customer.AddressID             `json:"address_ids,omitempty"`
		Consents   map[customer.Channel]consentData `json:"consents,omitempty"`
	}

	consentData struct {
		Granted bool      `json:"granted"`
		At      time.Time `json:"at"`
	}

	registered struct {
		names
		Email      customer.Email               `json:"email,omitempty"`
		Phone      customer.Phone               `json:"phone,omitempty"`
		Locale     customer.Locale              `json:"locale,omitempty"`
		ExternalID customer.ExternalID          `json:"external_id,omitempty"`
		Addresses  []address                    `json:"addresses,omitempty"` // as data's address_ids
		Tags       []customer.Tag               `json:"tags,omitempty"`
		Metadata   map[string]string            `json:"metadata,omitempty"`
		Consents   map[customer.Channel]consent `json:"consents,omitempty"`
	}
)

func addressOf(a customer.Address) address {
	return address{a.Line1, a.Line2, a.City, a.State, a.PostalCode, a.Country, a.Label, a.DefaultFor}
}

func (a address) with(id customer.AddressID) customer.Address {
	return customer.Address{
		ID: id, Line1: a.Line1, Line2: a.Line2, City: a.City, State: a.State, PostalCode: a.PostalCode,
		Country: a.Country, Label: a.Label, DefaultFor: a.DefaultFor,
	}
}

func splitRegistered(e customer.Registered) (registeredData, registered) {
	d := registeredData{changed: changedBy(e)}
	p := registered{
		names: names{e.FirstName, e.LastName},
		Email: e.Email, Phone: e.Phone, Locale: e.Locale, ExternalID: e.ExternalID,
		Tags: e.Tags, Metadata: e.Metadata,
	}
	for _, a := range e.Addresses {
		d.AddressIDs = append(d.AddressIDs, a.ID)
		p.Addresses = append(p.Addresses, addressOf(a))
	}
	if len(e.Consents) > 0 {
		d.Consents = make(map[customer.Channel]consentData, len(e.Consents))
		p.Consents = make(map[customer.Channel]consent, len(e.Consents))
	}
	for ch, c := range e.Consents {
		d.Consents[ch] = consentData{c.Granted, c.At}
		p.Consents[ch] = consent{c.Source, c.Wording}
	}
	return d, p
}

// joinRegistered fills addresses and consents with empty values when their
// personal part is gone, but never mixes up two lists that do not fit.
func joinRegistered(at customer.At, d registeredData, p registered) (customer.Registered, error) {
	if p.Addresses == nil && d.AddressIDs != nil {
		p.Addresses = make([]address, len(d.AddressIDs))
	}
	if len(p.Addresses) != len(d.AddressIDs) {
		return customer.Registered{}, errors.New("addresses and their ids differ in number")
	}
	if slices.Contains(d.AddressIDs, customer.AddressID{}) {
		return customer.Registered{}, errNoAddressID
	}
	e := customer.Registered{
		At: at, FirstName: p.FirstName, LastName: p.LastName,
		Email: p.Email, Phone: p.Phone, Locale: p.Locale, ExternalID: p.ExternalID,
		Tags: p.Tags, Metadata: p.Metadata,
	}
	for i, a := range p.Addresses {
		e.Addresses = append(e.Addresses, a.with(d.AddressIDs[i]))
	}
	for _, ch := range slices.Sorted(maps.Keys(d.Consents)) {
		if e.Consents == nil {
			e.Consents = make(map[customer.Channel]customer.Consent, len(d.Consents))
		}
		c := d.Consents[ch]
		e.Consents[ch] = customer.Consent{Granted: c.Granted, At: c.At.UTC(), Source: p.Consents[ch].Source, Wording: p.Consents[ch].Wording}
	}
	return e, nil
}
