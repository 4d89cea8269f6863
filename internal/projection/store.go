package projection

import (
	"context"
	"errors"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
	"github.com/ebrahem-outlook/customer-service/internal/query"
)

var (
	// ErrRejected tells that the store can never take what it was given: a value
	// it cannot hold, or a row that contradicts what it has.
	ErrRejected = errors.New("read model refuses the change")
	// ErrNotParked tells that a customer to be let go is not parked.
	ErrNotParked = errors.New("customer is not parked")
)

// Store keeps the read model.
//
// Update locks the lane's checkpoint, hands the view of the named customers to
// fold and commits what fold returns, all in one transaction: no two updates of
// one lane overlap, whoever runs them. fold must not block; its error undoes
// everything and is returned as it is. A row is written only over an older
// version of it (a shredded one also over its own), and a history row only where there is none; otherwise, and
// for what it cannot hold, the error wraps ErrRejected and nothing is written. With Probe nothing is
// written either.
//
// Checkpoints returns every lane's, Parked the customers that are halted in
// order of position.
type Store interface {
	Rows
	Update(ctx context.Context, lane eventlog.Lane, customers []customer.ID, fold func(View) (Delta, error)) error
	Checkpoints(ctx context.Context) ([]Checkpoint, error)
	Beat(ctx context.Context, h Heartbeat) error
	Parked(ctx context.Context) ([]Parked, error)
}

// Rows reads what the read model has of some customers, as of one moment.
//
// Rows returns those that exist among the customers named, with their history
// in order of version. Customers lists up to limit customers after one, in order.
type Rows interface {
	Rows(ctx context.Context, customers []customer.ID) (map[customer.ID]Row, map[customer.ID][]HistoryRow, error)
	Customers(ctx context.Context, after customer.ID, limit int) ([]customer.ID, error)
}

// CacheLedger keeps, in the read model, what is known of the cache.
//
// State says which entries readers trust now. Renew makes them trust the next
// epoch on the server with runID, unless somebody moved the epoch on since was
// was read; it returns the state that then holds. Renew excludes every
// Update: what was committed before it is read by those who fill the new epoch,
// and what is committed after it knows the new epoch. Suspend makes readers
// trust nothing until the next Renew.
//
// ChangedAfter returns the present rows that the lane's next limit events after
// a position went to, the last of those events' positions, and whether there
// are more. MarkCached raises a lane's Cached, unless it was rewound since.
type CacheLedger interface {
	State(ctx context.Context) (query.CacheState, error)
	Renew(ctx context.Context, was query.CacheState, runID string) (query.CacheState, error)
	Suspend(ctx context.Context) error
	ChangedAfter(ctx context.Context, lane eventlog.Lane, after eventlog.Position, limit int) (rows []Row, through eventlog.Position, more bool, err error)
	MarkCached(ctx context.Context, lane eventlog.Lane, through eventlog.Position, rewinds int64) error
}

// CacheEntry is one customer's entry for the cache.
type CacheEntry struct {
	CustomerID customer.ID
	query.Entry
}

// Cache takes entries after they are committed. It is never asked for one.
//
// Store replaces what the cache has of each customer in the epoch, on the server
// that state names and on no other, unless it has that version or a later one
// (an erased one goes over its own version too), and announces all but those it
// is late with. Where the cache has nothing it writes nothing; whoever is about
// to fill will not put something older there. An error means that some older
// ones may still be there. RunID names the server process that answers and takes writes. Sweep removes the
// keys of earlier epochs: they are trusted by nobody but may hold personal data.
type Cache interface {
	Store(ctx context.Context, state query.CacheState, entries []CacheEntry) error
	RunID(ctx context.Context) (string, error)
	Sweep(ctx context.Context, epoch int64) error
}
