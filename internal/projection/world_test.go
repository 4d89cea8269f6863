package projection_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
	"github.com/ebrahem-outlook/customer-service/internal/postgres"
	"github.com/ebrahem-outlook/customer-service/internal/postgres/postgrestest"
	"github.com/ebrahem-outlook/customer-service/internal/privacy"
	"github.com/ebrahem-outlook/customer-service/internal/projection"
	"github.com/ebrahem-outlook/customer-service/internal/query"
	"github.com/ebrahem-outlook/customer-service/internal/rediscache"
	"github.com/ebrahem-outlook/customer-service/internal/relay"
)

const patience = 20 * time.Second

// world is one test's log, read model and cache, and a writer to the log that
// decides nothing.
type world struct {
	t         testing.TB
	ctx       context.Context
	log       *postgres.Log
	owner     *pgxpool.Pool // of the log's database
	readModel *pgxpool.Pool // as its owner, for breaking things
	store     *postgres.ReadModel
	reader    *postgres.ReadModelReader
	codec     *eventlog.Codec
	keyring   *privacy.Keyring
	sequencer *postgres.Sequencer
	fence     relay.Fence
	prefix    string
	redisURL  string
	sweep     time.Duration

	mu     sync.Mutex
	clock  time.Time
	people map[customer.ID]*person
}

// person is a customer as the writer knows it.
type person struct {
	id      customer.ID
	version customer.Version
	key     privacy.SubjectKey
	wrapped eventlog.WrappedKey
	gone    bool
}

func newWorld(t testing.TB) *world {
	t.Helper()
	ctx := t.Context()
	logs, reads := postgrestest.EventLog(t), postgrestest.ReadModel(t)
	w := &world{
		t: t, ctx: ctx,
		owner: logs.Pool(t, ""), readModel: reads.Pool(t, ""),
		sweep: 50 * time.Millisecond, codec: eventlog.NewCodec(), prefix: "test-" + uuid.NewString(), redisURL: os.Getenv("REDIS_URL"),
		clock: time.Now().UTC().Truncate(time.Microsecond).Add(-time.Hour), people: map[customer.ID]*person{},
	}
	require.NotEmpty(t, w.redisURL, "REDIS_URL is not set: run make test (or devstack exec)")
	w.log = postgres.NewLog(logs.Pool(t, postgres.RoleProjector))
	w.store = postgres.NewReadModel(reads.Pool(t, postgres.RoleProjector), eventlog.DefaultLanes)
	w.reader = postgres.NewReadModelReader(reads.Pool(t, postgres.RoleQuery))
	path := filepath.Join(t.TempDir(), "keyring.json")
	require.NoError(t, privacy.InitKeyring(path))
	var err error
	w.keyring, err = privacy.LoadKeyring(path)
	require.NoError(t, err)
	var ok bool
	w.fence, ok, err = postgres.NewLeases(w.owner).Acquire(ctx, "sequence", "test", time.Hour)
	require.NoError(t, err)
	require.True(t, ok)
	w.sequencer = postgres.NewSequencer(w.owner)
	_, err = w.sequencer.BeginTerm(ctx, w.fence, eventlog.DefaultLanes)
	require.NoError(t, err)
	return w
}

// projector is one process's worth of it. Changes to deps go through alter.
func (w *world) projector(alter ...func(*projection.Deps)) *projection.Projector {
	w.t.Helper()
	d := projection.Deps{
		Log: w.log, Codec: w.codec, Keyring: w.keyring, Store: w.store, Ledger: w.store,
		Cache: w.cacheWriter(), Logger: slog.New(slog.DiscardHandler),
	}
	for _, f := range alter {
		f(&d)
	}
	p, err := projection.New(d, projection.Config{Sweep: w.sweep, Heartbeat: 50 * time.Millisecond})
	require.NoError(w.t, err)
	return p
}

func (w *world) cacheWriter() *rediscache.Writer {
	w.t.Helper()
	c, err := rediscache.NewWriter(rediscache.Config{URL: w.redisURL, Prefix: w.prefix, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(w.t, err)
	w.t.Cleanup(func() { _ = c.Close() })
	return c
}

func (w *world) start(p *projection.Projector) {
	w.t.Helper()
	require.NoError(w.t, p.Start(w.ctx))
	w.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		require.NoError(w.t, p.Stop(ctx))
	})
}

func (w *world) now() customer.At {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.clock = w.clock.Add(time.Millisecond)
	return customer.At{Time: w.clock}
}

// register adds a customer to the log.
func (w *world) register(email string) *person {
	w.t.Helper()
	p := &person{id: uuid.Must(uuid.NewV7())}
	var err error
	p.key, p.wrapped, err = w.keyring.NewSubjectKey(p.id)
	require.NoError(w.t, err)
	w.mu.Lock()
	w.people[p.id] = p
	w.mu.Unlock()
	w.append(p, customer.Registered{At: w.now(), FirstName: "Ada", LastName: "Lovelace", Email: customer.Email(email)})
	return p
}

// append commits events of one customer and gives them positions.
func (w *world) append(p *person, events ...customer.Event) {
	w.t.Helper()
	w.appendAll(w.item(p, events...))
}

func (w *world) item(p *person, events ...customer.Event) eventlog.Append {
	w.t.Helper()
	item := eventlog.Append{CustomerID: p.id, Expected: p.version}
	if p.version == 0 {
		item.NewKey = &p.wrapped
	}
	for _, e := range events {
		p.version++
		env, err := w.codec.Encode(e, eventlog.Place{
			EventID: uuid.Must(uuid.NewV7()), CustomerID: p.id, Version: p.version,
			Metadata: eventlog.Metadata{Actor: "tester", CorrelationID: "c-1", CommandID: uuid.Must(uuid.NewV7())},
		}, p.key)
		require.NoError(w.t, err)
		item.Events = append(item.Events, env)
		if _, ok := e.(customer.Erased); ok {
			item.DestroyKey, p.gone = true, true
		}
	}
	return item
}

func (w *world) appendAll(items ...eventlog.Append) {
	w.t.Helper()
	outcomes, err := postgres.NewLog(w.owner).AppendBatch(w.ctx, items)
	require.NoError(w.t, err)
	for _, o := range outcomes {
		require.Equal(w.t, eventlog.Appended, o.Verdict)
	}
	for {
		tick, err := w.sequencer.TickOnce(w.ctx, w.fence, 10_000)
		require.NoError(w.t, err)
		if !tick.More && tick.Sequenced == 0 {
			return
		}
	}
}

// batches is the whole feed so far, cut into messages of at most size events.
func (w *world) batches(size int) []eventlog.Batch {
	w.t.Helper()
	var all []eventlog.Batch
	for lane := range eventlog.Lane(eventlog.DefaultLanes) {
		events, err := w.log.ReadLane(w.ctx, lane, 0, 0, 1_000_000)
		require.NoError(w.t, err)
		all = append(all, eventlog.SplitBatches(lane, 0, events, size, 1<<20)...)
	}
	return all
}

// after are those of batches that hold something beyond a position.
func after(batches []eventlog.Batch, p eventlog.Position) []eventlog.Batch {
	var out []eventlog.Batch
	for _, b := range batches {
		if b.Last > p {
			out = append(out, b)
		}
	}
	return out
}

func (w *world) head() eventlog.Position {
	w.t.Helper()
	h, err := w.log.Head(w.ctx)
	require.NoError(w.t, err)
	return h
}

// deliver hands messages to a projector, as a router does.
func (w *world) deliver(p *projection.Projector, batches ...eventlog.Batch) {
	w.t.Helper()
	for _, b := range batches {
		body, err := eventlog.MarshalBatch(b)
		require.NoError(w.t, err)
		msg := message.NewMessage(fmt.Sprintf("%d-%d-%d", b.Lane, b.First, b.Last), body)
		ctx, cancel := context.WithTimeout(w.ctx, patience)
		msg.SetContext(ctx)
		require.NoError(w.t, p.Handler(b.Lane)(msg))
		cancel()
	}
}

// feed delivers everything there is, one event a message.
func (w *world) feed(p *projection.Projector) { w.t.Helper(); w.deliver(p, w.batches(1)...) }

// verify holds the read model to the fold of the log, every row of it.
func (w *world) verify() {
	w.t.Helper()
	r, err := w.projector().Verify(w.ctx, w.log, projection.VerifyConfig{Limit: 5})
	require.NoError(w.t, err)
	require.Empty(w.t, r.Differences)
	require.Equal(w.t, len(w.people), r.Customers)
}

// caughtUp waits until every lane is at its head.
func (w *world) caughtUp() {
	w.t.Helper()
	heads, err := w.log.LaneHeads(w.ctx)
	require.NoError(w.t, err)
	require.Eventually(w.t, func() bool {
		checkpoints, err := w.store.Checkpoints(w.ctx)
		if err != nil {
			return false
		}
		behind := len(heads)
		for _, c := range checkpoints {
			if c.Position == heads[c.Lane] && heads[c.Lane] > 0 {
				behind--
			}
		}
		return behind == 0
	}, patience, 5*time.Millisecond)
}

func (w *world) entry(id customer.ID) query.Entry {
	w.t.Helper()
	e, err := w.reader.Entry(w.ctx, id)
	require.NoError(w.t, err)
	return e
}

func (w *world) exec(sql string, args ...any) {
	w.t.Helper()
	_, err := w.readModel.Exec(w.ctx, sql, args...)
	require.NoError(w.t, err)
}

// workload makes customers live random lives, n events in all, some of them
// erased.
func (w *world) workload(rnd *rand.Rand, customers, n int) {
	w.t.Helper()
	people := make([]*person, customers)
	var items []eventlog.Append
	for i := range people {
		p := &person{id: uuid.Must(uuid.NewV7())}
		var err error
		p.key, p.wrapped, err = w.keyring.NewSubjectKey(p.id)
		require.NoError(w.t, err)
		w.people[p.id], people[i] = p, p
		items = append(items, w.item(p, customer.Registered{
			At: w.now(), FirstName: "Ada", Email: customer.Email(fmt.Sprintf("p%d@example.com", i)), Tags: []customer.Tag{"new"},
		}))
	}
	w.appendAll(items...)
	for done := customers; done < n; {
		items = items[:0]
		for _, i := range rnd.Perm(customers)[:min(customers, 50, n-done)] {
			if people[i].gone {
				continue
			}
			items = append(items, w.item(people[i], w.randomEvent(rnd, people[i])))
		}
		if len(items) == 0 {
			return
		}
		done += len(items)
		w.appendAll(items...)
	}
}

func (w *world) randomEvent(rnd *rand.Rand, p *person) customer.Event {
	at, n := w.now(), rnd.IntN(1000)
	address := customer.AddressID(uuid.NewSHA1(p.id, []byte{byte(n % 3)}))
	switch n % 16 {
	case 0:
		return customer.Renamed{At: at, FirstName: customer.Name(fmt.Sprintf("Zoë %d", n)), LastName: "Đặng"}
	case 1:
		return customer.EmailChanged{At: at, Email: customer.Email(fmt.Sprintf("n%d@example.com", n))}
	case 2:
		return customer.PhoneChanged{At: at, Phone: "+14155552671"}
	case 3:
		return customer.LocaleChanged{At: at, Locale: "vi-VN"}
	case 4:
		return customer.ExternalIDChanged{At: at, ExternalID: customer.ExternalID(fmt.Sprintf("crm-%d", n))}
	case 5, 6:
		return customer.AddressAdded{At: at, Address: customer.Address{
			ID: address, Line1: "1 Rue <de> Rivoli", City: "Paris", Country: "FR", DefaultFor: []customer.AddressUse{customer.UseBilling},
		}}
	case 7:
		return customer.AddressRemoved{At: at, AddressID: address}
	case 8:
		return customer.Tagged{At: at, Tag: customer.Tag(fmt.Sprintf("t%d", n%5))}
	case 9:
		return customer.Untagged{At: at, Tag: customer.Tag(fmt.Sprintf("t%d", n%5))}
	case 10:
		return customer.MetadataChanged{At: at, Set: map[string]string{"plan.now": fmt.Sprint(n)}, Removed: []string{"gone"}}
	case 11:
		return customer.ConsentGranted{At: at, Channel: customer.ChannelEmail, Source: "checkout", Wording: "yes"}
	case 12:
		return customer.ConsentWithdrawn{At: at, Channel: customer.ChannelEmail, Source: "call"}
	case 13:
		return customer.Suspended{At: at, Reason: "unpaid"}
	case 14:
		return customer.Deleted{At: at}
	default:
		if n < 100 {
			return customer.Erased{At: at, Actor: "dpo", Reason: "asked", KeyID: p.wrapped.ID()}
		}
		return customer.Restored{At: at}
	}
}
