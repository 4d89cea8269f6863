// Package strictjson reads request bodies. Where encoding/json forgives, it
// refuses: names that are unknown, doubled or in another case, bytes that are
// not UTF-8, escapes that name no character, text behind the value. It tells
// what is not JSON at all (a SyntaxError) from JSON that is not what was meant
// (customer.Violations), and reports every fault of a body, not the first.
//
// It must not know of HTTP, nor of what any particular field may hold.
package strictjson
