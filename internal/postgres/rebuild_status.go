package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/ebrahem-outlook/customer-service/internal/projection"
)

const (
	selectLive    = `SELECT generation FROM readmodel.generations WHERE state = 'live'`
	selectRebuild = `SELECT generation, state, done, total, started_at FROM readmodel.rebuild`
)

// Generations returns which generation is live, and how far the rebuild of the
// next one is; nil when none is under way or waits to be gone on with.
func (m *ReadModel) Generations(ctx context.Context) (live int, next *projection.RebuildState, err error) {
	if err := m.pool.QueryRow(ctx, selectLive).Scan(&live); err != nil {
		return 0, nil, fmt.Errorf("read the live generation: %w", err)
	}
	var (
		s     projection.RebuildState
		phase string
	)
	err = m.pool.QueryRow(ctx, selectRebuild).Scan(&s.Generation, &phase, &s.Done, &s.Total, &s.StartedAt)
	if errors.Is(err, pgx.ErrNoRows) {
		return live, nil, nil
	}
	if err != nil {
		return 0, nil, fmt.Errorf("read the rebuild: %w", err)
	}
	s.Phase, s.StartedAt = projection.Phase(phase), s.StartedAt.UTC()
	return live, &s, nil
}
