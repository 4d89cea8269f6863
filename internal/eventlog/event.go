package eventlog

import (
	"encoding/json"
	"hash/fnv"
	"time"

	"github.com/google/uuid"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
)

type (
	// Position is an event's place in the global order: dense, from 1. No
	// event ever appears at or below a position that was already served.
	Position int64
	// Slot is a customer's share of the key space, fixed for ever: 0–1023.
	Slot int16
	// Lane is a contiguous range of slots that is delivered in order.
	Lane int16
)

const (
	// Slots is how many shares the key space has. It is stored with each event,
	// so that lanes and shards can change without rewriting the log.
	Slots = 1024
	// DefaultLanes is how many lanes the feed has unless configured otherwise.
	DefaultLanes = 8
)

// SlotOf is a customer's slot: FNV-1a over the id's 16 bytes, modulo Slots.
func SlotOf(id customer.ID) Slot {
	h := fnv.New64a()
	_, _ = h.Write(id[:]) // never fails
	return Slot(h.Sum64() % Slots)
}

// LaneOf maps a slot to one of n lanes in contiguous ranges.
func LaneOf(s Slot, n int) Lane { return Lane(int(s) * n / Slots) }

// Metadata is what is known about an event besides what happened: who asked
// for it and in which context. None of it is personal data of the customer.
type Metadata struct {
	Actor         string    `json:"actor,omitempty"`          // the principal, as authenticated
	CorrelationID string    `json:"correlation_id,omitempty"` // X-Correlation-ID
	TraceParent   string    `json:"traceparent,omitempty"`    // W3C trace context
	CommandID     uuid.UUID `json:"command_id"`               // one per accepted command; its events share it
}

// Entry is one event in the clear, with its place in the customer's stream.
type Entry struct {
	EventID    uuid.UUID
	CustomerID customer.ID
	Version    customer.Version
	Event      customer.Event
	Metadata   Metadata
	// Shredded tells that the customer's key is gone: Event has its type, time
	// and structure, but every personal value in it is empty.
	Shredded bool
}

// Envelope is one event as it is stored and sent: personal values sealed under
// the customer's key, everything else readable without any key.
type Envelope struct {
	EventID       uuid.UUID
	CustomerID    customer.ID
	Version       customer.Version
	Type          string          // as in customer.registered
	SchemaVersion int16           // of Data and Personal, per type, from 1
	Data          json.RawMessage // structure only: ids, channels, names of changed fields
	Personal      []byte          // sealed; nil when the event carries no personal value
	Metadata      Metadata
	RecordedAt    time.Time // the event's OccurredAt: UTC, whole microseconds
}

// Sequenced is an envelope with its place in the global order.
type Sequenced struct {
	Position Position
	Envelope
}
