package projection_test

import (
	"math/rand/v2"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
	"github.com/ebrahem-outlook/customer-service/internal/query"
)

func seeded(t *testing.T) *rand.Rand {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

func TestReadModelIsTheFoldOfTheLog(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1, 256} {
		w := newWorld(t)
		w.workload(seeded(t), 40, 400)
		w.deliver(w.projector(), w.batches(size)...)
		w.caughtUp()
		w.verify()
	}
}

// What a broker and its consumers can do to messages: the feed is dropped,
// doubled, shuffled and replayed from long ago, to three projectors at once.
func TestMessagesMayBeLostDoubledAndReordered(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	rnd := seeded(t)
	w.workload(rnd, 30, 200)
	old := w.batches(3)
	w.deliver(w.projector(), old...)
	w.workload(rnd, 30, 400)
	var chaos []eventlog.Batch
	for _, b := range append(w.batches(2), old...) {
		switch n := rnd.IntN(10); {
		case n < 2: // dropped
		case n < 4:
			chaos = append(chaos, b, b)
		default:
			chaos = append(chaos, b)
		}
	}
	rnd.Shuffle(len(chaos), func(i, j int) { chaos[i], chaos[j] = chaos[j], chaos[i] })
	var g errgroup.Group
	for i := range 3 {
		p := w.projector()
		g.Go(func() error {
			for j, b := range chaos {
				if j%3 == i || j%5 == 0 { // some of it to several of them
					w.deliver(p, b)
				}
			}
			return nil
		})
	}
	require.NoError(t, g.Wait())
	w.start(w.projector()) // heals what no message announced
	w.caughtUp()
	w.verify()
}

func TestTwoProjectorsOnOneLane(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.workload(seeded(t), 20, 250)
	var g errgroup.Group
	for range 2 {
		p := w.projector()
		g.Go(func() error {
			w.feed(p)
			return nil
		})
	}
	require.NoError(t, g.Wait())
	w.caughtUp()
	w.verify()
}

func TestEmptyAndMalformedMessagesAreLetGo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.projector()
	someone := w.register("ada@example.com")
	lane := eventlog.LaneOf(eventlog.SlotOf(someone.id), eventlog.DefaultLanes)
	b := w.batches(1)[0]
	stranger := b
	stranger.Previous, stranger.First, stranger.Last = 1_000_000, 1_000_001, 1_000_001
	stranger.Events = []eventlog.Sequenced{{Position: 1_000_001, Envelope: b.Events[0].Envelope}}
	foreign, err := eventlog.MarshalBatch(stranger)
	require.NoError(t, err)
	right, err := eventlog.MarshalBatch(b)
	require.NoError(t, err)
	for _, msg := range []*message.Message{
		message.NewMessage("", nil),
		message.NewMessage("x", []byte("garbage")),
		message.NewMessage("x", foreign),
	} {
		require.NoError(t, p.Handler(lane)(msg))
	}
	require.NoError(t, p.Handler((lane+1)%eventlog.DefaultLanes)(message.NewMessage("x", right)))
	w.start(p)
	w.caughtUp()
	w.verify()
}

func TestVersionGapIsClosedFromTheLog(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.projector()
	ada := w.register("ada@example.com")
	w.append(ada, customer.Tagged{At: w.now(), Tag: "a"})
	w.feed(p)
	// A restored table that is behind its checkpoint.
	w.exec(`DELETE FROM readmodel.documents`)
	w.exec(`DELETE FROM readmodel.history`)
	w.append(ada, customer.Tagged{At: w.now(), Tag: "b"})
	w.feed(p)
	w.verify()
	require.Equal(t, customer.Version(3), w.entry(ada.id).Version)
}

func TestCheckpointSetBackIsHealed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.projector()
	w.workload(seeded(t), 20, 100)
	w.feed(p)
	w.exec(`TRUNCATE readmodel.documents, readmodel.history`)
	w.exec(`UPDATE readmodel.checkpoints SET position = 0, cached_position = 0`)
	w.workload(seeded(t), 5, 30)
	w.feed(p)
	w.start(p)
	w.caughtUp()
	w.verify()
}

func TestHistoryTellsFieldByFieldWhatChanged(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ada := w.register("ada@example.com")
	w.append(ada,
		customer.EmailChanged{At: w.now(), Email: "ada@lovelace.org"},
		customer.MetadataChanged{At: w.now(), Set: map[string]string{"a.b": "1"}},
		customer.Suspended{At: w.now(), Reason: "unpaid"})
	w.feed(w.projector())
	_, history, err := w.store.Rows(w.ctx, []customer.ID{ada.id})
	require.NoError(t, err)
	h := history[ada.id]
	require.Len(t, h, 4)
	require.Equal(t, "tester", h[1].Actor)
	require.Equal(t, "customer.email_changed", h[1].Type)
	require.Len(t, h[1].Changes, 1)
	require.JSONEq(t, `{"field": "email", "old": "ada@example.com", "new": "ada@lovelace.org"}`, asJSON(t, h[1].Changes[0]))
	require.JSONEq(t, `{"field": "metadata.a.b", "old": null, "new": "1"}`, asJSON(t, h[2].Changes[0]))
	require.JSONEq(t, `{"field": "status", "old": "active", "new": "suspended"}`, asJSON(t, h[3].Changes[0]))
	require.JSONEq(t, `{"field": "reason", "old": null, "new": "unpaid"}`, asJSON(t, h[3].Changes[1]))
}

func TestDestroyedKeyDropsValuesBeforeTheErasureArrives(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.projector()
	ada := w.register("ada@example.com")
	w.append(ada, customer.Tagged{At: w.now(), Tag: "vip"})
	w.feed(p)
	w.append(ada, customer.Renamed{At: w.now(), FirstName: "Augusta"})
	w.append(ada, customer.Erased{At: w.now(), Actor: "dpo", Reason: "asked", KeyID: ada.wrapped.ID()})
	batches := w.batches(1)

	w.deliver(p, batches[2]) // the renaming, whose key is gone by now
	e := w.entry(ada.id)
	require.Equal(t, query.Entry{Version: 3, Status: customer.StatusErased}, e)
	require.Zero(t, w.count(`SELECT count(*) FROM readmodel.documents WHERE document::text LIKE '%Lovelace%' OR document::text LIKE '%vip%'`))
	require.Zero(t, w.count(`SELECT count(*) FROM readmodel.history WHERE changes <> '[]' OR actor IS NOT NULL OR correlation_id IS NOT NULL`))

	w.deliver(p, batches...) // replayed from the first, and the erasure at last
	rows, _, err := w.store.Rows(w.ctx, []customer.ID{ada.id})
	require.NoError(t, err)
	require.Equal(t, ada.wrapped.ID(), rows[ada.id].Data.Erasure.KeyID)
	require.Equal(t, customer.Version(4), rows[ada.id].Data.Version)
	w.verify()
}

func TestFoldingOnLosesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.projector()
	ada := w.register("ada@example.com")
	for _, e := range []customer.Event{
		customer.Suspended{At: w.now()}, customer.Deleted{At: w.now()}, customer.Restored{At: w.now()},
	} {
		w.append(ada, e)
		w.feed(p)
	}
	require.Equal(t, customer.StatusSuspended, w.entry(ada.id).Status)
	w.verify()
}

func (w *world) count(sql string, args ...any) int {
	w.t.Helper()
	var n int
	require.NoError(w.t, w.readModel.QueryRow(w.ctx, sql, args...).Scan(&n))
	return n
}
