package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/ebrahem-outlook/customer-service/internal/projection"
	"github.com/ebrahem-outlook/customer-service/internal/query"
)

// CopyDelta fills the live tables fast, as a rebuild fills the next ones.
func CopyDelta(ctx context.Context, tx pgx.Tx, d projection.Delta) error {
	_, err := copyDelta(ctx, tx, derivedTables(), liveSchema, "", d)
	return err
}

// Statement is one that a page is read with.
type Statement struct {
	SQL  string
	Args []any
}

// InOrder and ByFilter are the two ways to a page.
func InOrder(q query.PageRequest, w *query.Walk) Statement {
	most := 0
	if isSelective(q) {
		most = tryRows
	}
	s := newListStatement(q, w).inOrder(most)
	return Statement{s.sql, s.args}
}

func ByFilter(q query.PageRequest, w *query.Walk) Statement {
	s := newListStatement(q, w).byFilter()
	return Statement{s.sql, s.args}
}
