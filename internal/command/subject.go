package command

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
	"github.com/ebrahem-outlook/customer-service/internal/privacy"
)

// Keys makes and unwraps the customers' data keys, and makes keyed digests.
type Keys interface {
	NewSubjectKey(id customer.ID) (privacy.SubjectKey, eventlog.WrappedKey, error)
	Unwrap(id customer.ID, key eventlog.WrappedKey) (privacy.SubjectKey, error)
	Digest(domain string, parts ...[]byte) [32]byte
}

// subject is a customer to decide about.
type subject struct {
	state customer.State
	key   privacy.SubjectKey // zero before registration and after erasure
	fresh bool               // read from the log since the command arrived
	keyID string             // of the wrapped key in the log; only when fresh
	// snapshot is the version up to which the log has, or soon will have, the
	// state folded already.
	snapshot customer.Version
}

// load is the customer as cached, unless fresh is asked for: then what happened
// since is read from the log first.
func (s *Service) load(ctx context.Context, id customer.ID, fresh bool) (subject, error) {
	known, cached := s.cache.get(id)
	if cached && !fresh {
		return known, nil
	}
	var stream eventlog.Stream
	var err error
	if cached {
		stream, err = s.log.Load(ctx, id, known.state.Version())
	} else {
		known, stream, err = s.loadCold(ctx, id)
	}
	if err != nil {
		return subject{}, fmt.Errorf("load %s: %w", id, err)
	}
	// A log that is behind what it acknowledged was restored, and a key that
	// went takes the past with it: either way nothing known of it holds.
	if cached && (stream.Version < known.state.Version() || stream.Key == nil) {
		s.cache.drop(id)
		return s.load(ctx, id, true)
	}
	if known.key.IsZero() {
		if known.key, err = s.unwrap(id, stream); err != nil {
			return subject{}, err
		}
	}
	entries, err := s.open(id, stream, known.key)
	if err != nil {
		return subject{}, err
	}
	for _, e := range entries {
		known.state = known.state.Evolve(e.Event)
		if known.state.Version() != e.Version {
			return subject{}, fmt.Errorf("load %s: version %d follows %d", id, e.Version, known.state.Version()-1)
		}
	}
	if known.state.Version() != stream.Version {
		return subject{}, fmt.Errorf("load %s: %d events of %d", id, known.state.Version(), stream.Version)
	}
	s.keep(&known)
	known.fresh = true
	if stream.Key != nil {
		known.keyID = stream.Key.ID()
	}
	return known, nil
}

// loadCold is the customer as its snapshot has it, or nothing if there is none
// that can be read, and the stream after that.
func (s *Service) loadCold(ctx context.Context, id customer.ID) (subject, eventlog.Stream, error) {
	nothing := subject{state: customer.NewState(id)}
	if s.snapshots == nil {
		stream, err := s.log.Load(ctx, id, 0)
		return nothing, stream, err
	}
	snapshot, stream, err := s.snapshots.load(ctx, id)
	if err != nil || snapshot == nil {
		return nothing, stream, err
	}
	key, err := s.unwrap(id, stream)
	if err != nil {
		return nothing, stream, err
	}
	state, err := s.snapshots.open(ctx, *snapshot, key)
	if err != nil { // it is worth nothing, and the next one replaces it
		stream, err = s.log.Load(ctx, id, 0)
		return nothing, stream, err
	}
	return subject{state: state, key: key, snapshot: snapshot.Version}, stream, nil
}

// keep caches c, and has a snapshot made when its stream has grown far beyond
// the last one.
func (s *Service) keep(c *subject) {
	if s.snapshots != nil {
		s.snapshots.offer(c)
	}
	s.cache.put(*c)
}

// unwrap is the stream's key, or the zero key if that is destroyed.
func (s *Service) unwrap(id customer.ID, stream eventlog.Stream) (privacy.SubjectKey, error) {
	if stream.Key == nil {
		return privacy.SubjectKey{}, nil
	}
	return s.keys.Unwrap(id, *stream.Key)
}

// open opens a stream's events; without a key all that is personal stays empty.
func (s *Service) open(id customer.ID, stream eventlog.Stream, key privacy.SubjectKey) ([]eventlog.Entry, error) {
	var opener eventlog.Opener
	if !key.IsZero() {
		opener = key
	}
	entries := make([]eventlog.Entry, 0, len(stream.Events))
	for _, envelope := range stream.Events {
		entry, err := s.codec.Decode(envelope, opener)
		if err != nil {
			return nil, fmt.Errorf("open %s at version %d: %w", id, envelope.Version, err)
		}
		entries = append(entries, entry)
	}
	return entries, nil
}

var errNoKey = errors.New("customer has no data key")

// seal makes the Append of a decision, and tells the key the customer has after it.
func (s *Service) seal(c command, from subject, events []customer.Event, after customer.State) (eventlog.Append, privacy.SubjectKey, error) {
	item := eventlog.Append{CustomerID: c.id, Expected: from.state.Version()}
	key := from.key
	switch {
	case from.state.Version() == 0:
		made, wrapped, err := s.keys.NewSubjectKey(c.id)
		if err != nil {
			return eventlog.Append{}, key, err
		}
		key, item.NewKey = made, &wrapped
	case key.IsZero() && len(events) > 0:
		return eventlog.Append{}, key, errNoKey
	}
	item.Take, item.Free = s.claims(from.state, after)
	item.Events = make([]eventlog.Envelope, 0, len(events))
	for i, e := range events {
		eventID, err := uuid.NewV7()
		if err != nil {
			return eventlog.Append{}, key, fmt.Errorf("choose an event id: %w", err)
		}
		envelope, err := s.codec.Encode(e, eventlog.Place{
			EventID:    eventID,
			CustomerID: c.id,
			Version:    item.Expected + customer.Version(i) + 1,
			Metadata: eventlog.Metadata{
				Actor: c.Principal, CorrelationID: c.CorrelationID, TraceParent: c.TraceParent, CommandID: c.uuid,
			},
		}, key)
		if err != nil {
			return eventlog.Append{}, key, err
		}
		item.Events = append(item.Events, envelope)
	}
	if after.Status() == customer.StatusErased && from.state.Status() != customer.StatusErased {
		item.DestroyKey, key = true, privacy.SubjectKey{}
	}
	if c.key != "" {
		item.Idempotency = &eventlog.Idempotency{
			Principal:     c.Principal,
			Key:           c.key,
			RequestDigest: c.RequestDigest,
			CustomerID:    c.id,
			Version:       after.Version(),
			Status:        int16(c.SuccessStatus), //nolint:gosec // an HTTP status
			CommandID:     c.uuid,
		}
	}
	return item, key, nil
}
