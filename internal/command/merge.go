package command

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
)

// Merge is what another system's record of a customer adds to the one here.
// Whatever is here already is left as it is, so that merging the same record
// twice changes nothing the second time.
type Merge struct {
	customer.Change
	// Addresses are added unless the customer has one that names the same place
	// under the same label, whatever either is the default for.
	Addresses []customer.Address
	Tags      []customer.Tag                        // added
	Consents  map[customer.Channel]customer.Consent // set, channel by channel
}

// Merge brings a customer to what m says, in one commit.
func (s *Service) Merge(ctx context.Context, req Request, id customer.ID, m Merge) (Result, error) {
	return s.execute(ctx, req, id, m.decide)
}

// decide asks for the domain's decisions one after the other, each on the
// state that the one before leaves.
func (m Merge) decide(c customer.State, now time.Time) ([]customer.Event, error) {
	var (
		all    []customer.Event
		broken customer.Violations
		failed error
	)
	step := func(events []customer.Event, err error) {
		if violations, ok := errors.AsType[customer.Violations](err); ok {
			broken = append(broken, violations...)
			return
		}
		if failed == nil {
			failed = err
		}
		for _, e := range events {
			c = c.Evolve(e)
		}
		all = append(all, events...)
	}
	step(c.Apply(m.Change, now))
	for _, a := range m.Addresses {
		if !slices.ContainsFunc(c.Data().Addresses, func(has customer.Address) bool { return samePlace(has, a) }) {
			step(c.AddAddress(a, now))
		}
	}
	for _, t := range m.Tags {
		step(c.Tag(t, now))
	}
	for _, channel := range slices.Sorted(maps.Keys(m.Consents)) {
		consent := m.Consents[channel]
		if consent.Granted {
			step(c.GrantConsent(channel, consent.Source, consent.Wording, now))
		} else {
			step(c.WithdrawConsent(channel, consent.Source, consent.Wording, now))
		}
	}
	if failed == nil {
		failed = slices.Compact(broken).Err() // the 51st and the 52nd tag are one fault
	}
	if failed != nil {
		return nil, failed
	}
	return all, nil
}

func samePlace(a, b customer.Address) bool {
	return a.Line1 == b.Line1 && a.Line2 == b.Line2 && a.City == b.City && a.State == b.State &&
		a.PostalCode == b.PostalCode && a.Country == b.Country && a.Label == b.Label
}

// Registered is one outcome of RegisterAll.
type Registered struct {
	ID      customer.ID
	Version customer.Version
	Err     error
}

// RegisterAll registers many customers side by side, each by itself as
// Register does, with less work for each. No two may have a name in common.
// The request's If-Match and Idempotency-Key say nothing here.
func (s *Service) RegisterAll(ctx context.Context, req Request, all []customer.Registration) []Registered {
	out := make([]Registered, len(all))
	items, of := make([]eventlog.Append, 0, len(all)), make([]int, 0, len(all))
	for i := range all {
		item, err := s.newcomer(req, all[i])
		if err != nil {
			out[i].Err = err
			continue
		}
		out[i].ID, out[i].Version = item.CustomerID, customer.Version(len(item.Events))
		items, of = append(items, item), append(of, i)
	}
	outcomes, errs := s.appender.AppendAll(ctx, items)
	for j, i := range of {
		switch outcome := outcomes[j]; {
		case errs[j] != nil:
			out[i].Err = fmt.Errorf("append to %s: %w", out[i].ID, errs[j])
		case outcome.Verdict == eventlog.Appended:
		case outcome.Verdict == eventlog.ClaimTaken:
			out[i].Err = taken(outcome.Claim)
		default:
			out[i].Err = fmt.Errorf("append to %s: %s: %w", out[i].ID, outcome.Verdict, errors.Join(outcome.Err))
		}
	}
	return out
}

// newcomer is the Append of a registration under a new id.
func (s *Service) newcomer(req Request, r customer.Registration) (eventlog.Append, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return eventlog.Append{}, fmt.Errorf("choose a customer id: %w", err)
	}
	req.IfMatch, req.IdempotencyKey = Precondition{}, ""
	c, end, err := s.accept(req, id, nil)
	if err != nil {
		return eventlog.Append{}, err
	}
	defer end()
	from := subject{state: customer.NewState(id)}
	events, err := from.state.Register(r, s.now())
	if err != nil {
		return eventlog.Append{}, err
	}
	after := from.state
	for _, e := range events {
		after = after.Evolve(e)
	}
	item, _, err := s.seal(c, from, events, after)
	if err != nil {
		return eventlog.Append{}, fmt.Errorf("seal events of %s: %w", id, err)
	}
	return item, nil
}

// Names are what other systems know a customer by.
type Names struct {
	Email      customer.Email
	ExternalID customer.ExternalID
}

// Holders are the customers that have the names; the zero id where nobody has.
type Holders struct{ Email, ExternalID customer.ID }

// Holders looks up who has each of names, all in one question to the log. The
// answer may be outdated when it arrives: the command that builds on it is
// refused or finds out itself.
func (s *Service) Holders(ctx context.Context, names []Names) ([]Holders, error) {
	claims := make([]eventlog.Claim, 0, 2*len(names))
	for _, n := range names {
		claims = append(claims, eventlog.Claim{Kind: eventlog.ClaimEmail, Digest: s.keys.Digest(digestEmail, []byte(n.Email.Canonical()))})
		if n.ExternalID != "" {
			claims = append(claims, eventlog.Claim{Kind: eventlog.ClaimExternalID, Digest: s.keys.Digest(digestExternalID, []byte(n.ExternalID))})
		}
	}
	found, err := s.claimed.ClaimHolders(ctx, claims)
	if err != nil {
		return nil, err
	}
	next := func() (id uuid.UUID) {
		id, found = found[0], found[1:]
		return id
	}
	out := make([]Holders, len(names))
	for i, n := range names {
		out[i].Email = next()
		if n.ExternalID != "" {
			out[i].ExternalID = next()
		}
	}
	return out, nil
}
