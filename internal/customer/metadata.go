package customer

import (
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// ParseMetadataKey parses the name of a metadata value: one line of 1–40
// code points, like every text in NFC and trimmed.
func ParseMetadataKey(text string) (string, error) {
	out, err := normal(text)
	switch {
	case err != nil:
		return "", err
	case !visible(out):
		return "", &ValueError{Code: CodeInvalidMetadataKey, Detail: "is empty"}
	case longerThan(out, MaxMetadataKeyLength):
		return "", errTooLong(MaxMetadataKeyLength)
	case strings.ContainsFunc(out, breaksLine):
		return "", &ValueError{Code: CodeInvalidMetadataKey, Detail: "contains control characters or bidirectional overrides"}
	}
	return out, nil
}

// ParseMetadataValue parses a metadata value of at most 500 code points. It
// is in NFC but not trimmed: the value belongs to a program that stored it, and
// programs expect their spaces back. Tabs and line ends may be in it, other
// control characters may not.
func ParseMetadataValue(text string) (string, error) {
	if !utf8.ValidString(text) {
		return "", &ValueError{Code: CodeInvalidText, Detail: "is not valid UTF-8"}
	}
	out := norm.NFC.String(text)
	if longerThan(out, MaxMetadataValueLength) {
		return "", errTooLong(MaxMetadataValueLength)
	}
	if strings.ContainsFunc(out, func(r rune) bool { return unicode.IsControl(r) && !strings.ContainsRune("\t\n\r", r) }) {
		return "", &ValueError{Code: CodeInvalidText, Detail: "contains control characters"}
	}
	return out, nil
}

// ParseMetadata parses keys and values. Two keys that are one after
// normalisation are refused, as there would be no telling whose value stays.
// The error is Violations in the order of the keys, with pointers relative to
// the map. A key at fault is not in its pointer.
func ParseMetadata(in map[string]string) (map[string]string, error) {
	var broken Violations
	out := make(map[string]string, len(in))
	for _, text := range slices.Sorted(maps.Keys(in)) {
		key, err := ParseMetadataKey(text)
		if err != nil {
			broken.Add("", err)
			continue
		}
		if _, twice := out[key]; twice {
			broken.Add("", &ValueError{Code: CodeDuplicate, Detail: "two keys are the same text"})
		}
		out[key] = Parse(&broken, "/"+PointerToken(key), in[text], ParseMetadataValue)
	}
	if len(in) > MaxMetadataKeys {
		broken = append(broken, tooMany("", tooManyMetadataKeys()[0].Detail)...)
	}
	if err := broken.Err(); err != nil {
		return nil, err
	}
	if len(out) == 0 {
		return nil, nil
	}
	return out, nil
}
