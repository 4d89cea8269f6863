package contract

import (
	"bytes"
	"maps"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"pgregory.net/rapid"
)

func sorted(schemas openapi3.Schemas) []string { return slices.Sorted(maps.Keys(schemas)) }

// mutation spoils a body. Those that the schema cannot see say themselves
// whether the body may still be taken.
type mutation struct {
	name  string
	fatal bool // whatever the schema says, no such body may be taken
	value func(t *rapid.T, v *value) bool
	bytes func(t *rapid.T, b []byte) []byte
}

var mutations = []mutation{
	{name: "another type", value: func(t *rapid.T, v *value) bool {
		all := v.all()
		other := rapid.SampledFrom([]string{
			`null`, `true`, `0`, `-1`, `1.5`, `1e400`, `9223372036854775808`, `""`, `"x"`, `[]`, `{}`, `[null]`, `{"a":1}`,
		}).Draw(t, "other")
		*rapid.SampledFrom(all).Draw(t, "where") = *literal(other)
		return true
	}},
	{name: "a strange text", value: func(t *rapid.T, v *value) bool {
		*rapid.SampledFrom(v.all()).Draw(t, "where") = *scalar(rapid.SampledFrom(strange).Draw(t, "text"))
		return true
	}},
	{name: "a member less", value: onObject(func(t *rapid.T, o *value) {
		i := rapid.IntRange(0, len(o.members)-1).Draw(t, "member")
		o.members = slices.Delete(o.members, i, i+1)
	})},
	{name: "an unknown member", fatal: true, value: func(t *rapid.T, v *value) bool {
		if v.kind != 'o' {
			return false
		}
		name := rapid.SampledFrom([]string{"", "x", "id", "version", "__proto__", "naïve", "a/b~c", "\u202e"}).Draw(t, "name")
		v.members = append(v.members, member{name, literal("1")})
		return true
	}},
	{name: "a member twice", fatal: true, value: onObject(func(t *rapid.T, o *value) {
		o.members = append(o.members, rapid.SampledFrom(o.members).Draw(t, "member"))
	})},
	{name: "a name in another case", fatal: true, value: func(t *rapid.T, v *value) bool {
		if v.kind != 'o' || len(v.members) == 0 {
			return false
		}
		m := &v.members[rapid.IntRange(0, len(v.members)-1).Draw(t, "member")]
		m.name = strings.ToUpper(m.name)
		return true
	}},
	{name: "too many items", value: func(t *rapid.T, v *value) bool {
		for _, one := range v.all() {
			if one.kind == 'a' && len(one.items) > 0 {
				one.items = slices.Repeat(one.items, rapid.IntRange(2, 60).Draw(t, "times"))
				return true
			}
		}
		return false
	}},
	{name: "too deep", fatal: true, bytes: func(_ *rapid.T, _ []byte) []byte {
		return []byte(strings.Repeat(`{"metadata":`, 20) + "1" + strings.Repeat("}", 20))
	}},
	{name: "a lone surrogate", fatal: true, bytes: inText(`\ud800`)},
	{name: "an escaped NUL", fatal: true, bytes: inText(`\u0000`)},
	{name: "invalid UTF-8", fatal: true, bytes: inText("\xff\xfe")},
	{name: "a raw control character", fatal: true, bytes: inText("\x01")},
	{name: "trailing data", fatal: true, bytes: func(t *rapid.T, b []byte) []byte {
		return append(b, rapid.SampledFrom([]string{"x", "{}", ",", "\x00", "]"}).Draw(t, "tail")...)
	}},
	{name: "a byte order mark", fatal: true, bytes: func(_ *rapid.T, b []byte) []byte { return append([]byte("\xef\xbb\xbf"), b...) }},
	{name: "cut short", fatal: true, bytes: func(t *rapid.T, b []byte) []byte {
		return b[:rapid.IntRange(1, max(1, len(b)-1)).Draw(t, "at")]
	}},
	{name: "something else", fatal: true, bytes: func(t *rapid.T, _ []byte) []byte {
		return []byte(rapid.SampledFrom([]string{"null", "[]", "1", `"x"`, "a=b", "<x/>", "\x00", "\xff"}).Draw(t, "what"))
	}},
	{name: "too large", fatal: true, bytes: func(t *rapid.T, b []byte) []byte {
		return append(b, bytes.Repeat([]byte(" "), 65_536+rapid.IntRange(1, 1000).Draw(t, "more"))...)
	}},
}

func onObject(f func(*rapid.T, *value)) func(*rapid.T, *value) bool {
	return func(t *rapid.T, v *value) bool {
		all := v.objects()
		if len(all) == 0 {
			return false
		}
		f(t, rapid.SampledFrom(all).Draw(t, "object"))
		return true
	}
}

// inText puts raw bytes into the first text that is a value, or says null.
func inText(raw string) func(*rapid.T, []byte) []byte {
	return func(_ *rapid.T, b []byte) []byte {
		if i := bytes.Index(b, []byte(`:"`)); i >= 0 {
			return slices.Concat(b[:i+2], []byte(raw), b[i+2:])
		}
		return []byte(`"` + raw + `"`)
	}
}
