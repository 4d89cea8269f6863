package customer

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/text/language"
)

// ParseExternalID parses another system's name for a customer. It is compared
// byte for byte: whether case matters is for the other system to know.
func ParseExternalID(text string) (ExternalID, error) {
	out, err := normal(text)
	switch {
	case err != nil:
		return "", err
	case out == "":
		return "", &ValueError{Code: CodeInvalidExternalID, Detail: "is empty"}
	case longerThan(out, MaxExternalIDLength):
		return "", errTooLong(MaxExternalIDLength)
	case strings.ContainsFunc(out, func(r rune) bool { return r < ' ' || r > '~' }):
		return "", &ValueError{Code: CodeInvalidExternalID, Detail: "contains other than printable ASCII characters"}
	}
	return ExternalID(out), nil
}

// ParseTag parses a tag. Nothing is trimmed or folded, unlike in texts: a tag
// is part of a URL, and one URL names one tag.
func ParseTag(text string) (Tag, error) {
	outside := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '_' && r != '.'
	}
	switch {
	case text == "":
		return "", &ValueError{Code: CodeInvalidTag, Detail: "is empty"}
	case strings.ContainsFunc(text, outside):
		return "", &ValueError{Code: CodeInvalidTag, Detail: "contains other than a–z, 0–9, '-', '_' and '.'"}
	case len(text) > MaxTagLength:
		return "", errTooLong(MaxTagLength)
	}
	return Tag(text), nil
}

// ParseTags parses a set of tags: sorted, a tag named twice is there once. The
// error is Violations, with pointers relative to the list.
func ParseTags(in []string) ([]Tag, error) {
	tags, err := parseSet(in, ParseTag)
	if err == nil && len(tags) > MaxTags {
		return nil, tooMany("", tooManyTags()[0].Detail)
	}
	return tags, err
}

// ParseChannel parses a way to reach a customer.
func ParseChannel(text string) (Channel, error) {
	switch c := Channel(text); c {
	case ChannelEmail, ChannelSMS, ChannelPhone, ChannelPost:
		return c, nil
	}
	return "", &ValueError{Code: CodeInvalidChannel, Detail: "is none of email, sms, phone, post"}
}

// ParseAddressUse parses what an address can be the default for.
func ParseAddressUse(text string) (AddressUse, error) {
	switch u := AddressUse(text); u {
	case UseShipping, UseBilling:
		return u, nil
	}
	return "", &ValueError{Code: CodeInvalidAddressUse, Detail: "is none of shipping, billing"}
}

// ParseStatus parses a status that a customer document can have, as filters
// name it: deleted and erased customers are not returned as documents.
func ParseStatus(text string) (Status, error) {
	switch s := Status(text); s {
	case StatusActive, StatusSuspended:
		return s, nil
	}
	return "", &ValueError{Code: CodeInvalidStatus, Detail: "is none of active, suspended"}
}

// maxLocaleLength is what RFC 5646 §4.4.1 asks implementations to keep.
const maxLocaleLength = 35

// ParseLocale parses a BCP 47 language tag into its canonical form. It must
// name a language: "und" and tags for private use alone do not. The POSIX form
// (vi_VN) is refused, because it is not BCP 47.
func ParseLocale(text string) (Locale, error) {
	out, err := normal(text)
	if err != nil {
		return "", err
	}
	bad := &ValueError{Code: CodeInvalidLocale, Detail: "is not a BCP 47 language tag"}
	if out == "" || strings.Contains(out, "_") {
		return "", bad
	}
	if len(out) > maxLocaleLength {
		return "", errTooLong(maxLocaleLength)
	}
	tag, parseErr := language.BCP47.Parse(out)
	if parseErr != nil {
		return "", bad
	}
	canonical := tag.String()
	base, _, _ := strings.Cut(canonical, "-")
	if base == "und" || base == "x" || len(canonical) > maxLocaleLength {
		return "", bad
	}
	return Locale(canonical), nil
}

// parseSet parses every item and gives them sorted, each once. The error is
// Violations, with pointers relative to the list, as in /3.
func parseSet[T ~string](in []string, parse func(string) (T, error)) ([]T, error) {
	var broken Violations
	var out []T
	for i, text := range in {
		out = append(out, Parse(&broken, fmt.Sprintf("/%d", i), text, parse))
	}
	if err := broken.Err(); err != nil {
		return nil, err
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}
