package query

import (
	"strings"
	"time"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
)

// Filter says which customers a list, a search or an export is of: the living
// ones that everything set in it admits. The zero Filter admits all of them.
type Filter struct {
	Status     customer.Status // active or suspended
	Tag        customer.Tag
	ExternalID customer.ExternalID

	// Bounds are exclusive, and compared to the microsecond that documents have.
	CreatedAfter, CreatedBefore, UpdatedAfter time.Time

	// What follows is personal and comes with searches alone.
	Email customer.Email // compared by its canonical form
	Phone customer.Phone
	Terms []Term // each of them must be found
}

// FilterText is a Filter as the parameters of a request have it; nil is unset.
type FilterText struct {
	Status, Tag, ExternalID                   *string
	CreatedAfter, CreatedBefore, UpdatedAfter *string
}

// ParseFilter reads what a request says. Its error is customer.Violations with
// every fault; the pointers name the parameters, as in /created_after.
func ParseFilter(in FilterText) (Filter, error) {
	var (
		f      Filter
		broken customer.Violations
	)
	f.Status = optionally(&broken, "/status", in.Status, customer.ParseStatus)
	f.Tag = optionally(&broken, "/tag", in.Tag, customer.ParseTag)
	f.ExternalID = optionally(&broken, "/external_id", in.ExternalID, customer.ParseExternalID)
	f.CreatedAfter = optionally(&broken, "/created_after", in.CreatedAfter, ParseInstant)
	f.CreatedBefore = optionally(&broken, "/created_before", in.CreatedBefore, ParseInstant)
	f.UpdatedAfter = optionally(&broken, "/updated_after", in.UpdatedAfter, ParseInstant)
	if err := broken.Err(); err != nil {
		return Filter{}, err
	}
	return f, nil
}

func optionally[T any](vs *customer.Violations, pointer string, text *string, parse func(string) (T, error)) (v T) {
	if text == nil {
		return v
	}
	return customer.Parse(vs, pointer, *text, parse)
}

// ParseInstant reads a bound in RFC 3339. The zero time would be taken for no bound, and
// nothing happened in its year or before.
func ParseInstant(text string) (time.Time, error) {
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil || at.Year() < 2 || strings.ContainsAny(text, ",") { // Go takes a comma for a point
		return time.Time{}, &customer.ValueError{Code: customer.CodeInvalid, Detail: "is not a time in RFC 3339, as in 2026-01-15T10:31:07.5Z"}
	}
	return at, nil
}

// Sort is the order of a list. Customers equal in it are in order of their ids.
type Sort struct {
	By         SortKey
	Descending bool
}

// SortKey is what lists can be ordered by.
type SortKey string

// The keys there are.
const (
	SortCreated  SortKey = "created_at"
	SortUpdated  SortKey = "updated_at"
	SortLastName SortKey = "last_name"
)

// ParseSort reads a key, descending with "-" before it.
func ParseSort(text string) (Sort, error) {
	key, descending := strings.CutPrefix(text, "-")
	switch k := SortKey(key); k {
	case SortCreated, SortUpdated, SortLastName:
		return Sort{By: k, Descending: descending}, nil
	}
	return Sort{}, &customer.ValueError{
		Code: customer.CodeInvalid, Detail: "is none of created_at, updated_at, last_name, each also with - before it",
	}
}

// String is what ParseSort reads.
func (s Sort) String() string {
	if s.Descending {
		return "-" + string(s.By)
	}
	return string(s.By)
}
