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
	// Most events leave them as they are.
	if !maps.Equal(before.Metadata, after.Metadata) {
		elements(&d, "metadata.", before.Metadata, after.Metadata)
	}
	if !maps.Equal(before.Consents, after.Consents) {
		elements(&d, "consents.", consents(before.Consents), consents(after.Consents))
	}
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
	o, n := quoted(&d.err, string(before)), quoted(&d.err, string(after))
	if !bytes.Equal(o, n) { // as texts that are not UTF-8 may be
		d.changes = append(d.changes, Change{Field: field, Old: o, New: n})
	}
}

// quoted is text in JSON, or null for none.
func quoted(failed *error, text string) json.RawMessage {
	if text == "" {
		return json.RawMessage("null")
	}
	b, err := appendQuoted(make([]byte, 0, len(text)+2), text)
	if err != nil {
		*failed = err
	}
	return b
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

// AppendChanges appends what json.Marshal makes of changes whose values it made
// too, an empty array for none. Marshal would look through all values again.
func AppendChanges(b []byte, changes []Change) (_ []byte, err error) {
	b = append(b, '[')
	for i, c := range changes {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"field":`...)
		if b, err = appendQuoted(b, c.Field); err != nil {
			return nil, err
		}
		b = append(b, `,"old":`...)
		b = appendRaw(b, c.Old)
		b = append(b, `,"new":`...)
		b = append(appendRaw(b, c.New), '}')
	}
	return append(b, ']'), nil
}

func appendRaw(b []byte, v json.RawMessage) []byte {
	if v == nil {
		return append(b, "null"...)
	}
	return append(b, v...)
}

// appendQuoted appends text as json.Marshal does.
func appendQuoted(b []byte, text string) ([]byte, error) {
	for i := range len(text) {
		if c := text[i]; c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			quoted, err := json.Marshal(text)
			return append(b, quoted...), err
		}
	}
	return append(append(append(b, '"'), text...), '"'), nil
}

func orEmpty[T any](v []T) []T {
	if v == nil {
		return []T{}
	}
	return v
}
