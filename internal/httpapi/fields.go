package httpapi

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/ebrahem-outlook/customer-service/api"
	"github.com/ebrahem-outlook/customer-service/internal/customer"
)

// The header fields of the contract that net/http has no names for.
const (
	HeaderToken             = "Consistency-Token"
	HeaderLag               = "Projection-Lag"
	HeaderDryRun            = "Dry-Run"
	HeaderPreferenceApplied = "Preference-Applied"
	HeaderIdempotencyKey    = "Idempotency-Key"
	HeaderCorrelation       = "X-Correlation-ID"
)

// ParseID reads a customer's id from a path: a UUID in its 36-character form.
// Anything else names no customer.
func ParseID(text string) (customer.ID, error) {
	if len(text) != 36 { // uuid.Parse knows three more spellings
		return customer.ID{}, customer.ErrNotFound
	}
	id, err := uuid.Parse(text)
	if err != nil {
		return customer.ID{}, customer.ErrNotFound
	}
	return id, nil
}

// ParseAddressID reads an address's id from a path, as ParseID does a customer's.
func ParseAddressID(text string) (customer.AddressID, error) {
	id, err := ParseID(text)
	if err != nil {
		return customer.AddressID{}, customer.ErrAddressNotFound
	}
	return id, nil
}

// ParseTag reads a tag from a path.
func ParseTag(text string) (customer.Tag, error) {
	tag, err := customer.ParseTag(text)
	if err != nil {
		return "", Refuse(api.InvalidParameter, "The tag in the path "+err.Error()+". A tag has 1 to 40 characters of a-z 0-9 - _ .")
	}
	return tag, nil
}

// ParseChannel reads a consent's channel from a path.
func ParseChannel(text string) (customer.Channel, error) {
	channel, err := customer.ParseChannel(text)
	if err != nil {
		return "", Refuse(api.InvalidParameter, "The channel in the path "+err.Error()+".")
	}
	return channel, nil
}

// EntityTag is one entity-tag of RFC 9110 §8.8.3.
type EntityTag struct {
	Weak   bool
	Opaque string // without the quotes
}

var errEntityTags = errors.New("not a list of entity tags")

// ParseEntityTags reads the value of If-Match or If-None-Match: "*", or a list
// in which empty elements count for nothing (RFC 9110 §5.6.1.2).
func ParseEntityTags(field string) (tags []EntityTag, star bool, err error) {
	rest := strings.Trim(field, " \t")
	if rest == "*" {
		return nil, true, nil
	}
	for rest != "" {
		if rest[0] == ',' {
			rest = strings.TrimLeft(rest[1:], " \t")
			continue
		}
		var t EntityTag
		rest, t.Weak = strings.CutPrefix(rest, "W/")
		if rest == "" || rest[0] != '"' {
			return nil, false, errEntityTags
		}
		end := strings.IndexFunc(rest[1:], func(r rune) bool { return r == '"' || r < 0x21 || r == 0x7F })
		if end < 0 || rest[1+end] != '"' {
			return nil, false, errEntityTags
		}
		t.Opaque, rest = rest[1:1+end], strings.TrimLeft(rest[end+2:], " \t")
		if rest != "" && rest[0] != ',' {
			return nil, false, errEntityTags
		}
		tags = append(tags, t)
	}
	if len(tags) == 0 {
		return nil, false, errEntityTags
	}
	return tags, false, nil
}

// Version is the version a tag names, if it is one of ours.
func (t EntityTag) Version() (customer.Version, bool) {
	n, err := strconv.ParseInt(t.Opaque, 10, 64)
	v := customer.Version(n)
	return v, err == nil && n > 0 && ETag(v) == `"`+t.Opaque+`"`
}

// Unquote reads a string of RFC 9651.
func Unquote(text string) (string, bool) {
	if len(text) < 2 || text[len(text)-1] != '"' {
		return "", false
	}
	var out strings.Builder
	for inner := text[1 : len(text)-1]; inner != ""; inner = inner[1:] {
		switch inner[0] {
		case '"':
			return "", false
		case '\\':
			inner = inner[1:]
			if inner == "" || (inner[0] != '"' && inner[0] != '\\') {
				return "", false
			}
		}
		out.WriteByte(inner[0])
	}
	return out.String(), true
}

const mostSeconds = 3600

// Preferences are those of RFC 7240 that the contract knows. Others are
// ignored, and so are these with values that make no sense, as the RFC asks.
type Preferences struct {
	Return string         // minimal, representation or nothing
	Wait   *time.Duration // at most an hour
}

// ParsePrefer reads the value of Prefer.
func ParsePrefer(field *string) Preferences {
	var p Preferences
	if field == nil {
		return p
	}
	seen := make(map[string]bool)
	for item := range splitOutsideQuotes(*field, ',') {
		preference, _, _ := strings.Cut(item, ";") // its parameters say nothing to us
		name, value, _ := strings.Cut(preference, "=")
		name, value = strings.ToLower(strings.Trim(name, " \t")), strings.Trim(value, " \t")
		if seen[name] {
			continue // the first one counts
		}
		seen[name] = true
		if strings.HasPrefix(value, `"`) {
			value, _ = Unquote(value)
		}
		switch {
		case name == "return" && (value == "minimal" || value == "representation"):
			p.Return = value
		case name == "wait" && value != "" && strings.Trim(value, "0123456789") == "":
			seconds, err := strconv.Atoi(value)
			if err != nil { // more digits than fit
				seconds = mostSeconds
			}
			wait := time.Duration(min(seconds, mostSeconds)) * time.Second
			p.Wait = &wait
		}
	}
	return p
}

func splitOutsideQuotes(text string, separator byte) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		start, quoted := 0, false
		for i := range len(text) {
			switch {
			case text[i] == '"' && (i == 0 || text[i-1] != '\\'):
				quoted = !quoted
			case text[i] == separator && !quoted:
				if !yield(text[start:i]) {
					return
				}
				start = i + 1
			}
		}
		yield(text[start:])
	}
}

// validCorrelation lets pass what can be logged, indexed and sent on as it is,
// and no e-mail address.
func validCorrelation(text string) bool {
	return text != "" && len(text) <= 128 && !strings.ContainsFunc(text, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("._~:/+=-", r)
	})
}
