package commandapi

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	validation "github.com/go-ozzo/ozzo-validation/v4"
	"github.com/google/uuid"
	"github.com/oapi-codegen/nullable"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
)

// The functions here turn request bodies into the domain's arguments. ozzo walks
// the bodies; its rules only call the domain's Parse functions and keep what
// they return, so that each rule about a value lives once.

// check is an httpapi.Check.
func check(body any, shape customer.Violations) (customer.Violations, error) {
	var broken customer.Violations
	switch body := body.(type) {
	case *Registration:
		_, broken = registration(body, shape)
	case *CustomerPatch:
		_, broken = change(body)
	case *AddressInput:
		_, err := address(uuid.Nil, *body)
		broken.Add("", err)
	case *ConsentInput:
		_, broken = consent(body)
	case *ReasonInput:
		_, broken = reason(body)
	default:
		return nil, fmt.Errorf("no rules for a body of type %T", body)
	}
	return broken, nil
}

// registration is what in asks for, or what is wrong with it besides its shape.
func registration(in *Registration, shape customer.Violations) (customer.Registration, customer.Violations) {
	var out customer.Registration
	broken := violations(validation.ValidateStruct(in,
		validation.Field(&in.FirstName, parsed(customer.ParseName, &out.FirstName)),
		validation.Field(&in.LastName, parsed(customer.ParseName, &out.LastName)),
		validation.Field(&in.Email, parsed(customer.ParseEmail, &out.Email)),
		validation.Field(&in.Phone, parsed(customer.ParsePhone, &out.Phone)),
		validation.Field(&in.Locale, parsed(customer.ParseLocale, &out.Locale)),
		validation.Field(&in.ExternalId, parsed(customer.ParseExternalID, &out.ExternalID)),
		validation.Field(&in.Addresses, kept(addresses, &out.Addresses)),
		validation.Field(&in.Tags, kept(customer.ParseTags, &out.Tags)),
		validation.Field(&in.Metadata, kept(customer.ParseMetadata, &out.Metadata)),
		validation.Field(&in.Consents, kept(consents, &out.Consents)),
	))
	// The rules that span fields are the domain's too; it is asked as if the
	// rest were right, and not heard where something is wrong already.
	spanning, _ := errors.AsType[customer.Violations](out.Check())
	for _, v := range spanning {
		under := func(f customer.Violation) bool {
			return f.Pointer == v.Pointer || strings.HasPrefix(f.Pointer, v.Pointer+"/") ||
				v.Pointer == "/first_name" && f.Pointer == "/last_name" // about the names together
		}
		if !slices.ContainsFunc(broken, under) && !slices.ContainsFunc(shape, under) {
			broken = append(broken, v)
		}
	}
	return out, sorted(broken)
}

// change is what in asks for, or what is wrong with it.
func change(in *CustomerPatch) (customer.Change, customer.Violations) {
	var out customer.Change
	broken := violations(validation.ValidateStruct(in,
		validation.Field(&in.FirstName, patched(customer.ParseName, &out.FirstName)),
		validation.Field(&in.LastName, patched(customer.ParseName, &out.LastName)),
		validation.Field(&in.Email, patched(customer.ParseEmail, &out.Email)),
		validation.Field(&in.Phone, patched(customer.ParsePhone, &out.Phone)),
		validation.Field(&in.Locale, patched(customer.ParseLocale, &out.Locale)),
		validation.Field(&in.ExternalId, patched(customer.ParseExternalID, &out.ExternalID)),
		validation.Field(&in.Metadata, validation.By(func(any) error {
			m, err := metadataChange(in.Metadata)
			out.Metadata = m
			return err
		})),
	))
	return out, sorted(broken)
}

// parsed parses a text that is there and keeps the result; null is absent.
func parsed[T any](parse func(string) (T, error), out *T) validation.Rule {
	return validation.By(func(field any) error {
		var text string
		switch f := field.(type) {
		case string:
			text = f
		case nullable.Nullable[string]:
			if !f.IsSpecified() || f.IsNull() {
				return nil
			}
			text = f.MustGet()
		}
		var err error
		*out, err = parse(text)
		return err
	})
}

// patched is parsed for a merge patch: null is the zero value, which removes.
func patched[T any](parse func(string) (T, error), out **T) validation.Rule {
	return validation.By(func(field any) error {
		var value T
		switch f := field.(type) {
		case *string:
			if f == nil {
				return nil
			}
			return keepPatched(*f, parse, out)
		case nullable.Nullable[string]:
			switch {
			case !f.IsSpecified():
				return nil
			case !f.IsNull():
				return keepPatched(f.MustGet(), parse, out)
			}
		}
		*out = &value
		return nil
	})
}

func keepPatched[T any](text string, parse func(string) (T, error), out **T) error {
	value, err := parse(text)
	if err == nil {
		*out = &value
	}
	return err
}

// kept parses a collection that is there and keeps the result.
func kept[In, Out any](parse func(In) (Out, error), out *Out) validation.Rule {
	return validation.By(func(field any) error {
		in, ok := field.(*In)
		if !ok || in == nil {
			return nil
		}
		var err error
		*out, err = parse(*in)
		return err
	})
}

// addresses gives each address an id. Of too many only as many are looked at
// as there may be; that there are too many the domain says.
func addresses(in []AddressInput) ([]customer.Address, error) {
	var broken customer.Violations
	out := make([]customer.Address, len(in))
	for i, a := range in {
		id, err := uuid.NewV7()
		if err != nil {
			return nil, fmt.Errorf("choose an address id: %w", err)
		}
		out[i].ID = id
		if i >= customer.MaxAddresses {
			continue
		}
		address, err := address(id, a)
		if err != nil {
			broken.Add(fmt.Sprintf("/%d", i), err)
			continue
		}
		out[i] = address
	}
	return out, broken.Err()
}

func address(id customer.AddressID, in AddressInput) (customer.Address, error) {
	return customer.NewAddress(id, customer.AddressFields{
		Line1: in.Line1, Line2: value(in.Line2), City: in.City, State: value(in.State), PostalCode: value(in.PostalCode),
		Country: in.Country, Label: value(in.Label), DefaultFor: value(in.DefaultFor),
	})
}

// consent is what in says, without the time.
func consent(in *ConsentInput) (out customer.Consent, broken customer.Violations) {
	out.Granted = in.Granted
	out.Source = customer.Parse(&broken, "/source", value(in.Source), customer.ParseReason)
	out.Wording = customer.Parse(&broken, "/wording", value(in.Wording), customer.ParseWording)
	return out, broken
}

// reason is what in says. The domain lets a reason be empty; who is asked for
// one has to give one.
func reason(in *ReasonInput) (out string, broken customer.Violations) {
	out = customer.Parse(&broken, "/reason", in.Reason, customer.ParseReason)
	if out == "" && len(broken) == 0 {
		broken.Add("/reason", &customer.ValueError{Code: customer.CodeRequired, Detail: "is required"})
	}
	return out, broken
}

func consents(in map[string]ConsentInput) (map[customer.Channel]customer.Consent, error) {
	var broken customer.Violations
	out := make(map[customer.Channel]customer.Consent, len(in))
	for _, name := range slices.Sorted(maps.Keys(in)) {
		channel, err := customer.ParseChannel(name)
		if err != nil {
			broken.Add("", err) // the name may be anything, so it is not repeated
			continue
		}
		c := in[name]
		given, faults := consent(&c)
		broken.Add("/"+name, faults.Err())
		out[channel] = given
	}
	return out, broken.Err()
}

// metadataChange reads a merge patch of the metadata; null empties it.
func metadataChange(in nullable.Nullable[map[string]*string]) (*customer.MetadataChange, error) {
	if !in.IsSpecified() {
		return nil, nil
	}
	if in.IsNull() {
		return &customer.MetadataChange{Clear: true}, nil
	}
	patch := in.MustGet()
	given := make(map[string]string, len(patch))
	for key, text := range patch {
		given[key] = value(text) // a key to remove is held to the rules of keys too
	}
	var broken customer.Violations
	out := &customer.MetadataChange{Set: make(map[string]string)}
	seen := make(map[string]bool, len(patch))
	for _, text := range slices.Sorted(maps.Keys(given)) {
		key, err := customer.ParseMetadataKey(text)
		if err != nil {
			broken.Add("", err)
			continue
		}
		if seen[key] {
			broken.Add("", &customer.ValueError{Code: customer.CodeDuplicate, Detail: "two keys are the same text"})
			continue
		}
		seen[key] = true
		if patch[text] == nil {
			out.Remove = append(out.Remove, key)
			continue
		}
		out.Set[key] = customer.Parse(&broken, "/"+customer.PointerToken(key), given[text], customer.ParseMetadataValue)
	}
	return out, broken.Err()
}

func value[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}

// violations gives what ozzo found with pointers: its keys are the names of the
// fields in JSON.
func violations(err error) customer.Violations {
	var out customer.Violations
	fields, ok := errors.AsType[validation.Errors](err)
	if !ok {
		out.Add("", err)
		return out
	}
	for name, cause := range fields {
		out.Add("/"+customer.PointerToken(name), cause)
	}
	return out
}

func sorted(vs customer.Violations) customer.Violations {
	slices.SortStableFunc(vs, func(a, b customer.Violation) int { return cmp.Compare(a.Pointer, b.Pointer) })
	return vs
}
