package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/e2e/cluster"
)

// rebuiltVariable chooses how many events TestARebuildUnderLoad rebuilds, besides
// those of its load.
const rebuiltVariable = "E2E_REBUILD_EVENTS"

func rebuiltEvents(t *testing.T) int {
	t.Helper()
	text, set := os.LookupEnv(rebuiltVariable)
	if !set {
		return 20_000
	}
	n, err := strconv.Atoi(text)
	require.NoError(t, err, rebuiltVariable)
	return n
}

// derivedTables are those that a rebuild makes anew.
var derivedTables = []string{"documents", "history", "listing", "parked"}

// The read model is rebuilt while customers are registered, changed, deleted,
// erased and read. The rebuild is killed while it fills and while it switches.
// No read fails or is older than its token, and the outcome is the same rows.
func TestARebuildUnderLoad(t *testing.T) {
	events := rebuiltEvents(t)
	c := cluster.New(t, stack, cluster.Size{Projectors: 2, Queries: 2})
	ctx := cluster.Within(t, 2*time.Minute+time.Duration(events)*2*time.Millisecond)
	seed(ctx, t, c, events)

	l := startLoad(t, c, 3)
	readers := startReaders(t, l, 3)
	l.progress(ctx, t, 100)

	release := holdFilling(ctx, t, c)
	killed := startRebuild(ctx, t, c, "--workers=1")
	killed.reaches(ctx, t, c, `state = 'filling' AND done >= total / 3`)
	killed.kill(t)
	var done, total int
	require.NoError(t, c.ReadModel().QueryRow(ctx, `SELECT done, total FROM readmodel.rebuild`).Scan(&done, &total))
	require.Less(t, done, total)
	awaitStatus(ctx, t, l.client, serviceStatus{Generation: 1, Rebuild: &rebuildStatus{Generation: 2, Done: done, Total: total}})
	release()
	t.Logf("killed with %d of %d events folded", done, total)
	gone := eraseSome(ctx, t, c, l.client)

	// A transaction that reads keeps the switch from taking place; nobody else
	// may notice.
	held, err := c.ReadModel().Begin(ctx)
	require.NoError(t, err)
	defer func() { _ = held.Rollback(context.Background()) }()
	_, err = held.Exec(ctx, `SELECT count(*) FROM readmodel.documents WHERE false`)
	require.NoError(t, err)
	killed = startRebuild(ctx, t, c)
	killed.reaches(ctx, t, c, `state = 'switching'`)
	var folded int
	require.NoError(t, c.ReadModel().QueryRow(ctx, `SELECT done FROM readmodel.rebuild`).Scan(&folded))
	require.GreaterOrEqual(t, folded, done, "what was folded before the kill counts")
	second, err := owner(ctx, c, "rebuild").CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(second), "another process is rebuilding")
	l.progress(ctx, t, 100)
	killed.kill(t)
	require.NoError(t, held.Rollback(ctx))
	require.Equal(t, 1, liveGeneration(ctx, t, c))

	began := time.Now()
	out, err := owner(ctx, c, "rebuild", "--keep-old").CombinedOutput()
	require.NoError(t, err, "%s", out)
	t.Logf("the third run ended after %s", time.Since(began).Round(time.Millisecond))
	require.Equal(t, 2, liveGeneration(ctx, t, c))
	compareGenerations(ctx, t, c)
	l.progress(ctx, t, 100)
	readers.stop(t)
	l.stop(t)
	requireReadModelEqualsLog(t, c)
	awaitStatus(ctx, t, l.client, serviceStatus{Generation: 2})
	requireGone(ctx, t, c, l.client, gone)

	// At rest, byte for byte what was live.
	before := checksums(ctx, t, c, "readmodel")
	out, err = owner(ctx, c, "rebuild", "--keep-old").CombinedOutput()
	require.NoError(t, err, "%s", out)
	t.Logf("%s", out)
	require.Equal(t, before, checksums(ctx, t, c, "readmodel"))
	require.Equal(t, before, checksums(ctx, t, c, "readmodel_old"))
	out, err = owner(ctx, c, "rebuild", "--drop-old").CombinedOutput()
	require.NoError(t, err, "%s", out)
	var left int
	require.NoError(t, c.ReadModel().QueryRow(ctx,
		`SELECT count(*) FROM pg_namespace WHERE nspname IN ('readmodel_next', 'readmodel_old')`).Scan(&left))
	require.Zero(t, left)
	l.requireAllInLog(t)
}

// owner is a task of the projector under the login that migrates.
func owner(ctx context.Context, c *cluster.Cluster, args ...string) *exec.Cmd {
	cmd := c.Command(ctx, "projector", args...)
	cmd.Env = append(cmd.Env, "EVENTLOG_DATABASE_URL="+c.EventLogURL, "READMODEL_DATABASE_URL="+c.ReadModelURL)
	return cmd
}

type rebuildRun struct {
	cmd   *exec.Cmd
	log   string
	ended chan struct{}
}

func startRebuild(ctx context.Context, t *testing.T, c *cluster.Cluster, args ...string) *rebuildRun {
	t.Helper()
	r := &rebuildRun{cmd: owner(ctx, c, append([]string{"rebuild"}, args...)...), log: filepath.Join(t.TempDir(), "rebuild.log")}
	file, err := os.Create(r.log)
	require.NoError(t, err)
	defer file.Close()
	r.cmd.Stdout, r.cmd.Stderr = file, file
	require.NoError(t, r.cmd.Start())
	r.ended = make(chan struct{})
	go func() {
		defer close(r.ended)
		_ = r.cmd.Wait()
	}()
	t.Cleanup(func() { _ = r.cmd.Process.Kill(); <-r.ended })
	return r
}

func (r *rebuildRun) kill(t *testing.T) {
	t.Helper()
	r.requireRunning(t)
	require.NoError(t, r.cmd.Process.Kill())
	<-r.ended
}

func (r *rebuildRun) requireRunning(t *testing.T) {
	t.Helper()
	select {
	case <-r.ended:
		text, _ := os.ReadFile(r.log)
		t.Fatalf("the rebuild ended by itself: %s\n%s", r.cmd.ProcessState, text)
	default:
	}
}

// reaches waits until readmodel.rebuild says what.
func (r *rebuildRun) reaches(ctx context.Context, t *testing.T, c *cluster.Cluster, what string) {
	t.Helper()
	err := cluster.Poll(ctx, 2*time.Millisecond, func() bool {
		var so bool
		err := c.ReadModel().QueryRow(ctx, `SELECT EXISTS (SELECT FROM readmodel.rebuild WHERE `+what+`)`).Scan(&so)
		if err != nil || !so {
			r.requireRunning(t)
		}
		return err == nil && so
	})
	require.NoError(t, err, what)
}

// holdFilling stops a rebuild with a third of the events folded, until released:
// it may be through with all of them before anybody looks.
func holdFilling(ctx context.Context, t *testing.T, c *cluster.Cluster) (release func()) {
	t.Helper()
	held, err := c.ReadModel().Begin(ctx)
	require.NoError(t, err)
	t.Cleanup(func() { _ = held.Rollback(context.Background()) })
	_, err = held.Exec(ctx, `SELECT pg_advisory_xact_lock(1)`)
	require.NoError(t, err)
	_, err = c.ReadModel().Exec(ctx, `
		CREATE FUNCTION readmodel.hold() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN PERFORM pg_advisory_xact_lock(1); RETURN NEW; END $$;
		CREATE TRIGGER hold BEFORE UPDATE OF done ON readmodel.rebuild
		FOR EACH ROW WHEN (OLD.done >= OLD.total / 3) EXECUTE FUNCTION readmodel.hold()`)
	require.NoError(t, err)
	return func() {
		require.NoError(t, held.Rollback(ctx))
		_, err := c.ReadModel().Exec(ctx, `DROP FUNCTION readmodel.hold CASCADE`)
		require.NoError(t, err)
	}
}

// serviceStatus is what GET /v1/status says of the views.
type serviceStatus struct {
	Generation int
	Rebuild    *rebuildStatus
}

type rebuildStatus struct{ Generation, Done, Total int }

// awaitStatus waits until a query API, which looks once a second, says so.
func awaitStatus(ctx context.Context, t *testing.T, client *cluster.Client, want serviceStatus) {
	t.Helper()
	require.NoError(t, cluster.Poll(ctx, 50*time.Millisecond, func() bool {
		a, err := client.Read(ctx, "/v1/status")
		require.NoError(t, err)
		var got serviceStatus
		require.NoError(t, json.Unmarshal(a.Body, &got), "%s", a.Body)
		return reflect.DeepEqual(want, got)
	}), "%+v", want)
}

func liveGeneration(ctx context.Context, t *testing.T, c *cluster.Cluster) (n int) {
	t.Helper()
	require.NoError(t, c.ReadModel().QueryRow(ctx, `SELECT generation FROM readmodel.generations WHERE state = 'live'`).Scan(&n))
	return n
}

// seed makes about so many events, five a customer.
func seed(ctx context.Context, t *testing.T, c *cluster.Cluster, events int) {
	t.Helper()
	began := time.Now()
	for _, changed := range []bool{false, true} {
		path := filepath.Join(t.TempDir(), "customers.ndjson")
		file, err := os.Create(path)
		require.NoError(t, err)
		out := bufio.NewWriter(file)
		for i := range events / 5 {
			p := importedPerson(i)
			if changed {
				p.FirstName, p.Locale, p.Tags, p.Metadata = "Chloë", "fr-FR", []string{"vip"}, map[string]string{"plan": "silver"}
			}
			_, err = fmt.Fprintln(out, p.json())
			require.NoError(t, err)
		}
		require.NoError(t, out.Flush())
		require.NoError(t, file.Close())
		text, err := c.Command(ctx, "command-api", "import", path).CombinedOutput()
		require.NoError(t, err, "%s", text)
	}
	require.NoError(t, cluster.Poll(ctx, 50*time.Millisecond, func() bool {
		left, err := behind(ctx, c)
		return err == nil && left == 0
	}))
	var n int
	require.NoError(t, c.EventLog().QueryRow(ctx, `SELECT count(*) FROM eventlog.events`).Scan(&n))
	t.Logf("%d events made and projected in %s", n, time.Since(began).Round(time.Millisecond))
}

// eraseSome erases customers of the seed and returns their ids.
func eraseSome(ctx context.Context, t *testing.T, c *cluster.Cluster, client *cluster.Client) []string {
	t.Helper()
	rows, err := c.EventLog().Query(ctx, `
		(SELECT customer_id::text FROM eventlog.streams ORDER BY customer_id LIMIT 10) UNION
		(SELECT customer_id::text FROM eventlog.streams WHERE version = 5 ORDER BY customer_id DESC LIMIT 10)`)
	require.NoError(t, err)
	ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	for _, id := range ids {
		a, _, err := client.Insist(ctx, http.MethodPost, "/v1/customers/"+id+"/erase", `{"reason":"asked"}`)
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, a.Status, "%s", a.Body)
	}
	return ids
}

func requireGone(ctx context.Context, t *testing.T, c *cluster.Cluster, client *cluster.Client, ids []string) {
	t.Helper()
	for _, id := range ids {
		read, err := client.Read(ctx, "/v1/customers/"+id)
		require.NoError(t, err)
		requireProblem(t, read, http.StatusGone, "customer-erased")
	}
	var left int
	require.NoError(t, c.ReadModel().QueryRow(ctx, `
		SELECT (SELECT count(*) FROM readmodel.history WHERE customer_id = ANY($1::text[]::uuid[]) AND (changes <> '[]' OR actor IS NOT NULL OR keyframe IS NOT NULL))
		     + (SELECT count(*) FROM readmodel.documents WHERE customer_id = ANY($1::text[]::uuid[]) AND document::text ~ 'Chlo|Zo|zoe')
		     + (SELECT count(*) FROM readmodel.listing WHERE customer_id = ANY($1::text[]::uuid[]))`, ids).Scan(&left))
	require.Zero(t, left, "rows of erased customers hold values")
}

// compareGenerations holds customers that had no event between the switch and
// the end of the retired generation to their retired rows.
func compareGenerations(ctx context.Context, t *testing.T, c *cluster.Cluster) {
	t.Helper()
	var compared, differing int
	require.NoError(t, c.ReadModel().QueryRow(ctx, `
		SELECT count(*), count(*) FILTER (WHERE o::text <> n::text)
		  FROM readmodel_old.documents o JOIN readmodel.documents n USING (customer_id) WHERE o.version = n.version`).Scan(&compared, &differing))
	require.Zero(t, differing, "of %d customers", compared)
	require.Positive(t, compared)
	require.NoError(t, c.ReadModel().QueryRow(ctx, `
		SELECT count(*) FROM readmodel_old.documents o LEFT JOIN readmodel.documents n USING (customer_id)
		 WHERE n.version IS NULL OR n.version < o.version`).Scan(&differing))
	require.Zero(t, differing, "customers went back")
	t.Logf("%d customers are the same in both generations", compared)
}

func checksums(ctx context.Context, t *testing.T, c *cluster.Cluster, schema string) map[string]string {
	t.Helper()
	sums := map[string]string{}
	for _, table := range derivedTables {
		var sum string
		// The sum of hashes needs no order.
		require.NoError(t, c.ReadModel().QueryRow(ctx, fmt.Sprintf(
			`SELECT count(*) || ' ' || coalesce(sum(hashtextextended(x::text, 0)), 0) FROM %s.%s x`, schema, table)).Scan(&sum))
		sums[table] = sum
	}
	return sums
}

// readers read what was just acknowledged, with its token, and by the way what
// they read before, without one.
type readers struct {
	cancel context.CancelFunc
	done   sync.WaitGroup
	reads  atomic.Int64
	slow   atomic.Int64 // the longest, in ns
	mu     sync.Mutex
	faults []string
}

func startReaders(t *testing.T, l *load, n int) *readers {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r := &readers{cancel: cancel}
	for range n {
		r.done.Go(func() {
			var known string
			for ctx.Err() == nil {
				l.mu.Lock()
				last := l.last
				l.mu.Unlock()
				if last.path == "" {
					continue
				}
				r.read(ctx, l.client, last, "Consistency-Token", last.token, "Prefer", "wait=10")
				if known != "" {
					r.read(ctx, l.client, ack{path: known, etag: `"1"`})
				}
				known = last.path
			}
		})
	}
	t.Cleanup(func() { cancel(); r.done.Wait() })
	return r
}

func (r *readers) read(ctx context.Context, client *cluster.Client, want ack, header ...string) {
	began := time.Now()
	a, err := client.Read(ctx, want.path, header...)
	if ctx.Err() != nil {
		return
	}
	took := int64(time.Since(began))
	for old := r.slow.Load(); took > old && !r.slow.CompareAndSwap(old, took); old = r.slow.Load() {
	}
	r.reads.Add(1)
	var fault string
	switch {
	case err != nil:
		fault = err.Error()
	case a.Status == http.StatusGone: // deleted since
	case a.Status != http.StatusOK:
		fault = fmt.Sprintf("%s answered %d: %s", want.path, a.Status, a.Body)
	case a.Header.Get("ETag") < want.etag: // versions stay below ten here
		fault = fmt.Sprintf("%s was read at %s, should be at %s", want.path, a.Header.Get("ETag"), want.etag)
	}
	if fault != "" {
		r.mu.Lock()
		r.faults = append(r.faults, fault)
		r.mu.Unlock()
	}
}

func (r *readers) stop(t *testing.T) {
	t.Helper()
	r.cancel()
	r.done.Wait()
	require.Empty(t, r.faults)
	t.Logf("%d reads, none failed or was stale; the longest took %s", r.reads.Load(), time.Duration(r.slow.Load()).Round(time.Millisecond))
}
