package query

import (
	"slices"
	"strings"
	"unicode"

	"github.com/nyaruka/phonenumbers"
	"golang.org/x/net/idna"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
)

const (
	// maxWord is how many characters of a word are kept and asked for.
	maxWord = 64
	// maxSortName is how many characters of a last name order lists; beyond them
	// ids do. A B-tree holds no more than 2,704 bytes.
	maxSortName = 64
	// maxRun is how far into a text without spaces words are thought to begin.
	maxRun = 16
)

// SortName is what a last name is ordered by.
func SortName(name customer.Name) string { return cut(Fold(string(name)), maxSortName) }

// Words are what a search finds d by: the words of its names, its e-mail
// address, its phone number and its cities, folded, sorted, each once. Spaces
// and punctuation part words; parts of one text without a space are also there
// joined (obrien, jeanluc).
func Words(d customer.Data) []string {
	var all []string
	for _, name := range []customer.Name{d.FirstName, d.LastName} {
		all = appendWords(all, string(name))
	}
	if first, last := Fold(string(d.FirstName)), Fold(string(d.LastName)); runsOn(first) && runsOn(last) {
		all = append(all, cut(last+first, maxWord), cut(first+last, maxWord)) // written without a space
	}
	for _, a := range d.Addresses {
		all = appendWords(all, a.City)
	}
	all = appendEmail(all, d.Email)
	all = appendPhone(all, d.Phone)
	slices.Sort(all)
	return slices.Compact(all)
}

// appendWords adds the words of a text.
func appendWords(all []string, text string) []string {
	folded := Fold(text)
	if number, ok := dialled(folded); ok {
		all = append(all, cut(number, maxWord)) // as it is asked for
	}
	for token := range strings.FieldsSeq(folded) {
		parts := split(token)
		if len(parts) == 0 {
			all = append(all, cut(token, maxWord)) // nothing but punctuation
			continue
		}
		for _, p := range parts {
			all = append(all, cut(p, maxWord))
			if !runsOn(p) {
				continue
			}
			// No space says where a word begins, so any character may.
			rest := []rune(p)
			for i := 1; i < min(len(rest), maxRun); i++ {
				all = append(all, cut(string(rest[i:]), maxWord))
			}
		}
		if len(parts) > 1 {
			all = append(all, cut(strings.Join(parts, ""), maxWord))
		}
	}
	return all
}

// appendEmail adds the words of an address, its domain in both spellings.
func appendEmail(all []string, e customer.Email) []string {
	if e == "" {
		return all
	}
	local, domain, _ := strings.Cut(string(e), "@")
	all = appendWords(all, local)
	hosts := []string{domain}
	if strings.Contains(strings.ToLower(domain), "xn--") {
		if host, err := idna.ToUnicode(domain); err == nil {
			hosts = append(hosts, host)
		}
	} else if !isASCII(domain) {
		_, host, _ := strings.Cut(e.Canonical(), "@")
		hosts = append(hosts, host)
	}
	for _, host := range hosts {
		for _, p := range split(Fold(host)) {
			all = append(all, cut(p, maxWord))
		}
	}
	return all
}

// appendPhone adds a number's digits as dialled from abroad and at home.
func appendPhone(all []string, p customer.Phone) []string {
	if p == "" {
		return all
	}
	all = append(all, digits(string(p)))
	if number, ok := parsePhone(string(p)); ok {
		all = append(all, phonenumbers.GetNationalSignificantNumber(number),
			digits(phonenumbers.Format(number, phonenumbers.NATIONAL)))
	}
	return all
}

// split is a folded token's letters, digits and marks without what parts them.
func split(token string) []string {
	return strings.FieldsFunc(token, func(r rune) bool { return !unicode.In(r, unicode.L, unicode.N, unicode.M) })
}

// runsOn tells texts of scripts that put no space between words.
func runsOn(text string) bool {
	return text != "" && !strings.ContainsFunc(text, func(r rune) bool {
		return !unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Hangul) && r != 'ー'
	})
}

func digits(text string) string {
	return strings.Map(func(r rune) rune {
		if r < '0' || r > '9' {
			return -1
		}
		return r
	}, text)
}

func isASCII(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return r > unicode.MaxASCII })
}

// cut is at most n characters of text.
func cut(text string, n int) string {
	if len(text) <= n {
		return text
	}
	for i := range text {
		if n == 0 {
			return text[:i]
		}
		n--
	}
	return text
}
