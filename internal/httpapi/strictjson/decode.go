package strictjson

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
)

// Decode reads data into the struct that target points to and returns what is
// wrong with the document, as far as its shape goes. Fields with a fault keep
// their zero value; the others are set, so that a caller can go on to check
// what they hold and report everything at once.
//
// The struct is one that oapi-codegen made: each field has a json tag; one
// without omitempty is required; a pointer is optional and never null; a
// nullable.Nullable tells absent, null and value apart; in a map a pointer may
// be null.
//
// The error is a *SyntaxError when data is not JSON.
func Decode(data []byte, target any) (customer.Violations, error) {
	v, faults, err := parse(data)
	if err != nil {
		return nil, err
	}
	d := decoder{faults: faults, faulty: make(map[string]bool, len(faults))}
	for _, f := range faults {
		d.faulty[f.Pointer] = true
	}
	d.decode("", v, reflect.ValueOf(target).Elem())
	return d.faults, nil
}

type decoder struct {
	faults customer.Violations
	faulty map[string]bool // the pointers of faults
}

func (d *decoder) fault(pointer, code, detail string) {
	d.faulty[pointer] = true
	d.faults = append(d.faults, customer.Violation{Pointer: pointer, Code: code, Detail: detail})
}

func (d *decoder) want(pointer string, v value, k kind) bool {
	switch {
	case v.broken:
		return false // reported when it was parsed
	case v.kind == k:
		return true
	}
	d.fault(pointer, CodeWrongType, fmt.Sprintf("must be %s, not %s", k, v.kind))
	return false
}

// isNullable tells nullable.Nullable[T], which is a map[bool]T.
func isNullable(t reflect.Type) bool {
	return t.Kind() == reflect.Map && t.Key().Kind() == reflect.Bool
}

func (d *decoder) decode(pointer string, v value, out reflect.Value) {
	switch t := out.Type(); {
	case isNullable(t):
		set := reflect.MakeMapWithSize(t, 1)
		item := reflect.New(t.Elem()).Elem()
		null := v.kind == kindNull && !v.broken
		if !null {
			known := len(d.faults)
			if d.decode(pointer, v, item); v.broken || len(d.faults) > known && item.IsZero() {
				return // absent, rather than a value nobody sent
			}
		}
		set.SetMapIndex(reflect.ValueOf(!null).Convert(t.Key()), item)
		out.Set(set)
	case t.Kind() == reflect.Pointer:
		known := len(d.faults)
		item := reflect.New(t.Elem())
		if d.decode(pointer, v, item.Elem()); v.broken || len(d.faults) > known && item.Elem().IsZero() {
			return
		}
		out.Set(item)
	case t.Kind() == reflect.String:
		if d.want(pointer, v, kindString) {
			out.SetString(v.text)
		}
	case t.Kind() == reflect.Bool:
		if d.want(pointer, v, kindBool) {
			out.SetBool(v.text == "true")
		}
	case t.Kind() == reflect.Int64 || t.Kind() == reflect.Int:
		if d.want(pointer, v, kindNumber) {
			d.integer(pointer, v, out)
		}
	case t.Kind() == reflect.Slice:
		if d.want(pointer, v, kindArray) {
			out.Set(reflect.MakeSlice(t, len(v.items), len(v.items)))
			for i, item := range v.items {
				d.decode(pointer+"/"+strconv.Itoa(i), item, out.Index(i))
			}
		}
	case t.Kind() == reflect.Map:
		if d.want(pointer, v, kindObject) {
			d.mapping(pointer, v, out)
		}
	case t.Kind() == reflect.Struct:
		if d.want(pointer, v, kindObject) {
			d.structure(pointer, v, out)
		}
	default:
		panic("strictjson: no decoding into " + t.String()) // a type that the specification has grown
	}
}

func (d *decoder) integer(pointer string, v value, out reflect.Value) {
	n, err := strconv.ParseInt(v.text, 10, 64)
	if err != nil {
		d.fault(pointer, CodeWrongType, "must be a whole number of at most 63 bits")
		return
	}
	out.SetInt(n)
}

func (d *decoder) mapping(pointer string, v value, out reflect.Value) {
	t := out.Type()
	out.Set(reflect.MakeMapWithSize(t, len(v.members)))
	for _, m := range v.members {
		item := reflect.New(t.Elem()).Elem()
		known := len(d.faults)
		if t.Elem().Kind() != reflect.Pointer || m.value.kind != kindNull || m.value.broken {
			d.decode(child(pointer, m.name), m.value, item)
		}
		// A member that is not what it must be is left out; one with a fault
		// further down stays, so that the rest of it is checked too.
		if m.value.broken || len(d.faults) > known && item.IsZero() {
			continue
		}
		out.SetMapIndex(reflect.ValueOf(m.name).Convert(t.Key()), item)
	}
}

func (d *decoder) structure(pointer string, v value, out reflect.Value) {
	t := out.Type()
	given := make(map[string]value, len(v.members))
	for _, m := range v.members {
		given[m.name] = m.value
	}
	var names []string
	for i := range t.NumField() {
		name, options, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		names = append(names, name)
		item, ok := given[name]
		switch {
		case ok:
			d.decode(child(pointer, name), item, out.Field(i))
			delete(given, name)
		case !strings.Contains(options, "omitempty") && !d.faulty[child(pointer, name)]: // it may be there, but broken
			d.fault(child(pointer, name), CodeRequired, "is required")
		}
	}
	for _, m := range v.members { // in the order of the document
		if _, unknown := given[m.name]; unknown {
			d.fault(child(pointer, m.name), CodeUnknownField, unknownDetail(m.name, names))
		}
	}
}

func unknownDetail(name string, names []string) string {
	for _, n := range names {
		if strings.EqualFold(n, name) || strings.EqualFold(strings.ReplaceAll(n, "_", ""), name) {
			return fmt.Sprintf("is not a field here; names are exact: %q", n)
		}
	}
	return "is not a field that can be set here"
}
