package query

import (
	"strings"
	"unicode"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// Fold is text as search and the order of names see it: without case, accents,
// width, ligatures and characters that cannot be seen. It is the one place that
// says which texts are the same; what it makes is stored, so a change of it
// needs a rebuild of the read model. Folding twice changes nothing.
func Fold(text string) string {
	if isPlain(text) {
		return text
	}
	if isPrintable(text) {
		return strings.ToLower(text) // nothing else is done to any of these characters
	}
	// Unfolding case may give what decomposes, and decomposing what has case.
	for range 3 {
		once := foldOnce(text)
		if once == text {
			break
		}
		text = once
	}
	return text
}

func foldOnce(text string) string {
	decomposed := norm.NFKD.String(cases.Fold().String(norm.NFKD.String(text)))
	var b strings.Builder
	b.Grow(len(decomposed))
	for _, r := range decomposed {
		switch {
		case isAccent(r) || isInvisible(r):
		case unicode.Is(unicode.Nd, r):
			b.WriteByte('0' + digit(r))
		default:
			if plain, ok := letter(r); ok {
				b.WriteString(plain)
			} else {
				b.WriteRune(r)
			}
		}
	}
	return norm.NFC.String(b.String()) // Hangul and kana are one character each again
}

func isPlain(text string) bool {
	for i := range len(text) {
		if c := text[i]; c >= 0x80 || (c >= 'A' && c <= 'Z') || c < ' ' {
			return false
		}
	}
	return true
}

// isPrintable tells texts of ASCII characters that can be seen, and spaces.
func isPrintable(text string) bool {
	for i := range len(text) {
		if c := text[i]; c < ' ' || c > '~' {
			return false
		}
	}
	return true
}

// isAccent tells marks that a reader may leave out: those above, below and
// through a letter, and the vowel points of Hebrew, Arabic and Syriac. Others,
// as the vowels of Indic scripts and the voicing of kana, make another letter.
func isAccent(r rune) bool {
	if r < 0x300 || !unicode.Is(unicode.Mn, r) {
		return false
	}
	class := norm.NFD.PropertiesString(string(r)).CCC()
	return class == 1 || (class >= 10 && class <= 36) || class >= 200
}

func isInvisible(r rune) bool {
	const tatweel = '\u0640' // stretches an Arabic word and is no letter
	return r == tatweel || unicode.IsControl(r) ||
		unicode.In(r, unicode.Cf, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}

// digit is the value of a decimal digit: Unicode has each script's in a row.
func digit(r rune) byte {
	for _, table := range unicode.Nd.R16 {
		if rune(table.Lo) <= r && r <= rune(table.Hi) {
			return byte((r - rune(table.Lo)) % 10)
		}
	}
	for _, table := range unicode.Nd.R32 {
		if rune(table.Lo) <= r && r <= rune(table.Hi) {
			return byte((r - rune(table.Lo)) % 10)
		}
	}
	return 0
}

// letter gives, for letters that Unicode does not take apart, what they are typed
// as by whoever does not have them on a keyboard. Case is folded already.
func letter(r rune) (string, bool) {
	switch r {
	case 'đ', 'ð', 'ɖ', 'ɗ':
		return "d", true
	case 'ł', 'ƚ':
		return "l", true
	case 'ø', 'ɔ':
		return "o", true
	case 'ı', 'ɨ':
		return "i", true
	case 'ħ':
		return "h", true
	case 'ŧ':
		return "t", true
	case 'ŋ':
		return "n", true
	case 'ƀ', 'ɓ':
		return "b", true
	case 'ʉ':
		return "u", true
	case 'ĸ':
		return "q", true
	case 'æ':
		return "ae", true
	case 'œ':
		return "oe", true
	case 'þ':
		return "th", true
	case 'ə', 'ɛ':
		return "e", true
	case '\u0649', '\u06CC': // alef maksura and Farsi yeh, typed for yeh and for each other
		return "\u064A", true
	case '\u06A9': // keheh
		return "\u0643", true
	case '\u0629': // teh marbuta
		return "\u0647", true
	}
	return "", false
}
