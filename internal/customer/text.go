package customer

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// normal is text as every free text is kept: valid UTF-8, in NFC, without the
// white space (Unicode White_Space) around it. NFC comes before the trimming
// and before any length, so that two spellings of one text meet one rule.
func normal(text string) (string, error) {
	if !utf8.ValidString(text) {
		return "", &ValueError{Code: CodeInvalidText, Detail: "is not valid UTF-8"}
	}
	return strings.TrimSpace(norm.NFC.String(text)), nil
}

// longerThan counts code points, and no further than it must.
func longerThan(text string, limit int) bool {
	return len(text) > limit && utf8.RuneCountInString(text) > limit
}

func errTooLong(limit int) error {
	return &ValueError{Code: CodeTooLong, Detail: fmt.Sprintf("has more than %d characters", limit)}
}

// ParseText parses one line of free text (an address line, a reason, a
// source) of at most limit code points. Control characters, line breaks and
// bidirectional overrides are refused: they end in logs, labels and exports,
// where they forge what is not there. The empty text is one.
func ParseText(text string, limit int) (string, error) {
	out, err := normal(text)
	switch {
	case err != nil:
		return "", err
	case longerThan(out, limit):
		return "", errTooLong(limit)
	case strings.ContainsFunc(out, breaksLine):
		return "", &ValueError{Code: CodeInvalidText, Detail: "contains control characters or bidirectional overrides"}
	}
	return out, nil
}

// ParseReason parses why something was done, or where a consent came from. It
// may be empty.
func ParseReason(text string) (string, error) { return ParseText(text, MaxReasonLength) }

// ParseWording parses what the customer was asked to consent to. Unlike other
// texts it may have paragraphs; line ends become "\n". It may be empty.
func ParseWording(text string) (string, error) {
	out, err := normal(text)
	if err != nil {
		return "", err
	}
	out = strings.ReplaceAll(out, "\r\n", "\n")
	if longerThan(out, MaxWordingLength) {
		return "", errTooLong(MaxWordingLength)
	}
	if strings.ContainsFunc(out, func(r rune) bool { return r != '\n' && r != '\t' && breaksLine(r) }) {
		return "", &ValueError{Code: CodeInvalidText, Detail: "contains control characters or bidirectional overrides"}
	}
	return out, nil
}

func optionalText(limit int) func(string) (string, error) {
	return func(text string) (string, error) { return ParseText(text, limit) }
}

func requiredText(limit int) func(string) (string, error) {
	return func(text string) (string, error) {
		out, err := ParseText(text, limit)
		if err == nil && !visible(out) {
			return "", &ValueError{Code: CodeRequired, Detail: "is required"}
		}
		return out, err
	}
}

// ParseName parses a first or last name. The empty name is one: a customer
// may have only the other. A name of nothing but invisible characters is not,
// because it would pass for a name where one is required.
func ParseName(text string) (Name, error) {
	out, err := normal(text)
	switch {
	case err != nil:
		return "", err
	case longerThan(out, MaxNameLength):
		return "", errTooLong(MaxNameLength)
	case strings.ContainsFunc(out, breaksLine):
		return "", &ValueError{Code: CodeInvalidName, Detail: "contains control characters or bidirectional overrides"}
	case out != "" && !visible(out):
		return "", &ValueError{Code: CodeInvalidName, Detail: "contains no visible character"}
	}
	return Name(out), nil
}

// breaksLine tells the characters that make a line more than one, or make it
// read otherwise than it is stored: C0, DEL, C1, the line and paragraph
// separators, and the bidirectional embeddings, overrides and isolates of
// Unicode Annex 9 §2.1–2.5. Marks (U+200E, U+200F, U+061C) and joiners are
// left in peace: Arabic, Hebrew, Persian and Indic names need them.
func breaksLine(r rune) bool {
	return unicode.IsControl(r) || r == '\u2028' || r == '\u2029' ||
		(r >= '\u202A' && r <= '\u202E') || (r >= '\u2066' && r <= '\u2069')
}

// visible tells whether text has anything to see in it.
func visible(text string) bool {
	return strings.ContainsFunc(text, func(r rune) bool {
		const brailleBlank = '\u2800'
		return r != brailleBlank && !unicode.IsControl(r) && !unicode.In(r, unicode.White_Space, unicode.Cf,
			unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
	})
}
