package relay

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
)

var (
	// ErrFenced tells that the epoch of a write is over: another holder has
	// the lease. Nothing was written.
	ErrFenced = errors.New("the lease has passed to another holder")
	// ErrSnapshotLost tells that the sequencer's snapshot is not of this
	// database any more (it was restored). Begin again.
	ErrSnapshotLost = errors.New("the sequencer's snapshot is ahead of the database")
)

// LanesError tells that the log is sequenced into another number of lanes than
// configured. Changing it means draining the feed first.
type LanesError struct{ Have, Want int }

func (e *LanesError) Error() string {
	return fmt.Sprintf("the log is sequenced into %d lanes, %d are configured", e.Have, e.Want)
}

// Fence names one term of one duty. Every write of the term carries it.
type Fence struct {
	Duty  string
	Epoch int64
}

// Leases keeps one lease per duty, on the database's clock.
//
// Acquire takes the lease when nobody has it or its holder let it expire, under
// an epoch no earlier term had; otherwise it returns false. Renew extends the
// term by ttl from now, even if it had expired, unless another took over:
// ErrFenced. Release ends the term, so that a successor need not wait; ending
// what is over already does nothing.
type Leases interface {
	Acquire(ctx context.Context, duty, holder string, ttl time.Duration) (Fence, bool, error)
	Renew(ctx context.Context, f Fence, ttl time.Duration) error
	Release(ctx context.Context, f Fence) error
}

// Tick is what one run of the sequencer did.
type Tick struct {
	Sequenced int
	More      bool              // a large backlog is being worked off in parts: tick again at once
	Lanes     []eventlog.Lane   // those that got events
	Head      eventlog.Position // the last position given out
}

// Sequence gives events their positions: dense, each event once, and along one
// customer in the order of versions, whatever order transactions end in.
//
// BeginTerm comes first in every term. It returns how many events got a
// position because the database was found not to be the one last sequenced, and
// a *LanesError when the log has another number of lanes. TickOnce sequences what
// became visible since the last tick, at most limit events, and writes nothing
// when there is nothing. Both return ErrFenced when the term is over, and
// TickOnce ErrSnapshotLost.
type Sequence interface {
	BeginTerm(ctx context.Context, f Fence, lanes int) (rebaselined int64, err error)
	TickOnce(ctx context.Context, f Fence, limit int) (Tick, error)
}

// Checkpoints remembers how far a relay has got in each lane.
//
// BeginRelay fences earlier terms off and returns the checkpoint of each of the
// lanes. Advance moves one forward, never back. Both return ErrFenced when the
// term is over.
type Checkpoints interface {
	BeginRelay(ctx context.Context, f Fence, relay string, lanes int) (map[eventlog.Lane]eventlog.Position, error)
	Advance(ctx context.Context, f Fence, relay string, lane eventlog.Lane, to eventlog.Position) error
}

// LaneReader is the part of eventlog.Reader the feed needs.
type LaneReader interface {
	ReadLane(ctx context.Context, lane eventlog.Lane, after, through eventlog.Position, limit int) ([]eventlog.Sequenced, error)
}
