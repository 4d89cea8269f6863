package strictjson

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
)

// maxEchoed is how long a name may be to be repeated in a pointer.
const maxEchoed = 64

// child is the pointer to a member. A name that might be a value in the wrong
// place (an e-mail address, a sentence) is not repeated in an answer, so the
// pointer stops at the object that has it.
func child(pointer, name string) string {
	strange := func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsMark(r) && !unicode.IsDigit(r) && !strings.ContainsRune("_-.~/$ ", r)
	}
	if utf8.RuneCountInString(name) > maxEchoed || strings.ContainsFunc(name, strange) {
		return pointer
	}
	if strings.ContainsAny(name, "~/") { // hardly ever, and escaping builds a replacer
		name = customer.PointerToken(name)
	}
	return pointer + "/" + name
}

// parent is the pointer without its last token. What is nested too deep is
// reported where it begins, with one pointer for all that is in it.
func parent(pointer string) string {
	return pointer[:max(strings.LastIndexByte(pointer, '/'), 0)]
}
