package command_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/ebrahem-outlook/customer-service/internal/command"
	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
	"github.com/ebrahem-outlook/customer-service/internal/postgres"
	"github.com/ebrahem-outlook/customer-service/internal/postgres/postgrestest"
	"github.com/ebrahem-outlook/customer-service/internal/privacy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait of a test; a shared machine is slow at times.
const patience = 30 * time.Second

// world is one event log that any number of replicas work on.
type world struct {
	t    testing.TB
	db   postgrestest.Database
	pool *pgxpool.Pool
	log  *postgres.Log
	keys *privacy.Keyring
}

func newWorld(t testing.TB) *world {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keyring.json")
	require.NoError(t, privacy.InitKeyring(path))
	keys, err := privacy.LoadKeyring(path)
	require.NoError(t, err)
	db := postgrestest.EventLog(t)
	pool := db.PoolWith(t, postgres.PoolConfig{Role: postgres.RoleCommand, MaxConns: 32})
	return &world{t: t, db: db, pool: pool, log: postgres.NewLog(pool), keys: keys}
}

// replica is one process's worth of the write side.
type replica struct {
	*command.Service
	appender *command.Appender
	probe    *probe
}

func (w *world) replica() replica {
	w.t.Helper()
	return w.replicaWith(command.AppenderConfig{MaxWait: patience}, command.Config{MaxWait: patience})
}

func (w *world) replicaWith(ac command.AppenderConfig, sc command.Config) replica {
	w.t.Helper()
	p := &probe{log: w.log}
	appender := w.appender(p, ac)
	service, err := command.New(command.Deps{
		Log: w.log, Claims: postgres.NewLog(w.pool), Appender: appender, Codec: eventlog.NewCodec(), Keys: w.keys,
		Now: time.Now,
	}, sc)
	require.NoError(w.t, err)
	w.t.Cleanup(service.Close)
	return replica{Service: service, appender: appender, probe: p}
}

func (w *world) appender(log eventlog.Appender, cfg command.AppenderConfig) *command.Appender {
	w.t.Helper()
	a, err := command.NewAppender(log, slog.New(slog.DiscardHandler), cfg)
	require.NoError(w.t, err)
	require.NoError(w.t, a.Start(w.t.Context()))
	w.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		require.NoError(w.t, a.Stop(ctx))
	})
	return a
}

// count is how many rows a query of one number finds.
func (w *world) count(query string, args ...any) int {
	w.t.Helper()
	var n int
	require.NoError(w.t, w.pool.QueryRow(w.t.Context(), query, args...).Scan(&n))
	return n
}

// requireDense checks that the customer's versions are 1 … n.
func (w *world) requireDense(id customer.ID, n int) {
	w.t.Helper()
	require.Equal(w.t, n, w.count("SELECT count(*) FROM eventlog.events WHERE customer_id = $1", id))
	require.Equal(w.t, n, w.count("SELECT max(version) FROM eventlog.events WHERE customer_id = $1", id))
	require.Equal(w.t, n, w.count("SELECT version FROM eventlog.streams WHERE customer_id = $1", id))
}

// probe stands between an Appender and the log. It checks what the log's
// contract asks of a batch, and lets a test hold, break or hide a call.
type probe struct {
	log    eventlog.Appender
	before atomic.Pointer[func(ctx context.Context, items []eventlog.Append) error]
	after  atomic.Pointer[func(outcomes []eventlog.Outcome, err error) ([]eventlog.Outcome, error)]

	mu      sync.Mutex
	sizes   []int
	flying  map[any]bool
	clashes []string
}

func (p *probe) AppendBatch(ctx context.Context, items []eventlog.Append) ([]eventlog.Outcome, error) {
	names := p.takeOff(items)
	defer p.land(names)
	if f := p.before.Load(); f != nil {
		if err := (*f)(ctx, items); err != nil {
			return nil, err
		}
	}
	outcomes, err := p.log.AppendBatch(ctx, items)
	if f := p.after.Load(); f != nil {
		return (*f)(outcomes, err)
	}
	return outcomes, err
}

func (p *probe) takeOff(items []eventlog.Append) (names []any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.flying == nil {
		p.flying = map[any]bool{}
	}
	p.sizes = append(p.sizes, len(items))
	for _, it := range items {
		own := []any{it.CustomerID}
		for _, c := range append(it.Take, it.Free...) {
			own = append(own, c)
		}
		if it.Idempotency != nil {
			own = append(own, [2]string{it.Idempotency.Principal, it.Idempotency.Key})
		}
		for _, n := range own {
			if p.flying[n] {
				p.clashes = append(p.clashes, fmt.Sprint(n))
			}
			p.flying[n] = true
		}
		names = append(names, own...)
	}
	return names
}

func (p *probe) land(names []any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, n := range names {
		delete(p.flying, n)
	}
}

func (p *probe) requireNoClash(t testing.TB) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	require.Empty(t, p.clashes, "each customer, claim and key at most once with the log")
}

func (p *probe) onBefore(f func(ctx context.Context, items []eventlog.Append) error) {
	p.before.Store(&f)
}

func (p *probe) onAfter(f func([]eventlog.Outcome, error) ([]eventlog.Outcome, error)) {
	p.after.Store(&f)
}

var serial atomic.Int64

func registration() customer.Registration {
	return customer.Registration{
		FirstName: "Ada", LastName: "Lovelace",
		Email: customer.Email(fmt.Sprintf("ada.%d@example.com", serial.Add(1))),
	}
}

func asking() command.Request {
	return command.Request{Principal: "tester", CorrelationID: "c-1", SuccessStatus: http.StatusOK}
}

// keyed is a request with an idempotency key and a body to be told by.
func keyed(key, body string) command.Request {
	r := asking()
	r.IdempotencyKey, r.SuccessStatus = key, http.StatusCreated
	copy(r.RequestDigest[:], body)
	return r
}

func rename(to string) customer.Change {
	name := customer.Name(to)
	return customer.Change{FirstName: &name}
}

func moveTo(email customer.Email) customer.Change { return customer.Change{Email: &email} }

// loseLastEvent makes the log forget a customer's last event, as the owner of
// the schema can.
func (w *world) loseLastEvent(id customer.ID) {
	w.t.Helper()
	owner := w.db.Pool(w.t, "")
	for _, statement := range []string{
		"ALTER TABLE eventlog.events DISABLE TRIGGER events_are_facts",
		"UPDATE eventlog.streams SET version = version - 1 WHERE customer_id = '" + id.String() + "'",
		"DELETE FROM eventlog.events e USING eventlog.streams s WHERE s.customer_id = e.customer_id AND e.version > s.version",
	} {
		_, err := owner.Exec(w.t.Context(), statement)
		require.NoError(w.t, err)
	}
}
