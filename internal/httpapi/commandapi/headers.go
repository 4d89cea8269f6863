package commandapi

import (
	"strings"

	"github.com/ebrahem-outlook/customer-service/api"
	"github.com/ebrahem-outlook/customer-service/internal/command"
	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/httpapi"
)

const maxIdempotencyKey = 255

// parseIfMatch compares strongly: a weak tag matches nothing.
func parseIfMatch(field *string) (command.Precondition, error) {
	if field == nil {
		return command.Precondition{}, nil
	}
	tags, star, err := httpapi.ParseEntityTags(*field)
	switch {
	case err != nil:
		return command.Precondition{}, httpapi.Refuse(api.InvalidIfMatch, "")
	case star:
		return command.IfAny(), nil
	}
	var versions []customer.Version
	for _, t := range tags {
		if v, ok := t.Version(); ok && !t.Weak {
			versions = append(versions, v)
		}
	}
	return command.IfVersion(versions...), nil
}

// parseIdempotencyKey reads a bare key, or the same key as a string of RFC 9651.
func parseIdempotencyKey(field *string) (string, error) {
	if field == nil {
		return "", nil
	}
	key, ok := *field, true
	if strings.HasPrefix(key, `"`) {
		key, ok = httpapi.Unquote(key)
	}
	outside := func(r rune) bool { return r < ' ' || r > '~' }
	if !ok || key == "" || len(key) > maxIdempotencyKey || strings.ContainsFunc(key, outside) {
		return "", httpapi.Refuse(api.InvalidIdempotencyKey, "")
	}
	return key, nil
}
