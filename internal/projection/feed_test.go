package projection_test

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
	"github.com/ebrahem-outlook/customer-service/internal/projection"
	"github.com/ebrahem-outlook/customer-service/internal/relay"
)

// telling is a projector that keeps the event feed too.
func (w *world) telling(alter ...func(*projection.Deps)) *projection.Projector {
	w.t.Helper()
	return w.projector(append([]func(*projection.Deps){func(d *projection.Deps) { d.Notices, d.Events = w.log, w.store }}, alter...)...)
}

func (w *world) notices() []eventlog.Notice {
	w.t.Helper()
	all, err := w.log.ReadNotices(w.ctx, 0, 1_000_000)
	require.NoError(w.t, err)
	return all
}

// tell hands messages to a projector, as a router does.
func (w *world) tell(p *projection.Projector, notices ...eventlog.Notice) {
	w.t.Helper()
	for _, n := range notices {
		msg, err := relay.NewNoticeMessage(w.ctx, n)
		require.NoError(w.t, err)
		ctx, cancel := context.WithTimeout(w.ctx, patience)
		msg.SetContext(ctx)
		require.NoError(w.t, p.EventHandler()(msg))
		cancel()
	}
}

// requireFeedEqualsLog holds the event feed to the log, every row of it.
func (w *world) requireFeedEqualsLog() {
	w.t.Helper()
	kept, err := w.reader.Events(w.ctx, 0, 1_000_000)
	require.NoError(w.t, err)
	want := w.notices()
	for i := range want {
		want[i].TraceParent = ""
	}
	require.Equal(w.t, want, kept)
	at, err := w.reader.FeedPosition(w.ctx)
	require.NoError(w.t, err)
	require.Equal(w.t, eventlog.Position(len(want)), at)
}

func TestTheFeedIsTheLogWhateverBecomesOfMessages(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	rnd := rand.New(rand.NewPCG(7, 11))
	w.workload(rnd, 30, 600)
	// Two projectors get every message, some twice, in any order.
	notices := w.notices()
	doubled := slices.Concat(notices, notices[:200])
	rnd.Shuffle(len(doubled), func(i, j int) { doubled[i], doubled[j] = doubled[j], doubled[i] })
	one, two := w.telling(), w.telling()
	var telling errgroup.Group
	for _, p := range []*projection.Projector{one, two} {
		telling.Go(func() error { w.tell(p, doubled...); return nil })
	}
	require.NoError(t, telling.Wait())
	w.requireFeedEqualsLog()

	// The last of these is the only one that is told.
	w.workload(rnd, 5, 100)
	notices = w.notices()
	w.tell(one, notices[len(notices)-1])
	w.requireFeedEqualsLog()
}

func TestTheFeedIsHealedWithoutAnyMessage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start(w.telling())
	w.workload(rand.New(rand.NewPCG(1, 2)), 50, 2100) // more than two pages
	head := w.head()
	require.Eventually(t, func() bool {
		f, err := w.reader.Freshness(w.ctx)
		return err == nil && f.Feed.Applied == head && !f.Feed.Behind
	}, patience, 5*time.Millisecond)
	w.requireFeedEqualsLog()
	f, err := w.reader.Freshness(w.ctx)
	require.NoError(t, err)
	require.Less(t, f.FeedLag(), patience)
}

func TestForeignMessagesChangeNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.telling()
	person := w.register("ada@example.com")
	for _, body := range []string{"{", "[]", `{"position":1}`, "\x00"} {
		msg := message.NewMessage(uuid.NewString(), []byte(body))
		msg.SetContext(w.ctx)
		require.NoError(t, p.EventHandler()(msg))
	}
	require.NoError(t, p.EventHandler()(message.NewMessage("", nil)))
	forged := w.notices()[0]
	forged.Type, forged.CustomerID = "customer.erased", uuid.New()
	w.tell(p, forged) // the position is there, and with it the truth
	w.requireFeedEqualsLog()
	forged.Position = 1_000_000
	w.tell(p, forged)
	w.requireFeedEqualsLog()
	versions, err := w.reader.EventVersions(w.ctx, []uuid.UUID{person.id, forged.CustomerID})
	require.NoError(t, err)
	require.Len(t, versions, 1)
}

// failing is a feed store that fails when it is told to, after it has done what
// it was asked.
type failing struct {
	projection.FeedStore
	left atomic.Int32
}

func (f *failing) ExtendFeed(ctx context.Context, notices []eventlog.Notice) (eventlog.Position, error) {
	at, err := f.FeedStore.ExtendFeed(ctx, notices)
	if f.left.Add(-1) >= 0 {
		return 0, errors.New("the answer was lost")
	}
	return at, err
}

func TestAMessageIsNotAcknowledgedBeforeItsEffect(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	store := &failing{FeedStore: w.store}
	store.left.Store(2)
	p := w.telling(func(d *projection.Deps) { d.Events = store })
	w.register("ada@example.com")
	w.tell(p, w.notices()...)
	require.Negative(t, store.left.Load(), "it was tried until it held")
	w.requireFeedEqualsLog()
}

func TestTheFeedHoldsNoPersonalData(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.register("canary@example.com")
	w.workload(rand.New(rand.NewPCG(3, 4)), 5, 50)
	w.tell(w.telling(), w.notices()...)
	require.NotZero(t, p.version)
	kept, err := w.reader.Events(w.ctx, 0, 1000)
	require.NoError(t, err)
	known := []string{
		"addresses", "consents", "email", "external_id", "first_name", "last_name", "locale", "metadata", "phone", "status", "tags",
	}
	for _, n := range kept {
		require.Subset(t, known, n.Changed)
		body, err := json.Marshal(n)
		require.NoError(t, err)
		require.NotContains(t, string(body), "canary")
	}
}
