package strictjson

import "strings"

// maxEchoed is how long a name may be to be repeated in a pointer.
const maxEchoed = 40

// child is the pointer to a member. A name that might be a value in the wrong
// place (an e-mail address, a person's name) is not repeated in an answer: if
// it does not look like a field's, the pointer stops at the object that has it.
func child(pointer, name string) string {
	if !fieldLike(name) {
		return pointer
	}
	return pointer + "/" + name // nothing in it needs escaping
}

func fieldLike(name string) bool {
	strange := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '_' && r != '-' && r != '.' && r != '$'
	}
	return len(name) <= maxEchoed && !strings.ContainsFunc(name, strange)
}

// Discreet holds a pointer that was made elsewhere to the same rule: it stops
// at the object that has the first name which does not look like a field's.
func Discreet(pointer string) string {
	for at, rest := 0, pointer; rest != ""; {
		token, _, _ := strings.Cut(rest[1:], "/")
		if !fieldLike(token) { // a ~ that escapes is strange too
			return pointer[:at]
		}
		at += 1 + len(token)
		rest = pointer[at:]
	}
	return pointer
}

// parent is the pointer without its last token. What is nested too deep is
// reported where it begins, with one pointer for all that is in it.
func parent(pointer string) string {
	return pointer[:max(strings.LastIndexByte(pointer, '/'), 0)]
}
