package queryapi

import (
	"regexp"
	"strconv"
	"sync"
	"time"

	"github.com/ebrahem-outlook/customer-service/api"
	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/httpapi"
	"github.com/ebrahem-outlook/customer-service/internal/query"
)

// parseMoment reads which of a customer's versions a read is of, and whether it
// says so at all.
func parseMoment(version, asOf *string) (m query.Moment, past bool, err error) {
	switch {
	case version != nil && asOf != nil:
		return m, false, httpapi.Refuse(api.InvalidParameter, "The query parameters version and as_of are two answers to one question. Send one of them.")
	case version != nil:
		n, err := parseVersion(*version)
		return query.Moment{Version: n}, true, err
	case asOf != nil:
		at, ok := parseTime(*asOf)
		if !ok {
			return m, false, httpapi.Refuse(api.InvalidParameter, "The query parameter as_of is "+timeAdvice)
		}
		return query.Moment{AsOf: at}, true, nil
	default:
		return m, false, nil
	}
}

func parseVersion(text string) (customer.Version, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 1 || strconv.FormatInt(n, 10) != text { // a sign or a zero in front
		return 0, httpapi.Refuse(api.InvalidParameter, "The query parameter version is a whole number from 1 to 9223372036854775807, in digits alone.")
	}
	return customer.Version(n), nil
}

const timeAdvice = "a time as in RFC 3339, such as 2026-01-15T10:31:07.5Z or 2026-01-15T12:31:07%2B02:00: " +
	"with seconds up to 59 and an offset, + written as %2B."

// parseTime reads RFC 3339 as its section 5.6 has it. time.Parse takes a comma
// for the point and one digit of an hour too, and refuses lower-case letters. It
// knows no leap seconds, nor does PostgreSQL, so 23:59:60 names no time here.
func parseTime(text string) (time.Time, bool) {
	if !timePattern().MatchString(text) {
		return time.Time{}, false
	}
	upper := []byte(text)
	for i, c := range upper {
		if c == 't' || c == 'z' {
			upper[i] = c - 'a' + 'A'
		}
	}
	t, err := time.Parse(time.RFC3339Nano, string(upper))
	return t.UTC(), err == nil
}

var timePattern = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]([01]\d|2[0-3]):[0-5]\d)$`)
})
