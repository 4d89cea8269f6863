package postgres

import (
	"fmt"
	"strings"
	"time"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/query"
)

// filterSQL is f as a condition on a row l of readmodel.listing, which has the
// living customers, and the row d of readmodel.documents of the same customer.
// Its arguments are appended to args, and $n counts on from them.
//
// Words and tags are looked up by their hashes, and what that finds is held to
// the words and tags themselves.
//
// A status is written out: an index of one status is used only if the plan is
// made knowing it.
func filterSQL(f query.Filter, args []any) (condition string, all []any) {
	conditions := []string{"true"}
	add := func(format string, arg any) {
		args = append(args, arg)
		conditions = append(conditions, fmt.Sprintf(format, len(args)))
	}
	switch f.Status {
	case customer.StatusActive:
		conditions = append(conditions, "l.status = 'active'")
	case customer.StatusSuspended:
		conditions = append(conditions, "l.status = 'suspended'")
	}
	if f.Tag != "" {
		add("l.grams && $%d::integer[]", []query.Gram{query.TagGram(f.Tag)})
		add("$%d = ANY (l.tags)", string(f.Tag))
	}
	if f.ExternalID != "" {
		add("l.external_id = $%d", string(f.ExternalID))
	}
	if f.Email != "" {
		add("l.email = $%d", f.Email.Canonical())
	}
	if f.Phone != "" {
		add("l.phone = $%d", string(f.Phone))
	}
	if !f.CreatedAfter.IsZero() {
		add("l.created_at > $%d", f.CreatedAfter.Truncate(time.Microsecond))
	}
	if !f.CreatedBefore.IsZero() {
		add("l.created_at < $%d", ceilMicrosecond(f.CreatedBefore))
	}
	if !f.UpdatedAfter.IsZero() {
		add("d.updated_at > $%d", f.UpdatedAfter.Truncate(time.Microsecond))
	}
	for _, t := range f.Terms {
		add("l.grams && $%d::integer[]", t.Grams())
		if t.Forgives {
			add("l.words ~ $%d", typoPattern(t.Word))
		} else {
			add("strpos(l.words, $%d) > 0", " "+t.Word)
		}
	}
	return strings.Join(conditions, " AND "), args
}

// ceilMicrosecond keeps a bound from above exact for times of whole microseconds.
func ceilMicrosecond(t time.Time) time.Time {
	if whole := t.Truncate(time.Microsecond); !whole.Equal(t) {
		return whole.Add(time.Microsecond)
	}
	return t
}
