package postgres

import (
	"strconv"
	"strings"
	"time"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/projection"
	"github.com/ebrahem-outlook/customer-service/internal/query"
)

const (
	deleteListing = `DELETE FROM readmodel.listing WHERE customer_id = ANY($1)`

	// Most events change nothing of what is listed. To look first costs one read
	// by key; to write a row as it was would be a new entry in every index.
	upsertListing = `
INSERT INTO readmodel.listing AS l (customer_id, status, created_at, last_name, email, phone, external_id, tags, words, grams)
SELECT customer_id, status, created_at, last_name, email, nullif(phone, ''), nullif(external_id, ''),
       string_to_array(tags, ','), words, string_to_array(grams, ',')::integer[]
  FROM unnest($1::uuid[], $2::text[], $3::timestamptz[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[])
       u (customer_id, status, created_at, last_name, email, phone, external_id, tags, words, grams)
 WHERE NOT EXISTS (
       SELECT FROM readmodel.listing o
        WHERE o.customer_id = u.customer_id AND o.status = u.status AND o.created_at = u.created_at AND o.last_name = u.last_name
          AND o.email = u.email AND coalesce(o.phone, '') = u.phone AND coalesce(o.external_id, '') = u.external_id
          AND o.tags = string_to_array(u.tags, ',') AND o.words = u.words)
ON CONFLICT (customer_id) DO UPDATE SET
       status = excluded.status, created_at = excluded.created_at, last_name = excluded.last_name, email = excluded.email,
       phone = excluded.phone, external_id = excluded.external_id, tags = excluded.tags, words = excluded.words, grams = excluded.grams`
)

// listed is a living customer as lists and searches find it.
type listed struct {
	id                       customer.ID
	status                   customer.Status
	createdAt                time.Time
	lastName, email          string
	phone, externalID, words string
	tags                     []customer.Tag
	grams                    []query.Gram
}

// listing tells of rows which are to be found by what, and which not any more.
func listing(rows []projection.Row) (all []listed, gone []customer.ID) {
	for _, r := range rows {
		if s := r.Status(); s != customer.StatusActive && s != customer.StatusSuspended {
			gone = append(gone, r.Data.ID)
			continue
		}
		words := query.Words(r.Data)
		all = append(all, listed{
			id: r.Data.ID, status: r.Data.Status, createdAt: r.Data.CreatedAt,
			lastName: query.SortName(r.Data.LastName), email: r.Data.Email.Canonical(),
			phone: string(r.Data.Phone), externalID: string(r.Data.ExternalID),
			words: " " + strings.Join(words, " "), tags: r.Data.Tags, grams: query.DocumentGrams(words, r.Data.Tags),
		})
	}
	return all, gone
}

// listingArgs are the columns of what is listed, as upsertListing wants them.
// Arrays of arrays have to be of one length each, so inner ones go as texts.
func listingArgs(all []listed) []any {
	n := len(all)
	var (
		ids       = make([][16]byte, n)
		statuses  = make([]string, n)
		created   = make([]time.Time, n)
		lastNames = make([]string, n)
		emails    = make([]string, n)
		phones    = make([]string, n)
		externals = make([]string, n)
		tags      = make([]string, n)
		words     = make([]string, n)
		grams     = make([]string, n)
	)
	for i, l := range all {
		ids[i], statuses[i], created[i], lastNames[i], emails[i] = l.id, string(l.status), l.createdAt, l.lastName, l.email
		phones[i], externals[i], words[i] = l.phone, l.externalID, l.words
		var b []byte
		for j, t := range l.tags {
			if j > 0 {
				b = append(b, ',')
			}
			b = append(b, t...) // a tag has no comma
		}
		tags[i] = string(b)
		b = b[:0]
		for j, g := range l.grams {
			if j > 0 {
				b = append(b, ',')
			}
			b = strconv.AppendInt(b, int64(g), 10)
		}
		grams[i] = string(b)
	}
	return []any{ids, statuses, created, lastNames, emails, phones, externals, tags, words, grams}
}

// listingColumns are those that listingRows fills.
func listingColumns() []string {
	return []string{"customer_id", "status", "created_at", "last_name", "email", "phone", "external_id", "tags", "words", "grams"}
}

// listingRows is d as upsertListing would write it.
func listingRows(rows *encodedRows, d projection.Delta) error {
	all, _ := listing(d.Rows)
	for _, l := range all {
		rows.begin(10)
		rows.uuid(l.id)
		rows.text(string(l.status))
		rows.timestamp(l.createdAt)
		rows.text(l.lastName)
		rows.text(l.email)
		rows.textOrNull(l.phone)
		rows.textOrNull(l.externalID)
		at := rows.array(oidText, len(l.tags))
		for _, t := range l.tags {
			rows.text(string(t))
		}
		rows.measure(at)
		rows.text(l.words)
		at = rows.array(oidInteger, len(l.grams))
		for _, g := range l.grams {
			rows.integer(g)
		}
		rows.measure(at)
		rows.end()
	}
	return nil
}
