package customer

import "slices"

// Limits on the parts of an address, in code points.
const (
	MaxAddressLineLength = 200
	MaxCityLength        = 100
	MaxStateLength       = 100
	MaxPostalCodeLength  = 20
	MaxLabelLength       = 40
)

// AddressFields are an address as it was typed.
type AddressFields struct {
	Line1, Line2, City, State, PostalCode string
	Country                               string
	Label                                 string
	DefaultFor                            []string
}

// NewAddress is the address that f describes. The error is Violations, with
// pointers relative to the address, as in /postal_code.
func NewAddress(id AddressID, f AddressFields) (Address, error) {
	var broken Violations
	a := Address{
		ID:         id,
		Line1:      Parse(&broken, "/line1", f.Line1, requiredText(MaxAddressLineLength)),
		Line2:      Parse(&broken, "/line2", f.Line2, optionalText(MaxAddressLineLength)),
		City:       Parse(&broken, "/city", f.City, requiredText(MaxCityLength)),
		State:      Parse(&broken, "/state", f.State, optionalText(MaxStateLength)),
		PostalCode: Parse(&broken, "/postal_code", f.PostalCode, optionalText(MaxPostalCodeLength)),
		Country:    Parse(&broken, "/country", f.Country, ParseCountry),
		Label:      Parse(&broken, "/label", f.Label, optionalText(MaxLabelLength)),
	}
	uses, err := ParseDefaultFor(f.DefaultFor)
	broken.Add("/default_for", err)
	a.DefaultFor = uses
	broken = append(broken, a.fitCountry(broken)...)
	if err := broken.Err(); err != nil {
		return Address{}, err
	}
	return a, nil
}

// fitCountry holds a against the postal format of its country, where both are
// known and nothing else was wrong with the parts concerned.
func (a *Address) fitCountry(broken Violations) Violations {
	faulty := func(pointer string) bool {
		return slices.ContainsFunc(broken, func(v Violation) bool { return v.Pointer == pointer })
	}
	if a.Country == "" {
		return nil
	}
	format := postalFormatOf(a.Country)
	var more Violations
	if format.needsState && a.State == "" && !faulty("/state") {
		more.Add("/state", &ValueError{Code: CodeRequired, Detail: "addresses in this country need a state"})
	}
	if faulty("/postal_code") {
		return more
	}
	code, err := format.parse(a.PostalCode)
	more.Add("/postal_code", err)
	a.PostalCode = code
	return more
}

// ParseDefaultFor parses what an address is the default for. The result is a
// set: sorted, a use named twice is there once. The error is Violations, with
// pointers relative to the list.
func ParseDefaultFor(in []string) ([]AddressUse, error) {
	return parseSet(in, ParseAddressUse)
}

// putAddress is addresses with a in the place of the one with its id, or at
// the end, and a's defaults taken from all others. addresses is left alone.
func putAddress(addresses []Address, a Address) []Address {
	a = a.clone()
	out := make([]Address, 0, len(addresses)+1)
	placed := false
	for _, other := range addresses {
		if other.ID == a.ID {
			if !placed {
				out = append(out, a)
			}
			placed = true
			continue
		}
		out = append(out, other.without(a.DefaultFor))
	}
	if !placed {
		out = append(out, a)
	}
	return out
}

// without is a once the uses have moved elsewhere.
func (a Address) without(uses []AddressUse) Address {
	if len(uses) == 0 || len(a.DefaultFor) == 0 {
		return a
	}
	a.DefaultFor = cloneSlice(slices.DeleteFunc(slices.Clone(a.DefaultFor), func(u AddressUse) bool {
		return slices.Contains(uses, u)
	}))
	return a
}

func (a Address) equal(b Address) bool {
	sameDefaults := slices.Equal(a.DefaultFor, b.DefaultFor)
	return sameDefaults && a.ID == b.ID && a.Line1 == b.Line1 && a.Line2 == b.Line2 && a.City == b.City &&
		a.State == b.State && a.PostalCode == b.PostalCode && a.Country == b.Country && a.Label == b.Label
}

// clone shares no memory with a and has its defaults as the sorted set they are.
func (a Address) clone() Address {
	a.DefaultFor = cloneSlice(a.DefaultFor)
	slices.Sort(a.DefaultFor)
	a.DefaultFor = slices.Compact(a.DefaultFor)
	return a
}

func cloneAddresses(in []Address) []Address {
	out := cloneSlice(in)
	for i := range out {
		out[i] = out[i].clone()
	}
	return out
}

func addressIndex(addresses []Address, id AddressID) int {
	return slices.IndexFunc(addresses, func(a Address) bool { return a.ID == id })
}
