package commandapi

import (
	"slices"

	"github.com/ebrahem-outlook/customer-service/internal/command"
	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/httpapi/strictjson"
	"github.com/ebrahem-outlook/customer-service/internal/imports"
)

// DecodeLine is an imports.Decode: a line is held to the rules of a
// registration's body, word for word. What it says of a customer that is there
// already it says as a patch does: what is absent stays, null removes, and
// metadata is merged key by key.
func DecodeLine(text []byte) (imports.Line, error) {
	var in Registration
	shape, err := strictjson.Decode(text, &in)
	if err != nil {
		return imports.Line{}, err
	}
	for _, f := range shape {
		if f.Pointer == "" && f.Code == strictjson.CodeWrongType {
			return imports.Line{}, shape // it is no object, so it has no values
		}
	}
	out, broken := registration(&in, shape)
	faults := shape
	for _, b := range broken {
		if !slices.ContainsFunc(shape, func(f customer.Violation) bool { return f.Pointer == b.Pointer }) {
			faults = append(faults, b)
		}
	}
	if err := faults.Err(); err != nil {
		return imports.Line{}, err
	}
	m := command.Merge{
		Change:    customer.Change{Email: &out.Email},
		Addresses: out.Addresses, Tags: out.Tags, Consents: out.Consents,
	}
	if in.FirstName.IsSpecified() {
		m.FirstName = &out.FirstName
	}
	if in.LastName.IsSpecified() {
		m.LastName = &out.LastName
	}
	if in.Phone.IsSpecified() {
		m.Phone = &out.Phone
	}
	if in.Locale.IsSpecified() {
		m.Locale = &out.Locale
	}
	if in.ExternalId.IsSpecified() {
		m.ExternalID = &out.ExternalID
	}
	if in.Metadata != nil {
		m.Metadata = &customer.MetadataChange{Set: out.Metadata}
	}
	return imports.Line{Registration: out, Merge: m}, nil
}
