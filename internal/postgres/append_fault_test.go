package postgres_test

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
	"github.com/ebrahem-outlook/customer-service/internal/postgres"
	"github.com/ebrahem-outlook/customer-service/internal/postgres/postgrestest"
)

// cutter is a TCP proxy before PostgreSQL that breaks connections at the three
// points that matter to a commit.
type cutter struct {
	server string
	url    string
	on     atomic.Bool
	// How often a connection was cut before the request went on, right after
	// it went on, and after the server had answered (the answer is thrown away).
	before, behind, answered atomic.Int64
}

func newCutter(t *testing.T, db postgrestest.Database) *cutter {
	t.Helper()
	u, err := url.Parse(db.URL)
	require.NoError(t, err)
	c := &cutter{server: u.Host}
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			go c.serve(client)
		}
	}()
	u.Host = listener.Addr().String()
	c.url = u.String()
	return c
}

func (c *cutter) serve(client net.Conn) {
	defer func() { _ = client.Close() }()
	server, err := new(net.Dialer).DialContext(context.Background(), "tcp", c.server)
	if err != nil {
		return
	}
	defer func() { _ = server.Close() }()
	var dropReply atomic.Bool
	go func() {
		defer func() { _ = client.Close() }()
		buffer := make([]byte, 64<<10)
		for {
			n, err := server.Read(buffer)
			if err != nil {
				return
			}
			if dropReply.Load() {
				c.answered.Add(1)
				return
			}
			if _, err := client.Write(buffer[:n]); err != nil {
				return
			}
		}
	}()
	buffer := make([]byte, 64<<10)
	for {
		n, err := client.Read(buffer)
		if err != nil {
			return
		}
		fate := 100
		if c.on.Load() {
			fate = rand.IntN(100)
		}
		switch {
		case fate < 5:
			c.before.Add(1)
			return
		case fate < 15:
			dropReply.Store(true)
		}
		if _, err := server.Write(buffer[:n]); err != nil {
			return
		}
		if fate >= 15 && fate < 20 {
			c.behind.Add(1)
			return
		}
	}
}

// appendUntilKnown hands a batch in as the port's comment asks of a caller in
// doubt: the very same items until the outcome is known.
func appendUntilKnown(ctx context.Context, log *postgres.Log, batch []eventlog.Append) ([]eventlog.Outcome, error) {
	for {
		outcomes, err := log.AppendBatch(ctx, batch)
		if err == nil || !errors.Is(err, eventlog.ErrUnavailable) || ctx.Err() != nil {
			return outcomes, err
		}
	}
}

// appendUnderFire registers and changes customers that nobody else touches, so
// that anything but success is an effect doubled, lost or wrongly reported.
//
// committed, if not nil, is told of each commit.
func appendUnderFire(t *testing.T, fire, calm *postgres.Log, committed chan<- struct{}) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	const writers, rounds, items = 4, 30, 4
	histories := make([][][]eventlog.Append, writers)
	var all errgroup.Group
	for w := range writers {
		all.Go(func() error {
			batch := make([]eventlog.Append, items)
			for i := range batch {
				batch[i] = registration()
			}
			batch[0].Idempotency = nil // its event ids alone must tell
			for range rounds {
				outcomes, err := appendUntilKnown(ctx, fire, batch)
				if err != nil {
					return err
				}
				for i, o := range outcomes {
					if o.Verdict != eventlog.Appended || o.Version != batch[i].Expected+1 {
						return errors.New(o.Verdict.String())
					}
				}
				histories[w] = append(histories[w], batch)
				select {
				case committed <- struct{}{}:
				default:
				}
				next := make([]eventlog.Append, items)
				for i := range next {
					next[i] = following(batch[i])
				}
				batch = next
			}
			return nil
		})
	}
	require.NoError(t, all.Wait())
	for _, history := range histories {
		for i := range items {
			stream, err := calm.Load(ctx, history[0][i].CustomerID, 0)
			require.NoError(t, err)
			require.Equal(t, customer.Version(rounds), stream.Version)
			require.Len(t, stream.Events, rounds)
			require.Equal(t, history[0][i].NewKey, stream.Key)
			for v, batch := range history {
				require.Equal(t, batch[i].Events[0].EventID, stream.Events[v].EventID)
			}
		}
	}
}

// following changes the customer of an item, moving its claim.
func following(item eventlog.Append) eventlog.Append {
	next := registration()
	next.CustomerID, next.Expected, next.NewKey = item.CustomerID, item.Expected+1, nil
	next.Events[0].CustomerID, next.Events[0].Version = item.CustomerID, item.Expected+2
	next.Free = item.Take
	if item.Idempotency == nil {
		next.Idempotency = nil
		return next
	}
	next.Idempotency.CustomerID, next.Idempotency.Version = item.CustomerID, item.Expected+2
	return next
}

func TestAppendSurvivesLostReplies(t *testing.T) {
	t.Parallel()
	db := postgrestest.EventLog(t)
	proxy := newCutter(t, db)
	pool, err := postgres.OpenPool(context.Background(), postgres.PoolConfig{URL: proxy.url, Role: postgres.RoleCommand, MaxConns: 4})
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	proxy.on.Store(true)
	appendUnderFire(t, postgres.NewLog(pool), postgres.NewLog(db.Pool(t, "")), nil)
	require.GreaterOrEqual(t, proxy.before.Load(), int64(5))
	require.GreaterOrEqual(t, proxy.behind.Load(), int64(5))
	require.GreaterOrEqual(t, proxy.answered.Load(), int64(10))
	t.Logf("cut %d before, %d behind the request, %d replies", proxy.before.Load(), proxy.behind.Load(), proxy.answered.Load())
}

// TestAppendSurvivesKilledBackends kills a session after each commit, while
// other sessions, or the one that gets the next batch, are at work.
func TestAppendSurvivesKilledBackends(t *testing.T) {
	t.Parallel()
	db := postgrestest.EventLog(t)
	owner := db.Pool(t, "")
	pool := db.PoolWith(t, postgres.PoolConfig{Role: postgres.RoleCommand, ApplicationName: "under fire", MaxConns: 4})
	ctx, stop := context.WithCancel(context.Background())
	committed, killed := make(chan struct{}, 1), make(chan int64, 1)
	go func() {
		var n int64
		defer func() { killed <- n }()
		for {
			select {
			case <-ctx.Done():
				return
			case <-committed:
			}
			tag, err := owner.Exec(context.Background(), `
				SELECT pg_terminate_backend(pid) FROM pg_stat_activity
				 WHERE datname = current_database() AND application_name = 'under fire'
				 ORDER BY state = 'active' DESC, random() LIMIT 1`)
			if err == nil {
				n += tag.RowsAffected()
			}
		}
	}()
	appendUnderFire(t, postgres.NewLog(pool), postgres.NewLog(owner), committed)
	stop()
	n := <-killed
	require.GreaterOrEqual(t, n, int64(10))
	t.Logf("killed %d sessions", n)
}

func TestUnreachableLogIsUnavailable(t *testing.T) {
	t.Parallel()
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, listener.Close()) // nobody listens there now
	pool, err := postgres.OpenPool(context.Background(), postgres.PoolConfig{
		URL: "postgres://ada:canary@" + listener.Addr().String() + "/none?sslmode=disable",
	})
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	requireUnavailable(t, postgres.NewLog(pool))
}

func TestSilentLogIsUnavailable(t *testing.T) {
	t.Parallel()
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	go func() { // takes connections and never answers, as a stopped server does
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(io.Discard, conn) }()
		}
	}()
	pool, err := postgres.OpenPool(context.Background(), postgres.PoolConfig{
		URL: "postgres://ada:canary@" + listener.Addr().String() + "/none?sslmode=disable",
	})
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	requireUnavailable(t, postgres.NewLog(pool))
}

func requireUnavailable(t *testing.T, log *postgres.Log) {
	t.Helper()
	began := time.Now()
	for _, call := range []func(context.Context) error{
		func(ctx context.Context) error {
			_, err := log.AppendBatch(ctx, []eventlog.Append{registration()})
			require.ErrorIs(t, err, eventlog.ErrUntouched, "nothing reached the server")
			return err
		},
		func(ctx context.Context) error { _, err := log.Load(ctx, registration().CustomerID, 0); return err },
		func(ctx context.Context) error { _, err := log.Head(ctx); return err },
	} {
		ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
		err := call(ctx)
		cancel()
		require.ErrorIs(t, err, eventlog.ErrUnavailable)
		require.NotContains(t, err.Error(), "canary")
	}
	require.Less(t, time.Since(began), 10*time.Second)
}

// TestLockedStreamIsUnavailable has somebody hold a row for longer than the
// lock timeout allows.
func TestLockedStreamIsUnavailable(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	db := postgrestest.EventLog(t)
	log := postgres.NewLog(db.PoolWith(t, postgres.PoolConfig{Role: postgres.RoleCommand, LockTimeout: 20 * time.Millisecond}))
	first := registration()
	_, err := log.AppendBatch(ctx, []eventlog.Append{first})
	require.NoError(t, err)

	tx, err := db.Pool(t, "").Begin(ctx)
	require.NoError(t, err)
	_, err = tx.Exec(ctx, "SELECT FROM eventlog.streams FOR UPDATE")
	require.NoError(t, err)
	second := following(first)
	_, err = log.AppendBatch(ctx, []eventlog.Append{second})
	require.ErrorIs(t, err, eventlog.ErrUntouched, "each run was rolled back")
	require.NoError(t, tx.Rollback(ctx))
	outcomes, err := log.AppendBatch(ctx, []eventlog.Append{second})
	require.NoError(t, err)
	require.Equal(t, []eventlog.Outcome{{Version: 2}}, outcomes)
}
