package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
	"github.com/ebrahem-outlook/customer-service/internal/relay"
)

// Sequencer implements relay.Sequence with the functions of the migration,
// which say how and why.
type Sequencer struct{ pool *pgxpool.Pool }

// NewSequencer returns the sequencer of pool's database.
func NewSequencer(pool *pgxpool.Pool) *Sequencer { return &Sequencer{pool: pool} }

const (
	// Taking snapshots anew reads the whole log once; see sequence_begin.
	liftTimeouts = `SET LOCAL statement_timeout = 0`

	beginTerm = `SELECT fenced, lanes, sequenced FROM eventlog.sequence_begin($1, $2, $3)`
	tickOnce  = `SELECT fenced, lost, sequenced, more, lanes, head FROM eventlog.sequence_tick($1, $2, $3)`
)

// BeginTerm implements relay.Sequence.
func (s *Sequencer) BeginTerm(ctx context.Context, f relay.Fence, lanes int) (int64, error) {
	var (
		fenced    bool
		have      int
		sequenced int64
	)
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, liftTimeouts); err != nil {
			return err
		}
		return tx.QueryRow(ctx, beginTerm, f.Duty, f.Epoch, lanes).Scan(&fenced, &have, &sequenced)
	})
	switch {
	case err != nil:
		return 0, fmt.Errorf("begin sequencing: %w", err)
	case fenced:
		return 0, fmt.Errorf("begin sequencing, epoch %d: %w", f.Epoch, relay.ErrFenced)
	case have != lanes:
		return 0, &relay.LanesError{Have: have, Want: lanes}
	}
	return sequenced, nil
}

// TickOnce implements relay.Sequence.
func (s *Sequencer) TickOnce(ctx context.Context, f relay.Fence, limit int) (relay.Tick, error) {
	var (
		t            relay.Tick
		fenced, lost bool
		lanes        []int16
		head         *int64
	)
	err := s.pool.QueryRow(ctx, tickOnce, f.Duty, f.Epoch, limit).
		Scan(&fenced, &lost, &t.Sequenced, &t.More, &lanes, &head)
	switch {
	case err != nil:
		return relay.Tick{}, fmt.Errorf("sequence: %w", err)
	case fenced:
		return relay.Tick{}, fmt.Errorf("sequence, epoch %d: %w", f.Epoch, relay.ErrFenced)
	case lost:
		return relay.Tick{}, fmt.Errorf("sequence: %w", relay.ErrSnapshotLost)
	}
	t.Head = eventlog.Position(*head)
	for _, lane := range lanes {
		t.Lanes = append(t.Lanes, eventlog.Lane(lane))
	}
	return t, nil
}
