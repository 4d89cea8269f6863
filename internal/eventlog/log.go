package eventlog

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
)

// ErrUnavailable tells that the log cannot be reached or does not answer in
// time. Nothing is known of the operation's effect unless the caller knows
// that it never began.
var ErrUnavailable = errors.New("event log unavailable")

// ErrUntouched is an ErrUnavailable of which more is known: the log did nothing,
// and nothing that was asked of it is still under way.
var ErrUntouched = fmt.Errorf("%w: nothing was done", ErrUnavailable)

// ClaimKind is what a claim makes unique.
type ClaimKind int16

// The kinds of claims there are. The numbers are stored.
const (
	ClaimEmail      ClaimKind = 1
	ClaimExternalID ClaimKind = 2
)

// Claim reserves one value for one customer across all of them. Only a keyed
// digest of the value is known to the log.
type Claim struct {
	Kind   ClaimKind
	Digest [32]byte
}

// WrappedKey is a customer's data key, sealed under the key-encryption key
// named by KEK. The log stores it and never sees the key itself.
type WrappedKey struct {
	Wrapped []byte
	KEK     string
}

// ID names the key without telling anything about it: what an erasure record
// says was destroyed. It is the first 16 bytes of the wrapped key's SHA-256, in hex.
func (k WrappedKey) ID() string {
	sum := sha256.Sum256(k.Wrapped)
	return hex.EncodeToString(sum[:16])
}

// Idempotency remembers the answer to a request for at least 24 hours. It
// holds no body: the answer is folded again from the log.
type Idempotency struct {
	Principal     string
	Key           string   // as the client sent it, unquoted; hashed by the caller if it may be personal
	RequestDigest [32]byte // keyed, over route, customer and body
	CustomerID    customer.ID
	Version       customer.Version // after the command
	Status        int16            // the answer's code, chosen by the caller
	CommandID     uuid.UUID
	CreatedAt     time.Time // set by the log
}

// Append is what one accepted command wants committed, all of it or nothing.
type Append struct {
	CustomerID customer.ID
	Expected   customer.Version // the stream's version the decision was made on; 0 for none
	Events     []Envelope       // versions Expected+1, Expected+2, …; may be empty when only Idempotency is recorded
	// Take reserves values; one the customer holds already stays its own. Free
	// gives up those it holds. An item names no claim twice.
	Take, Free []Claim
	NewKey     *WrappedKey // stored with the first events of a customer
	DestroyKey bool        // erases the key; nothing can be read from the stream afterwards
	// Idempotency is recorded together with the events, or nil.
	Idempotency *Idempotency
}

// Verdict is what became of one Append.
type Verdict int8

// The verdicts. Only Appended changed anything.
const (
	Appended Verdict = iota
	// Conflicted: the stream is not at Expected. Load and decide again.
	Conflicted
	// ClaimTaken: another customer holds one of Take.
	ClaimTaken
	// Replayed: Idempotency's principal and key are recorded already, by
	// another command; Outcome.Recorded has what for.
	Replayed
	// Refused: the log cannot hold the item, now or later, because of a value
	// in it; Outcome.Err says why. Who wrote the item has a fault.
	Refused
)

func (v Verdict) String() string {
	switch v {
	case Appended:
		return "appended"
	case Conflicted:
		return "conflicted"
	case ClaimTaken:
		return "claim taken"
	case Replayed:
		return "replayed"
	case Refused:
		return "refused"
	default:
		return "unknown verdict"
	}
}

// Outcome is the verdict on one Append.
type Outcome struct {
	Verdict  Verdict
	Version  customer.Version // with Appended the stream's version after the item, with Conflicted the present one
	Earlier  bool             // with Appended: an earlier attempt had committed the item, and its answer was lost
	Claim    ClaimKind        // with ClaimTaken
	Recorded *Idempotency     // with Replayed
	Err      error            // with Refused; names no value
}

// Stream is one customer's events as loaded, with its key.
type Stream struct {
	Version customer.Version // 0 when there is no such customer
	Key     *WrappedKey      // nil once destroyed
	Events  []Envelope       // those after the requested version, ascending
}

// ErrMisuse tells that a batch breaks AppendBatch's conditions; nothing was
// committed.
var ErrMisuse = errors.New("malformed batch")

// Appender commits commands.
//
// AppendBatch commits all items in one transaction, and each item by itself:
// one item's verdict never changes another's, and a returned outcome is
// durable. At most one item may name a customer, a claim digest or an
// idempotency key within a batch; anything else, and events that do not follow
// Expected, is ErrMisuse. Only when an item is Refused are the others committed
// in several transactions.
//
// A replay is found before a conflict, and a conflict before a taken claim.
//
// Items are identified by the event ids they carry, and one without events by
// its Idempotency's CommandID. Handing in an item again that was committed
// before answers Appended and writes nothing, so a caller whose connection
// broke during COMMIT resolves the doubt by calling again with the very same
// items.
//
// Its error means that no item was committed, unless it wraps ErrUnavailable
// and not ErrUntouched: then each may have been.
type Appender interface {
	AppendBatch(ctx context.Context, items []Append) ([]Outcome, error)
}

// Loader reads streams for deciding.
//
// Load returns the customer's events after the given version, in order, and
// reads its version, key and events from one snapshot. An unknown customer is
// a Stream with Version 0 and no error.
//
// FindIdempotency returns what principal's key is recorded for, or nil.
type Loader interface {
	Load(ctx context.Context, id customer.ID, after customer.Version) (Stream, error)
	FindIdempotency(ctx context.Context, principal, key string) (*Idempotency, error)
}

// Reader reads the log in its global order.
//
// Head is the last position given out, 0 for none. ReadLane returns up to
// limit events of one lane after a position and up to and including through
// (0: no bound), ascending and without holes. Keys returns the wrapped keys
// that exist among the customers named.
type Reader interface {
	Head(ctx context.Context) (Position, error)
	LaneHeads(ctx context.Context) (map[Lane]Position, error)
	ReadLane(ctx context.Context, lane Lane, after, through Position, limit int) ([]Sequenced, error)
	ReadStream(ctx context.Context, id customer.ID, after customer.Version, limit int) ([]Sequenced, error)
	Keys(ctx context.Context, ids []customer.ID) (map[customer.ID]WrappedKey, error)
}
