package query

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
)

// ErrNotErased tells that a customer lives, or is deleted and could be restored.
var ErrNotErased = errors.New("customer is not erased")

// Erasure is what stays known of an erased customer.
type Erasure struct {
	ID      customer.ID
	Version customer.Version
	customer.Erasure
}

// Render is the contract's JSON of the record, the same from both APIs.
func (e Erasure) Render() ([]byte, error) {
	return json.Marshal(struct {
		ID       customer.ID      `json:"id"`
		Version  customer.Version `json:"version"`
		ErasedAt Time             `json:"erased_at"`
		Actor    string           `json:"actor"`
		Reason   string           `json:"reason"`
		KeyID    string           `json:"key_id"`
	}{e.ID, e.Version, Time(e.At), e.Actor, e.Reason, e.KeyID})
}

// Erasure answers a customer's erasure record, at least as new as every token
// asks. Its error is ErrNotFound, ErrNotErased, or as with Get *Behind,
// ErrOverloaded, ErrTooManyTokens, ErrUnavailable or ctx's own.
//
// It is asked seldom, so nothing stands between it and the read model.
func (s *Service) Erasure(ctx context.Context, id customer.ID, tokens []eventlog.Token, wait time.Duration) (Erasure, error) {
	if err := s.Await(ctx, tokens, wait); err != nil {
		return Erasure{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.ReadTimeout)
	defer cancel()
	version, status, record, err := s.reader.Erasure(ctx, id)
	switch {
	case err != nil:
		return Erasure{}, err
	case status != customer.StatusErased:
		return Erasure{}, ErrNotErased
	case record == nil:
		// The key is gone, so nothing can be read any more; that it was an erasure
		// which destroyed it is still on the way.
		return Erasure{}, s.behind()
	}
	return Erasure{ID: id, Version: version, Erasure: *record}, nil
}
