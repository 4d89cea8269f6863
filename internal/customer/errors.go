package customer

import (
	"errors"
	"strings"
)

// The refusals a command can meet because of where a customer is in its life.
// What is wrong with a value is said by ValueError and Violations instead.
var (
	// ErrNotFound means there is no such customer.
	ErrNotFound = errors.New("customer does not exist")
	// ErrAlreadyRegistered means a customer with that id has been registered before.
	ErrAlreadyRegistered = errors.New("customer is already registered")
	// ErrDeleted means the customer takes no command but restore, erase and delete.
	ErrDeleted = errors.New("customer is deleted")
	// ErrErased means the customer is gone for good.
	ErrErased = errors.New("customer is erased")
	// ErrAddressNotFound means the customer has no address with that id.
	ErrAddressNotFound = errors.New("customer has no such address")
	// ErrStateConflict means the command contradicts what the customer already is.
	ErrStateConflict = errors.New("command conflicts with the customer's state")
)

// The codes a ValueError or Violation can carry. They are part of the HTTP
// contract: clients branch on them.
const (
	CodeRequired           = "required"
	CodeTooLong            = "too_long"
	CodeTooMany            = "too_many"
	CodeDuplicate          = "duplicate"
	CodeInvalid            = "invalid"
	CodeInvalidText        = "invalid_text"
	CodeInvalidName        = "invalid_name"
	CodeInvalidEmail       = "invalid_email"
	CodeInvalidPhone       = "invalid_phone"
	CodeInvalidLocale      = "invalid_locale"
	CodeInvalidExternalID  = "invalid_external_id"
	CodeInvalidCountry     = "invalid_country"
	CodeInvalidPostalCode  = "invalid_postal_code"
	CodeInvalidTag         = "invalid_tag"
	CodeInvalidChannel     = "invalid_channel"
	CodeInvalidAddressUse  = "invalid_default_for"
	CodeInvalidStatus      = "invalid_status"
	CodeInvalidMetadataKey = "invalid_metadata_key"
)

// ValueError says why a text is not the value it was meant to be. Detail never
// repeats the text, which may be personal.
type ValueError struct {
	Code   string
	Detail string
}

func (e *ValueError) Error() string { return e.Detail }

// Violation is a broken rule and the place where it is broken.
type Violation struct {
	Pointer string // JSON pointer into the command's document, as in /addresses/0/city
	Code    string
	Detail  string
}

// Violations are all the rules one command breaks. The nil slice is no error;
// use Err to return it as one.
type Violations []Violation

func (vs Violations) Error() string {
	var b strings.Builder
	b.WriteString("validation failed")
	for i, v := range vs {
		if i == 0 {
			b.WriteString(": ")
		} else {
			b.WriteString("; ")
		}
		b.WriteString(v.Pointer)
		b.WriteString(" ")
		b.WriteString(v.Code)
	}
	return b.String()
}

// Err returns vs, or nil when nothing is broken, so that no caller returns a
// non-nil error that holds a nil slice.
func (vs Violations) Err() error {
	if len(vs) == 0 {
		return nil
	}
	return vs
}

// Add records what err, from a Parse function or a constructor of this package,
// says about the value at pointer. A nil error records nothing. The pointers
// of Violations are taken as relative to pointer.
func (vs *Violations) Add(pointer string, err error) {
	if err == nil {
		return
	}
	if value, ok := errors.AsType[*ValueError](err); ok {
		*vs = append(*vs, Violation{Pointer: pointer, Code: value.Code, Detail: value.Detail})
		return
	}
	if inner, ok := errors.AsType[Violations](err); ok {
		for _, v := range inner {
			v.Pointer = pointer + v.Pointer
			*vs = append(*vs, v)
		}
		return
	}
	// The text of an error from elsewhere may hold the value, so it is not kept.
	*vs = append(*vs, Violation{Pointer: pointer, Code: CodeInvalid, Detail: "is not valid"})
}

// Parse runs parse on text and records its refusal at pointer. It is how a
// document is checked to its end instead of to its first fault:
//
//	var broken Violations
//	email := Parse(&broken, "/email", in.Email, ParseEmail)
//	phone := Parse(&broken, "/phone", in.Phone, ParsePhone)
//	return broken.Err()
func Parse[T any](vs *Violations, pointer, text string, parse func(string) (T, error)) T {
	value, err := parse(text)
	vs.Add(pointer, err)
	return value
}

// PointerToken escapes one reference token of a JSON pointer (RFC 6901 §3).
func PointerToken(token string) string {
	return strings.ReplaceAll(strings.ReplaceAll(token, "~", "~0"), "/", "~1")
}
