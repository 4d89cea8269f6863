package projection_test

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
	"github.com/ebrahem-outlook/customer-service/internal/projection"
)

func laneOf(p *person) eventlog.Lane {
	return eventlog.LaneOf(eventlog.SlotOf(p.id), eventlog.DefaultLanes)
}

// pages calls before ahead of every page of a lane that is read for healing.
type pages struct {
	eventlog.Reader
	before func(context.Context, eventlog.Lane) error
}

func (p pages) ReadLane(ctx context.Context, l eventlog.Lane, after, through eventlog.Position, limit int) ([]eventlog.Sequenced, error) {
	if limit >= 1000 { // the heartbeat asks for fewer
		if err := p.before(ctx, l); err != nil {
			return nil, err
		}
	}
	return p.Reader.ReadLane(ctx, l, after, through, limit)
}

func TestALaneThatFailsDoesNotEndTheHealingOfOthers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ada := w.register("ada@example.com")
	bob := w.register("bob@example.com")
	for laneOf(bob) == laneOf(ada) {
		bob = w.register("bob@example.com")
	}
	failed, once := make(chan struct{}), sync.Once{}
	w.start(w.projector(func(d *projection.Deps) {
		d.Log = pages{d.Log, func(ctx context.Context, l eventlog.Lane) error {
			if l == laneOf(ada) {
				once.Do(func() { close(failed) })
				return errors.New("lane is broken")
			}
			<-failed
			select { // long enough for the failure to be known
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(20 * time.Millisecond):
				return nil
			}
		}}
	}))
	require.Eventually(t, func() bool {
		return w.count(`SELECT count(*) FROM readmodel.documents WHERE customer_id = $1`, bob.id) == 1
	}, patience, 10*time.Millisecond)
}

func TestAHandlerDoesNotOutliveItsMessageWhileItsLaneCatchesUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ada := w.register("ada@example.com")
	catching := make(chan struct{})
	var once sync.Once
	p := w.projector(func(d *projection.Deps) {
		d.Log = pages{d.Log, func(ctx context.Context, l eventlog.Lane) error {
			if l == laneOf(ada) {
				once.Do(func() { close(catching) })
				<-ctx.Done() // a backlog that takes long
			}
			return ctx.Err()
		}}
	})
	w.start(p)
	<-catching
	body, err := eventlog.MarshalBatch(w.batches(1)[0])
	require.NoError(t, err)
	msg := message.NewMessage("1", body)
	ctx, cancel := context.WithTimeout(w.ctx, 50*time.Millisecond)
	defer cancel()
	msg.SetContext(ctx)
	ended := make(chan error, 1)
	go func() { ended <- p.Handler(laneOf(ada))(msg) }()
	select {
	case err := <-ended:
		require.ErrorIs(t, err, context.DeadlineExceeded)
	case <-time.After(patience):
		t.Fatal("the handler waits for the catch-up and not for its message")
	}
}

func TestOneDamagedKeyIsNotAWrongKeyring(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ada := &person{id: uuid.Must(uuid.NewV7())}
	var err error
	ada.key, ada.wrapped, err = w.keyring.NewSubjectKey(ada.id)
	require.NoError(t, err)
	ada.wrapped.Wrapped = append([]byte(nil), ada.wrapped.Wrapped...)
	ada.wrapped.Wrapped[len(ada.wrapped.Wrapped)-1] ^= 1
	w.append(ada, customer.Registered{At: w.now(), FirstName: "Ada", Email: "ada@example.com"})
	bob := w.register("bob@example.com")
	for laneOf(bob) != laneOf(ada) {
		bob = w.register("bob@example.com")
	}
	for _, b := range w.batches(256) {
		if b.Lane == laneOf(ada) { // no other lane has opened anything
			w.deliver(w.projector(), b)
		}
	}
	require.Equal(t, customer.Version(1), w.entry(bob.id).Version)
	require.Equal(t, 1, w.count(`SELECT count(*) FROM readmodel.parked WHERE customer_id = $1`, ada.id))
}

func TestABeatFromTheFutureSilencesNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	require.NoError(t, w.store.Beat(w.ctx, projection.Heartbeat{Head: 1}))
	w.exec(`UPDATE readmodel.heartbeat SET at = clock_timestamp() + interval '1 hour'`)
	require.NoError(t, w.store.Beat(w.ctx, projection.Heartbeat{Head: 2}))
	f, err := w.reader.Freshness(w.ctx)
	require.NoError(t, err)
	require.Equal(t, eventlog.Position(2), f.Head)
}

// A process may have cached more than the checkpoint says; letting a customer
// go below that must be looked at again by every process.
func TestLettingACustomerGoIsNotHiddenByWhatAnotherProcessCached(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	old := w.projector(func(d *projection.Deps) {
		d.Codec = &selective{Codec: w.codec, unknown: map[string]error{"customer.tagged": eventlog.ErrUnknownType}}
	})
	state, err := w.store.State(w.ctx)
	require.NoError(t, err)
	id, err := w.cacheWriter().RunID(w.ctx)
	require.NoError(t, err)
	_, err = w.store.Renew(w.ctx, state, id)
	require.NoError(t, err)
	ada := w.register("ada@example.com")
	w.feed(old)
	r := w.readCache()
	w.trusted(r)
	w.read(r, ada)
	w.append(ada, customer.Tagged{At: w.now(), Tag: "vip"})
	w.feed(old) // parks ada; that its lane is cached so far is not written down yet
	killed := w.projector(func(d *projection.Deps) { d.Cache = severed{d.Cache} })
	still, err := killed.Retry(w.ctx, ada.id)
	require.NoError(t, err)
	require.Nil(t, still)
	w.start(old)
	w.cachedAsRead(r, ada)
}

func TestAHoleInTheLogHaltsItsCustomerAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ada := w.register("ada@example.com")
	w.append(ada, customer.Tagged{At: w.now(), Tag: "vip"})
	w.append(ada, customer.Renamed{At: w.now(), FirstName: "Augusta"})
	bob := w.register("bob@example.com")
	for laneOf(bob) != laneOf(ada) {
		bob = w.register("bob@example.com")
	}
	_, err := w.owner.Exec(w.ctx, `
		DELETE FROM eventlog.positions WHERE event = (SELECT id FROM eventlog.events WHERE customer_id = $1 AND version = 2)`, ada.id)
	require.NoError(t, err)
	p := w.projector()
	w.start(p)
	w.caughtUp()
	require.Equal(t, customer.Version(1), w.entry(bob.id).Version)
	require.Equal(t, customer.Version(1), w.entry(ada.id).Version)
	list, err := p.Parked(w.ctx)
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.Equal(t, ada.id, list[0].CustomerID)
	require.Equal(t, customer.Version(3), list[0].Version)
	require.Contains(t, list[0].Reason, "missing from the log")
	_, err = p.Retry(w.ctx, ada.id)
	require.Error(t, err)
	require.NotErrorIs(t, err, projection.ErrNotParked, "it stays where it is")
}

// A lane that moves, but less than it falls behind, is read from the log in
// pages. The messages that come for it afterwards change nothing.
func TestABacklogIsReadFromTheLog(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.projector()
	sweep := p.Steps().Sweep
	ada := w.register("ada@example.com")
	w.append(ada, customer.Tagged{At: w.now(), Tag: "first"})
	for i := range 1100 { // more than a thousand positions
		w.append(ada, customer.Renamed{At: w.now(), FirstName: customer.Name("Ada " + strconv.Itoa(i))})
	}
	messages := w.batches(1)
	_, err := sweep(w.ctx)
	require.NoError(t, err)
	w.deliver(p, messages[:2]...) // it moves
	require.Equal(t, customer.Version(2), w.entry(ada.id).Version)
	_, err = sweep(w.ctx)
	require.NoError(t, err)
	require.Equal(t, customer.Version(1102), w.entry(ada.id).Version)
	w.deliver(p, messages[2:10]...)
	require.Equal(t, customer.Version(1102), w.entry(ada.id).Version)
	w.verify()
}
