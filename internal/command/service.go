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

// AddAddress adds an address under an id that the caller has just chosen. In
// the result it is the last one, in a replay too.
func (s *Service) AddAddress(ctx context.Context, req Request, id customer.ID, a customer.Address) (Result, error) {
	return s.execute(ctx, req, id, func(c customer.State, now time.Time) ([]customer.Event, error) {
		return c.AddAddress(a, now)
	})
}

// ChangeAddress replaces the address with a's id.
func (s *Service) ChangeAddress(ctx context.Context, req Request, id customer.ID, a customer.Address) (Result, error) {
	return s.execute(ctx, req, id, func(c customer.State, now time.Time) ([]customer.Event, error) {
		return c.ChangeAddress(a, now)
	})
}

// RemoveAddress removes an address.
func (s *Service) RemoveAddress(ctx context.Context, req Request, id customer.ID, address customer.AddressID) (Result, error) {
	return s.execute(ctx, req, id, func(c customer.State, now time.Time) ([]customer.Event, error) {
		return c.RemoveAddress(address, now)
	})
}

// Tag adds a tag.
func (s *Service) Tag(ctx context.Context, req Request, id customer.ID, t customer.Tag) (Result, error) {
	return s.execute(ctx, req, id, func(c customer.State, now time.Time) ([]customer.Event, error) {
		return c.Tag(t, now)
	})
}

// Untag removes a tag.
func (s *Service) Untag(ctx context.Context, req Request, id customer.ID, t customer.Tag) (Result, error) {
	return s.execute(ctx, req, id, func(c customer.State, now time.Time) ([]customer.Event, error) {
		return c.Untag(t, now)
	})
}

// GrantConsent records that the customer allows a channel.
func (s *Service) GrantConsent(ctx context.Context, req Request, id customer.ID, ch customer.Channel, source, wording string) (Result, error) {
	return s.execute(ctx, req, id, func(c customer.State, now time.Time) ([]customer.Event, error) {
		return c.GrantConsent(ch, source, wording, now)
	})
}

// WithdrawConsent records that the customer does not allow a channel.
func (s *Service) WithdrawConsent(ctx context.Context, req Request, id customer.ID, ch customer.Channel, source, wording string) (Result, error) {
	return s.execute(ctx, req, id, func(c customer.State, now time.Time) ([]customer.Event, error) {
		return c.WithdrawConsent(ch, source, wording, now)
	})
}

// Suspend marks the customer as suspended.
func (s *Service) Suspend(ctx context.Context, req Request, id customer.ID, reason string) (Result, error) {
	return s.execute(ctx, req, id, func(c customer.State, now time.Time) ([]customer.Event, error) {
		return c.Suspend(reason, now)
	})
}

// Reinstate ends a suspension.
func (s *Service) Reinstate(ctx context.Context, req Request, id customer.ID) (Result, error) {
	return s.execute(ctx, req, id, customer.State.Reinstate)
}

// Delete takes the customer from all reads and frees its claims.
func (s *Service) Delete(ctx context.Context, req Request, id customer.ID) (Result, error) {
	return s.execute(ctx, req, id, customer.State.Delete)
}

// Restore undoes a deletion and takes the claims back; ErrEmailTaken or
// ErrExternalIDTaken tells that another customer has one of them by now.
func (s *Service) Restore(ctx context.Context, req Request, id customer.ID) (Result, error) {
	return s.execute(ctx, req, id, customer.State.Restore)
}

// Erase destroys the customer's data key together with recording that it did,
// and frees its claims. The result's Data.Erasure is the record; repeating the
// command answers the same one.
func (s *Service) Erase(ctx context.Context, req Request, id customer.ID, reason string) (Result, error) {
	return s.carryOut(ctx, req, id, func(from subject, now time.Time) ([]customer.Event, error) {
		if !from.fresh {
			return nil, errAgain // the record names the key as the log has it now
		}
		return from.state.Erase(req.Principal, reason, from.keyID, now)
	})
}
