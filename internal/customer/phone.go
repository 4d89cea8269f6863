package customer

import (
	"strings"
	"unicode"

	"github.com/nyaruka/phonenumbers"
)

// ParsePhone parses a phone number in international format into E.164, by the
// rules of libphonenumber. There is no default region to guess from: a number
// without its country code is refused. So are extensions, which E.164 would
// lose in silence, and letters, which the library would dial.
func ParsePhone(text string) (Phone, error) {
	out, err := normal(text)
	if err != nil {
		return "", err
	}
	if inUse(out) {
		return Phone(out), nil
	}
	if !looksLikePhone(out) {
		return "", &ValueError{Code: CodeInvalidPhone, Detail: "is not a phone number in international format: + and a country code first"}
	}
	number, parseErr := phonenumbers.Parse(out, "")
	if parseErr != nil || !phonenumbers.IsValidNumber(number) {
		return "", &ValueError{Code: CodeInvalidPhone, Detail: "is not a phone number in use"}
	}
	return Phone(phonenumbers.Format(number, phonenumbers.E164)), nil
}

// looksLikePhone keeps from the library what it would make something of: it
// looks for a number anywhere in a text, spells letters, and parses extensions.
func looksLikePhone(text string) bool {
	const maxLength = 40 // an E.164 number has 15 digits; the rest is for separators
	rest, plus := strings.CutPrefix(text, "+")
	if !plus {
		rest, plus = strings.CutPrefix(text, "\uFF0B") // full-width, as Asian keyboards type it
	}
	return plus && !longerThan(text, maxLength) && !strings.ContainsFunc(rest, func(r rune) bool {
		return !unicode.Is(unicode.Nd, r) && !unicode.Is(unicode.Zs, r) && !unicode.Is(unicode.Pd, r) && !strings.ContainsRune("().\uFF08\uFF09\uFF0E/", r)
	})
}
