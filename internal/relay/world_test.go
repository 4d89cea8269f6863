package relay_test

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
	"github.com/ebrahem-outlook/customer-service/internal/postgres"
	"github.com/ebrahem-outlook/customer-service/internal/postgres/postgrestest"
	"github.com/ebrahem-outlook/customer-service/internal/rabbit"
	"github.com/ebrahem-outlook/customer-service/internal/rabbit/rabbittest"
	"github.com/ebrahem-outlook/customer-service/internal/relay"
)

const (
	lanes    = 8
	patience = 30 * time.Second
)

// world is one log and one feed.
type world struct {
	testing.TB
	pool *pgxpool.Pool
	cfg  rabbit.Config
}

func newWorld(t testing.TB) *world {
	t.Helper()
	cfg := rabbittest.Config(t)
	cfg.Lanes = lanes
	return &world{TB: t, cfg: cfg, pool: postgrestest.EventLog(t).PoolWith(t, postgres.PoolConfig{Role: postgres.RoleCommand, MaxConns: 20})}
}

func (w *world) publisher(cfg rabbit.Config) *rabbit.Publisher {
	w.Helper()
	p, err := rabbit.NewPublisher(cfg)
	require.NoError(w, err)
	w.Cleanup(func() { require.NoError(w, p.Close()) })
	return p
}

func (w *world) deps(p message.Publisher) relay.Deps {
	return relay.Deps{
		Leases: postgres.NewLeases(w.pool), Sequence: postgres.NewSequencer(w.pool),
		Checkpoints: postgres.NewCheckpoints(w.pool), Log: postgres.NewLog(w.pool),
		Feed: p, Logger: slog.New(slog.DiscardHandler),
	}
}

// run starts a relay; it is stopped when the test ends, if not before.
func (w *world) run(p message.Publisher, cfg relay.Config) *relay.Relay {
	w.Helper()
	cfg.Holder = uuid.NewString()
	r, err := relay.New(w.deps(p), cfg)
	require.NoError(w, err)
	require.NoError(w, r.Start(context.Background()))
	w.Cleanup(func() { w.stop(r) })
	return r
}

func (w *world) stop(r *relay.Relay) {
	w.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	require.NoError(w, r.Stop(ctx))
}

const appendOne = `
WITH head AS (
    INSERT INTO eventlog.streams AS s (customer_id, version) VALUES ($1, $3)
    ON CONFLICT (customer_id) DO UPDATE SET version = s.version + $3 RETURNING version)
INSERT INTO eventlog.events (customer_id, version, event_id, type, schema_version, slot, data, personal, metadata, recorded_at)
SELECT $1, head.version - $3 + n, gen_random_uuid(), 'customer.renamed', 1, $2, '{"changed":["first_name"]}',
       decode(repeat('5a', 300), 'hex'), '{"actor":"svc:test","command_id":"01900000-0000-7000-8000-0000000000d1"}', now()
  FROM head, generate_series(1, $3) n`

func (w *world) append(ctx context.Context, id customer.ID, n int) error {
	_, err := w.pool.Exec(ctx, appendOne, id, int16(eventlog.SlotOf(id)), n)
	return err
}

func (w *world) mustAppend(id customer.ID, n int) {
	w.Helper()
	require.NoError(w, w.append(context.Background(), id, n))
}

// reader follows every lane as a projector does: it passes over what it has,
// and counts it as a gap when something before a message is missing.
type reader struct {
	mu       sync.Mutex
	at       map[eventlog.Lane]eventlog.Position
	versions map[customer.ID]customer.Version
	events   int
	again    int
	gaps     int
	faults   []string
	seen     func(eventlog.Sequenced)
}

func (w *world) read(cfg rabbit.Config) *reader {
	w.Helper()
	s, err := rabbit.NewSubscriber(cfg)
	require.NoError(w, err)
	r := &reader{at: map[eventlog.Lane]eventlog.Position{}, versions: map[customer.ID]customer.Version{}}
	ctx, cancel := context.WithCancel(context.Background())
	var reading sync.WaitGroup
	for lane := range lanes {
		c, err := s.Subscribe(ctx, eventlog.FeedTopic(eventlog.Lane(lane)))
		require.NoError(w, err)
		reading.Go(func() {
			for msg := range c {
				r.take(eventlog.Lane(lane), msg)
				msg.Ack()
			}
		})
	}
	w.Cleanup(func() {
		cancel()
		require.NoError(w, s.Close())
		reading.Wait()
	})
	return r
}

func (r *reader) take(lane eventlog.Lane, msg *message.Message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	b, err := eventlog.UnmarshalBatch(msg.Payload)
	if err != nil {
		r.faults = append(r.faults, err.Error())
		return
	}
	if b.Lane != lane || msg.UUID == "" || msg.Metadata.Get(relay.HeaderFirst) == "" || msg.Metadata.Get(rabbit.ContentType) != eventlog.BatchContentType {
		r.faults = append(r.faults, "a message says something else than its body")
	}
	if b.Previous > r.at[lane] {
		r.gaps++
	}
	for _, e := range b.Events {
		if e.Position <= r.at[lane] {
			r.again++
			continue
		}
		if want := r.versions[e.CustomerID] + 1; e.Version != want && r.gaps == 0 {
			r.faults = append(r.faults, "a customer's versions out of order")
		}
		r.versions[e.CustomerID] = e.Version
		r.at[lane] = e.Position
		r.events++
		if r.seen != nil {
			r.seen(e)
		}
	}
}

func (r *reader) count() (events, gaps int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.events, r.gaps
}

// awaitEvents waits for n different events, and requires that nothing was
// missing, broken or out of order on the way.
func (w *world) awaitEvents(r *reader, n int) {
	w.Helper()
	require.EventuallyWithT(w, func(c *assert.CollectT) {
		events, _ := r.count()
		assert.Equal(c, n, events)
	}, patience, 5*time.Millisecond)
	r.mu.Lock()
	defer r.mu.Unlock()
	require.Empty(w, r.faults)
	require.Zero(w, r.gaps)
}

func (w *world) awaitLeading(r *relay.Relay) int64 {
	w.Helper()
	require.Eventually(w, func() bool { return r.Leading() != 0 }, patience, time.Millisecond)
	return r.Leading()
}
