package relay_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
	"github.com/ebrahem-outlook/customer-service/internal/rabbit/rabbittest"
	"github.com/ebrahem-outlook/customer-service/internal/relay"
)

func TestFeedCarriesEveryEventInOrderThroughCutsAndChangesOfLeader(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	proxy, cut := rabbittest.NewProxy(t, w.cfg)
	// Small messages, so that many are under way.
	cfg := relay.Config{BatchEvents: 5, Window: 3, TickLimit: 50, LeaseTTL: time.Second}
	var relays [2]atomic.Pointer[relay.Relay]
	relays[0].Store(w.run(w.publisher(cut), cfg))
	relays[1].Store(w.run(w.publisher(w.cfg), cfg))
	r := w.read(w.cfg)

	const writers, appends, size = 6, 100, 4
	var appended atomic.Int64
	var writing errgroup.Group
	for range writers {
		writing.Go(func() error {
			id := uuid.New()
			for range appends {
				if err := w.append(context.Background(), id, size); err != nil {
					return err
				}
				appended.Add(size)
				relays[0].Load().Wake()
				relays[1].Load().Wake()
			}
			return nil
		})
	}
	terms := map[int64]bool{}
	for at := 200; at < writers*appends*size; at += 500 {
		require.Eventually(t, func() bool { return appended.Load() >= int64(at) }, patience, time.Millisecond)
		proxy.Cut()
		i := 0
		if relays[1].Load().Leading() != 0 {
			i = 1
		}
		w.stop(relays[i].Load())
		terms[w.awaitLeading(relays[1-i].Load())] = true
		p := w.publisher(w.cfg)
		if i == 0 {
			p = w.publisher(cut)
		}
		relays[i].Store(w.run(p, cfg))
	}
	require.NoError(t, writing.Wait())
	w.awaitEvents(r, writers*appends*size)
	require.Greater(t, len(terms), 1)
	t.Logf("%d terms, %d events delivered again", len(terms), r.again)
}

func TestStoppedLeaderIsSucceededAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.publisher(w.cfg)
	cfg := relay.Config{LeaseTTL: 15 * time.Second}
	first := w.run(p, cfg)
	w.awaitLeading(first)
	second := w.run(p, cfg)
	w.stop(first)
	require.Zero(t, first.Leading())
	began := time.Now()
	w.awaitLeading(second)
	require.Less(t, time.Since(began), 5*time.Second, "it must not wait for the lease to expire")
	w.stop(first) // again
	require.NoError(t, second.Start(context.Background()), "starting twice does nothing")
}

func TestOvertakenLeaderStopsAndWritesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.run(w.publisher(w.cfg), relay.Config{LeaseTTL: time.Minute})
	epoch := w.awaitLeading(r)
	// As when its process was paused until the lease had expired.
	_, err := w.pool.Exec(context.Background(), `UPDATE eventlog.leases SET holder = 'another', epoch = epoch + 1, expires_at = now() + interval '1 hour'`)
	require.NoError(t, err)
	w.mustAppend(uuid.New(), 3)
	require.Eventually(t, func() bool { return r.Leading() == 0 }, patience, time.Millisecond, "long before it would renew")
	w.stop(r)
	var positions, now int64
	require.NoError(t, w.pool.QueryRow(context.Background(),
		`SELECT (SELECT count(*) FROM eventlog.positions), epoch FROM eventlog.leases WHERE expires_at > now() AND holder = 'another'`).Scan(&positions, &now))
	require.Zero(t, positions)
	require.Equal(t, epoch+1, now, "the successor's lease is left alone")
}

func TestFeedWaitsForABrokerThatIsNotThereYet(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	proxy, cut := rabbittest.NewProxy(t, w.cfg)
	proxy.Refuse(true)
	cut.ConfirmTimeout = 200 * time.Millisecond
	r := w.run(w.publisher(cut), relay.Config{LeaseTTL: time.Second})
	w.awaitLeading(r)
	w.mustAppend(uuid.New(), 10)
	require.Eventually(t, func() bool { return r.Head() == 10 }, patience, time.Millisecond, "sequencing needs no broker")
	epoch := r.Leading()
	proxy.Refuse(false)
	w.awaitEvents(w.read(w.cfg), 10)
	require.Equal(t, epoch, r.Leading(), "nor does the lease")
}

// refusing fails for one topic.
type refusing struct {
	message.Publisher
	topic  string
	refuse atomic.Bool
}

var errRefused = errors.New("refused")

func (p *refusing) Publish(topic string, messages ...*message.Message) error {
	if topic == p.topic && p.refuse.Load() {
		return errRefused
	}
	return p.Publisher.Publish(topic, messages...)
}

func TestFailingLaneHoldsNoOtherUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := &refusing{Publisher: w.publisher(w.cfg), topic: eventlog.FeedTopic(3)}
	p.refuse.Store(true)
	w.run(p, relay.Config{})
	r := w.read(w.cfg)
	others := 0
	for range 40 {
		id := uuid.New()
		if eventlog.LaneOf(eventlog.SlotOf(id), lanes) != 3 {
			others++
		}
		w.mustAppend(id, 1)
	}
	w.awaitEvents(r, others)
	p.refuse.Store(false)
	w.awaitEvents(r, 40)
}

func TestPurgedQueueShowsAsAGap(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.run(w.publisher(w.cfg), relay.Config{})
	id := uuid.New()
	lane := eventlog.LaneOf(eventlog.SlotOf(id), lanes)
	w.mustAppend(id, 4)
	ch := rabbittest.Channel(t, w.cfg)
	awaitCheckpoint(t, w, lane, 4)
	_, err := ch.QueuePurge(rabbittest.Queue(w.cfg, lane), false)
	require.NoError(t, err)
	w.mustAppend(id, 3)
	awaitCheckpoint(t, w, lane, 7)
	_, err = ch.QueueDelete(rabbittest.Queue(w.cfg, lane), false, false, false)
	require.NoError(t, err)
	w.mustAppend(id, 2)
	read := w.read(w.cfg)
	require.Eventually(t, func() bool {
		events, gaps := read.count()
		return events == 2 && gaps == 1
	}, patience, time.Millisecond)
	require.Equal(t, eventlog.Position(9), r.Head())
}

func awaitCheckpoint(t *testing.T, w *world, lane eventlog.Lane, want int64) {
	t.Helper()
	require.Eventually(t, func() bool {
		var pos int64
		err := w.pool.QueryRow(context.Background(), `SELECT pos FROM eventlog.relay_checkpoints WHERE relay = 'feed' AND lane = $1`, int16(lane)).Scan(&pos)
		return err == nil && pos == want
	}, patience, time.Millisecond)
}

func TestNewReportsEveryFault(t *testing.T) {
	t.Parallel()
	_, err := relay.New(relay.Deps{}, relay.Config{Lanes: -1, LeaseTTL: 1, Window: -1})
	require.Error(t, err)
	require.Len(t, strings.Split(err.Error(), "\n"), 10)
}
