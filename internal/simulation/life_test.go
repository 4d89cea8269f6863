package simulation_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
	"github.com/ebrahem-outlook/customer-service/internal/privacy"
	"github.com/ebrahem-outlook/customer-service/internal/projection"
	"github.com/ebrahem-outlook/customer-service/internal/query"
)

// keyring is one for all runs: what it makes is random and decides nothing.
var keyring = sync.OnceValue(func() *privacy.Keyring {
	dir, err := os.MkdirTemp("", "simulation")
	if err != nil {
		panic(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	path := filepath.Join(dir, "keyring.json")
	if err := privacy.InitKeyring(path); err != nil {
		panic(err)
	}
	k, err := privacy.LoadKeyring(path)
	if err != nil {
		panic(err)
	}
	return k
})

var events = sync.OnceValue(eventlog.NewCodec)

// life is what happens to customers: the writers, which decide nothing, and what
// the read model has to say about each version in the end.
type life struct {
	w       *world
	people  []*person
	left    int // events to be appended
	clock   time.Time
	unknown map[uuid.UUID]bool // events that no process can read now
	never   map[uuid.UUID]bool // and of those, the ones that nobody ever can
}

type person struct {
	id      customer.ID
	key     privacy.SubjectKey
	wrapped eventlog.WrappedKey
	known   customer.Version // a version that somebody was answered
	docs    [][]byte         // by version, nil where nobody is shown a document
	states  []customer.Data
}

func newLife(w *world) *life {
	l := &life{
		w: w, left: w.cfg.events, clock: time.Now().UTC().Truncate(time.Microsecond),
		unknown: map[uuid.UUID]bool{}, never: map[uuid.UUID]bool{},
	}
	for range w.cfg.customers {
		p := &person{id: l.newID()}
		var err error
		if p.key, p.wrapped, err = keyring().NewSubjectKey(p.id); err != nil {
			panic(err)
		}
		l.people = append(l.people, p)
	}
	return l
}

func (l *life) newID() (id uuid.UUID) {
	for i := range id {
		id[i] = byte(l.w.rnd.IntN(256))
	}
	return id
}

func (l *life) ids() []customer.ID {
	ids := make([]customer.ID, len(l.people))
	for i, p := range l.people {
		ids[i] = p.id
	}
	return ids
}

func (l *life) of(id customer.ID) *person {
	return l.people[l.number(id)]
}

func (l *life) number(id customer.ID) int64 {
	return int64(slices.IndexFunc(l.people, func(p *person) bool { return p.id == id }))
}

// write is one batch of commands in one transaction, as append_batch commits
// it: streams are locked in order, compared, and written, ids drawn under the
// locks. It may be rolled back, or end without anybody knowing how.
func (l *life) write(ctx context.Context, p *proc) error {
	w := l.w
	rnd := w.rnd
	var batch []*person
	for _, i := range rnd.Perm(len(l.people))[:1+rnd.IntN(3)] {
		batch = append(batch, l.people[i])
	}
	slices.SortFunc(batch, func(a, b *person) int { return slices.Compare(a.id[:], b.id[:]) })
	t := &tx{l: w.log}
	defer t.finish(aborted)
	loaded := make([]customer.Version, len(batch))
	for i, one := range batch {
		loaded[i] = w.log.streams[one.id]
	}
	if rnd.IntN(2) == 0 {
		t.take() // an idempotency record, say, is written before the stream is locked
	}
	for i, one := range batch {
		free := func() bool { return w.log.locks[one.id] == nil }
		if _, err := p.park(ctx, "append.lock", int64(i), free); err != nil {
			return err
		}
		t.lock(one.id)
		if rnd.IntN(3) == 0 {
			loaded[i] = w.log.streams[one.id] // it decides in its transaction, which has begun long ago
		}
	}
	type change struct {
		p      *person
		erased bool
	}
	var changes []change
	for i, one := range batch {
		if w.log.streams[one.id] != loaded[i] {
			w.counts.conflicts++
			continue
		}
		if l.erasedAt(one.id) > 0 {
			continue
		}
		if _, err := p.park(ctx, "append.insert", int64(i), nil); err != nil {
			return err
		}
		c := change{p: one}
		for n := 0; n < 1+rnd.IntN(2) && !c.erased; n++ {
			v := loaded[i] + customer.Version(n) + 1
			e := l.event(one, v)
			env, err := events().Encode(e, eventlog.Place{
				EventID: l.newID(), CustomerID: one.id, Version: v,
				Metadata: eventlog.Metadata{Actor: "svc", CorrelationID: "c", CommandID: l.newID()},
			}, one.key)
			if err != nil {
				return err
			}
			if w.cfg.poison && rnd.IntN(15) == 0 {
				l.unknown[env.EventID] = true
				l.never[env.EventID] = rnd.IntN(2) == 0
			}
			t.insert(env, e)
			_, gone := e.(customer.Erased)
			c.erased = c.erased || gone
		}
		changes = append(changes, c)
	}
	v, err := p.park(ctx, "append.commit", int64(len(t.rows)), nil)
	if err != nil {
		return err
	}
	if rnd.IntN(8) == 0 && w.faults {
		w.counts.rollbacks++
		return nil
	}
	for _, c := range changes {
		if w.log.streams[c.p.id] == 0 {
			w.log.keys[c.p.id] = c.p.wrapped
		}
		if c.erased {
			delete(w.log.keys, c.p.id)
		}
	}
	t.finish(committed)
	l.left -= len(t.rows)
	if v.stop {
		if _, err := p.park(ctx, "append.commit'", 0, nil); err != nil {
			w.counts.doubts++
			return err
		}
	}
	for _, c := range changes {
		c.p.known = max(c.p.known, w.log.streams[c.p.id]) // its token
	}
	return nil
}

// event is what happens to somebody next.
func (l *life) event(p *person, v customer.Version) customer.Event {
	l.clock = l.clock.Add(time.Millisecond)
	now := customer.At{Time: l.clock}
	n := l.w.rnd.IntN(100)
	switch {
	case v == 1:
		return customer.Registered{At: now, FirstName: "Ada", Email: customer.Email(fmt.Sprintf("a%d@example.com", n)), Tags: []customer.Tag{"new"}}
	case n < 35:
		return customer.Renamed{At: now, FirstName: customer.Name(fmt.Sprintf("Zoë %d", n)), LastName: "Đặng"}
	case n < 50:
		return customer.Tagged{At: now, Tag: customer.Tag(fmt.Sprintf("t%d", n))}
	case n < 65:
		return customer.MetadataChanged{At: now, Set: map[string]string{"plan": fmt.Sprint(n)}, Removed: []string{"gone"}}
	case n < 75:
		return customer.Suspended{At: now, Reason: "unpaid"}
	case n < 83:
		return customer.Deleted{At: now}
	case n < 95:
		return customer.Restored{At: now}
	default:
		return customer.Erased{At: now, Actor: "dpo", Reason: "asked", KeyID: p.wrapped.ID()}
	}
}

// Decode is the codec of a release that may not know some events yet, or ever.
func (l *life) Decode(env eventlog.Envelope, key eventlog.Opener) (eventlog.Entry, error) {
	if l.unknown[env.EventID] {
		if l.w.cfg.bug == bugSkipUnknown {
			entry, err := events().Decode(env, key)
			if entry.Event != nil {
				entry.Event = customer.LocaleChanged{At: customer.At{Time: env.RecordedAt}}
			}
			return entry, err
		}
		return eventlog.Entry{}, eventlog.ErrUnknownType
	}
	return events().Decode(env, key)
}

// fold is a customer at a version, as the log means it and an operator decided.
func (l *life) fold(id customer.ID, v customer.Version) customer.Data {
	p := l.of(id)
	truth := l.w.log.truth[id]
	passed := l.w.model.passed[id]
	if len(passed) > 0 { // decided late, so nothing is remembered
		p.states, p.docs = nil, nil
	}
	if len(p.states) == 0 {
		p.states, p.docs = []customer.Data{{ID: id}}, [][]byte{nil}
	}
	for n := len(p.states); n <= int(v) && n <= len(truth); n++ {
		d := p.states[n-1]
		if slices.Contains(passed, customer.Version(n)) {
			d.Version, d.UpdatedAt = customer.Version(n), truth[n-1].OccurredAt()
			if n == 1 {
				d.CreatedAt = d.UpdatedAt
			}
		} else {
			d = customer.FromData(d).Evolve(truth[n-1]).Data()
		}
		doc, err := query.Render(d)
		if err != nil {
			panic(err)
		}
		p.states, p.docs = append(p.states, d), append(p.docs, doc)
	}
	if int(v) >= len(p.states) {
		return customer.Data{ID: id}
	}
	return p.states[v]
}

func (l *life) document(id customer.ID, v customer.Version) []byte {
	if l.fold(id, v).Version != v {
		return nil
	}
	return l.of(id).docs[v]
}

// destroyed tells whether a customer's key is gone.
func (l *life) destroyed(id customer.ID) bool {
	_, has := l.w.log.keys[id]
	return !has && l.w.log.streams[id] > 0
}

// erasedAt is the version of a customer's erasure, 0 for none.
func (l *life) erasedAt(id customer.ID) customer.Version {
	for i, e := range l.w.log.truth[id] {
		if _, ok := e.(customer.Erased); ok {
			return customer.Version(i + 1)
		}
	}
	return 0
}

var _ projection.Codec = (*life)(nil)
