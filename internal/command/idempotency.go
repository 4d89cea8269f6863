package command

import (
	"context"
	"encoding/hex"
	"fmt"
	"sync"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
)

// idempotencyKey is what a request's key is known by in the log: clients have
// been seen to use e-mail addresses, so it is a keyed digest.
func (s *Service) idempotencyKey(req Request) string {
	sum := s.keys.Digest(digestIdempotencyKey, []byte(req.Principal), []byte(req.IdempotencyKey))
	return hex.EncodeToString(sum[:])
}

// answered is the answer c's key is recorded with, if it is.
//
// It is asked only before something is answered that was not committed. What
// is committed needs no question: the log sees the key in the same transaction
// and says Replayed, at no extra round trip and with no moment in between.
func (s *Service) answered(ctx context.Context, c command) (Result, bool, error) {
	if c.key == "" {
		return Result{}, false, nil
	}
	recorded, err := s.log.FindIdempotency(ctx, c.Principal, c.key)
	if err != nil {
		return Result{}, false, fmt.Errorf("find idempotency record: %w", err)
	}
	if recorded == nil {
		return Result{}, false, nil
	}
	res, err := s.replay(ctx, c, recorded)
	return res, true, err
}

// replay answers c as the request that recorded was answered: with the customer
// at the version it had then, folded again from the log.
func (s *Service) replay(ctx context.Context, c command, recorded *eventlog.Idempotency) (Result, error) {
	if recorded.RequestDigest != c.RequestDigest {
		return Result{}, ErrIdempotencyKeyReused
	}
	stream, err := s.log.Load(ctx, recorded.CustomerID, 0)
	if err != nil {
		return Result{}, fmt.Errorf("load %s: %w", recorded.CustomerID, err)
	}
	key, err := s.unwrap(recorded.CustomerID, stream)
	if err != nil {
		return Result{}, err
	}
	entries, err := s.open(recorded.CustomerID, stream, key)
	if err != nil {
		return Result{}, err
	}
	if stream.Version < recorded.Version || len(entries) < int(recorded.Version) {
		return Result{}, fmt.Errorf("%s: version %d was answered and the log ends at %d",
			recorded.CustomerID, recorded.Version, stream.Version)
	}
	state, changed := customer.NewState(recorded.CustomerID), false
	for _, e := range entries[:recorded.Version] {
		state = state.Evolve(e.Event)
		changed = e.Metadata.CommandID == recorded.CommandID
	}
	// Without its key the past cannot be told. What can is the erasure itself.
	if stream.Key == nil && state.Status() != customer.StatusErased {
		return Result{}, customer.ErrErased
	}
	return Result{Data: state.Data(), Changed: changed, Replayed: true, Status: int(recorded.Status)}, nil
}

// flights are the idempotency keys being worked on in this process. Across
// processes the log decides.
type flights struct {
	mu   sync.Mutex
	keys map[string]struct{}
}

func newFlights() *flights { return &flights{keys: make(map[string]struct{})} }

func (f *flights) begin(key string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, busy := f.keys[key]; busy {
		return false
	}
	f.keys[key] = struct{}{}
	return true
}

func (f *flights) end(key string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.keys, key)
}
