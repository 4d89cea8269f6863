package command

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
)

// The commands there are. Each says which customer it is for and which of the
// domain's decisions it asks for; execute does what they have in common.

// Register begins a customer under a new id.
func (s *Service) Register(ctx context.Context, req Request, r customer.Registration) (Result, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return Result{}, fmt.Errorf("choose a customer id: %w", err)
	}
	return s.begin(ctx, req, id, func(c customer.State, now time.Time) ([]customer.Event, error) {
		return c.Register(r, now)
	})
}

// Change sets and removes single values.
func (s *Service) Change(ctx context.Context, req Request, id customer.ID, change customer.Change) (Result, error) {
	return s.execute(ctx, req, id, func(c customer.State, now time.Time) ([]customer.Event, error) {
		return c.Apply(change, now)
	})
}

// Delete takes the customer from all reads and frees its claims.
func (s *Service) Delete(ctx context.Context, req Request, id customer.ID) (Result, error) {
	return s.execute(ctx, req, id, customer.State.Delete)
}
