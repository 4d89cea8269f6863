package customer

import "strings"

// postalFormat is what a country asks of an address beside line1 and city.
type postalFormat struct {
	// patterns are the shapes a postal code can have, separated by '|', where 9
	// is a digit, A a letter, * either, a space or '-' may be left out, and
	// anything else is itself. Without patterns anything goes.
	patterns   string
	needsCode  bool
	needsState bool
}

// postalFormatOf covers where most customers live; shapes and requirements are
// those of the Universal Postal Union's addressing pages. Where postal practice
// is laxer than the book (provinces in Italy and Spain, prefectures in Japan,
// codes in Viet Nam and Egypt), so is the table: an address refused is a
// customer lost, and an address that lacks a province still arrives.
func postalFormatOf(c Country) postalFormat {
	switch c {
	case "US":
		return postalFormat{patterns: "99999|99999-9999", needsCode: true, needsState: true}
	case "CA":
		return postalFormat{patterns: "A9A 9A9", needsCode: true, needsState: true}
	case "AU":
		return postalFormat{patterns: "9999", needsCode: true, needsState: true}
	case "BR":
		return postalFormat{patterns: "99999-999", needsCode: true, needsState: true}
	case "IN":
		return postalFormat{patterns: "999 999", needsCode: true, needsState: true}
	case "MX":
		return postalFormat{patterns: "99999", needsCode: true, needsState: true}
	case "GB":
		return postalFormat{patterns: "A9 9AA|A99 9AA|AA9 9AA|AA99 9AA|A9A 9AA|AA9A 9AA", needsCode: true}
	case "AT", "BE", "CH", "DK", "NO", "NZ", "ZA":
		return postalFormat{patterns: "9999", needsCode: true}
	case "DE", "ES", "FI", "FR", "IT", "KR", "TR":
		return postalFormat{patterns: "99999", needsCode: true}
	case "CN":
		return postalFormat{patterns: "999999", needsCode: true}
	case "CZ", "SE":
		return postalFormat{patterns: "999 99", needsCode: true}
	case "JP":
		return postalFormat{patterns: "999-9999", needsCode: true}
	case "NL":
		return postalFormat{patterns: "9999 AA", needsCode: true}
	case "PL":
		return postalFormat{patterns: "99-999", needsCode: true}
	case "PT":
		return postalFormat{patterns: "9999-999", needsCode: true}
	case "SG":
		return postalFormat{patterns: "999999", needsCode: true}
	case "EG":
		return postalFormat{patterns: "99999|9999999"}
	case "IE":
		return postalFormat{patterns: "A9* ****"}
	case "SA":
		return postalFormat{patterns: "99999|99999-9999"}
	case "VN":
		return postalFormat{patterns: "99999|999999"}
	default:
		// The Emirates and Hong Kong have no postal codes; customers from there
		// are used to making one up.
		return postalFormat{}
	}
}

// parse holds code, already normalised, against the format. Codes with a
// known shape are kept in upper case.
func (f postalFormat) parse(code string) (string, error) {
	if code == "" {
		if f.needsCode {
			return "", &ValueError{Code: CodeRequired, Detail: "addresses in this country need a postal code"}
		}
		return "", nil
	}
	if f.patterns == "" {
		return code, nil
	}
	upper := strings.ToUpper(code)
	for pattern := range strings.SplitSeq(f.patterns, "|") {
		if matchesPattern(upper, pattern) {
			return upper, nil
		}
	}
	return "", &ValueError{Code: CodeInvalidPostalCode, Detail: "is not a postal code of this country"}
}

func matchesPattern(code, pattern string) bool {
	at := 0
	for i := range len(pattern) {
		p := pattern[i]
		separator := p == ' ' || p == '-'
		if at == len(code) || !matchesByte(code[at], p) {
			if separator {
				continue
			}
			return false
		}
		at++
	}
	return at == len(code)
}

func matchesByte(c, p byte) bool {
	digit, letter := c >= '0' && c <= '9', c >= 'A' && c <= 'Z'
	switch p {
	case '9':
		return digit
	case 'A':
		return letter
	case '*':
		return digit || letter
	default:
		return c == p
	}
}
