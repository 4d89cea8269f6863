package audit

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
	"github.com/ebrahem-outlook/customer-service/internal/query"
)

// Log is what a run left in the event log, opened: the truth that everything
// else is held to. Checks only read it.
type Log struct {
	Streams map[customer.ID]*Stream
	Events  int64
	// Records are the idempotency records by the client's key, as far as a client
	// of the history had sent it.
	Records map[string]Record
	// Commands are the events of each command, by its id.
	Commands map[uuid.UUID]*Command

	Claims    map[claim]customer.ID
	HasKey    map[customer.ID]bool             // whose data key is in the log
	Heads     map[customer.ID]customer.Version // as the table of streams has them
	Snapshots map[customer.ID]customer.Version
	Foreign   int64 // idempotency records of keys that no client of the history sent
}

// Stream is one customer: its events and what it was after each.
type Stream struct {
	ID       customer.ID
	Versions []Version // Versions[n-1] is version n
	// Opened tells that personal values could be read; without them a document
	// cannot be held to anything.
	Opened bool
}

// Version is one event and what it led to.
type Version struct {
	Version   customer.Version
	EventID   uuid.UUID
	CommandID uuid.UUID
	Position  eventlog.Position
	Type      string
	Metadata  eventlog.Metadata
	Changed   []string
	Event     customer.Event
	State     customer.State
	Document  digest // of the contract's bytes, while the customer lives or is deleted
}

// Command is the events that one command appended.
type Command struct {
	ID          uuid.UUID
	Customer    customer.ID
	First, Last customer.Version
	Events      int
	Scattered   bool // not all of one customer, or not one after the other
}

// Record is an idempotency record.
type Record struct {
	Customer customer.ID
	Version  customer.Version
	Status   int
	Command  uuid.UUID
}

type (
	claim struct {
		kind   eventlog.ClaimKind
		digest [32]byte
	}
	digest [16]byte
)

func digestOf(b []byte) digest {
	sum := sha256.Sum256(b)
	return digest(sum[:16])
}

func newLog() *Log {
	return &Log{
		Streams: map[customer.ID]*Stream{}, Records: map[string]Record{}, Commands: map[uuid.UUID]*Command{},
		Claims: map[claim]customer.ID{}, HasKey: map[customer.ID]bool{},
		Heads: map[customer.ID]customer.Version{}, Snapshots: map[customer.ID]customer.Version{},
	}
}

// logged is an event as it was read, with its place in the global order; 0
// when it has none.
type logged struct {
	position eventlog.Position
	kind     string
	changed  []string
	entry    eventlog.Entry
}

// newStream folds a customer's events, which are in order of version.
func newStream(id customer.ID, events []logged) (*Stream, error) {
	s := &Stream{ID: id, Versions: make([]Version, 0, len(events)), Opened: true}
	state := customer.NewState(id)
	for _, e := range events {
		state = state.Evolve(e.entry.Event)
		v := Version{
			Version: e.entry.Version, EventID: e.entry.EventID, CommandID: e.entry.Metadata.CommandID,
			Position: e.position, Type: e.kind, Metadata: e.entry.Metadata, Changed: e.changed,
			Event: e.entry.Event, State: state,
		}
		s.Opened = s.Opened && !e.entry.Shredded
		if state.Status() != customer.StatusErased && s.Opened {
			b, err := query.Render(state.Data())
			if err != nil {
				return nil, err
			}
			v.Document = digestOf(b)
		}
		s.Versions = append(s.Versions, v)
	}
	return s, nil
}

// add puts a stream into the log, and its events under their commands.
func (l *Log) add(s *Stream) {
	l.Streams[s.ID] = s
	l.Events += int64(len(s.Versions))
	for _, v := range s.Versions {
		c := l.Commands[v.CommandID]
		if c == nil {
			l.Commands[v.CommandID] = &Command{ID: v.CommandID, Customer: s.ID, First: v.Version, Last: v.Version, Events: 1}
			continue
		}
		c.Scattered = c.Scattered || c.Customer != s.ID || v.Version != c.Last+1
		c.Last = v.Version
		c.Events++
	}
}

// At is a customer's version, or nil.
func (l *Log) At(id customer.ID, v customer.Version) *Version {
	s := l.Streams[id]
	if s == nil || v < 1 || int(v) > len(s.Versions) {
		return nil
	}
	return &s.Versions[v-1]
}

// Head is a customer's last version, or nil.
func (l *Log) Head(id customer.ID) *Version {
	s := l.Streams[id]
	if s == nil {
		return nil
	}
	return &s.Versions[len(s.Versions)-1]
}

func (s *Stream) head() *Version { return &s.Versions[len(s.Versions)-1] }

func (s *Stream) erased() bool { return s.head().State.Status() == customer.StatusErased }

// sorted are the streams in a fixed order, so that two audits of one log say
// the same.
func (l *Log) sorted() []*Stream {
	all := make([]*Stream, 0, len(l.Streams))
	for _, s := range l.Streams {
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b *Stream) int { return cmp.Compare(a.ID.String(), b.ID.String()) })
	return all
}

// held is the e-mail address a customer keeps from others, in the form that is
// compared.
func held(s customer.State) string {
	if !s.HoldsClaims() {
		return ""
	}
	return s.Email().Canonical()
}

func live(s customer.Status) bool {
	return s == customer.StatusActive || s == customer.StatusSuspended
}

// seconds writes a time of the history for people.
func seconds(ns int64) string { return fmt.Sprintf("%.3f s", time.Duration(ns).Seconds()) }

// idOf reads a customer's id in the only spelling the contract has; the nil id
// when it is none.
func idOf(text string) customer.ID {
	id, err := uuid.Parse(text)
	if err != nil || id.String() != strings.ToLower(text) {
		return uuid.Nil
	}
	return id
}
