package imports_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/internal/httpapi/commandapi"
	"github.com/ebrahem-outlook/customer-service/internal/imports"
)

// rows is how many customers one round has.
const rows = 50_000

// person is a customer as another system would hand it over.
type person struct {
	FirstName  string            `json:"first_name"`
	LastName   string            `json:"last_name"`
	Email      string            `json:"email"`
	Phone      string            `json:"phone"`
	Locale     string            `json:"locale"`
	ExternalID string            `json:"external_id"`
	Tags       []string          `json:"tags"`
	Metadata   map[string]string `json:"metadata"`
}

var serial atomic.Int64

func people(n int) []person {
	out := make([]person, n)
	for i := range out {
		s := serial.Add(1)
		out[i] = person{
			FirstName: "Zoë", LastName: fmt.Sprintf("Đặng %d", s), Email: fmt.Sprintf("zoe.%d@example.com", s),
			Phone: fmt.Sprintf("+1415555%04d", 2000+s%8000), Locale: "vi-VN", ExternalID: fmt.Sprintf("crm-%08d", s),
			Tags: []string{"vip", "newsletter"}, Metadata: map[string]string{"plan": "gold"},
		}
	}
	return out
}

func ndjson(t testing.TB, all []person) []byte {
	t.Helper()
	var out bytes.Buffer
	to := json.NewEncoder(&out)
	for _, p := range all {
		require.NoError(t, to.Encode(p))
	}
	return out.Bytes()
}

// BenchmarkImport compares an import, from the bytes of its file to the last
// result, with COPY of the same customers, already parsed, into one table that
// has an id and a unique e-mail address. An iteration is a round of both; the
// medians are reported, with two figures that say where the time goes: lines
// decoded a second by one goroutine, and customers a second when PostgreSQL
// does nothing but copy the rows of such an import from one set of the log's
// tables to another. Run it with -benchtime=5x or so.
func BenchmarkImport(b *testing.B) {
	defer debug.SetGCPercent(debug.SetGCPercent(400)) // as the command does
	w := newWorld(b)
	im := w.importer(b, imports.Config{})
	var imported, copied, ratio []float64
	var file []byte
	for b.Loop() {
		all := people(rows)
		file = ndjson(b, all)
		c := copyRate(b, w, all)
		begin := time.Now()
		sum, err := im.Run(b.Context(), imports.NewLines(bytes.NewReader(file), 0, 0), asking(), func([]imports.Result) error { return nil })
		i := rows / time.Since(begin).Seconds()
		require.NoError(b, err)
		require.EqualValues(b, rows, sum.Registered)
		imported, copied, ratio = append(imported, i), append(copied, c), append(ratio, i/c)
	}
	b.Logf("import %.0f/s, COPY %.0f/s, ratios %.2f", imported, copied, ratio)
	b.ReportMetric(median(imported), "imported/s")
	b.ReportMetric(median(copied), "copied/s")
	b.ReportMetric(median(ratio), "ratio")
	b.ReportMetric(decodeRate(b, file), "decoded/s")
	b.ReportMetric(rowsRate(b, w), "logrows/s")
	b.ReportMetric(0, "ns/op")
}

func decodeRate(b *testing.B, file []byte) float64 {
	b.Helper()
	begin, n := time.Now(), 0
	for line := range bytes.Lines(file) {
		_, err := commandapi.DecodeLine(bytes.TrimSuffix(line, []byte("\n")))
		require.NoError(b, err)
		n++
	}
	return float64(n) / time.Since(begin).Seconds()
}

// rowsRate is what the log's tables and indexes alone cost: no client, no
// encryption, one transaction, on one core.
func rowsRate(b *testing.B, w *world) float64 {
	b.Helper()
	owner := w.owner(b)
	tables := map[string]string{"streams": "", "events": "OVERRIDING SYSTEM VALUE", "claims": "", "subject_keys": ""}
	for table := range tables {
		_, err := owner.Exec(b.Context(), fmt.Sprintf("CREATE TABLE copy_%s (LIKE eventlog.%s INCLUDING ALL)", table, table))
		require.NoError(b, err)
	}
	begin := time.Now()
	require.NoError(b, pgx.BeginFunc(b.Context(), owner, func(tx pgx.Tx) error {
		if _, err := tx.Exec(b.Context(), "SET LOCAL statement_timeout = 0"); err != nil {
			return err
		}
		for table, how := range tables {
			if _, err := tx.Exec(b.Context(), fmt.Sprintf("INSERT INTO copy_%s %s SELECT * FROM eventlog.%s", table, how, table)); err != nil {
				return err
			}
		}
		return nil
	}))
	return float64(w.count(b, "SELECT count(*) FROM eventlog.streams")) / time.Since(begin).Seconds()
}

func copyRate(b *testing.B, w *world, all []person) float64 {
	b.Helper()
	owner := w.owner(b)
	_, err := owner.Exec(b.Context(), `
		DROP TABLE IF EXISTS plain;
		CREATE TABLE plain (id uuid PRIMARY KEY, first_name text, last_name text, email text UNIQUE, phone text, locale text,
			external_id text, tags text[], metadata jsonb, created_at timestamptz)`)
	require.NoError(b, err)
	begin := time.Now()
	n, err := owner.CopyFrom(b.Context(), pgx.Identifier{"plain"},
		[]string{"id", "first_name", "last_name", "email", "phone", "locale", "external_id", "tags", "metadata", "created_at"},
		pgx.CopyFromSlice(len(all), func(i int) ([]any, error) {
			p := &all[i]
			id, err := uuid.NewV7()
			return []any{id, p.FirstName, p.LastName, p.Email, p.Phone, p.Locale, p.ExternalID, p.Tags, p.Metadata, begin}, err
		}))
	require.NoError(b, err)
	require.EqualValues(b, rows, n)
	return rows / time.Since(begin).Seconds()
}

func median(of []float64) float64 {
	of = slices.Sorted(slices.Values(of))
	return of[len(of)/2]
}
