package command

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/google/uuid"

	"github.com/ebrahem-outlook/customer-service/internal/crash"
	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
)

// maxConflicts is how often one command loses a customer to other replicas
// before it is shed. Within a process commands on a customer take turns, so
// each replica has one contender: between two, 16 losses in a row are one in 65,536.
const maxConflicts = 16

// decision is one of the domain's, with its arguments bound.
type decision func(c customer.State, now time.Time) ([]customer.Event, error)

// errAgain tells run that what it decided on was not the customer's present
// state.
var errAgain = errors.New("decide again")

// command is one command being carried out.
type command struct {
	Request
	id     customer.ID
	decide func(from subject, now time.Time) ([]customer.Event, error)
	uuid   uuid.UUID // recorded with its events and its idempotency record
	key    string    // digest of principal and IdempotencyKey; empty for none
}

// on lets a decision about a customer's state decide about a subject.
func (d decision) on(from subject, now time.Time) ([]customer.Event, error) {
	return d(from.state, now)
}

// execute carries out a command on a customer that may exist.
func (s *Service) execute(ctx context.Context, req Request, id customer.ID, decide decision) (Result, error) {
	return s.carryOut(ctx, req, id, decide.on)
}

// carryOut is execute for what decides on more than the customer's state.
// errAgain from decide asks for a subject that is fresh.
func (s *Service) carryOut(
	ctx context.Context, req Request, id customer.ID, decide func(from subject, now time.Time) ([]customer.Event, error),
) (Result, error) {
	c, end, err := s.accept(req, id, decide)
	if err != nil {
		return Result{}, err
	}
	defer end()
	done, err := s.turns.take(ctx, id)
	if err != nil {
		return Result{}, err
	}
	defer done()
	// What is answered without a commit has to be true of the log after the
	// request arrived, so a decision on a cached state stands only if it commits.
	fresh := false
	for conflicts := 0; ; {
		from, err := s.load(ctx, id, fresh)
		if err != nil {
			return Result{}, err
		}
		res, err := s.attempt(ctx, c, from)
		if !errors.Is(err, errAgain) {
			return res, err
		}
		fresh = true
		if !from.fresh {
			continue // the cache was behind; nobody was in the way
		}
		if conflicts++; conflicts == maxConflicts {
			return Result{}, fmt.Errorf("%w: lost customer %s to other replicas %d times", ErrOverloaded, id, conflicts)
		}
		if err := pause(ctx, conflicts); err != nil {
			return Result{}, err
		}
	}
}

// begin carries out a command on a customer that cannot exist yet, because its
// id was chosen just now: there is nothing to load or to wait for.
func (s *Service) begin(ctx context.Context, req Request, id customer.ID, decide decision) (Result, error) {
	req.IfMatch = Precondition{}
	c, end, err := s.accept(req, id, decide.on)
	if err != nil {
		return Result{}, err
	}
	defer end()
	res, err := s.attempt(ctx, c, subject{state: customer.NewState(id), fresh: true})
	if errors.Is(err, errAgain) {
		err = fmt.Errorf("begin %s: %w", id, customer.ErrAlreadyRegistered)
	}
	return res, err
}

func (s *Service) accept(
	req Request, id customer.ID, decide func(from subject, now time.Time) ([]customer.Event, error),
) (command, func(), error) {
	commandID, err := uuid.NewV7()
	if err != nil {
		return command{}, nil, fmt.Errorf("choose a command id: %w", err)
	}
	c := command{Request: req, id: id, decide: decide, uuid: commandID}
	if req.IdempotencyKey == "" {
		return c, func() {}, nil
	}
	c.key = s.idempotencyKey(req)
	if !s.flying.begin(c.key) {
		return command{}, nil, ErrIdempotencyInFlight
	}
	return c, func() { s.flying.end(c.key) }, nil
}

// attempt decides on from and commits the decision; errAgain means that from
// is not, or may not be, the customer's present state.
func (s *Service) attempt(ctx context.Context, c command, from subject) (Result, error) {
	events, refusal := c.decide(from, s.now())
	if errors.Is(refusal, errAgain) {
		return Result{}, errAgain
	}
	if !missing(refusal) && !c.IfMatch.metBy(from.state.Version()) {
		refusal = &VersionMismatch{Current: from.state.Version()}
	}
	after := from.state
	for _, e := range events {
		after = after.Evolve(e)
	}
	switch {
	case refusal == nil && len(events) > 0 && !c.DryRun:
		return s.commit(ctx, c, from, events, after)
	case !from.fresh:
		return Result{}, errAgain
	case refusal != nil:
		return s.refuse(ctx, c, refusal)
	case c.DryRun:
		return s.rehearse(ctx, c, from.state, after)
	case c.key != "":
		return s.commit(ctx, c, from, nil, after) // records that nothing had to change
	default:
		return c.result(after, false), nil
	}
}

// missing tells refusals that say there is no customer to have a version: by
// RFC 9110 §13.2.1 they come before If-Match, and all others after it.
func missing(err error) bool {
	return errors.Is(err, customer.ErrNotFound) || errors.Is(err, customer.ErrDeleted) || errors.Is(err, customer.ErrErased)
}

func (c command) result(after customer.State, changed bool) Result {
	return Result{Data: after.Data(), Changed: changed, Status: c.SuccessStatus}
}

// commit has events appended to from. They may be none, if only the answer to
// an idempotency key is to be recorded.
func (s *Service) commit(ctx context.Context, c command, from subject, events []customer.Event, after customer.State) (Result, error) {
	item, key, err := s.seal(c, from, events, after)
	if err != nil {
		return Result{}, fmt.Errorf("seal events of %s: %w", c.id, err)
	}
	outcome, err := s.appender.Append(ctx, item)
	if err != nil {
		if errors.Is(err, ErrUnavailable) {
			// The log may come back as another server that lost what this one
			// acknowledged, and go on from there with the same version numbers.
			s.cache.clear()
		}
		return Result{}, fmt.Errorf("append to %s: %w", c.id, err)
	}
	switch outcome.Verdict {
	case eventlog.Appended:
		if item.DestroyKey {
			crash.Here(crash.EraseAfterCommit)
		}
		s.keep(&subject{state: after, key: key, snapshot: from.snapshot})
		return c.result(after, len(events) > 0), nil
	case eventlog.Conflicted:
		return Result{}, errAgain
	case eventlog.ClaimTaken:
		return s.refuse(ctx, c, taken(outcome.Claim))
	case eventlog.Replayed:
		return s.replay(ctx, c, outcome.Recorded)
	case eventlog.Refused:
		return Result{}, fmt.Errorf("append to %s: %w", c.id, outcome.Err)
	default:
		return Result{}, fmt.Errorf("append to %s: verdict %d", c.id, outcome.Verdict)
	}
}

// refuse answers with refusal, unless it is the command's own success that
// stands in its way: the same request was carried out before, maybe only just,
// by another replica.
func (s *Service) refuse(ctx context.Context, c command, refusal error) (Result, error) {
	if res, answered, err := s.answered(ctx, c); err != nil || answered {
		return res, err
	}
	return Result{}, refusal
}

// rehearse answers a dry run: all that can be known without writing.
func (s *Service) rehearse(ctx context.Context, c command, before, after customer.State) (Result, error) {
	take, _ := s.claims(before, after)
	if len(take) > 0 {
		holders, err := s.claimed.ClaimHolders(ctx, take)
		if err != nil {
			return Result{}, fmt.Errorf("look claims up: %w", err)
		}
		for i, holder := range holders {
			if holder != uuid.Nil && holder != c.id {
				return s.refuse(ctx, c, taken(take[i].Kind))
			}
		}
	}
	if res, answered, err := s.answered(ctx, c); err != nil || answered {
		return res, err
	}
	return c.result(after, after.Version() > before.Version()), nil
}

// pause waits a moment, longer after each conflict and never as long as the
// other replica's.
func pause(ctx context.Context, conflicts int) error {
	longest := time.Millisecond << min(conflicts, 5)
	timer := time.NewTimer(rand.N(longest)) //nolint:gosec // jitter needs no secrecy
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrOverloaded, ctx.Err())
	}
}
