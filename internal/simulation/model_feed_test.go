package simulation_test

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
	"github.com/ebrahem-outlook/customer-service/internal/projection"
	"github.com/ebrahem-outlook/customer-service/internal/query"
)

// feedPort is projection.FeedStore.
type feedPort struct{ modelPort }

func (o feedPort) FeedPosition(ctx context.Context) (eventlog.Position, error) {
	return at(ctx, o.p, "feed.position", 0, nil, func() (eventlog.Position, error) { return o.m.feedPosition(), nil })
}

func (m *model) feedPosition() eventlog.Position {
	if n := len(m.events); n > 0 {
		return m.events[n-1].Position
	}
	return 0
}

// ExtendFeed is a transaction that holds the feed's checkpoint.
func (o feedPort) ExtendFeed(ctx context.Context, notices []eventlog.Notice) (eventlog.Position, error) {
	m := o.m
	free := func() bool { return m.feedLock == nil }
	if m.w.cfg.bug == bugFeedWithoutLock {
		free = nil
	}
	if _, err := o.p.park(ctx, "feed.lock", 0, free); err != nil {
		return 0, err
	}
	m.feedLock = o.p
	held := true
	unlock := func() {
		if held {
			held, m.feedLock = false, nil
		}
	}
	defer unlock()
	at := m.feedPosition()
	for len(notices) > 0 && notices[0].Position <= at {
		notices = notices[1:]
	}
	if len(notices) == 0 || notices[0].Position != at+1 {
		return at, nil
	}
	v, err := o.p.park(ctx, "feed.commit", 0, nil)
	if err != nil {
		return 0, err
	}
	for _, n := range notices {
		n.TraceParent = ""
		m.events = append(m.events, n)
	}
	last := notices[len(notices)-1].Position
	unlock()
	if v.stop {
		if _, err := o.p.park(ctx, "feed.commit'", 0, nil); err != nil {
			return 0, err
		}
	}
	return last, nil
}

// readPort is query.Reader and query.FeedReader: every failure is one kind.
type readPort struct{ modelPort }

func unavailable(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", query.ErrUnavailable, err)
}

func (o readPort) Entry(ctx context.Context, id customer.ID) (query.Entry, error) {
	type answer struct {
		row projection.Row
		ok  bool
	}
	a, err := at(ctx, o.p, "read.entry", o.m.w.life.number(id), nil, func() (a answer, _ error) {
		a.row, a.ok = o.m.rows[id]
		return a, nil
	})
	switch {
	case err != nil:
		return query.Entry{}, unavailable(err)
	case !a.ok:
		return query.Entry{}, query.ErrNotFound
	}
	return a.row.Entry()
}

func (o readPort) Erasure(context.Context, customer.ID) (customer.Version, customer.Status, *customer.Erasure, error) {
	panic("nobody asks")
}

func (o readPort) Versions(ctx context.Context, ids []customer.ID) (map[customer.ID]customer.Version, error) {
	out, err := at(ctx, o.p, "read.versions", 0, nil, func() (map[customer.ID]customer.Version, error) {
		out := map[customer.ID]customer.Version{}
		for _, id := range ids {
			if r, ok := o.m.rows[id]; ok {
				out[id] = r.Data.Version
			}
		}
		return out, nil
	})
	return out, unavailable(err)
}

// Freshness never fails, it may only take long: after a failure the service
// rests for a random time.
func (o readPort) Freshness(ctx context.Context) (query.Freshness, error) {
	f, err := at(context.WithoutCancel(ctx), o.p, "read.freshness", 0, nil, func() (query.Freshness, error) {
		return query.Freshness{Generation: 1, Beat: time.Now(), Cache: o.m.cache, Head: o.m.beat.Head}, nil
	})
	return f, unavailable(err)
}

func (o readPort) Events(ctx context.Context, after eventlog.Position, limit int) ([]eventlog.Notice, error) {
	out, err := at(ctx, o.p, "read.events", 0, nil, func() ([]eventlog.Notice, error) {
		i, _ := slices.BinarySearchFunc(o.m.events, after+1, func(n eventlog.Notice, p eventlog.Position) int { return int(n.Position - p) })
		return slices.Clone(o.m.events[i:min(len(o.m.events), i+limit)]), nil
	})
	return out, unavailable(err)
}
