package query

import (
	"strings"
	"unicode/utf8"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
)

// Bounds of a search's text.
const (
	MaxQueryLength = 200 // code points
	MaxQueryWords  = 10  // parts of an e-mail address count too
)

const (
	shortestForgiving = 4  // below it, half the words there are would be a typo away
	longestForgiving  = 24 // what is longer was copied, not typed
)

// Term is one word of a search, folded. It is found where a word begins with it
// or, if it forgives, begins with what one typo among its letters makes of it:
// one too many, one missing, another in its place, or two neighbours swapped.
// Digits are taken as they are: a number a digit off is another number.
type Term struct {
	Word     string
	Forgives bool
}

// ParseTerms reads the words of a search, each once. Its error is a
// *customer.ValueError.
func ParseTerms(text string) ([]Term, error) {
	if !utf8.ValidString(text) {
		return nil, &customer.ValueError{Code: customer.CodeInvalidText, Detail: "is not valid UTF-8"}
	}
	if utf8.RuneCountInString(text) > MaxQueryLength {
		return nil, &customer.ValueError{Code: customer.CodeTooLong, Detail: "has more than 200 characters"}
	}
	folded := Fold(text)
	tokens := strings.Fields(folded)
	words := split(folded)
	if number, ok := dialled(folded); ok {
		words = []string{number}
	}
	if len(words) == 0 {
		words = tokens // punctuation alone is looked for as it is
	}
	if len(words) == 0 {
		return nil, &customer.ValueError{Code: customer.CodeRequired, Detail: "has no word"}
	}
	var terms []Term
	seen := map[string]bool{}
	for _, w := range words {
		w = cut(w, maxWord)
		if seen[w] {
			continue
		}
		seen[w] = true
		n := utf8.RuneCountInString(w)
		terms = append(terms, Term{
			Word:     w,
			Forgives: n >= shortestForgiving && n <= longestForgiving && split(w) != nil && digits(w) != w,
		})
	}
	if len(terms) > MaxQueryWords {
		return nil, &customer.ValueError{Code: customer.CodeTooMany, Detail: "has more than 10 words"}
	}
	return terms, nil
}

// dialled is a phone number's digits, of a text that is nothing else, however it
// is written.
func dialled(text string) (string, bool) {
	const shortest = 5
	number := digits(text)
	if len(number) < shortest || strings.Trim(text, "0123456789 +()-./") != "" ||
		strings.ContainsFunc(text, func(r rune) bool { return !strings.ContainsRune("0123456789 +()-./", r) }) {
		return "", false
	}
	return number, true
}
