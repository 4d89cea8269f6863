package postgres

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/projection"
)

// wantPrefix begins the names of the temporary tables that hold what rows should
// be like. The server itself compares, every column as it writes it out, so that
// no table needs a comparison of its own.
const wantPrefix = "want_"

const (
	// Whole ranges are joined here, which the settings of every other connection
	// make the planner avoid.
	compareSession = `
SELECT set_config('statement_timeout', '0', true), set_config('idle_in_transaction_session_timeout', '0', true),
       set_config('enable_hashjoin', 'on', true), set_config('enable_seqscan', 'on', true), set_config('work_mem', '64MB', true)`

	selectStandings = `
SELECT customer_id, version, status = 'erased' FROM readmodel.documents WHERE customer_id BETWEEN $1 AND $2`

	selectParkedBetween = `
SELECT customer_id, lane, position, version, last_version, type, reason, attempts, since
  FROM readmodel.parked WHERE customer_id BETWEEN $1 AND $2`
)

// Compare implements projection.Comparer. It needs the right to make temporary
// tables, which every login has unless it was taken away.
func (m *ReadModel) Compare(
	ctx context.Context, first, last customer.ID, limit int, strict bool,
	want func(map[customer.ID]projection.Standing, map[customer.ID]projection.Parked, func(projection.Wanted) error) error,
) (found []projection.Difference, err error) {
	options := pgx.TxOptions{IsoLevel: pgx.RepeatableRead}
	err = pgx.BeginTxFunc(ctx, m.pool, options, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, compareSession); err != nil {
			return err
		}
		for _, t := range comparedTables() {
			if _, err := tx.Exec(ctx, m.sql(fmt.Sprintf("CREATE TEMPORARY TABLE %s%s (LIKE %s.%s) ON COMMIT DROP",
				wantPrefix, t.name, liveSchema, t.name))); err != nil {
				return err
			}
		}
		have, parked, err := m.standings(ctx, tx, first, last)
		if err != nil {
			return err
		}
		others := []customer.ID{}
		err = want(have, parked, func(w projection.Wanted) error {
			others = append(others, w.Others...)
			_, err := copyDelta(ctx, tx, comparedTables(), "pg_temp", wantPrefix, w.Delta)
			return err
		})
		if err != nil {
			return err
		}
		for _, t := range comparedTables() {
			if t.complete != "" && !strict {
				var complete bool
				if err := tx.QueryRow(ctx, t.complete).Scan(&complete); err != nil {
					return err
				}
				if !complete {
					continue
				}
			}
			differing, err := m.differing(ctx, tx, t, first, last, others, strict, limit)
			if err != nil {
				return fmt.Errorf("compare %s: %w", t.name, err)
			}
			found = append(found, differing...)
		}
		return nil
	})
	return found, err
}

func comparedTables() []table {
	return slices.DeleteFunc(derivedTables(), func(t table) bool { return t.uncompared })
}

func (m *ReadModel) standings(
	ctx context.Context, tx pgx.Tx, first, last customer.ID,
) (map[customer.ID]projection.Standing, map[customer.ID]projection.Parked, error) {
	rows, err := tx.Query(ctx, m.sql(selectStandings), first, last)
	if err != nil {
		return nil, nil, err
	}
	var (
		id     customer.ID
		s      projection.Standing
		have   = map[customer.ID]projection.Standing{}
		parked = map[customer.ID]projection.Parked{}
	)
	if _, err := pgx.ForEachRow(rows, []any{&id, &s.Version, &s.Shredded}, func() error { have[id] = s; return nil }); err != nil {
		return nil, nil, err
	}
	if rows, err = tx.Query(ctx, m.sql(selectParkedBetween), first, last); err != nil {
		return nil, nil, err
	}
	list, err := pgx.CollectRows(rows, scanParked)
	for _, p := range list {
		parked[p.CustomerID] = p
	}
	return have, parked, err
}

// differing finds the rows that have no equal in the other table, and says in
// which columns those differ that have the same key. Rows that are the same in
// every byte are so as texts, which cost several times as much to compare.
func (m *ReadModel) differing(
	ctx context.Context, tx pgx.Tx, t table, first, last customer.ID, others []customer.ID, strict bool, limit int,
) ([]projection.Difference, error) {
	live, want, on := m.sql(liveSchema+"."+t.name), wantPrefix+t.name, each(t.key, " AND ", "h.%[1]s = w.%[1]s")
	if !strict {
		for _, name := range t.later {
			if _, err := tx.Exec(ctx, fmt.Sprintf(`UPDATE %[1]s w SET %[2]s = NULL FROM %[3]s h WHERE w.%[2]s IS NOT NULL AND %[4]s AND h.%[2]s IS NULL`,
				want, name, live, on)); err != nil {
				return nil, err
			}
		}
	}
	if limit == 0 {
		limit = math.MaxInt32
	}
	rows, err := tx.Query(ctx, fmt.Sprintf(`
SELECT coalesce(h.customer_id, w.customer_id), concat_ws(' ', '%[1]s'%[2]s),
       h.customer_id IS NOT NULL, w.customer_id IS NOT NULL, ARRAY[%[3]s], ARRAY[%[4]s]
  FROM (SELECT * FROM %[5]s WHERE customer_id BETWEEN $1 AND $2) h
  FULL JOIN %[6]s w ON %[7]s
 WHERE ROW(%[8]s)::record *<> ROW(%[9]s)::record
   AND ROW(%[8]s)::text IS DISTINCT FROM ROW(%[9]s)::text
   AND coalesce(h.customer_id, w.customer_id) <> ALL($3)
 ORDER BY 1, 2 LIMIT $4`,
		t.name, each(t.key[1:], "", ", '%[1]s', coalesce(h.%[1]s, w.%[1]s)"),
		each(t.columns, ", ", "h.%s::text"), each(t.columns, ", ", "w.%s::text"), live, want, on,
		each(t.columns, ", ", "h.%s"), each(t.columns, ", ", "w.%s")),
		first, last, others, limit)
	if err != nil {
		return nil, err
	}
	var (
		d                    projection.Difference
		where                string
		isThere, shouldBe    bool
		haveValues, expected []*string
		found                []projection.Difference
	)
	_, err = pgx.ForEachRow(rows, []any{&d.CustomerID, &where, &isThere, &shouldBe, &haveValues, &expected}, func() error {
		switch {
		case !isThere:
			d.What = where + " is missing"
		case !shouldBe:
			d.What = where + " should not be there"
		default:
			var names []string // and no values
			for i, name := range t.columns {
				if a, b := haveValues[i], expected[i]; (a == nil) != (b == nil) || a != nil && *a != *b {
					names = append(names, name)
				}
			}
			d.What = where + " differs in " + strings.Join(names, ", ")
		}
		found = append(found, d)
		return nil
	})
	return found, err
}

// each writes every name into a pattern.
func each(names []string, between, pattern string) string {
	out := make([]string, len(names))
	for i, name := range names {
		out[i] = fmt.Sprintf(pattern, name)
	}
	return strings.Join(out, between)
}
