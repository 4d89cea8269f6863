package strictjson

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
)

// MaxDepth is how many arrays and objects may be open at once. No document of
// the contract needs more than four.
const MaxDepth = 16

// The codes of faults that Parse and Decode find by themselves.
const (
	CodeUnknownField   = "unknown_field"
	CodeDuplicateField = "duplicate_field"
	CodeWrongType      = "wrong_type"
	CodeTooDeep        = "too_deep"
	CodeInvalidText    = customer.CodeInvalidText
	CodeRequired       = customer.CodeRequired
)

// SyntaxError says that a body is not JSON. Its text quotes nothing of the body.
type SyntaxError struct {
	Offset int // of the first byte that does not belong
	Reason string
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("The JSON is broken at byte %d: %s.", e.Offset, e.Reason)
}

type kind uint8

const (
	kindNull kind = iota
	kindBool
	kindNumber
	kindString
	kindArray
	kindObject
)

func (k kind) String() string {
	return [...]string{"null", "a boolean", "a number", "a string", "an array", "an object"}[k]
}

// value is one JSON value. A string with a fault in it is broken: its text is
// of no use, and the fault is among the violations.
type value struct {
	kind    kind
	broken  bool
	text    string // of a string, decoded; of a number, as written; "true" or "false"
	items   []value
	members []member
}

type member struct {
	name  string
	value value
}

// parser is a recursive descent over data; it goes no deeper than MaxDepth and
// passes over what is below with a stack of one byte a level.
type parser struct {
	data   []byte
	at     int
	faults customer.Violations
}

// parse reads data as one JSON value. The error is a *SyntaxError, and then
// there are no violations to speak of.
func parse(data []byte) (value, customer.Violations, error) {
	p := &parser{data: data}
	if len(data) >= 3 && data[0] == 0xEF && data[1] == 0xBB && data[2] == 0xBF {
		return value{}, nil, p.broken("it begins with a byte order mark")
	}
	p.space()
	if p.at == len(data) {
		return value{}, nil, p.broken("the body is empty")
	}
	v, err := p.value("", 0)
	if err != nil {
		return value{}, nil, err
	}
	p.space()
	if p.at < len(data) {
		return value{}, nil, p.broken("there is something behind the value")
	}
	return v, p.faults, nil
}

func (p *parser) broken(reason string) error { return &SyntaxError{Offset: p.at, Reason: reason} }

func (p *parser) fault(pointer, code, detail string) {
	p.faults = append(p.faults, customer.Violation{Pointer: pointer, Code: code, Detail: detail})
}

func (p *parser) space() {
	for p.at < len(p.data) {
		switch p.data[p.at] {
		case ' ', '\t', '\n', '\r':
			p.at++
		default:
			return
		}
	}
}

// peek is the next byte, 0 at the end: a NUL is never valid outside a string,
// and refused inside one.
func (p *parser) peek() byte {
	if p.at < len(p.data) {
		return p.data[p.at]
	}
	return 0
}

func (p *parser) value(pointer string, depth int) (value, error) {
	switch c := p.peek(); c {
	case '{', '[':
		if depth == MaxDepth {
			p.fault(parent(pointer), CodeTooDeep, fmt.Sprintf("has more than %d levels", MaxDepth))
			return value{broken: true}, p.skip()
		}
		if c == '{' {
			return p.object(pointer, depth+1)
		}
		return p.array(pointer, depth+1)
	case '"':
		text, reason, err := p.str()
		if reason != "" && err == nil {
			p.fault(pointer, CodeInvalidText, reason)
		}
		return value{kind: kindString, text: text, broken: reason != ""}, err
	case 't':
		return value{kind: kindBool, text: "true"}, p.literal("true")
	case 'f':
		return value{kind: kindBool, text: "false"}, p.literal("false")
	case 'n':
		return value{kind: kindNull}, p.literal("null")
	default:
		text, err := p.number()
		return value{kind: kindNumber, text: text}, err
	}
}

func (p *parser) object(pointer string, depth int) (value, error) {
	v := value{kind: kindObject, members: make([]member, 0, 4)}
	p.at++ // {
	var seen names
	for first := true; ; first = false {
		if done, err := p.next('}', first, "a name"); done || err != nil {
			return v, err
		}
		if p.peek() != '"' {
			return v, p.broken("a name in double quotes is expected there")
		}
		name, reason, err := p.str()
		if err != nil {
			return v, err
		}
		p.space()
		if p.peek() != ':' {
			return v, p.broken("a colon is expected there")
		}
		p.at++
		p.space()
		below := child(pointer, name)
		known := len(p.faults)
		item, err := p.value(below, depth)
		if err != nil {
			return v, err
		}
		switch {
		case reason != "":
			p.faults = p.faults[:known] // the pointers would be of no use
			p.fault(pointer, CodeInvalidText, "has a name that "+reason)
			continue
		case seen.had(name, v.members):
			p.faults = p.faults[:known]
			p.fault(below, CodeDuplicateField, "is there more than once")
			continue
		}
		v.members = append(v.members, member{name, item})
	}
}

// names tells whether an object's members had a name before. Few are looked
// through; more get a map, lest a document of nothing but names take for ever.
type names map[string]bool

func (n *names) had(name string, before []member) bool {
	const few = 16
	if len(before) < few {
		return slices.ContainsFunc(before, func(m member) bool { return m.name == name })
	}
	if *n == nil {
		*n = make(names, 2*few)
		for _, m := range before {
			(*n)[m.name] = true
		}
	}
	had := (*n)[name]
	(*n)[name] = true
	return had
}

func (p *parser) array(pointer string, depth int) (value, error) {
	v := value{kind: kindArray}
	p.at++ // [
	for first := true; ; first = false {
		if done, err := p.next(']', first, "a value"); done || err != nil {
			return v, err
		}
		item, err := p.value(pointer+"/"+strconv.Itoa(len(v.items)), depth)
		if err != nil {
			return v, err
		}
		v.items = append(v.items, item)
	}
}

// next goes to the next item of an array or object, or past its end.
func (p *parser) next(end byte, first bool, wanted string) (done bool, err error) {
	p.space()
	switch {
	case p.peek() == end && p.at < len(p.data):
		p.at++
		return true, nil
	case first:
		return false, nil
	case p.peek() != ',':
		return false, p.broken(fmt.Sprintf("a comma or %q is expected there", end))
	}
	p.at++
	p.space()
	if p.peek() == end {
		return false, p.broken(wanted + " is expected there")
	}
	return false, nil
}

// skip passes over one array or object without keeping anything of it.
func (p *parser) skip() error {
	var ends []byte
	first := true
	for {
		if len(ends) > 0 {
			end := ends[len(ends)-1]
			done, err := p.next(end, first, "a value")
			if err != nil {
				return err
			}
			if done {
				if ends = ends[:len(ends)-1]; len(ends) == 0 {
					return nil
				}
				first = false
				continue
			}
			if end == '}' {
				if p.peek() != '"' {
					return p.broken("a name in double quotes is expected there")
				}
				if _, _, err := p.str(); err != nil {
					return err
				}
				p.space()
				if p.peek() != ':' {
					return p.broken("a colon is expected there")
				}
				p.at++
				p.space()
			}
		}
		switch p.peek() {
		case '{', '[':
			ends = append(ends, p.peek()+2) // '}' and ']' are two further on
			p.at++
			first = true
			continue
		case '"':
			if _, _, err := p.str(); err != nil {
				return err
			}
		default:
			// What is left is a literal or a number, which open nothing.
			if _, err := p.value("", MaxDepth); err != nil {
				return err
			}
		}
		first = false
	}
}

func (p *parser) literal(word string) error {
	for i := range len(word) {
		if p.peek() != word[i] {
			return p.broken("a value is expected there")
		}
		p.at++
	}
	return nil
}

func (p *parser) number() (string, error) {
	start := p.at
	if p.peek() == '-' {
		p.at++
	}
	switch {
	case p.peek() == '0':
		p.at++
	case p.digits() == 0:
		p.at = max(p.at, start)
		return "", p.broken("a value is expected there")
	}
	if p.peek() == '.' {
		p.at++
		if p.digits() == 0 {
			return "", p.broken("a digit is expected there")
		}
	}
	if c := p.peek(); c == 'e' || c == 'E' {
		p.at++
		if c := p.peek(); c == '+' || c == '-' {
			p.at++
		}
		if p.digits() == 0 {
			return "", p.broken("a digit is expected there")
		}
	}
	return string(p.data[start:p.at]), nil
}

func (p *parser) digits() (n int) {
	for c := p.peek(); c >= '0' && c <= '9'; c = p.peek() {
		p.at++
		n++
	}
	return n
}
