package command

import (
	"errors"
	"fmt"
	"slices"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
)

// Request is what every command carries besides its own arguments.
type Request struct {
	Principal     string // as authenticated; recorded as the events' actor
	CorrelationID string
	TraceParent   string

	// IfMatch is what must hold of the customer's version; the zero value asks
	// nothing. A registration ignores it: there is nothing to match yet.
	IfMatch Precondition

	// IdempotencyKey is the client's key, unquoted; empty for none. Only its
	// keyed digest is stored, since it may be personal.
	IdempotencyKey string
	// RequestDigest is keyed, over route, customer and body. The same key with
	// another digest is ErrIdempotencyKeyReused.
	RequestDigest [32]byte
	// SuccessStatus is the answer's code, recorded for replays.
	SuccessStatus int

	// DryRun decides and answers as usual and writes nothing.
	DryRun bool
}

// Result is the answer to a command that succeeded.
type Result struct {
	Data     customer.Data // the customer after the command
	Changed  bool          // whether the command yielded events, in a dry run: would have
	Replayed bool          // whether this answers an earlier request with the same key
	Status   int           // Request.SuccessStatus, or the recorded one when Replayed
}

// Precondition is a request's If-Match: the zero value is none at all.
type Precondition struct {
	given, any bool
	versions   []customer.Version
}

// IfAny is met by every customer that exists (If-Match: *).
func IfAny() Precondition { return Precondition{given: true, any: true} }

// IfVersion is met by a customer at one of the versions; with none of them
// (only weak tags were sent) it is never met.
func IfVersion(versions ...customer.Version) Precondition {
	return Precondition{given: true, versions: versions}
}

// Given tells whether there is anything to meet.
func (p Precondition) Given() bool { return p.given }

func (p Precondition) metBy(v customer.Version) bool {
	return !p.given || p.any || slices.Contains(p.versions, v)
}

// Errors a command can end with, besides the domain's own, which pass through.
var (
	// ErrEmailTaken: another customer has this e-mail address.
	ErrEmailTaken = errors.New("e-mail address is taken")
	// ErrExternalIDTaken: another customer has this external id.
	ErrExternalIDTaken = errors.New("external id is taken")
	// ErrIdempotencyKeyReused: the key was used for a different request.
	ErrIdempotencyKeyReused = errors.New("idempotency key was used for another request")
	// ErrIdempotencyInFlight: a request with this key is being worked on in this process.
	ErrIdempotencyInFlight = errors.New("a request with this idempotency key is in flight")
	// ErrOverloaded: there is more to do than can be done in time. The command
	// was not carried out.
	ErrOverloaded = errors.New("overloaded")
	// ErrUnavailable: the log cannot say. Unless the request carried an
	// idempotency key or If-Match, whoever repeats it may do it twice.
	ErrUnavailable = eventlog.ErrUnavailable
)

// VersionMismatch tells that a Precondition was not met.
type VersionMismatch struct{ Current customer.Version }

func (e *VersionMismatch) Error() string {
	return fmt.Sprintf("customer is at version %d", e.Current)
}
