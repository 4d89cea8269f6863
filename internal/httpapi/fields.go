package httpapi

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/ebrahem-outlook/customer-service/api"
	"github.com/ebrahem-outlook/customer-service/internal/command"
	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
	"github.com/ebrahem-outlook/customer-service/internal/query"
)

// The header fields of the contract that net/http has no names for.
const (
	headerToken             = "Consistency-Token"
	headerLag               = "Projection-Lag"
	headerDryRun            = "Dry-Run"
	headerPreferenceApplied = "Preference-Applied"
	headerIdempotencyKey    = "Idempotency-Key"
	headerCorrelation       = "X-Correlation-ID"
)

const maxIdempotencyKey = 255

// parseID reads a customer's id from a path: a UUID in its 36-character form.
// Anything else names no customer.
func parseID(text string) (customer.ID, error) {
	if len(text) != 36 { // uuid.Parse knows three more spellings
		return customer.ID{}, customer.ErrNotFound
	}
	id, err := uuid.Parse(text)
	if err != nil {
		return customer.ID{}, customer.ErrNotFound
	}
	return id, nil
}

// entityTag is one entity-tag of RFC 9110 §8.8.3.
type entityTag struct {
	weak   bool
	opaque string // without the quotes
}

var errEntityTags = errors.New("not a list of entity tags")

// parseEntityTags reads the value of If-Match or If-None-Match: "*", or a list
// in which empty elements count for nothing (RFC 9110 §5.6.1.2).
func parseEntityTags(field string) (tags []entityTag, star bool, err error) {
	rest := strings.Trim(field, " \t")
	if rest == "*" {
		return nil, true, nil
	}
	for rest != "" {
		if rest[0] == ',' {
			rest = strings.TrimLeft(rest[1:], " \t")
			continue
		}
		var t entityTag
		rest, t.weak = strings.CutPrefix(rest, "W/")
		if rest == "" || rest[0] != '"' {
			return nil, false, errEntityTags
		}
		end := strings.IndexFunc(rest[1:], func(r rune) bool { return r == '"' || r < 0x21 || r == 0x7F })
		if end < 0 || rest[1+end] != '"' {
			return nil, false, errEntityTags
		}
		t.opaque, rest = rest[1:1+end], strings.TrimLeft(rest[end+2:], " \t")
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

// version is the version a tag names, if it is one of ours.
func (t entityTag) version() (customer.Version, bool) {
	n, err := strconv.ParseInt(t.opaque, 10, 64)
	v := customer.Version(n)
	return v, err == nil && n > 0 && etag(v) == `"`+t.opaque+`"`
}

// parseIfMatch compares strongly: a weak tag matches nothing.
func parseIfMatch(field *string) (command.Precondition, error) {
	if field == nil {
		return command.Precondition{}, nil
	}
	tags, star, err := parseEntityTags(*field)
	switch {
	case err != nil:
		return command.Precondition{}, refuse(api.InvalidIfMatch, "")
	case star:
		return command.IfAny(), nil
	}
	var versions []customer.Version
	for _, t := range tags {
		if v, ok := t.version(); ok && !t.weak {
			versions = append(versions, v)
		}
	}
	return command.IfVersion(versions...), nil
}

// parseIfNoneMatch returns what tells whether a version is one that the client
// has, compared weakly.
func parseIfNoneMatch(field *string) (has func(customer.Version) bool, err error) {
	if field == nil {
		return func(customer.Version) bool { return false }, nil
	}
	tags, star, err := parseEntityTags(*field)
	if err != nil {
		return nil, refuse(api.InvalidParameter, `If-None-Match takes quoted entity tags as ETag had them, for example "3", or *.`)
	}
	return func(v customer.Version) bool {
		for _, t := range tags {
			if named, ok := t.version(); ok && named == v {
				return true
			}
		}
		return star
	}, nil
}

// parseIdempotencyKey reads a bare key, or the same key as a string of RFC 9651.
func parseIdempotencyKey(field *string) (string, error) {
	if field == nil {
		return "", nil
	}
	key, ok := *field, true
	if strings.HasPrefix(key, `"`) {
		key, ok = unquote(key)
	}
	outside := func(r rune) bool { return r < ' ' || r > '~' }
	if !ok || key == "" || len(key) > maxIdempotencyKey || strings.ContainsFunc(key, outside) {
		return "", refuse(api.InvalidIdempotencyKey, "")
	}
	return key, nil
}

func unquote(text string) (string, bool) {
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

// parseTokens reads up to 8 consistency tokens, separated by commas.
func parseTokens(field *string) ([]eventlog.Token, error) {
	if field == nil {
		return nil, nil
	}
	var tokens []eventlog.Token
	for text := range strings.SplitSeq(*field, ",") {
		t, err := eventlog.ParseToken(strings.Trim(text, " \t"))
		if err != nil {
			return nil, err
		}
		if len(tokens) == query.MaxTokens {
			return nil, refuse(api.InvalidToken, "At most 8 consistency tokens are taken with one read. Send the newest of each customer.")
		}
		tokens = append(tokens, t)
	}
	return tokens, nil
}

// preferences are those of RFC 7240 that the contract knows. Others are
// ignored, and so are these with values that make no sense, as the RFC asks.
type preferences struct {
	returns string // minimal, representation or nothing
	wait    *time.Duration
}

func parsePrefer(field *string) preferences {
	var p preferences
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
			value, _ = unquote(value)
		}
		switch {
		case name == "return" && (value == "minimal" || value == "representation"):
			p.returns = value
		case name == "wait" && value != "" && strings.Trim(value, "0123456789") == "":
			seconds, err := strconv.Atoi(value)
			if err != nil { // more digits than fit, so more than the limit
				seconds = int(query.MaxWait / time.Second)
			}
			wait := min(time.Duration(min(seconds, 3600))*time.Second, query.MaxWait)
			p.wait = &wait
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
