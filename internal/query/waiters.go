package query

import (
	"sync"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
)

// waiters knows who waits for which customers' versions.
type waiters struct {
	max int

	mu    sync.Mutex
	count int
	byID  map[customer.ID][]*waiter
}

// waiter is one read that waits for all of some versions.
type waiter struct {
	need map[customer.ID]customer.Version // what has not been reached yet
	done chan struct{}                    // closed when need is empty
}

func newWaiters(limit int) *waiters {
	return &waiters{max: limit, byID: map[customer.ID][]*waiter{}}
}

// add registers a read that waits for every token.
func (w *waiters) add(tokens []eventlog.Token) (*waiter, error) {
	one := &waiter{need: make(map[customer.ID]customer.Version, len(tokens)), done: make(chan struct{})}
	for _, t := range tokens {
		one.need[t.CustomerID] = max(one.need[t.CustomerID], t.Version)
	}
	if len(one.need) == 0 {
		close(one.done)
		return one, nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.count >= w.max {
		return nil, ErrOverloaded
	}
	w.count++
	for id := range one.need {
		w.byID[id] = append(w.byID[id], one)
	}
	return one, nil
}

// remove forgets a read that is done or gave up.
func (w *waiters) remove(one *waiter) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(one.need) > 0 {
		w.count--
	}
	for id := range one.need {
		w.drop(id, one)
	}
	one.need = nil
}

// reached tells everyone that waits for id that the read model has v.
func (w *waiters) reached(id customer.ID, v customer.Version) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, one := range append([]*waiter(nil), w.byID[id]...) {
		if one.need[id] > v {
			continue
		}
		delete(one.need, id)
		w.drop(id, one)
		if len(one.need) == 0 {
			w.count--
			close(one.done)
		}
	}
}

// wanted lists the customers somebody waits for.
func (w *waiters) wanted() []customer.ID {
	w.mu.Lock()
	defer w.mu.Unlock()
	ids := make([]customer.ID, 0, len(w.byID))
	for id := range w.byID {
		ids = append(ids, id)
	}
	return ids
}

// drop is called with mu held.
func (w *waiters) drop(id customer.ID, one *waiter) {
	list := w.byID[id]
	for i, other := range list {
		if other == one {
			list[i] = list[len(list)-1]
			list[len(list)-1] = nil
			list = list[:len(list)-1]
			break
		}
	}
	if len(list) == 0 {
		delete(w.byID, id)
		return
	}
	w.byID[id] = list
}
