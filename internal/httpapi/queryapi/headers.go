package queryapi

import (
	"strings"

	"github.com/ebrahem-outlook/customer-service/api"
	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
	"github.com/ebrahem-outlook/customer-service/internal/httpapi"
	"github.com/ebrahem-outlook/customer-service/internal/query"
)

// parseIfNoneMatch returns what tells whether a version is one that the client
// has, compared weakly.
func parseIfNoneMatch(field *string) (has func(customer.Version) bool, err error) {
	if field == nil {
		return func(customer.Version) bool { return false }, nil
	}
	tags, star, err := httpapi.ParseEntityTags(*field)
	if err != nil {
		return nil, httpapi.Refuse(api.InvalidParameter, `If-None-Match takes quoted entity tags as ETag had them, for example "3", or *.`)
	}
	return func(v customer.Version) bool {
		for _, t := range tags {
			if named, ok := t.Version(); ok && named == v {
				return true
			}
		}
		return star
	}, nil
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
			return nil, httpapi.Refuse(api.InvalidToken, "At most 8 consistency tokens are taken with one read. Send the newest of each customer.")
		}
		tokens = append(tokens, t)
	}
	return tokens, nil
}
