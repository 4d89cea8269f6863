package relay_test

import (
	"context"
	"encoding/json"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	amqp091 "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
	"github.com/ebrahem-outlook/customer-service/internal/postgres"
	"github.com/ebrahem-outlook/customer-service/internal/rabbit"
	"github.com/ebrahem-outlook/customer-service/internal/rabbit/rabbittest"
	"github.com/ebrahem-outlook/customer-service/internal/relay"
)

func (w *world) integrationPublisher(cfg rabbit.Config) *rabbit.Publisher {
	w.Helper()
	p, err := rabbit.NewIntegrationPublisher(cfg)
	require.NoError(w, err)
	w.Cleanup(func() { require.NoError(w, p.Close()) })
	return p
}

// runTelling starts a relay that also tells other services.
func (w *world) runTelling(p *rabbit.Publisher, cfg relay.Config) *relay.Relay {
	w.Helper()
	d := w.deps(w.publisher(w.cfg))
	d.Notices, d.Integration = postgres.NewLog(w.pool), p
	cfg.Holder = uuid.NewString()
	r, err := relay.New(d, cfg)
	require.NoError(w, err)
	require.NoError(w, r.Start(context.Background()))
	w.Cleanup(func() { w.stop(r) })
	return r
}

// service is another service's queue on the integration exchange.
type service struct {
	mu     sync.Mutex
	events []eventlog.Notice // as delivered
	faults []string
}

func (w *world) bind(keys ...string) *service {
	w.Helper()
	ch := rabbittest.Channel(w, w.cfg)
	require.NoError(w, ch.ExchangeDeclare(rabbittest.IntegrationExchange(w.cfg), "topic", true, false, false, false, nil))
	q, err := ch.QueueDeclare("", false, true, true, false, nil)
	require.NoError(w, err)
	for _, key := range keys {
		require.NoError(w, ch.QueueBind(q.Name, key, rabbittest.IntegrationExchange(w.cfg), false, nil))
	}
	deliveries, err := ch.Consume(q.Name, "", true, true, false, false, nil)
	require.NoError(w, err)
	s := new(service)
	go func() {
		for d := range deliveries {
			s.take(d)
		}
	}()
	return s
}

func (s *service) take(d amqp091.Delivery) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var n eventlog.Notice
	if err := json.Unmarshal(d.Body, &n); err != nil {
		s.faults = append(s.faults, err.Error())
		return
	}
	want := amqp091.Table{
		"cloudEvents:specversion": "1.0", "cloudEvents:id": n.ID.String(), "cloudEvents:source": "/customers", "cloudEvents:type": n.Type,
		"cloudEvents:subject": n.CustomerID.String(), "cloudEvents:time": n.Time.Format(time.RFC3339Nano),
		"cloudEvents:position": strconv.Itoa(int(n.Position)), "cloudEvents:version": strconv.Itoa(int(n.Version)),
	}
	for name, value := range want {
		if d.Headers[name] != value {
			s.faults = append(s.faults, name)
		}
	}
	if len(d.Headers) != len(want) || d.ContentType != "application/json" || d.MessageId != n.ID.String() || d.RoutingKey != n.Type ||
		d.Type != n.Type || d.DeliveryMode != amqp091.Persistent || d.Timestamp.Unix() != n.Time.Unix() {
		s.faults = append(s.faults, "properties")
	}
	s.events = append(s.events, n)
}

// await waits until n different events have come.
func (s *service) await(t testing.TB, n int) []eventlog.Notice {
	t.Helper()
	require.Eventually(t, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		different := map[eventlog.Position]bool{}
		for _, e := range s.events {
			different[e.Position] = true
		}
		return len(different) == n
	}, patience, 5*time.Millisecond)
	s.mu.Lock()
	defer s.mu.Unlock()
	require.Empty(t, s.faults)
	return s.events
}

func TestIntegrationTellsEachEventInOrderThroughCutsAndChangesOfLeader(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	proxy, cut := rabbittest.NewProxy(t, w.cfg)
	all, none := w.bind("#"), w.bind("customer.erased")
	cfg := relay.Config{TickLimit: 40, LeaseTTL: time.Second}
	r := w.runTelling(w.integrationPublisher(cut), cfg)
	w.awaitLeading(r)

	ids := []customer.ID{uuid.New(), uuid.New(), uuid.New()}
	const rounds, size = 60, 5
	for round := range rounds {
		for _, id := range ids {
			w.mustAppend(id, size)
		}
		r.Wake()
		switch round {
		case 10, 25, 50:
			proxy.Cut()
		case 40:
			w.stop(r)
			r = w.runTelling(w.integrationPublisher(cut), cfg)
		}
	}
	events := all.await(t, rounds*size*len(ids))
	require.Empty(t, none.await(t, 0))

	// Whoever goes by position and passes over what is below finds no hole.
	at, again := eventlog.Position(0), 0
	versions := map[customer.ID]customer.Version{}
	seen := map[eventlog.Position]uuid.UUID{}
	for _, e := range events {
		if id, ok := seen[e.Position]; ok {
			require.Equal(t, id, e.ID, "a message sent again has the same id")
			again++
		}
		seen[e.Position] = e.ID
		if e.Position <= at {
			continue
		}
		require.Equal(t, at+1, e.Position)
		require.Equal(t, versions[e.CustomerID]+1, e.Version)
		at, versions[e.CustomerID] = e.Position, e.Version
		require.Equal(t, []string{"first_name"}, e.Changed)
	}
	t.Logf("%d events, %d told again", at, again)
}

func TestIntegrationBeginsBehindWhatWasThereAtTheMigration(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := uuid.New()
	w.mustAppend(id, 4)
	first := w.run(w.publisher(w.cfg), relay.Config{}) // as the release before did
	require.Eventually(t, func() bool { return first.Head() == 4 }, patience, time.Millisecond)
	w.stop(first)
	_, err := w.pool.Exec(context.Background(), `INSERT INTO eventlog.relay_checkpoints (relay, lane, pos) SELECT 'integration', 0, max(pos) FROM eventlog.positions`)
	require.NoError(t, err)
	s := w.bind("#")
	w.runTelling(w.integrationPublisher(w.cfg), relay.Config{})
	w.mustAppend(id, 2)
	require.Equal(t, eventlog.Position(5), s.await(t, 2)[0].Position)
}

func TestTellingNeedsBothEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.deps(w.publisher(w.cfg))
	d.Notices = postgres.NewLog(w.pool)
	_, err := relay.New(d, relay.Config{Holder: "x"})
	require.ErrorContains(t, err, "one is missing")
}

// BenchmarkIntegration carries a backlog to a queue that stores it as the
// service's own does.
func BenchmarkIntegration(b *testing.B) {
	w := newWorld(b)
	const customers, each = 100, 200
	for range customers {
		w.mustAppend(uuid.New(), each)
	}
	first := w.run(w.publisher(w.cfg), relay.Config{})
	require.Eventually(b, func() bool { return first.Head() == customers*each }, patience, time.Millisecond)
	w.stop(first)
	began := time.Now()
	w.runTelling(w.integrationPublisher(w.cfg), relay.Config{})
	require.Eventually(b, func() bool {
		var pos int
		err := w.pool.QueryRow(context.Background(), `SELECT pos FROM eventlog.relay_checkpoints WHERE relay = 'integration'`).Scan(&pos)
		return err == nil && pos == customers*each
	}, 2*patience, 2*time.Millisecond)
	b.ReportMetric(customers*each/time.Since(began).Seconds(), "told/s")
}
