package strictjson

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/oapi-codegen/nullable"

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
	d := decoder{faults: faults}
	for _, f := range faults {
		d.mark(f.Pointer)
	}
	d.decode("", v, reflect.ValueOf(target).Elem())
	return d.faults, nil
}

type decoder struct {
	faults customer.Violations
	faulty map[string]bool // the pointers of faults; nil while there are none
}

func (d *decoder) mark(pointer string) {
	if d.faulty == nil {
		d.faulty = make(map[string]bool)
	}
	d.faulty[pointer] = true
}

func (d *decoder) fault(pointer, code, detail string) {
	d.mark(pointer)
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
	if sound(v, out) {
		return
	}
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

// sound decodes, without reflection's cost, what most fields are, if there is
// nothing wrong with it.
func sound(v value, out reflect.Value) bool {
	if v.broken {
		return false
	}
	switch out := out.Addr().Interface().(type) {
	case *nullable.Nullable[string]:
		if v.kind == kindString {
			*out = nullable.NewNullableWithValue(v.text)
			return true
		}
	case **[]string:
		texts := make([]string, len(v.items))
		for i, item := range v.items {
			if item.broken || item.kind != kindString {
				return false
			}
			texts[i] = item.text
		}
		if v.kind == kindArray {
			*out = &texts
			return true
		}
	case **map[string]string:
		texts := make(map[string]string, len(v.members))
		for _, m := range v.members {
			if m.value.broken || m.value.kind != kindString {
				return false
			}
			texts[m.name] = m.value.text
		}
		if v.kind == kindObject {
			*out = &texts
			return true
		}
	}
	return false
}

// field is what a tag says of a struct's field.
type field struct {
	name     string
	required bool
}

// fieldsOf keeps what tags say: there are a few types, and they do not change.
var fieldsOf sync.Map // of []field by reflect.Type

func fields(t reflect.Type) []field {
	if known, ok := fieldsOf.Load(t); ok {
		return known.([]field) //nolint:forcetypeassert // nothing else is stored
	}
	all := make([]field, t.NumField())
	for i := range all {
		name, options, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		all[i] = field{name, !strings.Contains(options, "omitempty")}
	}
	fieldsOf.Store(t, all)
	return all
}

func (d *decoder) structure(pointer string, v value, out reflect.Value) {
	all := fields(out.Type())
	found := 0
	for i, f := range all {
		at := slices.IndexFunc(v.members, func(m member) bool { return m.name == f.name })
		switch {
		case at >= 0:
			found++
			d.decode(child(pointer, f.name), v.members[at].value, out.Field(i))
		case f.required && !d.faulty[child(pointer, f.name)]: // it may be there, but broken
			d.fault(child(pointer, f.name), CodeRequired, "is required")
		}
	}
	if found == len(v.members) {
		return
	}
	for _, m := range v.members { // in the order of the document
		if !slices.ContainsFunc(all, func(f field) bool { return f.name == m.name }) {
			d.fault(child(pointer, m.name), CodeUnknownField, unknownDetail(m.name, all))
		}
	}
}

func unknownDetail(name string, all []field) string {
	for _, f := range all {
		n := f.name
		if strings.EqualFold(n, name) || strings.EqualFold(strings.ReplaceAll(n, "_", ""), name) {
			return fmt.Sprintf("is not a field here; names are exact: %q", n)
		}
	}
	return "is not a field that can be set here"
}
