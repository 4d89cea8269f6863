package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
	"github.com/ebrahem-outlook/customer-service/internal/projection"
	"github.com/ebrahem-outlook/customer-service/internal/query"
)

// ReadModel is the schema readmodel as the projector writes it: it implements
// projection.Store and projection.CacheLedger.
type ReadModel struct {
	pool       *pgxpool.Pool
	lanes      int
	generation int // 0 for the live one, or the one that a rebuild fills
}

// NewReadModel keeps the read model of a feed with so many lanes, through a
// pool with the projector's rights.
func NewReadModel(pool *pgxpool.Pool, lanes int) *ReadModel {
	return &ReadModel{pool: pool, lanes: lanes}
}

// ReadModelReader is the schema readmodel as reads see it: it implements
// query.Reader.
type ReadModelReader struct{ pool *pgxpool.Pool }

// NewReadModelReader reads through a pool with a query process's rights.
func NewReadModelReader(pool *pgxpool.Pool) *ReadModelReader { return &ReadModelReader{pool: pool} }

const selectEntry = `
SELECT version, status, CASE WHEN status IN ('active', 'suspended') THEN document END
  FROM readmodel.documents WHERE customer_id = $1`

// Entry answers one customer.
func (r *ReadModelReader) Entry(ctx context.Context, id customer.ID) (query.Entry, error) {
	var e query.Entry
	err := r.pool.QueryRow(ctx, selectEntry, id).Scan(&e.Version, &e.Status, &e.Body)
	if errors.Is(err, pgx.ErrNoRows) {
		return query.Entry{}, query.ErrNotFound
	}
	if err != nil {
		return query.Entry{}, unreadable("entry", err)
	}
	return e, nil
}

const selectVersions = `SELECT customer_id, version FROM readmodel.documents WHERE customer_id = ANY($1)`

// Versions answers how far some customers are.
func (r *ReadModelReader) Versions(ctx context.Context, ids []customer.ID) (map[customer.ID]customer.Version, error) {
	rows, err := r.pool.Query(ctx, selectVersions, ids)
	if err != nil {
		return nil, unreadable("versions", err)
	}
	versions := make(map[customer.ID]customer.Version, len(ids))
	var (
		id customer.ID
		v  customer.Version
	)
	if _, err = pgx.ForEachRow(rows, []any{&id, &v}, func() error { versions[id] = v; return nil }); err != nil {
		return nil, unreadable("versions", err)
	}
	return versions, nil
}

// unreadable wraps an error of reading for callers who only ask whether the
// read model answers.
func unreadable(what string, err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	return fmt.Errorf("read %s: %w: %w", what, query.ErrUnavailable, err)
}

const selectCheckpoints = `
SELECT lane, position, cached_position, rewinds FROM readmodel.checkpoints WHERE ` + ofGeneration + ` ORDER BY lane`

// Checkpoints returns how far every lane is that was ever applied.
func (m *ReadModel) Checkpoints(ctx context.Context) ([]projection.Checkpoint, error) {
	rows, err := m.pool.Query(ctx, selectCheckpoints, m.generation)
	if err != nil {
		return nil, fmt.Errorf("read checkpoints: %w", err)
	}
	all, err := pgx.CollectRows(rows, scanCheckpoint)
	if err != nil {
		return nil, fmt.Errorf("read checkpoints: %w", err)
	}
	return all, nil
}

func scanCheckpoint(row pgx.CollectableRow) (c projection.Checkpoint, err error) {
	err = row.Scan(&c.Lane, &c.Position, &c.Cached, &c.Rewinds)
	return c, err
}

const selectParked = `
SELECT customer_id, lane, position, version, last_version, type, reason, attempts, since
  FROM readmodel.parked ORDER BY position`

// Parked lists the customers that are halted.
func (m *ReadModel) Parked(ctx context.Context) ([]projection.Parked, error) {
	rows, err := m.pool.Query(ctx, m.sql(selectParked))
	if err != nil {
		return nil, fmt.Errorf("read parked: %w", err)
	}
	all, err := pgx.CollectRows(rows, scanParked)
	if err != nil {
		return nil, fmt.Errorf("read parked: %w", err)
	}
	return all, nil
}

func scanParked(row pgx.CollectableRow) (p projection.Parked, err error) {
	err = row.Scan(&p.CustomerID, &p.Lane, &p.Position, &p.Version, &p.LastVersion, &p.Type, &p.Reason, &p.Attempts, &p.Since)
	return p, err
}

// slots is the range of slots that a lane has, both ends included.
func (m *ReadModel) slots(l eventlog.Lane) (first, last eventlog.Slot) {
	n := m.lanes
	ceil := func(lane int) int { return (lane*eventlog.Slots + n - 1) / n }
	return eventlog.Slot(ceil(int(l))), eventlog.Slot(ceil(int(l)+1) - 1) //nolint:gosec // below 1024
}

// rejection turns what the server will never accept into ErrRejected.
func rejection(err error) error {
	pg := (*pgconn.PgError)(nil)
	if errors.As(err, &pg) &&
		(pgerrcode.IsDataException(pg.Code) || pgerrcode.IsIntegrityConstraintViolation(pg.Code) || strings.HasPrefix(pg.Code, "54")) {
		// The server's message may quote values.
		return fmt.Errorf("%w: SQLSTATE %s", projection.ErrRejected, pg.Code)
	}
	return err
}
