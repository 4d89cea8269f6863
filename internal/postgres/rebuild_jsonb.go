package postgres

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"

	"github.com/ebrahem-outlook/customer-service/internal/projection"
)

// What follows writes JSON as the server gives back what it keeps as jsonb: keys
// by length, a space after each colon and comma, and as few escapes as can be.
// Then what was sent can be told from what is kept by bytes alone. Where the
// two differ after all, somebody compares more than needed, nothing else.

// appendChanges is projection.AppendChanges in that form.
func appendChanges(b []byte, changes []projection.Change) (_ []byte, err error) {
	b = append(b, '[')
	for i, c := range changes {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = append(b, `{"new": `...)
		if b, err = appendStored(b, c.New); err != nil {
			return nil, err
		}
		b = append(b, `, "old": `...)
		if b, err = appendStored(b, c.Old); err != nil {
			return nil, err
		}
		b = append(b, `, "field": `...)
		if b, err = appendName(b, c.Field); err != nil {
			return nil, err
		}
		b = append(b, '}')
	}
	return append(b, ']'), nil
}

// appendName appends a field's name, which has a key of the client's in it for
// some.
func appendName(b []byte, name string) ([]byte, error) {
	for i := range len(name) {
		if c := name[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			quoted, err := json.Marshal(name)
			if err != nil {
				return nil, err
			}
			return appendStored(b, quoted)
		}
	}
	return append(append(append(b, '"'), name...), '"'), nil
}

var errJSON = errors.New("not JSON as it was made here")

// appendStored appends one value that json.Marshal made, nil for null.
func appendStored(b, value []byte) ([]byte, error) {
	if value == nil {
		return append(b, "null"...), nil
	}
	b, rest, err := appendNext(b, value)
	if err == nil && len(rest) > 0 {
		err = errJSON
	}
	return b, err
}

// appendNext appends the first value of v, and returns what comes after it.
func appendNext(b, v []byte) (_, rest []byte, err error) {
	if len(v) == 0 {
		return nil, nil, errJSON
	}
	switch v[0] {
	case '{':
		return appendObject(b, v[1:])
	case '[':
		return appendArray(b, v[1:])
	case '"':
		return appendString(b, v)
	}
	n := bytes.IndexAny(v, ",]}")
	if n < 0 {
		n = len(v)
	}
	return append(b, v[:n]...), v[n:], nil
}

// appendString takes a string that begins v. Most have nothing escaped.
func appendString(b, v []byte) (_, rest []byte, err error) {
	for i := 1; i < len(v); i++ {
		switch v[i] {
		case '"':
			return append(b, v[:i+1]...), v[i+1:], nil
		case '\\':
			var text string
			dec := json.NewDecoder(bytes.NewReader(v))
			if err := dec.Decode(&text); err != nil {
				return nil, nil, errJSON
			}
			return appendText(b, text), v[dec.InputOffset():], nil
		}
	}
	return nil, nil, errJSON
}

func appendArray(b, v []byte) (_, rest []byte, err error) {
	b = append(b, '[')
	for i := 0; len(v) > 0 && v[0] != ']'; i++ {
		if i > 0 {
			if v[0] != ',' {
				return nil, nil, errJSON
			}
			b, v = append(b, ", "...), v[1:]
		}
		if b, v, err = appendNext(b, v); err != nil {
			return nil, nil, err
		}
	}
	if len(v) == 0 {
		return nil, nil, errJSON
	}
	return append(b, ']'), v[1:], nil
}

func appendObject(b, v []byte) (_, rest []byte, err error) {
	type member struct{ key, value []byte }
	var members []member
	for len(v) > 0 && v[0] != '}' {
		if v[0] == ',' {
			v = v[1:]
		}
		var m member
		if m.key, v, err = appendString(nil, v); err != nil {
			return nil, nil, err
		}
		if len(v) == 0 || v[0] != ':' {
			return nil, nil, errJSON
		}
		if m.value, v, err = appendNext(nil, v[1:]); err != nil {
			return nil, nil, err
		}
		members = append(members, m)
	}
	if len(v) == 0 {
		return nil, nil, errJSON
	}
	slices.SortFunc(members, func(x, y member) int {
		if len(x.key) != len(y.key) {
			return len(x.key) - len(y.key)
		}
		return bytes.Compare(x.key, y.key)
	})
	b = append(b, '{')
	for i, m := range members {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = append(append(append(b, m.key...), ": "...), m.value...)
	}
	return append(b, '}'), v[1:], nil
}

// appendText quotes a text as the server does.
func appendText(b []byte, text string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	for i := range len(text) {
		switch c := text[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c >= ' ':
			b = append(b, c)
		case c == '\b':
			b = append(b, `\b`...)
		case c == '\f':
			b = append(b, `\f`...)
		case c == '\n':
			b = append(b, `\n`...)
		case c == '\r':
			b = append(b, `\r`...)
		case c == '\t':
			b = append(b, `\t`...)
		default:
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
	}
	return append(b, '"')
}
