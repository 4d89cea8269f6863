package strictjson

import "strings"

// maxEchoed is how long a name may be to be repeated in a pointer.
const maxEchoed = 40

// child is the pointer to a member. A name that might be a value in the wrong
// place (an e-mail address, a person's name) is not repeated in an answer: if
// it does not look like a field's, the pointer stops at the object that has it.
func child(pointer, name string) string {
	strange := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '_' && r != '-' && r != '.' && r != '$'
	}
	if len(name) > maxEchoed || strings.ContainsFunc(name, strange) {
		return pointer
	}
	return pointer + "/" + name // nothing in it needs escaping
}

// parent is the pointer without its last token. What is nested too deep is
// reported where it begins, with one pointer for all that is in it.
func parent(pointer string) string {
	return pointer[:max(strings.LastIndexByte(pointer, '/'), 0)]
}
