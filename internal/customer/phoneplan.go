package customer

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/nyaruka/phonenumbers"
)

// Most numbers that programs hand over are E.164 already, and libphonenumber
// spends 13 µs on finding out by some thirty regular expressions. inUse says
// the same of them by two or three of the same expressions, taken from the
// library's own metadata. It only ever says yes: what it is not sure of is the
// library's to judge, and that the library agrees is tested with numbers of
// every region.

// plan is what the library knows of the numbers under one calling code.
type plan struct {
	// prefix is what the library may take off a number as its national prefix.
	// Whether it does depends on more than is known here.
	prefix  *pattern
	regions []region // in the library's order: the first that claims a number judges it
}

type region struct {
	leading *pattern // of all its numbers and of no other region's; nil where they must be tried
	general kind
	kinds   []kind // the likeliest first
}

// kind is a kind of numbers: fixed lines, mobiles and so on.
type kind struct {
	lengths uint32 // a bit for each length there is; 0 for any
	numbers *pattern
}

// pattern is a regular expression that is compiled when first needed: there
// are thousands, and a process meets a few.
type pattern struct{ compiled func() *regexp.Regexp }

func newPattern(text string) *pattern {
	return &pattern{sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(text) })}
}

func (p *pattern) matches(text string) bool { return p.compiled().MatchString(text) }

// The table is read once, when the first phone number is parsed.
var plans = sync.OnceValue(readPlans)

// readPlans gives nothing, and the library all the work, should the library
// ever be without metadata.
func readPlans() map[string]*plan {
	all, err := phonenumbers.MetadataCollection()
	if err != nil {
		return nil
	}
	type place struct {
		region string
		code   int32
	}
	metadata := make(map[place]*phonenumbers.PhoneMetadata, len(all.GetMetadata()))
	for _, m := range all.GetMetadata() {
		metadata[place{m.GetId(), m.GetCountryCode()}] = m
	}
	out := make(map[string]*plan)
	for code := range phonenumbers.GetSupportedCallingCodes() {
		p := &plan{}
		for i, id := range phonenumbers.GetRegionCodesForCountryCode(code) {
			m := metadata[place{id, int32(code)}] //nolint:gosec // three digits at most
			if m == nil {
				p = nil // only the library knows what that means
				break
			}
			if i == 0 && m.GetNationalPrefixForParsing() != "" {
				p.prefix = newPattern("^(?:" + m.GetNationalPrefixForParsing() + ")")
			}
			p.regions = append(p.regions, regionOf(m))
		}
		if p != nil && len(p.regions) > 0 {
			out[strconv.Itoa(code)] = p
		}
	}
	return out
}

func regionOf(m *phonenumbers.PhoneMetadata) region {
	r := region{general: kindOf(m.GetGeneralDesc())}
	if m.GetLeadingDigits() != "" {
		r.leading = newPattern("^(?:" + m.GetLeadingDigits() + ")")
	}
	descs := []*phonenumbers.PhoneNumberDesc{
		m.GetFixedLine(), m.GetTollFree(), m.GetPremiumRate(),
		m.GetSharedCost(), m.GetVoip(), m.GetPersonalNumber(), m.GetPager(), m.GetUan(), m.GetVoicemail(),
	}
	if !m.GetSameMobileAndFixedLinePattern() {
		descs = slices.Insert(descs, 1, m.GetMobile())
	}
	for _, d := range descs {
		// A kind that a region does not have has no pattern, or a length of -1.
		if d.GetNationalNumberPattern() != "" && !slices.Contains(d.GetPossibleLength(), -1) {
			r.kinds = append(r.kinds, kindOf(d))
		}
	}
	return r
}

func kindOf(d *phonenumbers.PhoneNumberDesc) kind {
	k := kind{numbers: newPattern("^(?:" + d.GetNationalNumberPattern() + ")$")}
	for _, n := range d.GetPossibleLength() {
		k.lengths |= 1 << (uint32(n) & 31) //nolint:gosec // none is above 17, and -1 becomes one that no number has
	}
	return k
}

func (k kind) has(number string) bool {
	return (k.lengths == 0 || k.lengths&(1<<len(number)) != 0) && k.numbers.matches(number)
}

// inUse tells that text is a number in use, in E.164 already. If it is not, or
// if that takes the library to say, it tells false.
func inUse(text string) bool {
	const mostDigits = 15 // E.164's; the library's is 17 without the country code
	digits, plus := strings.CutPrefix(text, "+")
	if !plus || len(digits) > mostDigits || strings.Trim(digits, "0123456789") != "" {
		return false
	}
	for size := 1; size <= 3 && size < len(digits); size++ {
		if p := plans()[digits[:size]]; p != nil {
			return p.has(digits[size:])
		}
	}
	return false
}

func (p *plan) has(number string) bool {
	if p.prefix != nil && p.prefix.matches(number) {
		return false
	}
	for i := range p.regions {
		r := &p.regions[i]
		if len(p.regions) > 1 && r.leading != nil && !r.leading.matches(number) {
			continue
		}
		valid := r.general.has(number) && slices.ContainsFunc(r.kinds, func(k kind) bool { return k.has(number) })
		if valid || r.leading != nil {
			return valid
		}
	}
	return false
}
