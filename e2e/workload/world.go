package workload

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
)

const (
	contended     = 24 // e-mail addresses that everybody wants
	contendedIDs  = 16 // external ids that everybody wants
	imported      = 160
	retireVersion = 300 // of a hot customer: a command under a repeated key folds all of it
)

// Status of a customer as last seen.
const (
	living  = ""
	deleted = "deleted"
	erased  = "erased"
)

// seen is a customer as some client saw it last. Several may share one.
type seen struct {
	id string

	mu        sync.Mutex
	version   int64
	status    string
	email     string
	external  string
	lastName  string
	addresses []string
}

// look is a copy to work with.
type look struct {
	version                           int64
	status, email, external, lastName string
	addresses                         []string
}

func (s *seen) now() look {
	s.mu.Lock()
	defer s.mu.Unlock()
	return look{s.version, s.status, s.email, s.external, s.lastName, s.addresses}
}

// learn takes a customer's document, unless a newer one was seen before.
func (s *seen) learn(answer []byte) {
	var d document
	if json.Unmarshal(answer, &d) != nil || d.ID != s.id {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if d.Version < s.version {
		return
	}
	s.version, s.status, s.email, s.external, s.lastName = d.Version, living, strings.ToLower(d.Email), d.ExternalID, d.LastName
	s.addresses = nil
	for _, a := range d.Addresses {
		s.addresses = append(s.addresses, a.ID)
	}
}

// become notes a state that has no document; version is 0 when it is not known.
func (s *seen) become(status string, version int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if version != 0 && version < s.version {
		return
	}
	s.version, s.status = max(version, s.version), status
}

// document is a customer as far as the clients look at it.
type document struct {
	ID         string `json:"id"`
	Version    int64  `json:"version"`
	Email      string `json:"email"`
	ExternalID string `json:"external_id"`
	LastName   string `json:"last_name"`
	Addresses  []struct {
		ID string `json:"id"`
	} `json:"addresses"`
}

// world is what all clients know together: whom they contend for, and who was
// last seen with which contended e-mail address.
type world struct {
	seed string

	mu     sync.Mutex
	hot    []slot
	holder [contended]*seen
	former [contended]*seen // deleted with the address, and may want it back
}

// slot is a place for a hot customer. While one client registers somebody for
// it, no other does.
type slot struct {
	customer *seen
	filling  bool
}

func newWorld(seed uint64, hot int) *world {
	return &world{seed: fmt.Sprintf("%x", seed), hot: make([]slot, hot)}
}

// hotAt is the customer at a slot. When there is none, vacant tells whether the
// caller is to fill the slot, which fill ends.
func (w *world) hotAt(i int) (customer *seen, vacant bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := &w.hot[i]
	if s.customer != nil || s.filling {
		return s.customer, false
	}
	s.filling = true
	return nil, true
}

// fill ends what hotAt began; customer is nil when nobody was registered.
func (w *world) fill(i int, customer *seen) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hot[i] = slot{customer: customer}
}

// retire takes a customer out of its slot, if it has one.
func (w *world) retire(customer *seen) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range w.hot {
		if w.hot[i].customer == customer {
			w.hot[i].customer = nil
		}
	}
}

// contendedEmail is one of the addresses that everybody wants.
func (w *world) contendedEmail(i int) string {
	return fmt.Sprintf("wanted-%02d.%s@example.com", i, w.seed)
}

// holders are who was last seen with a contended address, and who was deleted
// with it.
func (w *world) holders(i int) (holder, former *seen) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.holder[i], w.former[i]
}

// took notes who has an address now, if it is a contended one.
func (w *world) took(email string, by *seen) {
	if i := w.wanted(email); i >= 0 {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.holder[i] = by
		if w.former[i] == by {
			w.former[i] = nil
		}
	}
}

// freed notes that a customer was deleted or erased with an address.
func (w *world) freed(email string, by *seen, restorable bool) {
	if i := w.wanted(email); i >= 0 {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.holder[i] == by {
			w.holder[i] = nil
		}
		if restorable {
			w.former[i] = by
		} else if w.former[i] == by {
			w.former[i] = nil
		}
	}
}

func (w *world) wanted(email string) int {
	for i := range contended {
		if email == w.contendedEmail(i) {
			return i
		}
	}
	return -1
}
