package command

import (
	"context"
	"time"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
)

// Service carries commands out.
type Service struct{}

// decision is one of the domain's, with its arguments bound.
type decision func(c customer.State, now time.Time) ([]customer.Event, error)

func (s *Service) begin(context.Context, Request, customer.ID, decision) (Result, error) {
	return Result{}, ErrUnavailable
}

func (s *Service) execute(context.Context, Request, customer.ID, decision) (Result, error) {
	return Result{}, ErrUnavailable
}
