package projection

import (
	"context"
	"errors"
	"time"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
)

var (
	// ErrReplaced tells that another process took the rebuild over, or gave it up.
	ErrReplaced = errors.New("another process took the rebuild over")
	// ErrNotNow tells that the generations could not change places because
	// somebody used the tables, and that nothing was changed.
	ErrNotNow = errors.New("the tables are in use")
	// ErrBehindLive tells that the next generation has less than the live one.
	ErrBehindLive = errors.New("the next generation is behind the live one")
)

// Phase is what a rebuild is at. The values are stored and shown.
type Phase string

// The phases, in order. Each can be begun again after a crash.
const (
	PhaseFilling    Phase = "filling"
	PhaseIndexing   Phase = "indexing"
	PhaseCatchingUp Phase = "catching up"
	PhaseVerifying  Phase = "verifying"
	PhaseSwitching  Phase = "switching"
)

// Part is a range of customers, both ends included.
type Part struct {
	Number      int
	First, Last customer.ID
}

// RebuildState is how far a rebuild is.
type RebuildState struct {
	Generation  int
	Phase       Phase
	Done, Total int64 // events
	StartedAt   time.Time
}

// NextGeneration keeps the generation of the read model that a rebuild makes,
// beside the live one. Whoever holds one is the only one; after another process
// took over, every method fails with ErrReplaced and changes nothing.
//
// Resume returns the rebuild that was begun and not ended, or nil. Begin makes
// empty tables without indexes, whose lanes stand at the positions given, and
// writes down the parts there are to fill. Unfilled returns those that are left.
//
// Fill hands write to from and commits what it wrote together with the fact
// that the part is filled. Each write is all or nothing: ErrRejected, for what
// the tables cannot hold, leaves what was written before.
//
// Parts returns all parts, in order. Altered returns those in which the tables do
// not hold, byte for byte, what this one's Fill wrote to them, nothing less and
// nothing more; among them every part that another one filled. It is called
// before anything else is written.
//
// Index makes the indexes that are not there yet. Store keeps the next
// generation's lanes as the live one's are kept, without a cache. PassedOver
// returns the versions of customers that an operator decided to do without.
//
// Switch stops the live lanes, calls catchUp with where they stand, and puts the
// next generation in the live one's place, all in one transaction that waits a
// fraction of a second at most for those who read. It fails with ErrNotNow or
// ErrBehindLive; the cache begins an empty epoch with it. DropOld drops the
// tables that were live before, if they are there.
//
// Discard gives the next generation up, tables and all.
type NextGeneration interface {
	Resume(ctx context.Context) (*RebuildState, error)
	Begin(ctx context.Context, total int64, at map[eventlog.Lane]eventlog.Position, parts []Part) (RebuildState, error)
	Unfilled(ctx context.Context) ([]Part, error)
	Enter(ctx context.Context, p Phase) error
	Fill(ctx context.Context, p Part, from func(write func(Delta) error) (events int64, err error)) error
	Parts(ctx context.Context) ([]Part, error)
	Altered(ctx context.Context) ([]Part, error)
	Index(ctx context.Context, step func(done, total int)) error
	Store() Store
	PassedOver(ctx context.Context) (map[customer.ID][]customer.Version, error)
	Switch(ctx context.Context, catchUp func(ctx context.Context, live []Checkpoint) error) error
	DropOld(ctx context.Context) error
	Discard(ctx context.Context) error
}

// CustomerLog reads the log a customer at a time.
//
// Scan hands over the events with a position of the customers from first to
// last, both included, in order of customer and version; each customer's as of
// one moment, to its end. Sample returns the customers of about n events picked
// at random, or of all if there are fewer, in order. Census counts the events
// that there are up to a position.
type CustomerLog interface {
	Scan(ctx context.Context, first, last customer.ID, each func(eventlog.Sequenced) error) error
	Sample(ctx context.Context, n int) ([]customer.ID, error)
	Census(ctx context.Context, through eventlog.Position) (Census, error)
}
