package imports

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

// RowError says why a row of a table is none. It quotes nothing of it.
type RowError struct{ Detail string }

func (e *RowError) Error() string { return e.Detail }

// Table is a Source of customers in CSV (RFC 4180, UTF-8, comma), whose first
// row names the columns; docs/import.md lists them. Its records' texts are the
// rows as JSON. An empty cell says nothing of its field.
//
// A quote that is never closed costs its own line and no other.
type Table struct {
	physical *physical
	back     []Record // read ahead, to be read again
	columns  []column
}

// column puts one cell into a document.
type column func(doc map[string]any, cell string) error

// NewTable reads the header of in, which is an error of its own if it names a
// column that is not known.
func NewTable(in io.Reader) (*Table, error) {
	t := &Table{physical: newPhysical(in, 0, 0)}
	first, err := t.next()
	if err != nil {
		return nil, fmt.Errorf("read the header: %w", err)
	}
	names, err := parseRow(bytes.TrimPrefix(first.Text, []byte("\xEF\xBB\xBF")), 0)
	if err != nil {
		return nil, fmt.Errorf("read the header: %w", err)
	}
	var faults []error
	for i, name := range names {
		col := columnNamed(name)
		switch {
		case slices.Contains(names[:i], name):
			faults = append(faults, fmt.Errorf("column %q is there twice", name))
		case col == nil:
			faults = append(faults, fmt.Errorf("column %q is not known", name))
		}
		t.columns = append(t.columns, col)
	}
	if !slices.Contains(names, "email") {
		faults = append(faults, errors.New("there is no column email"))
	}
	return t, errors.Join(faults...)
}

// Resume goes on with in, which begins behind line and end of the whole file.
func (t *Table) Resume(in io.Reader, line, end int64) {
	t.physical, t.back = newPhysical(in, line, end), nil
}

func (t *Table) next() (Record, error) {
	if len(t.back) > 0 {
		rec := t.back[0]
		t.back = t.back[1:]
		return rec, nil
	}
	return t.physical.next()
}

// Next implements Source.
func (t *Table) Next() (Record, error) {
	rec, err := t.next()
	for err == nil && rec.Err == nil && len(bytes.TrimSpace(rec.Text)) == 0 {
		rec, err = t.next()
	}
	if err != nil || rec.Err != nil {
		return rec, err
	}
	// A cell in quotes may have line ends in it.
	row, end, last := rec.Text, rec.End, rec.Last
	var ahead []Record
	for bytes.Count(row, []byte{'"'})%2 == 1 && len(row) <= MaxLine {
		more, err := t.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return Record{}, err
		}
		ahead = append(ahead, more)
		if more.Err != nil {
			break
		}
		row, end, last = append(row[:len(row):len(row)], more.Text...), more.End, more.Last
	}
	doc, err := t.document(row)
	if broken := (*RowError)(nil); errors.As(err, &broken) && len(ahead) > 0 {
		t.back = append(ahead, t.back...)
		doc, end, last, row = nil, rec.End, rec.Last, rec.Text
	}
	if rec.End, rec.Last, rec.Text, rec.Err = end, last, doc, err; err != nil {
		rec.Text = bytes.TrimRight(row, "\r\n")
	}
	return rec, nil
}

// document is a row as JSON.
func (t *Table) document(row []byte) ([]byte, error) {
	cells, err := parseRow(row, len(t.columns))
	if err != nil {
		return nil, err
	}
	doc := make(map[string]any, len(cells))
	for i, cell := range cells {
		if cell = restored(cell); cell == "" {
			continue
		}
		if err := t.columns[i](doc, cell); err != nil {
			return nil, err
		}
	}
	return json.Marshal(doc)
}

func parseRow(row []byte, cells int) ([]string, error) {
	if len(row) > MaxLine+len("\r\n") {
		return nil, &RowError{"The row is longer than 64 KiB. Is a quote missing?"}
	}
	if !utf8.Valid(row) { // json would put a question mark there and say nothing
		return nil, &RowError{"The row is not UTF-8."}
	}
	in := csv.NewReader(bytes.NewReader(row))
	in.FieldsPerRecord = cells
	out, err := in.Read()
	if err != nil {
		if parse, ok := errors.AsType[*csv.ParseError](err); ok {
			err = parse.Err
		}
		return nil, &RowError{fmt.Sprintf("The row is no CSV with the header's columns: %v.", err)}
	}
	return out, nil
}

// restored is a cell without the apostrophe that an export puts before what a
// spreadsheet would take for a formula.
func restored(cell string) string {
	if rest := strings.TrimLeft(cell, "'"); len(rest) < len(cell) && rest != "" && strings.ContainsRune("=+-@\t\r\n", rune(rest[0])) {
		return cell[1:]
	}
	return cell
}

func columnNamed(name string) column {
	group, field, _ := strings.Cut(name, ".")
	channel, what, _ := strings.Cut(field, ".")
	switch {
	case slices.Contains([]string{"id", "version", "status", "created_at", "updated_at"}, name), group == "consent" && channel != "" && what == "at":
		return func(map[string]any, string) error { return nil } // what exports say besides, and no import can set
	case slices.Contains([]string{"first_name", "last_name", "email", "phone", "locale", "external_id"}, name):
		return func(doc map[string]any, cell string) error { doc[name] = cell; return nil }
	case name == "tags":
		return func(doc map[string]any, cell string) error { doc[name] = list(cell); return nil }
	case group == "metadata" && field != "":
		return func(doc map[string]any, cell string) error { within(doc, group)[field] = cell; return nil }
	case group == "address" && slices.Contains([]string{"line1", "line2", "city", "state", "postal_code", "country", "label"}, field):
		return func(doc map[string]any, cell string) error { address(doc)[field] = cell; return nil }
	case name == "address.default_for":
		return func(doc map[string]any, cell string) error { address(doc)[field] = list(cell); return nil }
	case group == "consent" && channel != "" && what == "":
		return func(doc map[string]any, cell string) error {
			granted, err := yesOrNo(cell)
			within(within(doc, "consents"), channel)["granted"] = granted
			return err
		}
	case group == "consent" && channel != "" && (what == "source" || what == "wording"):
		return func(doc map[string]any, cell string) error {
			within(within(doc, "consents"), channel)[what] = cell
			return nil
		}
	default:
		return nil
	}
}

func within(doc map[string]any, name string) map[string]any {
	inner, ok := doc[name].(map[string]any)
	if !ok {
		inner = make(map[string]any)
		doc[name] = inner
	}
	return inner
}

func address(doc map[string]any) map[string]any {
	all, ok := doc["addresses"].([]map[string]any)
	if !ok {
		all = []map[string]any{{}}
		doc["addresses"] = all
	}
	return all[0]
}

// list is what stands between semicolons.
func list(cell string) []string {
	out := []string{}
	for part := range strings.SplitSeq(cell, ";") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}

func yesOrNo(cell string) (bool, error) {
	switch strings.ToLower(strings.TrimSpace(cell)) {
	case "true", "yes", "1":
		return true, nil
	case "false", "no", "0":
		return false, nil
	default:
		return false, &RowError{"A consent is true or false (or yes or no, 1 or 0)."}
	}
}
