package query

import (
	"regexp"
	"strconv"
	"strings"
	"sync"

	"github.com/nyaruka/phonenumbers"
)

// parsePhone is what the library makes of a number. Of one that is stored as
// E.164, most of what it looks for with some ten regular expressions is known
// not to be there: only whether it takes something off the national part is not.
func parsePhone(text string) (*phonenumbers.PhoneNumber, bool) {
	const most = 15 // digits in E.164
	if rest, plus := strings.CutPrefix(text, "+"); plus && len(rest) <= most && digits(rest) == rest {
		for size := 1; size <= 3 && size+4 < len(rest); size++ {
			off, known := nationalPrefixes()[rest[:size]]
			if !known {
				continue
			}
			national := rest[size:]
			if national[0] == '0' || off != nil && off.MatchString(national) {
				break
			}
			code, _ := strconv.ParseInt(rest[:size], 10, 32)
			number, _ := strconv.ParseUint(national, 10, 64)
			country := int32(code)
			return &phonenumbers.PhoneNumber{CountryCode: &country, NationalNumber: &number}, true
		}
	}
	number, err := phonenumbers.Parse(text, "")
	return number, err == nil
}

// nationalPrefixes has, by calling code, what the library may take off a
// number, or nil for nothing. It is empty should the library have no metadata.
var nationalPrefixes = sync.OnceValue(func() map[string]*regexp.Regexp {
	type place struct {
		region string
		code   int
	}
	out := map[string]*regexp.Regexp{}
	all, err := phonenumbers.MetadataCollection()
	if err != nil {
		return out
	}
	metadata := map[place]*phonenumbers.PhoneMetadata{}
	for _, m := range all.GetMetadata() {
		metadata[place{m.GetId(), int(m.GetCountryCode())}] = m
	}
	for code := range phonenumbers.GetSupportedCallingCodes() {
		m := metadata[place{phonenumbers.GetRegionCodeForCountryCode(code), code}]
		if m == nil {
			continue // only the library knows what that means
		}
		var off *regexp.Regexp
		if prefix := m.GetNationalPrefixForParsing(); prefix != "" {
			off = regexp.MustCompile("^(?:" + prefix + ")")
		}
		out[strconv.Itoa(code)] = off
	}
	return out
})
