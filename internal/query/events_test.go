package query_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
	"github.com/ebrahem-outlook/customer-service/internal/postgres"
	"github.com/ebrahem-outlook/customer-service/internal/postgres/postgrestest"
	"github.com/ebrahem-outlook/customer-service/internal/query"
)

// feedReads counts what the read model is asked, and fails when told to.
type feedReads struct {
	query.FeedReader
	events, positions, versions atomic.Int64
	failing                     atomic.Bool
}

func (r *feedReads) Events(ctx context.Context, after eventlog.Position, limit int) ([]eventlog.Notice, error) {
	r.events.Add(1)
	if r.failing.Load() {
		return nil, query.ErrUnavailable
	}
	return r.FeedReader.Events(ctx, after, limit)
}

func (r *feedReads) FeedPosition(ctx context.Context) (eventlog.Position, error) {
	r.positions.Add(1)
	return r.FeedReader.FeedPosition(ctx)
}

func (r *feedReads) EventVersions(ctx context.Context, ids []customer.ID) (map[customer.ID]customer.Version, error) {
	r.versions.Add(1)
	return r.FeedReader.EventVersions(ctx, ids)
}

type feedWorld struct {
	t     testing.TB
	feed  *query.Feed
	reads *feedReads
	store *postgres.ReadModel
	at    eventlog.Position
	id    customer.ID
}

func newFeedWorld(t testing.TB, c query.FeedConfig) *feedWorld {
	t.Helper()
	db := postgrestest.ReadModel(t)
	w := &feedWorld{
		t: t, id: uuid.New(), store: postgres.NewReadModel(db.Pool(t, postgres.RoleProjector), eventlog.DefaultLanes),
		reads: &feedReads{FeedReader: postgres.NewReadModelReader(db.Pool(t, postgres.RoleQuery))},
	}
	var err error
	w.feed, err = query.NewFeed(w.reads, func() time.Duration { return 0 }, slog.New(slog.DiscardHandler), c)
	require.NoError(t, err)
	require.NoError(t, w.feed.Start(t.Context()))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		require.NoError(t, w.feed.Stop(ctx))
	})
	return w
}

// add appends n events.
func (w *feedWorld) add(n int) {
	w.t.Helper()
	notices := make([]eventlog.Notice, n)
	for i := range notices {
		w.at++
		notices[i] = eventlog.Notice{
			Position: w.at, ID: uuid.New(), Type: "customer.tagged", CustomerID: w.id, Version: customer.Version(w.at),
			Changed: []string{"tags"}, Time: time.Now().UTC().Truncate(time.Microsecond),
		}
	}
	at, err := w.store.ExtendFeed(context.Background(), notices)
	require.NoError(w.t, err)
	require.Equal(w.t, w.at, at)
}

// through reads from a follower up to a position and requires each of them once.
func through(ctx context.Context, f *query.Follower, after, last eventlog.Position) error {
	for after < last {
		items, err := f.Next(ctx)
		if err != nil {
			return err
		}
		for _, item := range items {
			var n eventlog.Notice
			if err := json.Unmarshal(item.Body, &n); err != nil {
				return err
			}
			if after++; item.Position != after || n.Position != after {
				return errors.New("a gap or a double")
			}
		}
	}
	return nil
}

func TestFollowersSeeEachPositionOnceFromWhereverTheyBegin(t *testing.T) {
	t.Parallel()
	// So little is kept that slow followers fall out of it again and again.
	w := newFeedWorld(t, query.FeedConfig{Kept: 10, PollFloor: time.Millisecond, PollCeiling: 5 * time.Millisecond})
	w.add(300)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	const last = 300 + 60*7
	var following errgroup.Group
	for i := range 40 {
		after := eventlog.Position(i * 17 % 500)
		following.Go(func() error {
			f, err := w.feed.Follow(after)
			if err != nil {
				return err
			}
			defer f.Close()
			return through(ctx, f, after, last)
		})
	}
	for range 60 {
		w.add(7)
	}
	require.NoError(t, following.Wait())
	require.Zero(t, w.feed.Followers())
}

func TestOneLoopAsksForAllWhoFollow(t *testing.T) {
	t.Parallel()
	w := newFeedWorld(t, query.FeedConfig{PollCeiling: 50 * time.Millisecond, MaxFollowers: 1000})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	const n = 1000
	var following errgroup.Group
	var reached atomic.Int64
	for range n {
		f, err := w.feed.Follow(0)
		require.NoError(t, err)
		following.Go(func() error {
			defer f.Close()
			err := through(ctx, f, 0, 1)
			reached.Add(1)
			if err == nil {
				_, err = f.Next(ctx)
			}
			if errors.Is(err, context.Canceled) {
				return nil
			}
			return err
		})
	}
	_, err := w.feed.Follow(0)
	require.ErrorIs(t, err, query.ErrOverloaded)
	w.add(1)
	require.Eventually(t, func() bool { return reached.Load() == n }, patience, time.Millisecond)
	before, began := w.reads.events.Load(), time.Now()
	require.Eventually(t, func() bool { return w.reads.events.Load() >= before+5 }, patience, time.Millisecond)
	require.Greater(t, time.Since(began), 100*time.Millisecond, "a thousand at rest are one loop at rest")
	cancel()
	require.NoError(t, following.Wait())

	// Nobody follows: soon nothing is asked at all.
	require.Eventually(t, func() bool {
		before := w.reads.events.Load() + w.reads.positions.Load()
		<-time.After(200 * time.Millisecond)
		return w.reads.events.Load()+w.reads.positions.Load() == before
	}, patience, time.Millisecond)
	w.add(1)
	f, err := w.feed.Follow(1) // and again everything
	require.NoError(t, err)
	defer f.Close()
	require.NoError(t, through(t.Context(), f, 1, 2))
}

func TestFollowingOutlastsAnOutage(t *testing.T) {
	t.Parallel()
	w := newFeedWorld(t, query.FeedConfig{PollFloor: time.Millisecond, PollCeiling: 5 * time.Millisecond})
	w.add(3)
	f, err := w.feed.Follow(0)
	require.NoError(t, err)
	defer f.Close()
	require.NoError(t, through(t.Context(), f, 0, 3))
	w.reads.failing.Store(true)
	asked := w.reads.events.Load()
	require.Eventually(t, func() bool { return w.reads.events.Load() > asked+2 }, patience, time.Millisecond)
	w.add(2)
	w.reads.failing.Store(false)
	require.NoError(t, through(t.Context(), f, 3, 5))
	w.feed.EndFollowing()
	_, err = f.Next(t.Context())
	require.ErrorIs(t, err, query.ErrFollowingEnds)
	_, err = w.feed.Follow(0)
	require.ErrorIs(t, err, query.ErrFollowingEnds)
}

func TestTheFeedWaitsForTokens(t *testing.T) {
	t.Parallel()
	w := newFeedWorld(t, query.FeedConfig{})
	token := eventlog.Token{CustomerID: w.id, Version: 2}
	behind := (*query.Behind)(nil)
	require.ErrorAs(t, w.feed.Await(t.Context(), []eventlog.Token{token}, 0), &behind)
	require.ErrorIs(t, w.feed.Await(t.Context(), make([]eventlog.Token, 9), 0), query.ErrTooManyTokens)
	require.NoError(t, w.feed.Await(t.Context(), nil, 0))
	waited := make(chan error, 1)
	go func() { waited <- w.feed.Await(t.Context(), []eventlog.Token{token}, patience) }()
	w.add(1)
	select {
	case err := <-waited:
		t.Fatalf("the first version is not the second: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	w.add(1)
	require.NoError(t, <-waited)
	require.NoError(t, w.feed.Await(t.Context(), []eventlog.Token{token}, 0), "at once")
}

func TestFeedConfigReportsEveryFault(t *testing.T) {
	t.Parallel()
	_, err := query.NewFeed(nil, nil, nil, query.FeedConfig{MaxFollowers: -1, PollFloor: -1})
	require.ErrorContains(t, err, "below 1")
	require.ErrorContains(t, err, "polled from")
}
