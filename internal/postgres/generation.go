package postgres

import (
	"regexp"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"

	"github.com/ebrahem-outlook/customer-service/internal/projection"
)

// Where the generations of the derived tables are, each under its plain name:
// to take a generation's place is to change schemas, which changes no name of an
// index or a constraint.
const (
	liveSchema    = "readmodel"
	nextSchema    = "readmodel_next" // being filled; no process but a rebuild sees it
	retiredSchema = "readmodel_old"  // until it is dropped
)

// table is one that the projection derives from the log and a rebuild makes
// anew. The others of the schema say how far the projection is, and stay.
type table struct {
	name string
	// columns are those that rows fills, key those that tell one customer's rows
	// apart.
	columns, key []string
	rows         func(*encodedRows, projection.Delta) error
	// uncompared is a table of which the log alone does not say what is in it.
	uncompared bool
	// later are columns that rows written by earlier releases may lack.
	later []string
	// complete asks whether the live table has all its rows by now, which it had
	// not when a release brought it; empty for one that always had.
	complete string
}

// derivedTables is the one list of them. A table that the write path of the
// projection fills is to be named here, with what it gets of a Delta; each has
// a column customer_id and an index that begins with it.
func derivedTables() []table {
	return []table{
		{
			name: "documents", key: []string{"customer_id"},
			columns: []string{
				"customer_id", "version", "position", "slot", "status", "document",
				"status_before_deletion", "erasure", "created_at", "updated_at",
			},
			rows: documentRows,
		},
		{
			name: "history", key: []string{"customer_id", "version"},
			columns: []string{
				"customer_id", "version", "position", "type", "at", "actor", "correlation_id", "changes", "keyframe",
			},
			rows: historyRows, later: []string{"keyframe"},
		},
		{
			name: "listing", key: []string{"customer_id"}, columns: listingColumns(), rows: listingRows,
			complete: `SELECT complete FROM readmodel.listing_state`,
		},
		{
			name: "parked", key: []string{"customer_id"}, uncompared: true,
			columns: []string{"customer_id", "lane", "position", "version", "last_version", "type", "reason", "attempts"},
			rows:    parkedRows,
		},
	}
}

// ofGeneration picks one generation's checkpoints. Its parameter is 0 for the
// live generation, whichever that is when the statement runs: a process that
// serves while another one is put in its place must not know it by number.
const ofGeneration = `generation = coalesce(nullif($1::integer, 0), (SELECT g.generation FROM readmodel.generations g WHERE g.state = 'live'))`

var (
	derivedName = sync.OnceValue(func() *regexp.Regexp {
		var names []string
		for _, t := range derivedTables() {
			names = append(names, t.name)
		}
		return regexp.MustCompile(`\b` + liveSchema + `\.(` + strings.Join(names, "|") + `)\b`)
	})
	rewritten sync.Map // of statements to what they are in the next generation; as many as there are consts
)

// inNext is a statement on the live tables as one on those of the next generation.
func inNext(sql string) string {
	if known, ok := rewritten.Load(sql); ok {
		return known.(string) //nolint:forcetypeassert // nothing else is stored
	}
	next := derivedName().ReplaceAllString(sql, nextSchema+".$1")
	rewritten.Store(sql, next)
	return next
}

// sql is a statement, written for the live tables, on those that m keeps.
func (m *ReadModel) sql(statement string) string {
	if m.generation == 0 {
		return statement
	}
	return inNext(statement)
}

// batch is statements, written for the live tables, on those that m keeps.
func (m *ReadModel) batch(b *pgx.Batch) *pgx.Batch {
	for _, q := range b.QueuedQueries {
		q.SQL = m.sql(q.SQL)
	}
	return b
}
