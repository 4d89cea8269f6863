package postgres_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
	"github.com/ebrahem-outlook/customer-service/internal/postgres"
	"github.com/ebrahem-outlook/customer-service/internal/postgres/postgrestest"
)

// newcomers are registrations as an import has them, enough to be copied.
func newcomers(n int) []eventlog.Append {
	out := make([]eventlog.Append, n)
	for i := range out {
		out[i] = registration()
		out[i].Idempotency = nil
		out[i].Take = append(out[i].Take, eventlog.Claim{Kind: eventlog.ClaimExternalID, Digest: [32]byte(random(32))})
	}
	return out
}

const copied = 300

// TestCopiedIsWhatAppendBatchWrites compares what is in the tables after copying
// with what append_batch writes for the same items.
func TestCopiedIsWhatAppendBatchWrites(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	batch := newcomers(600) // more than append_batch is given at once
	batch[7].Events[0].Personal = nil
	batch[8].Take = nil
	second := batch[9].Events[0]
	second.EventID, second.Version = registration().CustomerID, 2
	batch[9].Events = append(batch[9].Events, second)
	var tables [2]map[string]string
	for i, parts := range [][][]eventlog.Append{{batch}, {batch[:200], batch[200:400], batch[400:]}} {
		db := postgrestest.EventLog(t)
		log := postgres.NewLog(db.Pool(t, postgres.RoleCommand))
		for _, part := range parts {
			outcomes, err := log.AppendBatch(ctx, part)
			require.NoError(t, err)
			for j, o := range outcomes {
				require.Equal(t, eventlog.Outcome{Version: part[j].Events[len(part[j].Events)-1].Version}, o)
			}
		}
		tables[i] = map[string]string{}
		for table, columns := range map[string]string{
			"streams": "customer_id, version", "claims": "kind, digest, customer_id", "subject_keys": "customer_id, wrapped_key, kek",
			// In the order of ids, which is the batch's.
			"events": "customer_id, version, event_id, type, schema_version, slot, data, personal, metadata, recorded_at",
		} {
			order := columns
			if table == "events" {
				order = "id"
			}
			var rows string
			require.NoError(t, db.Pool(t, "").QueryRow(ctx, "SELECT string_agg(r::text, E'\\n') FROM (SELECT "+columns+
				" FROM eventlog."+table+" ORDER BY "+order+") r").Scan(&rows))
			tables[i][table] = rows
		}
		var transactions int
		require.NoError(t, db.Pool(t, "").QueryRow(ctx, "SELECT count(DISTINCT xid) FROM eventlog.events").Scan(&transactions))
		require.Equal(t, len(parts), transactions, "a part is one transaction")
	}
	require.Equal(t, tables[1], tables[0])
}

// TestEachOfACopiedBatchHasItsVerdict: one that cannot be stored, or whose
// claim is taken, keeps none of the others out.
func TestEachOfACopiedBatchHasItsVerdict(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	db := postgrestest.EventLog(t)
	log := postgres.NewLog(db.Pool(t, postgres.RoleCommand))
	there := newcomers(copied)
	_, err := log.AppendBatch(ctx, there)
	require.NoError(t, err)

	batch := newcomers(2 * copied)
	batch[0].Take[0] = there[5].Take[0]
	batch[copied].Take[1] = there[6].Take[1]
	batch[2*copied-1] = there[7] // the same item again, as a caller in doubt hands it in
	outcomes, err := log.AppendBatch(ctx, batch)
	require.NoError(t, err)
	check := func(special map[int]eventlog.Outcome) {
		for i, o := range outcomes {
			want, ok := special[i]
			if !ok {
				want = eventlog.Outcome{Version: 1}
			}
			if o.Err != nil {
				require.NotContains(t, o.Err.Error(), "canary")
				o.Err = nil
			}
			require.Equal(t, want, o, i)
		}
	}
	check(map[int]eventlog.Outcome{
		0:            {Verdict: eventlog.ClaimTaken, Claim: eventlog.ClaimEmail},
		copied:       {Verdict: eventlog.ClaimTaken, Claim: eventlog.ClaimExternalID},
		2*copied - 1: {Version: 1, Earlier: true},
	})
	require.EqualValues(t, 3*copied-3, countRows(t, db)["streams"])

	batch = newcomers(copied)
	batch[1].Events[0].Data = json.RawMessage(`{"canary":"\u0000"}`)
	batch[2].NewKey.Wrapped = nil
	batch[3].Take[0] = there[8].Take[0]
	strayKey(t, db, &batch[4])
	outcomes, err = log.AppendBatch(ctx, batch)
	require.NoError(t, err)
	check(map[int]eventlog.Outcome{
		1: {Verdict: eventlog.Refused}, 2: {Verdict: eventlog.Refused}, 4: {Verdict: eventlog.Refused},
		3: {Verdict: eventlog.ClaimTaken, Claim: eventlog.ClaimEmail},
	})
	rows := countRows(t, db)
	require.EqualValues(t, 4*copied-7, rows["streams"])
	require.Equal(t, rows["streams"], rows["events"])
	require.Equal(t, 2*rows["streams"], rows["claims"])
}

// TestCopiedBatchesThatShareClaims: of two batches that want the same values at
// the same time each value goes to one, and neither batch waits for ever.
func TestCopiedBatchesThatShareClaims(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	db := postgrestest.EventLog(t)
	pool := db.PoolWith(t, postgres.PoolConfig{Role: postgres.RoleCommand, MaxConns: 8})
	const batches = 4
	all := make([][]eventlog.Append, batches)
	for i := range all {
		all[i] = newcomers(copied)
	}
	for i := range copied / 2 {
		for j := range all { // in another order in each
			all[j][(i*7+j*31)%copied].Take = all[0][(i*7)%copied].Take
		}
	}
	var every sync.WaitGroup
	outcomes, errs := make([][]eventlog.Outcome, batches), make([]error, batches)
	for j := range all {
		every.Go(func() { outcomes[j], errs[j] = postgres.NewLog(pool).AppendBatch(ctx, all[j]) })
	}
	every.Wait()
	landed := 0
	for j := range all {
		require.NoError(t, errs[j])
		for _, o := range outcomes[j] {
			if o.Verdict == eventlog.Appended {
				landed++
			} else {
				require.Equal(t, eventlog.ClaimTaken, o.Verdict)
			}
		}
	}
	require.Equal(t, batches*copied-(batches-1)*copied/2, landed)
	rows := countRows(t, db)
	require.EqualValues(t, landed, rows["streams"])
	require.EqualValues(t, 2*landed, rows["claims"])
}

// TestCopiedBatchesUnderFire cuts connections at every point of the copying,
// between it and its commit, and after that.
func TestCopiedBatchesUnderFire(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	db := postgrestest.EventLog(t)
	fire := newCutter(t, db)
	pool, err := postgres.OpenPool(ctx, postgres.PoolConfig{URL: fire.url, Role: postgres.RoleCommand, MaxConns: 4})
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	log := postgres.NewLog(pool)
	fire.on.Store(true)
	var writers sync.WaitGroup
	const rounds = 12
	for range 2 {
		writers.Go(func() {
			for range rounds {
				outcomes, err := appendUntilKnown(ctx, log, newcomers(copied))
				if err != nil {
					t.Errorf("append: %v", err)
					return
				}
				for _, o := range outcomes {
					if o.Earlier = false; o != (eventlog.Outcome{Version: 1}) {
						t.Errorf("%+v", o)
					}
				}
			}
		})
	}
	writers.Wait()
	require.Positive(t, fire.before.Load()+fire.behind.Load()+fire.answered.Load())
	rows := countRows(t, db)
	const want = 2 * rounds * copied
	require.Equal(t, []int64{want, want, want, 2 * want}, []int64{rows["streams"], rows["events"], rows["subject_keys"], rows["claims"]})
}

// TestCommitOfACopyIsNotAnswered: its client has to find out what became of it,
// also while it is still on its way.
func TestCommitOfACopyIsNotAnswered(t *testing.T) {
	t.Parallel()
	for name, delayed := range map[string]bool{"committed": false, "on its way": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			db := postgrestest.EventLog(t)
			u, err := url.Parse(db.URL)
			require.NoError(t, err)
			listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
			require.NoError(t, err)
			t.Cleanup(func() { _ = listener.Close() })
			server := u.Host
			u.Host = listener.Addr().String()
			held, release := make(chan struct{}), make(chan struct{})
			if !delayed {
				close(release)
			}
			var once atomic.Bool
			go func() {
				for {
					client, err := listener.Accept()
					if err != nil {
						return
					}
					go cutCommit(client, server, &once, held, release)
				}
			}()
			pool, err := postgres.OpenPool(ctx, postgres.PoolConfig{URL: u.String(), Role: postgres.RoleCommand, MaxConns: 2})
			require.NoError(t, err)
			t.Cleanup(pool.Close)
			batch := newcomers(copied)
			answered := make(chan []eventlog.Outcome, 1)
			go func() {
				outcomes, err := appendUntilKnown(ctx, postgres.NewLog(pool), batch)
				if err != nil {
					t.Errorf("append: %v", err)
				}
				answered <- outcomes
			}()
			<-held
			if delayed { // until the second attempt waits for what the first has locked
				owner := db.Pool(t, "")
				require.Eventually(t, func() bool {
					var waiting bool
					err := owner.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_stat_activity
						WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%append_batch%')`).Scan(&waiting)
					return err == nil && waiting
				}, 30*time.Second, 5*time.Millisecond)
				close(release)
			}
			for _, o := range <-answered {
				o.Earlier = false
				require.Equal(t, eventlog.Outcome{Version: 1}, o)
			}
			rows := countRows(t, db)
			require.Equal(t, []int64{copied, copied, 2 * copied}, []int64{rows["streams"], rows["events"], rows["claims"]})
		})
	}
}

// cutCommit is a proxy for one connection. At the first COMMIT it hangs up on
// the client, and delivers it when released.
func cutCommit(client net.Conn, address string, once *atomic.Bool, held, release chan struct{}) {
	defer func() { _ = client.Close() }()
	server, err := new(net.Dialer).DialContext(context.Background(), "tcp", address)
	if err != nil {
		return
	}
	defer func() { _ = server.Close() }()
	go func() {
		_, _ = io.Copy(client, server)
		_ = client.Close()
	}()
	buffer := make([]byte, 64<<10)
	for {
		n, err := client.Read(buffer)
		if err != nil {
			return
		}
		if bytes.Equal(buffer[:n], []byte("Q\x00\x00\x00\x0bCOMMIT\x00")) && once.CompareAndSwap(false, true) {
			_ = client.Close()
			close(held)
			<-release
			_, _ = server.Write(buffer[:n])
			_, _ = server.Read(buffer[:1]) // until it is done
			return
		}
		if _, err := server.Write(buffer[:n]); err != nil {
			return
		}
	}
}
