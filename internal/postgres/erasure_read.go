package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/query"
)

const selectErasure = `SELECT version, status, erasure FROM readmodel.documents WHERE customer_id = $1`

// Erasure answers what is known of one customer's erasure.
func (r *ReadModelReader) Erasure(ctx context.Context, id customer.ID) (v customer.Version, s customer.Status, record *customer.Erasure, err error) {
	var raw []byte
	err = r.pool.QueryRow(ctx, selectErasure, id).Scan(&v, &s, &raw)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return 0, "", nil, query.ErrNotFound
	case err != nil:
		return 0, "", nil, unreadable("erasure", err)
	case raw == nil:
		return v, s, nil, nil
	}
	var e erasure
	if err := json.Unmarshal(raw, &e); err != nil {
		return 0, "", nil, fmt.Errorf("read erasure of %s: %w", id, err)
	}
	return v, s, &customer.Erasure{At: time.Time(e.At), Actor: e.Actor, Reason: e.Reason, KeyID: e.KeyID}, nil
}
