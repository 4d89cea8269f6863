package query

import (
	"hash/fnv"
	"slices"
	"unicode/utf8"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
)

// Gram is a number of which the inverted index of customers has many each. They find
// candidates, which the words themselves then confirm. Of each word there are
// its first 1, 2, 3 and 5 characters, and its first 3 and 5 with one left out.
//
// That finds every word one typo away: a typo behind the first 3 (or 5) leaves
// them as they are, and one within leaves something in common once a character
// is left out of the word, of what is asked, or of both.
//
// They are hashes, because an inverted index keeps its keys for good.
type Gram = int32

// DocumentGrams are those that a customer of these words and tags is found by.
func DocumentGrams(words []string, tags []customer.Tag) []Gram {
	grams := make([]Gram, 0, 12*len(words)+len(tags))
	for _, t := range tags {
		grams = append(grams, TagGram(t))
	}
	for _, w := range words {
		r := []rune(w)
		for _, n := range []int{1, 2} {
			if len(r) >= n {
				grams = append(grams, gram(r[:n]))
			}
		}
		grams = appendBeginnings(grams, r, shortGram)
		grams = appendBeginnings(grams, r, longGram)
	}
	slices.Sort(grams)
	return slices.Compact(grams)
}

const (
	shortGram = 3
	longGram  = 5
)

// appendBeginnings adds the first n characters of a word, and the n that are left
// of the first n+1 without any one.
func appendBeginnings(grams []Gram, r []rune, n int) []Gram {
	if len(r) < n {
		return grams
	}
	grams = append(grams, gram(r[:n]))
	if len(r) == n {
		return grams
	}
	rest := make([]rune, n)
	for i := range n {
		copy(rest, r[:i])
		copy(rest[i:], r[i+1:n+1])
		grams = append(grams, gram(rest))
	}
	return grams
}

// Grams are those of which every customer that t finds has one at least.
func (t Term) Grams() []Gram {
	r := []rune(t.Word)
	if !t.Forgives {
		n := len(r)
		switch {
		case n >= longGram:
			n = longGram
		case n >= shortGram:
			n = shortGram
		}
		return []Gram{gram(r[:n])}
	}
	n := shortGram
	if len(r) > longGram {
		n = longGram
	}
	grams := appendBeginnings(nil, r, n)
	slices.Sort(grams)
	return slices.Compact(grams)
}

// TagGram is the number of a tag.
func TagGram(t customer.Tag) Gram {
	h := fnv.New32a()
	_, _ = h.Write([]byte{'#'})
	_, _ = h.Write([]byte(t)) // never fails
	return Gram(h.Sum32())    //nolint:gosec // the bits are what counts
}

func gram(r []rune) Gram {
	h := fnv.New32a()
	var b [utf8.UTFMax]byte
	for _, c := range r {
		_, _ = h.Write(b[:utf8.EncodeRune(b[:], c)]) // never fails
	}
	return Gram(h.Sum32()) //nolint:gosec // the bits are what counts
}
