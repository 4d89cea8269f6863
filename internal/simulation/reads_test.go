package simulation_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
	"github.com/ebrahem-outlook/customer-service/internal/query"
)

// reads are the clients of the query service.
type reads struct {
	w        *world
	sessions []map[customer.ID]customer.Version // what each client has seen
	follower eventlog.Position
	open     int  // reads under way
	busy     bool // the follower's request is under way
}

func newReads(w *world) *reads {
	r := &reads{w: w}
	for range 3 {
		r.sessions = append(r.sessions, map[customer.ID]customer.Version{})
	}
	return r
}

// begin is one read by one client, which names what it has seen so far.
func (r *reads) begin(p *proc, s *query.Service) {
	rnd := r.w.rnd
	session := r.sessions[rnd.IntN(len(r.sessions))]
	one := r.w.life.people[rnd.IntN(len(r.w.life.people))]
	want := session[one.id]
	if rnd.IntN(2) == 0 {
		want = max(want, one.known) // a client of whoever wrote
	}
	if rnd.IntN(5) == 0 {
		want = 0 // and one that names nothing
	}
	wait := time.Duration(rnd.IntN(3)) * time.Second
	var (
		e      query.Entry
		answer error
	)
	r.open++
	r.w.start(p, "read", func(ctx context.Context) error {
		var tokens []eventlog.Token
		if want > 0 {
			tokens = []eventlog.Token{{CustomerID: one.id, Version: want}}
		}
		e, answer = s.Get(ctx, one.id, tokens, wait)
		return nil
	}, func(_ error, died bool) {
		r.open--
		if !died {
			r.answered(one, session, want, e, answer)
		}
	})
}

// answered holds an answer to what the client may rely on.
func (r *reads) answered(p *person, session map[customer.ID]customer.Version, want customer.Version, e query.Entry, err error) {
	w := r.w
	behind := (*query.Behind)(nil)
	switch {
	case errors.As(err, &behind):
		w.counts.behind++
		return
	case errors.Is(err, query.ErrUnavailable), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return
	case errors.Is(err, query.ErrNotFound):
		if e.Version < want { // whose registration was passed over is nobody at every version
			w.fail("a read that asks for version %d finds nobody", want)
		}
		return
	}
	w.counts.answers++
	if want > 0 {
		session[p.id] = max(session[p.id], e.Version)
	}
	r.check(p, want, e, err)
}

func (r *reads) check(p *person, want customer.Version, e query.Entry, err error) {
	w := r.w
	switch {
	case e.Version < want:
		w.fail("a read that asks for version %d is answered %d", want, e.Version)
	case errors.Is(err, query.ErrErased):
		if !w.life.destroyed(p.id) {
			w.fail("a customer that lives is erased at version %d", e.Version)
		}
	case w.life.erasedAt(p.id) > 0 && e.Version >= w.life.erasedAt(p.id):
		w.fail("an erased customer is answered at version %d (%v)", e.Version, err)
	case e.Version > w.log.streams[p.id]:
		w.fail("version %d is answered, the log has %d", e.Version, w.log.streams[p.id])
	case err == nil && w.cfg.exact() && !bytes.Equal(e.Body, w.life.document(p.id, e.Version)):
		w.fail("version %d is answered as %s, it is %s", e.Version, e.Body, w.life.document(p.id, e.Version))
	}
}

// follow is one request of a client that follows the event feed.
func (r *reads) follow(p *proc, o readPort) {
	r.busy = true
	r.w.start(p, "follow", func(ctx context.Context) error {
		events, err := o.Events(ctx, r.follower, 5)
		if err != nil {
			return err
		}
		for _, n := range events {
			r.follower++
			r.w.counts.followed++
			if n.Position != r.follower {
				r.w.fail("a follower is told of %d after %d", n.Position, r.follower-1)
				return nil
			}
			if want := r.w.log.notice(int(n.Position) - 1); n.ID != want.ID || n.Version != want.Version {
				r.w.fail("a follower is told of another event at %d", n.Position)
			}
		}
		return nil
	}, func(error, bool) { r.busy = false })
}

// otherService is told of events through the broker. Its queue loses nothing;
// what comes again it knows by its id.
type otherService struct {
	w    *world
	seen eventlog.Position
}

func (s *otherService) take(m *message.Message) {
	var n eventlog.Notice
	if err := json.Unmarshal(m.Payload, &n); err != nil {
		s.w.fail("another service gets what is no notice: %v", err)
		return
	}
	switch {
	case n.Position <= s.seen:
		s.w.counts.repeated++
	case n.Position == s.seen+1:
		s.seen++
	default:
		s.w.fail("another service is told of %d after %d", n.Position, s.seen)
	}
}
