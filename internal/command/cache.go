package command

import (
	"fmt"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
)

// cache keeps customers as this process last saw them, with their keys, so
// that a command on a known one reads nothing before it commits. What is in it
// may be behind the log at any time: whatever is decided on it is either
// confirmed by the log's compare-and-set or decided again.
//
// It is bounded in number and in age, and adaptive: a long import passes
// through without driving out the customers that are being worked on.
type cache struct {
	customers *otter.Cache[customer.ID, subject]
}

func newCache(size int, keep time.Duration) (*cache, error) {
	c, err := otter.New(&otter.Options[customer.ID, subject]{
		MaximumSize:      size,
		ExpiryCalculator: otter.ExpiryWriting[customer.ID, subject](keep),
	})
	if err != nil {
		return nil, fmt.Errorf("customer cache: %w", err)
	}
	return &cache{customers: c}, nil
}

func (c *cache) get(id customer.ID) (subject, bool) { return c.customers.GetIfPresent(id) }

// put keeps s, unless there is nothing left to be kept of it. Callers have the
// customer's turn, so that what they put is never older than what is there.
func (c *cache) put(s subject) {
	if s.key.IsZero() {
		c.drop(s.state.ID())
		return
	}
	s.fresh = false
	c.customers.Set(s.state.ID(), s)
}

func (c *cache) drop(id customer.ID) { c.customers.Invalidate(id) }
func (c *cache) clear()              { c.customers.InvalidateAll() }
func (c *cache) close()              { c.customers.StopAllGoroutines() }
