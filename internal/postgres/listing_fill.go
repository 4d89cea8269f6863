package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/projection"
)

const (
	// Who is being written at this moment is being listed by that. Waiting for it,
	// with other rows locked, could end in a deadlock.
	selectUnlisted = `
SELECT ` + rowColumns + `
  FROM readmodel.documents d
 WHERE d.customer_id > $1 AND d.status IN ('active', 'suspended')
   AND NOT EXISTS (SELECT FROM readmodel.listing l WHERE l.customer_id = d.customer_id)
 ORDER BY d.customer_id LIMIT $2
   FOR SHARE OF d SKIP LOCKED`

	updateComplete = `UPDATE readmodel.listing_state SET complete = true WHERE NOT complete`

	// fillPage is how many documents, of 2 KB or so, are held at once.
	fillPage = 500
)

// CompleteListing lists whoever was projected by a release that had no lists. It
// returns how many that were. When everybody is listed already, it costs one
// look-up.
func (m *ReadModel) CompleteListing(ctx context.Context) (filled int, err error) {
	var complete bool
	if err := m.pool.QueryRow(ctx, selectComplete).Scan(&complete); err != nil {
		return 0, fmt.Errorf("complete lists: %w", err)
	}
	for !complete {
		n, err := m.fillListing(ctx)
		if filled += n; err != nil {
			return filled, fmt.Errorf("complete lists: %w", err)
		}
		complete = n == 0 // somebody may have been passed over
	}
	if _, err := m.pool.Exec(ctx, updateComplete); err != nil {
		return filled, fmt.Errorf("complete lists: %w", err)
	}
	return filled, nil
}

// fillListing looks at every customer once.
func (m *ReadModel) fillListing(ctx context.Context) (filled int, err error) {
	var after customer.ID
	for {
		var page []projection.Row
		err := pgx.BeginFunc(ctx, m.pool, func(tx pgx.Tx) error {
			rows, err := tx.Query(ctx, selectUnlisted, after, fillPage)
			if err != nil {
				return err
			}
			if page, err = pgx.CollectRows(rows, scanRow); err != nil || len(page) == 0 {
				return err
			}
			all, _ := listing(page)
			_, err = tx.Exec(ctx, upsertListing, listingArgs(all)...)
			return err
		})
		if err != nil || len(page) == 0 {
			return filled, err
		}
		filled += len(page)
		after = page[len(page)-1].Data.ID
	}
}
