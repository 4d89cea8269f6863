package postgres

import "strings"

// typoPattern is a regular expression that finds, in words with a space before
// each, one that begins with word or with what one typo among its letters makes
// of it (query.Term). word is made of letters, marks and digits, which mean
// themselves.
func typoPattern(word string) string {
	const other = "[^ 0-9]" // a letter
	r := []rune(word)
	isLetter := func(c rune) bool { return c < '0' || c > '9' }
	var b strings.Builder
	b.WriteString(" (?:" + word)
	for i, c := range r {
		here, rest := string(r[i:]), string(r[i+1:])
		b.WriteString("|" + string(r[:i]) + "(?:" + other) // a letter is missing before here
		if isLetter(c) {
			b.WriteString("(?:" + here + "|" + rest + ")|" + rest) // or another in its place, or it is one too many
			if i+1 < len(r) && isLetter(r[i+1]) {
				b.WriteString("|" + string(r[i+1]) + string(c) + string(r[i+2:])) // or swapped with the next
			}
		} else {
			b.WriteString(here)
		}
		b.WriteString(")")
	}
	b.WriteString(")")
	return b.String()
}
