package queryapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/query"
)

// maxMetadataColumns bounds the columns of a table: metadata has one for each
// key that any of its customers has.
const maxMetadataColumns = 256

var errTooManyColumns = errors.New("too many keys of metadata for columns")

// table is CSV as RFC 4180 has it, with the columns that `command-api import`
// reads and a few that it passes over. A customer with several addresses has a
// further row for each beyond the first, with nothing else but what names the
// customer, because that is how an import takes them.
type table struct {
	channels []string
	keys     []string // of the metadata
	row      []string // used again
}

// newTable looks up which columns there are.
func newTable(ctx context.Context, s query.Snapshot) (*table, error) {
	keys, err := s.MetadataKeys(ctx, maxMetadataColumns+1)
	switch {
	case err != nil:
		return nil, err
	case len(keys) > maxMetadataColumns:
		return nil, errTooManyColumns
	}
	t := &table{keys: keys}
	for _, c := range []customer.Channel{customer.ChannelEmail, customer.ChannelSMS, customer.ChannelPhone, customer.ChannelPost} {
		t.channels = append(t.channels, string(c))
	}
	return t, nil
}

// addressCells is how many columns an address has.
const addressCells = 8

func (t *table) begin(to *bytes.Buffer) {
	names := []string{
		"id", "version", "status", "external_id", "email", "first_name", "last_name", "phone", "locale", "tags", "created_at", "updated_at",
		"address.line1", "address.line2", "address.city", "address.state", "address.postal_code", "address.country", "address.label",
		"address.default_for",
	}
	for _, c := range t.channels {
		names = append(names, "consent."+c, "consent."+c+".at", "consent."+c+".source", "consent."+c+".wording")
	}
	for _, k := range t.keys {
		names = append(names, "metadata."+k)
	}
	writeRow(to, names)
}

func (t *table) add(to *bytes.Buffer, document []byte) error {
	var d query.Document
	if json.Unmarshal(document, &d) != nil { // the cause would quote it
		return fmt.Errorf("export: %w", query.ErrDocument)
	}
	names := []string{d.ID.String(), strconv.FormatInt(int64(d.Version), 10), string(d.Status), text(d.ExternalID), text(d.Email)}
	row := append(append(t.row[:0], names...), text(d.FirstName), text(d.LastName), text(d.Phone), text(d.Locale),
		join(d.Tags), instant(d.CreatedAt), instant(d.UpdatedAt))
	if len(d.Addresses) > 0 {
		row = appendAddress(row, d.Addresses[0])
	} else {
		row = append(row, make([]string, addressCells)...)
	}
	for _, channel := range t.channels {
		if c, ok := d.Consents[channel]; ok {
			row = append(row, strconv.FormatBool(c.Granted), instant(c.At), c.Source, c.Wording)
		} else {
			row = append(row, "", "", "", "")
		}
	}
	for _, k := range t.keys {
		row = append(row, d.Metadata[k])
	}
	t.row = row
	writeRow(to, row)
	for i := 1; i < len(d.Addresses); i++ {
		row := append(make([]string, 0, len(t.row)), names...)
		row = append(row, make([]string, 7)...) // from first_name to updated_at
		row = appendAddress(row, d.Addresses[i])
		writeRow(to, append(row, make([]string, len(t.row)-len(row))...))
	}
	return nil
}

func appendAddress(row []string, a query.Address) []string {
	return append(row, a.Line1, a.Line2, a.City, a.State, a.PostalCode, string(a.Country), a.Label, join(a.DefaultFor))
}

// writeRow is RFC 4180 §2: cells in quotes where they must be, CR LF at the end.
// encoding/csv would make CR LF of every LF inside a cell.
func writeRow(to *bytes.Buffer, cells []string) {
	for i, cell := range cells {
		if i > 0 {
			to.WriteByte(',')
		}
		cell = harmless(cell)
		if !strings.ContainsAny(cell, "\",\r\n") && cell == strings.TrimSpace(cell) {
			to.WriteString(cell)
			continue
		}
		to.WriteByte('"')
		to.WriteString(strings.ReplaceAll(cell, `"`, `""`))
		to.WriteByte('"')
	}
	to.WriteString("\r\n")
}

// harmless keeps a spreadsheet from taking a cell for a formula: what begins
// with a character that begins one gets an apostrophe before it, and so does
// what would look like that already, so that taking one away restores every cell.
func harmless(cell string) string {
	if rest := strings.TrimLeft(cell, "'"); rest != "" && strings.ContainsRune("=+-@\t\r\n", rune(rest[0])) {
		return "'" + cell
	}
	return cell
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func join[T ~string](items []T) string {
	texts := make([]string, len(items))
	for i, item := range items {
		texts[i] = string(item)
	}
	return strings.Join(texts, ";")
}

func instant(t query.Time) string {
	b, _ := t.MarshalText() // never fails
	return string(b)
}
