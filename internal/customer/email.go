package customer

import (
	"fmt"
	"strings"
	"unicode"

	"golang.org/x/net/idna"
	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// ParseEmail parses one e-mail address: an addr-spec of RFC 5322 without
// comments and quoted strings, whose local part may be outside ASCII (RFC 6531)
// and whose domain is a host name of two labels or more, in Unicode or in
// xn-- form.
//
// Quoted local parts are legal, but no mailbox provider hands them out, and
// few programs that get the address from us survive them. Domain literals and
// names without a dot are legal too, and a typing error each time a customer
// gives one. RFC 5321's 64 octets for a local part are not enforced: it asks
// programs to impose no limit where they can (§4.5.3.1).
func ParseEmail(text string) (Email, error) {
	out, err := normal(text)
	if err != nil {
		return "", err
	}
	if out == "" {
		return "", errEmailRequired()
	}
	tooLong := &ValueError{Code: CodeTooLong, Detail: fmt.Sprintf("has more than %d octets", MaxEmailLength)}
	if len(out) > MaxEmailLength {
		return "", tooLong
	}
	local, domain, found := strings.Cut(out, "@")
	if !found || !isDotAtom(local) {
		return "", &ValueError{Code: CodeInvalidEmail, Detail: "is not one e-mail address"}
	}
	host, ok := asciiHost(domain)
	if !ok {
		return "", &ValueError{Code: CodeInvalidEmail, Detail: "has no valid domain"}
	}
	// What goes over the wire has the domain in ASCII, which may be longer.
	if len(local)+len("@")+len(host) > MaxEmailLength {
		return "", tooLong
	}
	return Email(out), nil
}

// Canonical is the key by which two e-mails are the same: the local part
// without regard to case (Unicode canonical caseless matching, D145 of chapter
// 3.13), the domain in lower-case ASCII. Mail servers may tell case apart and
// do not, and customers never do.
func (e Email) Canonical() string {
	local, domain, _ := strings.Cut(string(e), "@")
	host, ok := asciiHost(domain)
	if !ok {
		// Only for what no ParseEmail made, or one with older Unicode tables.
		host = strings.ToLower(domain)
	}
	return foldCase(local) + "@" + host
}

func foldCase(text string) string {
	if !strings.ContainsFunc(text, func(r rune) bool { return r > unicode.MaxASCII }) {
		return strings.ToLower(text)
	}
	folded := cases.Fold().String(norm.NFD.String(text))
	// x/text (0.43) swaps the cases of Cherokee instead of folding them; Unicode
	// folds that one script to upper case.
	folded = strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Cherokee, r) {
			return unicode.ToUpper(r)
		}
		return r
	}, folded)
	return norm.NFC.String(folded)
}

// isDotAtom tells a dot-atom of RFC 5322 §3.2.3 as RFC 6531 §3.3 extends it.
// Of what is outside ASCII only what can be seen is let in.
func isDotAtom(local string) bool {
	for atom := range strings.SplitSeq(local, ".") {
		if atom == "" || strings.ContainsFunc(atom, func(r rune) bool { return !isAtext(r) }) {
			return false
		}
	}
	return true
}

func isAtext(r rune) bool {
	if r <= unicode.MaxASCII {
		return (r >= 'a' && r <= 'z') || (r >= 'A' && r <= 'Z') || (r >= '0' && r <= '9') ||
			strings.ContainsRune("!#$%&'*+-/=?^_`{|}~", r)
	}
	return unicode.IsGraphic(r) && !unicode.IsSpace(r) && r != unicode.ReplacementChar &&
		!unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}

// asciiHost is a domain as DNS has it, if it is one. The mapping is UTS 46's
// for looking names up, non-transitional, so that it is also what browsers do.
func asciiHost(domain string) (string, bool) {
	if plainHost(domain) {
		return domain, true
	}
	return mappedHost(domain)
}

func mappedHost(domain string) (string, bool) {
	// idna takes the root's empty label, and a last label of digits, which
	// would be an IPv4 address.
	host, err := idna.New(
		idna.MapForLookup(),
		idna.BidiRule(),
		idna.VerifyDNSLength(true),
	).ToASCII(domain)
	if err != nil {
		return "", false
	}
	dot := strings.LastIndexByte(host, '.')
	if dot < 0 || strings.Trim(host[dot+1:], "0123456789") == "" {
		return "", false
	}
	return host, true
}

// plainHost tells the domains that asciiHost takes as they are without asking
// idna, which is nearly all there are: lower-case ASCII labels with single
// hyphens inside, the last one beginning with a letter. Of others it tells
// nothing.
func plainHost(domain string) bool {
	const mostLabel, mostDomain = 63, 253
	dots, label := 0, 0 // label is how long the present one is
	begin := byte('0')  // of the present one
	for i := range len(domain) {
		switch c := domain[i]; {
		case (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'):
			if label == 0 {
				begin = c
			}
			label++
		case label == 0 || domain[i-1] == '-': // empty, or beginning or ending with a hyphen
			return false
		case c == '-':
			label++
		case c == '.':
			dots, label = dots+1, 0
		default:
			return false
		}
		if label > mostLabel {
			return false
		}
	}
	return dots > 0 && label > 0 && begin >= 'a' && domain[len(domain)-1] != '-' && len(domain) <= mostDomain
}
