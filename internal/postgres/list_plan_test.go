package postgres_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
	"github.com/ebrahem-outlook/customer-service/internal/postgres"
	"github.com/ebrahem-outlook/customer-service/internal/projection"
	"github.com/ebrahem-outlook/customer-service/internal/query"
)

// Every filter, order and search reads through an index, by the server's own
// choice: its settings are the default ones, and its statistics what autovacuum
// would collect. LIST_ROWS says how many customers; a million take minutes.
func TestListsReadThroughIndexes(t *testing.T) {
	t.Parallel()
	w := newListWorld(t)
	rows := 20_000
	if text := os.Getenv("LIST_ROWS"); text != "" {
		var err error
		rows, err = strconv.Atoi(text)
		require.NoError(t, err)
	}
	begun := time.Now()
	someone := w.fill(rows)
	t.Logf("%d customers in %s", rows, time.Since(begun).Round(time.Second))
	w.sizes()
	middle := &query.Place{At: someone.CreatedAt, Name: query.SortName(someone.LastName), ID: someone.ID}
	walk := &query.Walk{
		Began: make([]eventlog.Position, eventlog.DefaultLanes), Newest: someone.UpdatedAt.Add(time.Hour),
	}
	for i := range walk.Began {
		walk.Began[i] = eventlog.Position(rows)
	}
	walk.Seen = walk.Began
	byFilter := map[string]query.Filter{
		"listing_grams tag":         {Tag: "rare"},
		"listing_external_id":       {ExternalID: someone.ExternalID},
		"listing_email":             {Email: someone.Email},
		"listing_phone":             {Phone: someone.Phone},
		"listing_grams word":        {Terms: terms(t, "gar")},
		"listing_grams typo":        {Terms: terms(t, "smiht")},
		"listing_grams long typo":   {Terms: terms(t, "alexnader papadopoulos")},
		"listing_grams with others": {Terms: terms(t, "smith zoe"), Status: customer.StatusActive, Tag: "rare"},
	}
	inOrder := map[string]map[query.SortKey]string{
		"":          {query.SortCreated: "listing_created", query.SortUpdated: "documents_updated", query.SortLastName: "listing_last_name"},
		"active":    {query.SortCreated: "listing_created", query.SortUpdated: "documents_updated", query.SortLastName: "listing_last_name"},
		"suspended": {query.SortCreated: "listing_created_suspended", query.SortUpdated: "documents_updated_suspended", query.SortLastName: "listing_last_name_suspended"},
	}
	for _, sort := range sorts {
		s := sorted(t, sort)
		moving := walk
		if s.By == query.SortCreated {
			moving = nil
		}
		for _, after := range []*query.Place{nil, middle} {
			for status, index := range inOrder {
				q := query.PageRequest{Filter: query.Filter{Status: customer.Status(status)}, Sort: s, Limit: 20, After: after}
				w.reads(postgres.InOrder(q, moving), index[s.By], fmt.Sprintf("%s customers by %s", status, sort))
				if after == nil {
					w.latency(q, fmt.Sprintf("%s customers by %s", status, sort))
				}
			}
			for want, f := range byFilter {
				q := query.PageRequest{Filter: f, Sort: s, Limit: 20, After: after}
				index, what, _ := strings.Cut(want, " ")
				w.reads(postgres.ByFilter(q, moving), index, index+" "+what+" by "+sort)
				w.reads(postgres.InOrder(q, moving), inOrder[string(f.Status)][s.By], "first try of "+index+" "+what+" by "+sort)
				if after == nil {
					w.latency(q, index+" "+what+" by "+sort)
				}
			}
		}
		for name, f := range map[string]query.Filter{
			"created": {CreatedAfter: someone.CreatedAt, CreatedBefore: someone.CreatedAt.Add(time.Minute)},
			"changed": {UpdatedAfter: someone.UpdatedAt.Add(-time.Second)},
			"common":  {Tag: "common"}, "prefix": {Terms: terms(t, "m")}, "everybody": {Terms: terms(t, "example")},
		} {
			w.latency(query.PageRequest{Filter: f, Sort: s, Limit: 20}, name+" by "+sort)
		}
	}
}

// fill makes customers, one of whom it returns, that were registered long ago.
func (w *listWorld) fill(n int) *customer.Data {
	w.t.Helper()
	rnd := rand.New(rand.NewPCG(1, 1))
	var someone *customer.Data
	drop, make := w.indexes()
	for _, sql := range drop {
		_, err := w.owner.Exec(w.t.Context(), sql)
		require.NoError(w.t, err)
	}
	for from := 0; from < n; from += 5000 {
		var d projection.Delta
		for i := from; i < min(n, from+5000); i++ {
			p := randomPerson(rnd, i)
			p.Version = 1
			p.ExternalID = customer.ExternalID(fmt.Sprintf("crm-%d", i))
			p.Phone = customer.Phone(fmt.Sprintf("+1415%07d", i))
			p.Email = customer.Email(fmt.Sprintf("%d.%s", i, p.Email))
			p.Tags = []customer.Tag{"common"}
			if i%(n/10) == 0 {
				p.Tags = append(p.Tags, "rare")
			}
			if i > n/2 && someone == nil && p.Status == customer.StatusActive {
				someone = p
			}
			position := eventlog.Position(w.position.Add(1))
			d.Rows = append(d.Rows, projection.Row{Data: *p, Position: position})
			d.History = append(d.History, projection.HistoryRow{CustomerID: p.ID, Version: 1, Position: position, Type: "customer.registered", At: p.CreatedAt})
		}
		require.NoError(w.t, pgx.BeginFunc(w.t.Context(), w.owner, func(tx pgx.Tx) error {
			_, err := tx.Exec(w.t.Context(), "SET LOCAL statement_timeout = 0")
			if err == nil {
				err = postgres.CopyDelta(w.t.Context(), tx, d)
			}
			return err
		}))
	}
	_, err := w.owner.Exec(w.t.Context(), `
INSERT INTO readmodel.checkpoints (generation, lane, position)
SELECT generation, lane, $1 FROM readmodel.generations, generate_series(0, $2::integer - 1) lane WHERE state = 'live'`,
		w.position.Load(), eventlog.DefaultLanes)
	require.NoError(w.t, err)
	for _, sql := range append(make, "VACUUM (ANALYZE) readmodel.listing", "VACUUM (ANALYZE) readmodel.documents", "VACUUM (ANALYZE) readmodel.history") {
		w.plainly(func(ctx context.Context, conn *pgx.Conn) {
			_, err := conn.Exec(ctx, sql)
			require.NoError(w.t, err)
		})
	}
	return someone
}

// indexes are the statements that drop and make those of the lists.
func (w *listWorld) indexes() (drop, make []string) {
	w.t.Helper()
	rows, err := w.owner.Query(w.t.Context(), `
SELECT 'DROP INDEX readmodel.' || indexname, indexdef FROM pg_indexes
 WHERE schemaname = 'readmodel' AND (indexname LIKE 'listing%' OR indexname LIKE 'documents%') AND indexname NOT LIKE '%pkey'`)
	require.NoError(w.t, err)
	var d, m string
	_, err = pgx.ForEachRow(rows, []any{&d, &m}, func() error { drop, make = append(drop, d), append(make, m); return nil })
	require.NoError(w.t, err)
	return drop, make
}

// plainly uses a connection with the server's own settings.
func (w *listWorld) plainly(use func(ctx context.Context, conn *pgx.Conn)) {
	w.t.Helper()
	if w.plain == nil {
		var err error
		w.plain, err = pgx.Connect(context.Background(), w.owner.Config().ConnString())
		require.NoError(w.t, err)
		w.t.Cleanup(func() { _ = w.plain.Close(context.Background()) })
		_, err = w.plain.Exec(w.t.Context(), "SET maintenance_work_mem = '256MB'")
		require.NoError(w.t, err)
	}
	use(w.t.Context(), w.plain)
}

// reads checks the plan of a statement.
func (w *listWorld) reads(s postgres.Statement, index, what string) {
	w.t.Helper()
	var plan []string
	w.plainly(func(ctx context.Context, conn *pgx.Conn) {
		rows, err := conn.Query(ctx, "EXPLAIN "+s.SQL, append([]any{pgx.QueryExecModeCacheDescribe}, s.Args...)...)
		require.NoError(w.t, err, s.SQL)
		plan, err = pgx.CollectRows(rows, pgx.RowTo[string])
		require.NoError(w.t, err, s.SQL)
	})
	text := strings.Join(plan, "\n")
	require.Contains(w.t, text, index, "%s:\n%s", what, text)
	require.NotContains(w.t, text, "Seq Scan", "%s:\n%s", what, text)
}

// latency reports what a page takes, when LIST_ROWS asks for that.
func (w *listWorld) latency(q query.PageRequest, what string) {
	w.t.Helper()
	if os.Getenv("LIST_ROWS") == "" {
		return
	}
	const rounds = 20
	var took []time.Duration
	n := 0
	for range rounds {
		begun := time.Now()
		p, err := w.reader.Page(w.t.Context(), q)
		if err != nil {
			w.t.Logf("%-60s %s", what, err)
			return
		}
		took, n = append(took, time.Since(begun)), len(p.Documents)
	}
	slices.Sort(took)
	w.t.Logf("%-60s %3d found, p50 %8s, p99 %8s", what, n, took[rounds/2].Round(10*time.Microsecond), took[rounds-1].Round(10*time.Microsecond))
}

func (w *listWorld) sizes() {
	w.t.Helper()
	rows, err := w.owner.Query(w.t.Context(), `
SELECT relname, pg_size_pretty(pg_relation_size(c.oid)) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE nspname = 'readmodel' AND relkind IN ('r', 'i') AND pg_relation_size(c.oid) > 1000000 ORDER BY pg_relation_size(c.oid) DESC`)
	require.NoError(w.t, err)
	var name, size string
	_, err = pgx.ForEachRow(rows, []any{&name, &size}, func() error { w.t.Logf("%-32s %s", name, size); return nil })
	require.NoError(w.t, err)
}
