package queryapi

import (
	"net/http"
	"strconv"
	"strings"
	"time"

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

// patience is what a read waits for, and how long.
type patience struct {
	tokens  []eventlog.Token
	wait    time.Duration
	applied *time.Duration // what Preference-Applied says; nil when nothing was asked for
}

// patience reads the headers that every read takes.
func (s *server) patience(token, prefer *string) (p patience, err error) {
	p.wait = s.defaultWait
	if p.tokens, err = parseTokens(token); err != nil {
		return p, err
	}
	if asked := httpapi.ParsePrefer(prefer).Wait; asked != nil {
		p.wait = min(*asked, query.MaxWait)
		p.applied = &p.wait
	}
	return p, nil
}

// setReadHeaders is for every successful read, whatever it answers.
func setReadHeaders(h http.Header, lag time.Duration, applied *time.Duration) {
	h.Set(httpapi.HeaderLag, strconv.FormatFloat(lag.Seconds(), 'f', 3, 64))
	if applied != nil {
		h.Set(httpapi.HeaderPreferenceApplied, "wait="+strconv.Itoa(int(*applied/time.Second)))
	}
}
