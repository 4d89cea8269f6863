package projection

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/query"
)

// changes lists what differs between a customer before and after an event, in
// a fixed order of fields.
func changes(before, after customer.Data, e customer.Event) ([]Change, error) {
	var d differ
	text(&d, "status", before.Status, after.Status)
	text(&d, "first_name", before.FirstName, after.FirstName)
	text(&d, "last_name", before.LastName, after.LastName)
	text(&d, "email", before.Email, after.Email)
	text(&d, "phone", before.Phone, after.Phone)
	text(&d, "locale", before.Locale, after.Locale)
	text(&d, "external_id", before.ExternalID, after.ExternalID)
	addresses(&d, before.Addresses, after.Addresses)
	if !slices.Equal(before.Tags, after.Tags) {
		d.add("tags", orEmpty(before.Tags), orEmpty(after.Tags))
	}
	elements(&d, "metadata.", before.Metadata, after.Metadata)
	elements(&d, "consents.", consents(before.Consents), consents(after.Consents))
	// A reason is no part of the customer, but of what happened to it.
	if s, ok := e.(customer.Suspended); ok && s.Reason != "" {
		d.add("reason", nil, s.Reason)
	}
	return d.changes, d.err
}

type differ struct {
	changes []Change
	err     error
}

func (d *differ) add(field string, before, after any) {
	o, err := json.Marshal(before)
	if err != nil {
		d.err = err
	}
	n, err := json.Marshal(after)
	if err != nil {
		d.err = err
	}
	if !bytes.Equal(o, n) {
		d.changes = append(d.changes, Change{Field: field, Old: o, New: n})
	}
}

func text[T ~string](d *differ, field string, before, after T) {
	if before == after {
		return
	}
	d.add(field, orNull(before), orNull(after))
}

// elements compares two collections by key; what is in one only is null in the other.
func elements[V any](d *differ, prefix string, before, after map[string]V) {
	if len(before) == 0 && len(after) == 0 {
		return
	}
	keys := maps.Clone(before)
	if keys == nil {
		keys = map[string]V{}
	}
	maps.Copy(keys, after)
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		d.add(prefix+k, element(before, k), element(after, k))
	}
}

// addresses compares by id. Those a customer begins with are in the order they
// have in it, which is the only thing that tells it: later ones come one by one.
func addresses(d *differ, before, after []customer.Address) {
	if len(before) > 0 {
		elements(d, "addresses.", byID(before), byID(after))
		return
	}
	for _, a := range after {
		d.add("addresses."+a.ID.String(), nil, query.NewAddress(a))
	}
}

func element[V any](m map[string]V, key string) any {
	if v, ok := m[key]; ok {
		return v
	}
	return nil
}

func byID(addresses []customer.Address) map[string]query.Address {
	m := make(map[string]query.Address, len(addresses))
	for _, a := range addresses {
		m[a.ID.String()] = query.NewAddress(a)
	}
	return m
}

func consents(in map[customer.Channel]customer.Consent) map[string]query.Consent {
	m := make(map[string]query.Consent, len(in))
	for channel, c := range in {
		m[string(channel)] = query.NewConsent(c)
	}
	return m
}

func orNull[T ~string](v T) any {
	if v == "" {
		return nil
	}
	return v
}

func orEmpty[T any](v []T) []T {
	if v == nil {
		return []T{}
	}
	return v
}
