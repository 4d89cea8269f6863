package query

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
)

// What a read can come to besides a document.
var (
	ErrNotFound = errors.New("no such customer")
	ErrDeleted  = errors.New("customer was deleted")
	ErrErased   = errors.New("customer was erased")
	// ErrUnavailable tells that the read model cannot be reached or does not
	// answer in time, and that the cache did not know the answer either.
	ErrUnavailable = errors.New("read model unavailable")
	// ErrOverloaded tells that as many reads wait already as are let wait.
	ErrOverloaded = errors.New("too many reads are waiting")
	// ErrTooManyTokens tells that a read names more customers than it may.
	ErrTooManyTokens = errors.New("too many consistency tokens")
)

// Behind tells that the read model did not reach a consistency token in time.
type Behind struct {
	RetryAfter time.Duration // when asking again is likely to succeed
}

func (b *Behind) Error() string {
	return fmt.Sprintf("read model is behind, retry after %s", b.RetryAfter)
}

// Entry is what the read model says about one customer at one version. Body is
// the contract's JSON and empty unless the customer is live. It is shared:
// nobody may write to it.
type Entry struct {
	Version customer.Version
	Status  customer.Status
	Body    []byte
}

// Live tells whether the customer is returned as a document.
func (e Entry) Live() bool {
	return e.Status == customer.StatusActive || e.Status == customer.StatusSuspended
}

// Err is ErrDeleted or ErrErased for a customer that is not live, else nil.
func (e Entry) Err() error {
	switch e.Status {
	case customer.StatusErased:
		return ErrErased
	case customer.StatusDeleted:
		return ErrDeleted
	case customer.StatusNone:
		return ErrNotFound
	default:
		return nil
	}
}

// Reader reads the read model.
//
// Entry answers ErrNotFound for a customer it does not have, and deleted and
// erased ones with their status. Erasure answers it likewise, with the record of
// an erasure once that was applied, else nil. Versions answers for those among
// the customers named that it has. Freshness is one consistent view of how far the
// read model is. Every other error wraps ErrUnavailable.
type Reader interface {
	Entry(ctx context.Context, id customer.ID) (Entry, error)
	Erasure(ctx context.Context, id customer.ID) (customer.Version, customer.Status, *customer.Erasure, error)
	Versions(ctx context.Context, ids []customer.ID) (map[customer.ID]customer.Version, error)
	Freshness(ctx context.Context) (Freshness, error)
}

// Cache holds entries in front of a Reader. It may forget anything at any time
// and may fail; it must never answer older than what the Reader answered before
// the entry was stored.
//
// Get answers false for what it does not have, including on any error. A miss
// may carry a Lease: the right to fill that key, lost as soon as the cache
// forgets it. Whoever commits tells the lease the version. Fill ends the lease,
// and stores the entry unless the lease is lost or was told a later version.
// Release ends it. So a Reader behind a Cache has to see whatever was committed
// before a lease was taken: a standby that lags does not do.
//
// Use says which epoch of which server may be trusted from now on; until it is
// first called, and while it names no server, nothing is.
type Cache interface {
	Use(state CacheState)
	Get(ctx context.Context, id customer.ID) (Entry, bool)
	Lease(ctx context.Context, id customer.ID) Lease
	Fill(ctx context.Context, id customer.ID, lease Lease, e Entry)
	Release(ctx context.Context, id customer.ID, lease Lease)
}

// CacheState names the entries of the cache that may be trusted: those of one
// epoch on the server with one run id. The projector moves both on whenever the
// cache may have missed a write that the read model has.
type CacheState struct {
	Epoch int64
	RunID string // of the server process; empty when nothing may be trusted
}

// Lease is the right to fill one key of a Cache. The empty one fills nothing.
type Lease string

// Announcements tells of customers as they change, whether the cache has them
// or not.
//
// Listen tells to what it hears, from one goroutine, until ctx is done. What
// is announced may be doubled and reordered, but is only what the read model
// already has. It returns an error when it cannot go on, or when it may have
// missed something; the caller listens again.
type Announcements interface {
	Listen(ctx context.Context, to Listener) error
}

// Listener is told what is announced.
//
// Connected comes first and names the server, as CacheState does: from then on
// nothing announced there is missed until Listen returns. Changed tells that a
// version was committed, before or after the cache has it. Heard tells that
// whatever was announced before asOf has been told.
type Listener interface {
	Connected(server string)
	Changed(id customer.ID, v customer.Version)
	Heard(asOf time.Time)
}
