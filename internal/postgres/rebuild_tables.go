package postgres

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/ebrahem-outlook/customer-service/internal/projection"
)

func in(schema, name string) string { return pgx.Identifier{schema, name}.Sanitize() }

// What LIKE leaves behind: settings of the table and of its columns, its owner
// and its rights. Each row is a statement that gives them to the next one.
// Without its columns' settings, statistics would begin to keep personal values.
const tableSettings = `
SELECT format('ALTER TABLE %1$s OWNER TO %2$I', $2::text, pg_get_userbyid(c.relowner))
  FROM pg_class c WHERE c.oid = $1::regclass AND pg_get_userbyid(c.relowner) <> current_user
UNION ALL
SELECT format('ALTER TABLE %1$s SET (%2$s)', $2, array_to_string(c.reloptions, ', '))
  FROM pg_class c WHERE c.oid = $1::regclass AND c.reloptions IS NOT NULL
UNION ALL
SELECT format('ALTER TABLE %1$s SET (%2$s)', $2, (SELECT string_agg('toast.' || o, ', ') FROM unnest(t.reloptions) o))
  FROM pg_class c JOIN pg_class t ON t.oid = c.reltoastrelid WHERE c.oid = $1::regclass AND t.reloptions IS NOT NULL
UNION ALL
SELECT format('ALTER TABLE %1$s ALTER COLUMN %2$I SET STATISTICS %3$s', $2, a.attname, a.attstattarget)
  FROM pg_attribute a WHERE a.attrelid = $1::regclass AND a.attnum > 0 AND NOT a.attisdropped AND a.attstattarget >= 0
UNION ALL
SELECT format('GRANT %3$s ON %1$s TO %2$s', $2, CASE r.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(r.grantee)) END, r.privilege_type)
  FROM pg_class c CROSS JOIN aclexplode(c.relacl) r WHERE c.oid = $1::regclass AND r.grantee <> c.relowner`

// makeTables makes the next generation's tables: like the live ones, and without
// their indexes, which are made faster when the rows are there.
func makeTables(ctx context.Context, tx pgx.Tx) error {
	if _, err := tx.Exec(ctx, "CREATE SCHEMA IF NOT EXISTS "+nextSchema); err != nil {
		return err
	}
	for _, t := range derivedTables() {
		next := in(nextSchema, t.name)
		if _, err := tx.Exec(ctx, fmt.Sprintf("CREATE TABLE %s (LIKE %s INCLUDING ALL EXCLUDING INDEXES)", next, in(liveSchema, t.name))); err != nil {
			return err
		}
		if err := apply(ctx, tx, tableSettings, in(liveSchema, t.name), next); err != nil {
			return err
		}
	}
	return nil
}

// apply runs the statements that a query returns.
func apply(ctx context.Context, tx pgx.Tx, query string, args ...any) error {
	rows, err := tx.Query(ctx, query, args...)
	if err != nil {
		return err
	}
	statements, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	for _, s := range statements {
		if _, err := tx.Exec(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// index is one of a live table, with what makes it.
type index struct {
	table, name, definition string
	constraint              string // what it backs, as in PRIMARY KEY; empty for none
}

const (
	// The one that takes longest comes first, and the others beside it.
	selectIndexes = `
SELECT t.relname, c.relname, pg_get_indexdef(i.indexrelid), coalesce(CASE n.contype WHEN 'p' THEN 'PRIMARY KEY' WHEN 'u' THEN 'UNIQUE' END, '')
  FROM pg_index i
  JOIN pg_class c ON c.oid = i.indexrelid
  JOIN pg_class t ON t.oid = i.indrelid
  JOIN pg_namespace s ON s.oid = t.relnamespace AND s.nspname = $1
  LEFT JOIN pg_constraint n ON n.conindid = i.indexrelid AND n.contype IN ('p', 'u')
 WHERE t.relname = ANY($2)
 ORDER BY pg_relation_size(i.indexrelid) DESC, c.relname`

	hasIndex = `
SELECT EXISTS (SELECT FROM pg_class c JOIN pg_namespace s ON s.oid = c.relnamespace
                WHERE s.nspname = $1 AND c.relname = $2 AND c.relkind = 'i')`

	// An index on an expression has statistics of its own.
	indexSettings = `
SELECT format('ALTER INDEX %1$s ALTER COLUMN %2$s SET STATISTICS %3$s', $2::text, a.attnum, a.attstattarget)
  FROM pg_attribute a WHERE a.attrelid = $1::regclass AND a.attstattarget >= 0`

	// A constraint waits for whichever other index of its table is being made.
	indexSession = `
SELECT set_config('statement_timeout', '0', true), set_config('lock_timeout', '0', true), set_config('maintenance_work_mem', '256MB', true)`
)

// indexers bounds how many indexes are made at once: each sorts in 256 MB.
const indexers = 2

// Index implements projection.NextGeneration.
func (r *Rebuild) Index(ctx context.Context, step func(done, total int)) error {
	all, err := r.indexes(ctx)
	if err != nil {
		return fmt.Errorf("list indexes: %w", err)
	}
	tables := derivedTables()
	total := len(all) + len(tables)
	finished := make(chan struct{}, total)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(indexers)
	go func() {
		for done := 1; done <= total; done++ {
			select {
			case <-finished:
				step(done, total)
			case <-ctx.Done():
				return
			}
		}
	}()
	for _, i := range all {
		group.Go(func() error {
			defer func() { finished <- struct{}{} }()
			return r.makeIndex(ctx, i)
		})
	}
	if err := group.Wait(); err != nil {
		return fmt.Errorf("make indexes: %w", err)
	}
	for _, t := range tables {
		// For the planner; what it may not know is excluded by the column's setting.
		if _, err := r.pool.Exec(context.WithoutCancel(ctx), "ANALYZE "+in(nextSchema, t.name)); err != nil {
			return fmt.Errorf("analyse %s: %w", t.name, err)
		}
		finished <- struct{}{}
	}
	return nil
}

func (r *Rebuild) indexes(ctx context.Context) ([]index, error) {
	var names []string
	for _, t := range derivedTables() {
		names = append(names, t.name)
	}
	rows, err := r.pool.Query(ctx, selectIndexes, liveSchema, names)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (i index, err error) {
		err = row.Scan(&i.table, &i.name, &i.definition, &i.constraint)
		return i, err
	})
}

func (r *Rebuild) makeIndex(ctx context.Context, i index) error {
	return pgx.BeginFunc(ctx, r.pool, func(tx pgx.Tx) error {
		var there bool
		if err := tx.QueryRow(ctx, hasIndex, nextSchema, i.name).Scan(&there); err != nil || there {
			return err
		}
		if _, err := tx.Exec(ctx, indexSession); err != nil {
			return err
		}
		// The server writes the table's name with its schema, always in this form.
		definition := strings.Replace(i.definition, " ON "+liveSchema+".", " ON "+nextSchema+".", 1)
		if _, err := tx.Exec(ctx, definition); err != nil {
			return err
		}
		if err := apply(ctx, tx, indexSettings, in(liveSchema, i.name), in(nextSchema, i.name)); err != nil {
			return err
		}
		if i.constraint == "" {
			return nil
		}
		_, err := tx.Exec(ctx, fmt.Sprintf("ALTER TABLE %s ADD CONSTRAINT %s %s USING INDEX %s",
			in(nextSchema, i.table), pgx.Identifier{i.name}.Sanitize(), i.constraint, pgx.Identifier{i.name}.Sanitize()))
		return err
	})
}

const (
	lockRebuild    = `SELECT FROM readmodel.rebuild WHERE generation = $1 AND attempt = $2 FOR UPDATE`
	deleteBuilding = `DELETE FROM readmodel.checkpoints WHERE generation IN (SELECT generation FROM readmodel.generations WHERE state = 'building')`
	deleteBuilt    = `DELETE FROM readmodel.generations WHERE state = 'building'` // and what refers to it
)

// Discard implements projection.NextGeneration. It also removes what a rebuild
// left that was given up by dropping the schema.
func (r *Rebuild) Discard(ctx context.Context) error {
	err := pgx.BeginFunc(ctx, r.pool, func(tx pgx.Tx) error {
		for _, statement := range []string{deleteBuilding, deleteBuilt, "DROP SCHEMA IF EXISTS " + nextSchema + " CASCADE"} {
			if _, err := tx.Exec(ctx, statement); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("discard the next generation: %w", ownership(err))
	}
	r.next = 0
	return nil
}

// DropOld implements projection.NextGeneration.
func (r *Rebuild) DropOld(ctx context.Context) error {
	if _, err := r.pool.Exec(ctx, "DROP SCHEMA IF EXISTS "+retiredSchema+" CASCADE"); err != nil {
		return fmt.Errorf("drop the retired generation: %w", ownership(err))
	}
	return nil
}

var _ projection.NextGeneration = (*Rebuild)(nil)
