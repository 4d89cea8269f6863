package postgres

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/query"
)

const (
	selectCursorKey = `SELECT key FROM readmodel.cursor_key`
	selectComplete  = `SELECT complete FROM readmodel.listing_state`
)

// CursorKey answers the key that cursors are sealed with.
func (r *ReadModelReader) CursorKey(ctx context.Context) (key []byte, err error) {
	if err := r.pool.QueryRow(ctx, selectCursorKey).Scan(&key); err != nil {
		return nil, unreadable("cursor key", err)
	}
	return key, nil
}

// Complete answers whether every living customer is listed.
func (r *ReadModelReader) Complete(ctx context.Context) (complete bool, err error) {
	if err := r.pool.QueryRow(ctx, selectComplete).Scan(&complete); err != nil {
		return false, unreadable("whether lists are complete", err)
	}
	return complete, nil
}

// Page answers a page of a list.
func (r *ReadModelReader) Page(ctx context.Context, q query.PageRequest) (page query.Page, err error) {
	if q.Sort.By == query.SortCreated {
		page, err = orderedPage(ctx, r.pool, q, nil)
	} else {
		err = pgx.BeginTxFunc(ctx, r.pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
			page, err = walkedPage(ctx, tx, q)
			return err
		})
	}
	if err != nil && !isInvalidCursor(err) {
		return query.Page{}, unreadable("page", err)
	}
	return page, err
}

// querier is a pool or a transaction.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// orderedPage is what comes in the order after a place. w is nil in an order in
// which nobody moves.
//
// A dense filter finds its page among the next rows of the order, a rare one
// through an index of its own, and nothing the planner may know tells which it is
// (see the migration). So a few rows of the order are tried first, and more of
// them if the filter turns out to admit enough of those.
func orderedPage(ctx context.Context, db querier, q query.PageRequest, w *query.Walk) (query.Page, error) {
	if !isSelective(q) {
		rows, err := newListStatement(q, w).inOrder(0).run(ctx, db)
		return pageOf(rows, q, w), err
	}
	tries := tryRows
	for exact := q.Filter.ExternalID != "" || q.Filter.Email != "" || q.Filter.Phone != ""; !exact; {
		rows, err := newListStatement(q, w).inOrder(tries).run(ctx, db)
		if err != nil || len(rows) > q.Limit {
			return pageOf(rows, q, w), err
		}
		if tries > tryRows || len(rows) < worthMore {
			break
		}
		tries = min(2*tryRows*(q.Limit+1)/len(rows), maxTryRows)
	}
	rows, err := newListStatement(q, w).byFilter().run(ctx, db)
	return pageOf(rows, q, w), err
}

// Among a million customers, reading those whom a filter admits and sorting them
// costs as much as looking through the order when about one in 400 is admitted.
const (
	tryRows    = 500
	worthMore  = 2 // of them, for a second try with as many as should suffice twice
	maxTryRows = 20_000
)

// isSelective tells filters that have an index other than that of the order.
func isSelective(q query.PageRequest) bool {
	f := q.Filter
	return f.Tag != "" || f.ExternalID != "" || f.Email != "" || f.Phone != "" || len(f.Terms) > 0 ||
		(q.Sort.By != query.SortCreated && (!f.CreatedAfter.IsZero() || !f.CreatedBefore.IsZero())) ||
		(q.Sort.By != query.SortUpdated && !f.UpdatedAfter.IsZero())
}

// listRow is one customer in an order.
type listRow struct {
	id       customer.ID
	at       time.Time
	name     string
	document []byte
}

func pageOf(rows []listRow, q query.PageRequest, w *query.Walk) query.Page {
	page := query.Page{Documents: make([][]byte, 0, min(len(rows), q.Limit))}
	for _, row := range rows[:min(len(rows), q.Limit)] {
		page.Documents = append(page.Documents, row.document)
	}
	if len(rows) > q.Limit {
		last := rows[q.Limit-1]
		page.Next = &query.Place{At: last.at, Name: last.name, ID: last.id, Walk: w}
	}
	return page
}

// listStatement is being put together. Limits are written out, for a plan is
// made for them; so is what partial indexes ask for.
type listStatement struct {
	q    query.PageRequest
	sql  string
	args []any

	key       string   // the column of the order
	direction string   // after each column of the order
	driver    string   // the table with an index in the order, with its alias
	pushed    []string // conditions on it
	rest      []string // conditions on both tables
}

func newListStatement(q query.PageRequest, w *query.Walk) *listStatement {
	s := &listStatement{q: q, direction: "ASC"}
	above := ">"
	if q.Sort.Descending {
		s.direction, above = "DESC", "<"
	}
	status := "d.status IN ('active', 'suspended')"
	switch q.Sort.By {
	case query.SortUpdated:
		s.driver, s.key = "readmodel.documents d", "d.updated_at"
		if q.Filter.Status == customer.StatusSuspended {
			status = "d.status = 'suspended'"
		}
		s.pushed = append(s.pushed, status)
		if !q.Filter.UpdatedAfter.IsZero() {
			s.push("d.updated_at > %s", q.Filter.UpdatedAfter.Truncate(time.Microsecond))
		}
		if w != nil {
			s.push("d.updated_at <= %s", w.Newest)
		}
	case query.SortLastName:
		s.driver, s.key = "readmodel.listing l", "l.last_name"
	default:
		s.driver, s.key = "readmodel.listing l", "l.created_at"
		if !q.Filter.CreatedAfter.IsZero() {
			s.push("l.created_at > %s", q.Filter.CreatedAfter.Truncate(time.Microsecond))
		}
		if !q.Filter.CreatedBefore.IsZero() {
			s.push("l.created_at < %s", ceilMicrosecond(q.Filter.CreatedBefore))
		}
	}
	if q.Filter.Status == customer.StatusSuspended && q.Sort.By != query.SortUpdated {
		s.pushed = append(s.pushed, "l.status = 'suspended'")
	}
	if q.After != nil {
		var at any = q.After.At
		if q.Sort.By == query.SortLastName {
			at = q.After.Name
		}
		s.push("("+s.key+", "+s.id()+") "+above+" (%s, %s)", at, q.After.ID)
	}
	var condition string
	condition, s.args = filterSQL(q.Filter, s.args)
	s.rest = append(s.rest, condition)
	if w != nil {
		s.rest = append(s.rest, s.unmoved(w))
	}
	return s
}

// id is the customer's id in the driver.
func (s *listStatement) id() string { return s.driver[len(s.driver)-1:] + ".customer_id" }

// arg adds an argument and returns its name.
func (s *listStatement) arg(v any) string {
	s.args = append(s.args, v)
	return fmt.Sprintf("$%d", len(s.args))
}

// push adds a condition on the driver.
func (s *listStatement) push(format string, args ...any) {
	names := make([]any, len(args))
	for i, a := range args {
		names[i] = s.arg(a)
	}
	s.pushed = append(s.pushed, fmt.Sprintf(format, names...))
}

func (s *listStatement) order(key, id string) string {
	return fmt.Sprintf("ORDER BY %s %s, %s %s", key, s.direction, id, s.direction)
}

func where(conditions ...string) string {
	if len(conditions) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(conditions, " AND ")
}

// inOrder reads rows of the driver in order, at most so many (0: all), until the
// page is full.
func (s *listStatement) inOrder(most int) listStatement {
	if most == 0 {
		s.sql = fmt.Sprintf(`SELECT %s, %s, d.document FROM readmodel.listing l JOIN readmodel.documents d USING (customer_id)%s %s LIMIT %d`,
			s.id(), s.key, where(append(slices.Clone(s.pushed), s.rest...)...), s.order(s.key, s.id()), s.q.Limit+1)
		return *s
	}
	s.sql = fmt.Sprintf(`
SELECT s.id, s.key, d.document
  FROM (SELECT %s AS id, %s AS key FROM %s%s %s LIMIT %d) s
  JOIN readmodel.listing l ON l.customer_id = s.id JOIN readmodel.documents d ON d.customer_id = s.id%s %s LIMIT %d`,
		s.id(), s.key, s.driver, where(s.pushed...), s.order(s.key, s.id()), most,
		where(s.rest...), s.order("s.key", "s.id"), s.q.Limit+1)
	return *s
}

// byFilter finds everyone the filter admits and sorts them. The documents are
// read for the page alone.
func (s *listStatement) byFilter() listStatement {
	from, alias, key, conditions := "readmodel.listing l", "l", s.key, append(slices.Clone(s.pushed), s.rest...)
	switch f := s.q.Filter; {
	case s.q.Sort.By != query.SortLastName && f.Tag == "" && f.ExternalID == "" && f.Email == "" && f.Phone == "" && len(f.Terms) == 0:
		// Both tables have what is asked for: of half a million who changed, it is
		// dear to look each up in the other one.
		from, alias, key = "readmodel.documents d", "d", strings.Replace(s.key, "l.", "d.", 1)
		for i, c := range conditions {
			conditions[i] = strings.ReplaceAll(c, "l.", "d.")
		}
		conditions = append(conditions, "d.status IN ('active', 'suspended')")
	case s.q.Sort.By == query.SortUpdated || !f.UpdatedAfter.IsZero() || len(s.rest) > 1:
		from += " JOIN readmodel.documents d USING (customer_id)"
	}
	s.sql = fmt.Sprintf(`
WITH hits AS MATERIALIZED (SELECT %s.customer_id AS id, %s AS key FROM %s%s)
SELECT h.id, h.key, d.document FROM (SELECT id, key FROM hits %s LIMIT %d) h JOIN readmodel.documents d ON d.customer_id = h.id %s`,
		alias, key, from, where(conditions...),
		s.order("key", "id"), s.q.Limit+1, s.order("h.key", "h.id"))
	return *s
}

// run plans the statement for the values it has: which index is good depends on
// them, and a plan costs less than a wrong one.
func (s listStatement) run(ctx context.Context, db querier) ([]listRow, error) {
	rows, err := db.Query(ctx, s.sql, append([]any{pgx.QueryExecModeCacheDescribe}, s.args...)...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (l listRow, err error) {
		if s.q.Sort.By == query.SortLastName {
			err = row.Scan(&l.id, &l.name, &l.document)
		} else {
			err = row.Scan(&l.id, &l.at, &l.document)
		}
		return l, err
	})
}
