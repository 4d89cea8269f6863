package contract

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
)

// value is a JSON value that may be wrong in ways encoding/json cannot write:
// names twice, raw bytes, whatever stands for a scalar.
type value struct {
	kind    byte   // 'o'bject, 'a'rray or 's'calar
	text    string // of a scalar, as it is sent
	members []member
	items   []*value
}

type member struct {
	name  string
	value *value
}

func scalar(v any) *value {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic(err) // what is drawn can be written
	}
	return &value{kind: 's', text: strings.TrimSuffix(out.String(), "\n")}
}

func literal(text string) *value { return &value{kind: 's', text: text} }

// from is a decoded JSON value, its names in order.
func from(v any) *value {
	switch v := v.(type) {
	case map[string]any:
		o := &value{kind: 'o'}
		for name, item := range v {
			o.members = append(o.members, member{name, from(item)})
		}
		slices.SortFunc(o.members, func(a, b member) int { return strings.Compare(a.name, b.name) })
		return o
	case []any:
		a := &value{kind: 'a'}
		for _, item := range v {
			a.items = append(a.items, from(item))
		}
		return a
	default:
		return scalar(v)
	}
}

func (v *value) write(out *bytes.Buffer) {
	switch v.kind {
	case 'o':
		out.WriteByte('{')
		for i, m := range v.members {
			if i > 0 {
				out.WriteByte(',')
			}
			out.WriteString(scalar(m.name).text)
			out.WriteByte(':')
			m.value.write(out)
		}
		out.WriteByte('}')
	case 'a':
		out.WriteByte('[')
		for i, item := range v.items {
			if i > 0 {
				out.WriteByte(',')
			}
			item.write(out)
		}
		out.WriteByte(']')
	default:
		out.WriteString(v.text)
	}
}

func (v *value) bytes() []byte {
	var out bytes.Buffer
	v.write(&out)
	return out.Bytes()
}

// all is v and everything in it.
func (v *value) all() []*value {
	out := []*value{v}
	for _, m := range v.members {
		out = append(out, m.value.all()...)
	}
	for _, item := range v.items {
		out = append(out, item.all()...)
	}
	return out
}

// objects are those in v that have members.
func (v *value) objects() (out []*value) {
	for _, one := range v.all() {
		if one.kind == 'o' && len(one.members) > 0 {
			out = append(out, one)
		}
	}
	return out
}
