package query

// Term is one word of a search, folded. It is found where a word begins with it
// or, if it forgives, begins with what one typo makes of it.
type Term struct {
	Word     string
	Forgives bool
}
