package eventlog

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/google/uuid"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
)

var (
	// ErrUnknownType tells that no event has this type, or none that is known yet.
	ErrUnknownType = errors.New("unknown event type")
	// ErrUnknownSchema tells that the type is known but not in this version: a
	// newer release wrote it.
	ErrUnknownSchema = errors.New("unknown event schema version")
	// ErrCorrupt tells that an envelope is not what Encode made for its place.
	ErrCorrupt = errors.New("corrupt event")
)

type (
	// Sealer encrypts under one customer's key. What was sealed opens only with
	// the same associated data.
	Sealer interface {
		Seal(plaintext, associated []byte) ([]byte, error)
	}
	// Opener decrypts what Sealer sealed under the same key.
	Opener interface {
		Open(sealed, associated []byte) ([]byte, error)
	}
)

// Place is where an event stands and what is known about it.
type Place struct {
	EventID    uuid.UUID
	CustomerID customer.ID
	Version    customer.Version
	Metadata   Metadata
}

// Codec turns events into envelopes and back. It is immutable.
//
// An event is split in two: Data has only what may be read without any key
// (names of changed fields, address ids, channels), Personal has everything a
// person or a client typed, sealed. Erased has no personal part: it outlives
// the key.
type Codec struct {
	byName  map[string]schema
	byEvent map[reflect.Type]schema
	steps   map[step]Upcaster
}

// NewCodec returns the codec of all events there are.
func NewCodec() *Codec {
	c, err := newCodec(schemas(), upcasters())
	if err != nil {
		panic(err) // the tables are constants, and tested
	}
	return c
}

func newCodec(all []schema, steps map[step]Upcaster) (*Codec, error) {
	c := &Codec{byName: map[string]schema{}, byEvent: map[reflect.Type]schema{}, steps: steps}
	for _, s := range all {
		if _, taken := c.byName[s.name]; taken {
			return nil, fmt.Errorf("event type %s is declared twice", s.name)
		}
		if _, taken := c.byEvent[s.event]; taken {
			return nil, fmt.Errorf("event %s is declared twice", s.event)
		}
		c.byName[s.name], c.byEvent[s.event] = s, s
		for v := int16(1); v < s.version; v++ {
			if steps[step{s.name, v}] == nil {
				return nil, fmt.Errorf("%s: nothing leads from version %d to %d", s.name, v, v+1)
			}
		}
	}
	return c, nil
}

// Encode seals e for its place. It fails with ErrUnknownType for an event the
// codec does not know, and for a time that is not UTC in whole microseconds,
// because the log would return another one.
func (c *Codec) Encode(e customer.Event, p Place, key Sealer) (Envelope, error) {
	s, known := c.byEvent[reflect.TypeOf(e)]
	if !known {
		return Envelope{}, fmt.Errorf("%w: %T", ErrUnknownType, e)
	}
	at := e.OccurredAt()
	if at.Location() != time.UTC || !at.Equal(at.Truncate(time.Microsecond)) {
		return Envelope{}, fmt.Errorf("encode %s: the time must be UTC in whole microseconds", s.name)
	}
	data, personal, err := s.encode(e)
	if err != nil {
		return Envelope{}, fmt.Errorf("encode %s: %w", s.name, err)
	}
	env := Envelope{
		EventID:       p.EventID,
		CustomerID:    p.CustomerID,
		Version:       p.Version,
		Type:          s.name,
		SchemaVersion: s.version,
		Data:          data,
		Metadata:      p.Metadata,
		RecordedAt:    at,
	}
	if personal == nil {
		return env, nil
	}
	if key == nil {
		return Envelope{}, fmt.Errorf("encode %s: no key to seal with", s.name)
	}
	if env.Personal, err = key.Seal(personal, associated(env)); err != nil {
		return Envelope{}, fmt.Errorf("encode %s: %w", s.name, err)
	}
	return env, nil
}

// Decode opens an envelope and brings it to the present schema version. Pass a
// nil key when it was destroyed: then the personal values are empty, and
// Shredded is set if the event has any.
//
// It fails with ErrUnknownType, ErrUnknownSchema or ErrCorrupt, and never panics.
func (c *Codec) Decode(env Envelope, key Opener) (Entry, error) {
	s, known := c.byName[env.Type]
	if !known {
		return Entry{}, fmt.Errorf("%w: %q", ErrUnknownType, env.Type)
	}
	if env.SchemaVersion < 1 || env.SchemaVersion > s.version {
		return Entry{}, fmt.Errorf("%w: %s version %d, known up to %d", ErrUnknownSchema, s.name, env.SchemaVersion, s.version)
	}
	entry := Entry{EventID: env.EventID, CustomerID: env.CustomerID, Version: env.Version, Metadata: env.Metadata}
	var personal []byte
	switch {
	case env.Personal == nil:
	case key == nil:
		entry.Shredded = true
	default:
		var err error
		if personal, err = key.Open(env.Personal, associated(env)); err != nil {
			return Entry{}, fmt.Errorf("%w: %s: %w", ErrCorrupt, s.name, err)
		}
	}
	data := []byte(env.Data)
	for v := env.SchemaVersion; v < s.version; v++ {
		var err error
		if data, personal, err = c.steps[step{s.name, v}](data, personal); err != nil {
			return Entry{}, fmt.Errorf("%w: %s version %d: %w", ErrCorrupt, s.name, v, err)
		}
	}
	e, err := s.decode(customer.At{Time: env.RecordedAt.UTC()}, data, personal)
	if err != nil {
		return Entry{}, fmt.Errorf("%w: %s: %w", ErrCorrupt, s.name, err)
	}
	entry.Event = e
	return entry, nil
}

// Changed reads, without any key, which fields an event changed.
func Changed(env Envelope) ([]string, error) {
	var d changed
	if err := json.Unmarshal(env.Data, &d); err != nil {
		return nil, fmt.Errorf("%w: %s", ErrCorrupt, env.Type)
	}
	return d.Changed, nil
}

// associated binds a sealed part to its envelope, so that one copied to
// another event, customer, type or version does not open. All fields but the
// last are of fixed length, so no two envelopes share it.
func associated(env Envelope) []byte {
	b := make([]byte, 0, 96)
	b = append(b, "customer event\x00"...)
	b = append(b, env.CustomerID[:]...)
	b = append(b, env.EventID[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(env.Version))       //nolint:gosec // any bit pattern will do
	b = binary.BigEndian.AppendUint16(b, uint16(env.SchemaVersion)) //nolint:gosec // any bit pattern will do
	return append(b, env.Type...)
}
