package imports

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/ebrahem-outlook/customer-service/internal/command"
	"github.com/ebrahem-outlook/customer-service/internal/customer"
)

const (
	// maxTries is how often what was looked up may have changed before its line
	// is done. Each time somebody else has registered, changed or deleted the
	// very customer in the meantime.
	maxTries = 5
	// seldom is the share of lines about known customers, one in so many, up to
	// which registering without looking up first is less work.
	seldom = 16

	pauseFloor   = 5 * time.Millisecond
	pauseCeiling = 500 * time.Millisecond
)

// name stands for an e-mail address, an external id or a customer. It is a
// hash: of two lines that collide one waits without need, and no harm is done.
type name uint64

// names are a line's; zero is none.
type names [2]name

func (h *held) namesOf(l Line) names {
	n := names{h.name("email", l.Registration.Email.Canonical())}
	if id := l.Registration.ExternalID; id != "" {
		n[1] = h.name("external id", string(id))
	}
	return n
}

func (h *held) name(kind, text string) name {
	return name(maphash.Comparable(h.seed, [2]string{kind, text}) | 1) // never none
}

// carryOut brings b through both phases. entering is closed when the batch
// before has taken its names, and ended when it has ended.
func (r *run) carryOut(ctx context.Context, b *batch, entering, ended <-chan struct{}) {
	for i := range b.items {
		it := &b.items[i]
		err := it.result.Record.Err
		if err == nil {
			it.line, err = r.decode(it.result.Text)
		}
		if err != nil {
			it.fail(err)
			continue
		}
		it.names = r.held.namesOf(it.line)
	}
	<-entering
	r.held.enter(b.items)
	close(b.entered)
	defer r.held.leave(b.items)
	if r.eager.Load() {
		r.registerAll(ctx, b.items)
	}
	<-ended
	b.err = r.settle(ctx, b.items)
	known := 0
	for i := range b.items {
		if s := b.items[i].result.Status; s == Updated || s == Unchanged {
			known++
		}
	}
	r.eager.Store(known*seldom <= len(b.items) && !r.req.DryRun)
}

// registerAll is the first phase. What comes of nothing here stays open.
func (r *run) registerAll(ctx context.Context, items []item) {
	var (
		trying []*item
		all    []customer.Registration
	)
	for i := range items {
		if it := &items[i]; it.open() && !it.waited {
			trying, all = append(trying, it), append(all, it.line.Registration)
		}
	}
	for i, res := range r.customers.RegisterAll(ctx, r.req, all) {
		switch it := trying[i]; {
		case res.Err == nil:
			it.result.Status, it.result.ID, it.result.Version = Registered, res.ID, res.Version
		case !outdated(res.Err) && !passing(res.Err):
			it.fail(res.Err)
		}
	}
}

// settle is the second phase. Its error leaves items open.
func (r *run) settle(ctx context.Context, items []item) error {
	moved, pause := time.Now(), pauseFloor
	for {
		var open []*item
		for i := range items {
			if items[i].open() {
				open = append(open, &items[i])
			}
		}
		if len(open) == 0 {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		got, err := r.round(ctx, open)
		switch {
		case got:
			moved, pause = time.Now(), pauseFloor
		case err != nil && !passing(err):
			return err
		case err != nil && time.Since(moved) > r.cfg.Patience:
			return fmt.Errorf("nothing got through for %s: %w", r.cfg.Patience, err)
		}
		if err != nil {
			if r.cfg.Waiting != nil {
				r.cfg.Waiting(err)
			}
			timer := time.NewTimer(pause/2 + rand.N(pause)) //nolint:gosec // jitter needs no secrecy
			select {
			case <-timer.C:
			case <-ctx.Done():
			}
			timer.Stop()
			pause = min(2*pause, pauseCeiling)
		}
	}
}

// round looks open lines up and carries out, side by side, those that share
// nothing with one before them. It tells whether any of them is settled now,
// and why one is not that could be at another time.
func (r *run) round(ctx context.Context, open []*item) (got bool, err error) {
	asked := make([]command.Names, len(open))
	for i, it := range open {
		asked[i] = command.Names{Email: it.line.Registration.Email, ExternalID: it.line.Registration.ExternalID}
	}
	holders, err := r.customers.Holders(ctx, asked)
	if err != nil {
		return false, err
	}
	var all sync.WaitGroup
	faults := make([]error, len(open))
	seen := make(map[name]bool, 2*len(open))
	for i, it := range open {
		own := [4]name{it.names[0], it.names[1], r.held.customer(holders[i].Email), r.held.customer(holders[i].ExternalID)}
		free := !slices.ContainsFunc(own[:], func(n name) bool { return n != 0 && seen[n] })
		for _, n := range own { // two of them may be one
			seen[n] = true
		}
		if free {
			all.Go(func() { faults[i] = r.try(ctx, it, holders[i]) })
		}
	}
	all.Wait()
	for i, it := range open {
		got = got || !it.open()
		if faults[i] != nil {
			err = faults[i]
		}
	}
	return got, err
}

func (h *held) customer(id customer.ID) name {
	if id == uuid.Nil {
		return 0
	}
	return h.name("customer", string(id[:]))
}

// try carries one line out for the customers that have its names. Unless the
// error is nil, the line is still open and may be tried again.
func (r *run) try(ctx context.Context, it *item, has command.Holders) error {
	var (
		res    command.Result
		err    error
		status = Registered
	)
	id := has.ExternalID
	if id == uuid.Nil {
		id = has.Email
	}
	switch {
	case id == uuid.Nil:
		res, err = r.customers.Register(ctx, r.req, it.line.Registration)
	case has.Email != uuid.Nil && has.Email != id:
		err, it.tries = command.ErrEmailTaken, maxTries // as of just now, and that is as good as later
	default:
		status = Unchanged
		if res, err = r.customers.Merge(ctx, r.req, id, it.line.Merge); res.Changed {
			status = Updated
		}
	}
	switch {
	case err == nil:
		it.succeed(status, res)
	case passing(err):
		return err
	case outdated(err) && it.tries < maxTries:
		it.tries++
	default:
		it.fail(err)
	}
	return nil
}

// passing tells errors that say nothing about the line. After ErrUnavailable it
// may have been carried out; looking it up again tells.
func passing(err error) bool {
	return errors.Is(err, command.ErrOverloaded) || errors.Is(err, command.ErrUnavailable)
}

// outdated tells refusals that cannot be, by what was looked up: it changed
// since, or was not looked up at all.
func outdated(err error) bool {
	for _, refusal := range []error{
		command.ErrEmailTaken, command.ErrExternalIDTaken, customer.ErrNotFound, customer.ErrDeleted, customer.ErrErased,
	} {
		if errors.Is(err, refusal) {
			return true
		}
	}
	return false
}
