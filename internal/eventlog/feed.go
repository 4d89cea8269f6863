package eventlog

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
)

const (
	// BatchContentType is the media type of a feed message: CloudEvents 1.0,
	// JSON batch format §4.
	BatchContentType = "application/cloudevents-batch+json"
	// batchSource says where the events come from, as CloudEvents asks.
	batchSource = "/customers"
	// eventOverhead bounds what an event takes in a batch besides its data,
	// its personal part and its metadata: names, ids, times, punctuation.
	eventOverhead = 640
)

// FeedTopic is the topic a lane's messages are published under: "lane.03".
func FeedTopic(l Lane) string { return fmt.Sprintf("lane.%02d", l) }

// ErrMalformedBatch tells that a message is not what MarshalBatch wrote. Its
// events are safe in the log and are to be read from there.
var ErrMalformedBatch = errors.New("malformed feed batch")

// Batch is one message of the private feed: consecutive events of one lane.
// Previous is the lane's last position before First (0 for none), so that a
// consumer whose checkpoint is below it knows that it missed something.
type Batch struct {
	Lane        Lane
	Previous    Position
	First, Last Position
	Events      []Sequenced
}

// cloudEvent is one event in a batch. Positions and versions are strings
// because a CloudEvents integer has 32 bits. Each event names the position
// before it in its lane, which makes every event its own link of the chain.
type cloudEvent struct {
	SpecVersion     string          `json:"specversion"`
	ID              uuid.UUID       `json:"id"`
	Source          string          `json:"source"`
	Type            string          `json:"type"`
	Subject         uuid.UUID       `json:"subject"` // the customer
	Time            time.Time       `json:"time"`
	DataContentType string          `json:"datacontenttype"`
	Version         decimal         `json:"version"`
	SchemaVersion   int16           `json:"schemaversion"`
	Lane            Lane            `json:"lane"`
	Position        decimal         `json:"position"`
	Previous        decimal         `json:"previous"`
	Actor           string          `json:"actor,omitempty"`
	CorrelationID   string          `json:"correlationid,omitempty"`
	TraceParent     string          `json:"traceparent,omitempty"`
	CommandID       uuid.UUID       `json:"commandid"`
	Personal        []byte          `json:"personal,omitempty"` // sealed
	Data            json.RawMessage `json:"data"`
}

// decimal is a number from 0 to 2⁶³−1 written as a JSON string.
type decimal int64

func (d decimal) MarshalText() ([]byte, error) { return strconv.AppendInt(nil, int64(d), 10), nil }

func (d *decimal) UnmarshalText(b []byte) error {
	n, err := strconv.ParseInt(string(b), 10, 64)
	if err != nil || n < 0 || strconv.FormatInt(n, 10) != string(b) {
		return fmt.Errorf("%q is not a position", b)
	}
	*d = decimal(n)
	return nil
}

// NewBatch makes the batch of events that follow previous in lane. Events must
// not be empty.
func NewBatch(lane Lane, previous Position, events []Sequenced) Batch {
	return Batch{
		Lane: lane, Previous: previous,
		First: events[0].Position, Last: events[len(events)-1].Position, Events: events,
	}
}

// SplitBatches cuts events, which follow previous in lane, into batches of at
// most maxEvents events and about maxBytes when marshalled. An event that is
// larger than that travels alone.
func SplitBatches(lane Lane, previous Position, events []Sequenced, maxEvents, maxBytes int) []Batch {
	var batches []Batch
	start, size := 0, 0
	for i := range events {
		n := batchSize(&events[i])
		if i > start && (i-start == maxEvents || size+n > maxBytes) {
			batches = append(batches, NewBatch(lane, previous, events[start:i]))
			previous, start, size = events[i-1].Position, i, 0
		}
		size += n
	}
	if start < len(events) {
		batches = append(batches, NewBatch(lane, previous, events[start:]))
	}
	return batches
}

func batchSize(e *Sequenced) int {
	m := &e.Metadata
	return eventOverhead + len(e.Type) + len(e.Data) + (len(e.Personal)+2)/3*4 +
		6*(len(m.Actor)+len(m.CorrelationID)+len(m.TraceParent)) // a control character takes six
}

// MarshalBatch writes a batch as CloudEvents 1.0 in JSON batch format, personal
// values still sealed. The same batch always gives the same bytes.
func MarshalBatch(b Batch) ([]byte, error) {
	if err := b.validate(); err != nil {
		return nil, fmt.Errorf("marshal batch: %w", err)
	}
	events, previous := make([]cloudEvent, len(b.Events)), b.Previous
	for i := range b.Events {
		e := &b.Events[i]
		events[i] = cloudEvent{
			SpecVersion: "1.0", ID: e.EventID, Source: batchSource, Type: e.Type, Subject: e.CustomerID,
			Time: e.RecordedAt.UTC(), DataContentType: "application/json",
			Version: decimal(e.Version), SchemaVersion: e.SchemaVersion,
			Lane: b.Lane, Position: decimal(e.Position), Previous: decimal(previous),
			Actor: e.Metadata.Actor, CorrelationID: e.Metadata.CorrelationID,
			TraceParent: e.Metadata.TraceParent, CommandID: e.Metadata.CommandID,
			Personal: e.Personal, Data: e.Data,
		}
		previous = e.Position
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(events); err != nil {
		return nil, fmt.Errorf("marshal batch: %w", err)
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), nil
}

// UnmarshalBatch reads what MarshalBatch wrote. Anything else, an unknown
// attribute and a broken chain of positions included, is ErrMalformedBatch: a
// consumer must be released before a producer that writes more.
func UnmarshalBatch(body []byte) (Batch, error) {
	var events []cloudEvent
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&events); err != nil {
		return Batch{}, malformed("%w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return Batch{}, malformed("trailing data")
	}
	if len(events) == 0 {
		return Batch{}, malformed("no events")
	}
	b := Batch{
		Lane: events[0].Lane, Previous: Position(events[0].Previous),
		First: Position(events[0].Position), Last: Position(events[len(events)-1].Position),
		Events: make([]Sequenced, len(events)),
	}
	previous := b.Previous
	for i := range events {
		e := &events[i]
		if e.SpecVersion != "1.0" || e.Source != batchSource || e.DataContentType != "application/json" {
			return Batch{}, malformed("event %d is not of this feed", i)
		}
		if e.Lane != b.Lane || Position(e.Previous) != previous {
			return Batch{}, malformed("event %d does not follow the one before it", i)
		}
		previous = Position(e.Position)
		if len(e.Personal) == 0 {
			e.Personal = nil
		}
		b.Events[i] = Sequenced{Position: Position(e.Position), Envelope: Envelope{
			EventID: e.ID, CustomerID: e.Subject, Version: customer.Version(e.Version),
			Type: e.Type, SchemaVersion: e.SchemaVersion, Data: e.Data, Personal: e.Personal,
			Metadata: Metadata{
				Actor: e.Actor, CorrelationID: e.CorrelationID,
				TraceParent: e.TraceParent, CommandID: e.CommandID,
			},
			RecordedAt: e.Time.UTC(),
		}}
	}
	if err := b.validate(); err != nil {
		return Batch{}, malformed("%w", err)
	}
	return b, nil
}

// validate holds a batch to what its fields say of each other.
func (b *Batch) validate() error {
	switch {
	case len(b.Events) == 0:
		return errors.New("no events")
	case b.Lane < 0 || b.Lane >= Slots:
		return fmt.Errorf("lane %d out of range", b.Lane)
	case b.Previous < 0:
		return fmt.Errorf("previous position %d is negative", b.Previous)
	case b.First != b.Events[0].Position || b.Last != b.Events[len(b.Events)-1].Position:
		return errors.New("first and last are not those of the events")
	}
	previous := b.Previous
	for i := range b.Events {
		e := &b.Events[i]
		switch {
		case e.Position <= previous:
			return fmt.Errorf("position %d does not rise above %d", e.Position, previous)
		case e.Version < 1 || e.SchemaVersion < 1 || e.Type == "":
			return fmt.Errorf("event at %d has no version or type", e.Position)
		case len(e.Data) == 0 || e.Data[0] != '{':
			return fmt.Errorf("data of the event at %d is not an object", e.Position)
		case !e.RecordedAt.Equal(e.RecordedAt.Truncate(time.Microsecond)):
			return fmt.Errorf("time of the event at %d is finer than a microsecond", e.Position)
		}
		previous = e.Position
	}
	return nil
}

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrMalformedBatch}, args...)...)
}
