package command

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
)

// turns lets commands on one customer run one after the other within this
// process, first come first served. It is not what makes them correct, which
// the log's compare-and-set does; without it, of n commands that decide on the
// same version n-1 would lose and decide again.
type turns struct {
	maxWait time.Duration
	mu      sync.Mutex
	queues  map[customer.ID]*turn
}

type turn struct {
	free  chan struct{} // holds one token while nobody has the turn
	users int           // holder and waiters
}

func newTurns(maxWait time.Duration) *turns {
	return &turns{maxWait: maxWait, queues: make(map[customer.ID]*turn)}
}

// take waits for id's turn and returns the function that ends it. It gives up
// with ErrOverloaded when ctx or maxWait ends.
func (t *turns) take(ctx context.Context, id customer.ID) (end func(), err error) {
	t.mu.Lock()
	q := t.queues[id]
	if q == nil {
		q = &turn{free: make(chan struct{}, 1)}
		q.free <- struct{}{}
		t.queues[id] = q
	}
	q.users++
	t.mu.Unlock()

	select {
	case <-q.free:
		return func() { q.free <- struct{}{}; t.leave(id, q) }, nil
	default:
	}
	timer := time.NewTimer(t.maxWait)
	defer timer.Stop()
	select {
	case <-q.free:
		return func() { q.free <- struct{}{}; t.leave(id, q) }, nil
	case <-ctx.Done():
		err = fmt.Errorf("%w: %w behind other commands on %s", ErrOverloaded, ctx.Err(), id)
	case <-timer.C:
		err = fmt.Errorf("%w: %s behind other commands on %s", ErrOverloaded, t.maxWait, id)
	}
	t.leave(id, q)
	return nil, err
}

func (t *turns) leave(id customer.ID, q *turn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if q.users--; q.users == 0 {
		delete(t.queues, id)
	}
}
