package command

import (
	"context"
	"time"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
)

// Execute lets tests carry out decisions that are no command of their own here.
func (s *Service) Execute(
	ctx context.Context, req Request, id customer.ID, decide func(customer.State, time.Time) ([]customer.Event, error),
) (Result, error) {
	return s.execute(ctx, req, id, decide)
}
