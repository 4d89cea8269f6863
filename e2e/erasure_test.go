package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/e2e/cluster"
	"github.com/ebrahem-outlook/customer-service/internal/devstack"
)

// marked is a customer with a mark in every value it ever had.
type marked struct {
	id, path string
	marks    []string
	record   []byte // of its erasure
	token    string // of its last command
}

// An erasure holds: in the files of all services once the window is closed, in
// backups taken before it, in messages delivered again, in a read model filled
// anew, and in a backup restored with the list of erasures replayed. Customers
// that live are the control: what is sought is found where they are.
func TestAnErasureHolds(t *testing.T) {
	// A server of its own, for its files are scanned.
	dir, err := filepath.Abs(filepath.Join("..", ".local", "e2e-erasure"))
	require.NoError(t, err)
	start, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	private, err := devstack.Start(start, devstack.Config{Dir: dir, Fresh: true, Install: true, Log: os.Stderr})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, private.Stop()) })
	c := cluster.New(t, private, cluster.Size{Commands: 2})
	client := c.NewClient()
	ctx := cluster.Within(t, 3*time.Minute)
	began := time.Now()
	messages := spy(t, c)
	awaitCache(t, c, client)

	var gone, living []*marked
	for i := range 12 {
		gone = append(gone, newMarked(t, c, client, i))
	}
	for i := range 3 {
		living = append(living, newMarked(t, c, client, 100+i))
	}
	requireApplied(t, c)
	// Collected now, statistics would keep values beyond the erasure.
	execute(t, ctx, c.EventLog(), "ANALYZE")
	execute(t, ctx, c.ReadModel(), "ANALYZE")
	captured := messages()
	require.NotEmpty(t, captured)

	var marks []string
	for _, m := range gone {
		marks = append(marks, m.marks...)
	}
	keys := wrappedKeys(t, c, gone)
	require.Len(t, keys, len(gone))
	seek := newScanner(t, append(forms(marks), keys...))
	control := newScanner(t, forms(living[0].marks))
	execute(t, ctx, c.EventLog(), "CHECKPOINT")
	before := seek.inDirectory(t, private.Postgres().DataDir())
	for i, key := range keys {
		require.NotZero(t, before.of[len(seek.seeks)-len(keys)+i], "the scan finds the key %x", key)
	}
	dumpRedis(t, c)
	require.NotZero(t, seek.inDirectory(t, private.Redis().DataDir()).places(), "the scan finds what Redis has")

	withoutKeys, onlyKeys := filepath.Join(t.TempDir(), "log.dump"), filepath.Join(t.TempDir(), "keys.dump")
	runTool(t, "pg_dump", "--format=custom", "--exclude-table-data=eventlog.subject_keys", "--file="+withoutKeys, c.EventLogURL)
	runTool(t, "pg_dump", "--format=custom", "--data-only", "--table=eventlog.subject_keys", "--file="+onlyKeys, c.EventLogURL)

	eraseAll(t, c, client, gone)
	requireApplied(t, c)
	var claims int
	require.NoError(t, c.EventLog().QueryRow(ctx, `SELECT count(*) FROM eventlog.claims WHERE customer_id = ANY ($1)`, ids(gone)).Scan(&claims))
	require.Zero(t, claims, "what an erased customer had claimed is free")
	requireErased(t, client, gone, living)

	execute(t, ctx, c.EventLog(), "CHECKPOINT")
	window := seek.inDirectory(t, private.Postgres().DataDir())
	closing := time.Now()
	closeWindow(t, c)
	closed := time.Since(closing)
	after := seek.inDirectory(t, private.Postgres().DataDir())
	require.Empty(t, after.where, "PostgreSQL's files hold values or keys of the erased")
	require.NotZero(t, control.inDirectory(t, private.Postgres().DataDir()).places(), "the scan finds who lives")
	dumpRedis(t, c)
	require.Empty(t, seek.inDirectory(t, private.Redis().DataDir()).where, "Redis holds values of the erased")
	require.NotZero(t, control.inDirectory(t, private.Redis().DataDir()).places(), "the scan finds who lives")
	require.Empty(t, seek.inDirectory(t, private.RabbitMQ().DataDir()).where, "RabbitMQ holds values of the erased")
	require.Empty(t, seek.inDirectory(t, filepath.Join(private.Dir(), "log")).where)
	require.Empty(t, seek.inDirectory(t, c.Dir).where, "logs of the processes")
	t.Logf("PostgreSQL: %d places before the erasure, %d after it, %d once the window was closed (%.1f s), in %d files of %d MB",
		before.places(), window.places(), after.places(), closed.Seconds(), after.files, after.bytes>>20)

	redeliver(t, c, captured)
	requireErased(t, client, gone, living)
	// A read model filled anew.
	execute(t, ctx, c.ReadModel(), "DROP SCHEMA readmodel CASCADE")
	migrate := c.Command(ctx, "projector", "migrate")
	migrate.Env = append(migrate.Env, "READMODEL_DATABASE_URL="+c.ReadModelURL) // as its owner
	out, err := migrate.CombinedOutput()
	require.NoError(t, err, "%s", out)
	requireReadModelEqualsLog(t, c)
	requireErased(t, client, gone, living)

	list := filepath.Join(t.TempDir(), "erasures.ndjson")
	out, err = c.Command(ctx, "command-api", "erasures", "export", "--out", list).CombinedOutput()
	require.NoError(t, err, "%s", out)
	listed, err := os.ReadFile(list)
	require.NoError(t, err)
	require.Empty(t, countIn(seek, listed), "the list holds personal data")
	require.Equal(t, len(gone)+1, strings.Count(string(listed), "\n"))

	// The backup without keys, and the keys that are still held.
	aside := restore(t, c, withoutKeys, "_a")
	erased, alive := openable(t, aside, c.EventLog(), c.KeysFile, gone)
	require.Zero(t, erased, "values of the erased open")
	require.NotZero(t, alive, "values of the living open")
	sealed := 0
	require.NoError(t, aside.QueryRow(ctx, `SELECT count(*) FROM eventlog.events WHERE customer_id = ANY ($1) AND personal IS NOT NULL`, ids(gone)).Scan(&sealed))
	require.Greater(t, sealed, len(gone), "the backup has sealed values to try")

	restored := restoreService(t, c, withoutKeys, onlyKeys, list, len(gone))
	again := restored.NewClient()
	requireErased(t, again, gone, living)
	erasedB, aliveB := openable(t, restored.EventLog(), restored.EventLog(), restored.KeysFile, gone)
	require.Zero(t, erasedB)
	require.NotZero(t, aliveB)
	var text strings.Builder
	for _, table := range readModelTables(t, restored) {
		var rows string
		require.NoError(t, restored.ReadModel().QueryRow(ctx, `SELECT coalesce(string_agg(r::text, ''), '') FROM `+table+` r`).Scan(&rows))
		text.WriteString(rows)
	}
	require.Empty(t, countIn(seek, []byte(text.String())))
	require.NotEmpty(t, countIn(control, []byte(text.String())))
	t.Logf("backups: %d sealed values of the erased, 0 open with any key held; %d and %d of the living do. All of it took %.0f s",
		sealed, alive, aliveB, time.Since(began).Seconds())
}

// newMarked registers a customer and has every command change it.
func newMarked(t *testing.T, c *cluster.Cluster, client *cluster.Client, number int) *marked {
	t.Helper()
	ctx := cluster.Within(t, 30*time.Second)
	p := newFullPerson()
	p.Phone = fmt.Sprintf("+1415555%04d", 2000+number)
	m := &marked{marks: personalValues(p)}
	do := func(method, path, body string, wants int, header ...string) cluster.Answer {
		a, err := client.Write(ctx, method, path, body, header...)
		require.NoError(t, err)
		require.Equal(t, wants, a.Status, "%s %s: %s", method, path, a.Body)
		m.token = a.Token()
		return a
	}
	m.path = do(http.MethodPost, "/v1/customers", p.json(), http.StatusCreated, "Idempotency-Key", "key-of-"+p.Email).Header.Get("Location")
	m.id = m.path[strings.LastIndexByte(m.path, '/')+1:]
	changed := newPerson()
	mark := uuid.NewString()[:8]
	m.marks = append(m.marks, personalValues(changed)...)
	m.marks = append(m.marks, "Second street "+mark, "Second city "+mark, "second-tag-"+mark, "second source "+mark, "second wording "+mark, "suspicion "+mark)
	do(http.MethodPatch, m.path, changed.json(), http.StatusOK)
	do(http.MethodPost, m.path+"/addresses", `{"line1":"Second street `+mark+`","city":"Second city `+mark+`","postal_code":"75002","country":"FR"}`, http.StatusCreated)
	do(http.MethodPut, m.path+"/tags/second-tag-"+mark, "", http.StatusOK)
	do(http.MethodPut, m.path+"/consents/sms", `{"granted":true,"source":"second source `+mark+`","wording":"second wording `+mark+`"}`, http.StatusOK)
	do(http.MethodPost, m.path+"/suspend", `{"reason":"suspicion `+mark+`"}`, http.StatusOK)
	do(http.MethodPost, m.path+"/reinstate", "", http.StatusOK)
	read, err := client.Read(ctx, m.path, "Consistency-Token", m.token)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, read.Status, "%s", read.Body)
	require.Contains(t, string(read.Body), "Second street "+mark, "the marks are what the service stores")
	return m
}

// eraseAll erases customers in every state, each through one replica, and tries
// at once the other, which has it in memory.
func eraseAll(t *testing.T, c *cluster.Cluster, client *cluster.Client, all []*marked) {
	t.Helper()
	ctx := cluster.Within(t, time.Minute)
	for i, m := range all {
		var before cluster.Answer
		var err error
		switch i % 3 {
		case 1:
			before, err = client.Write(ctx, http.MethodDelete, m.path, "")
		case 2:
			before, err = client.Write(ctx, http.MethodPost, m.path+"/suspend", `{"reason":"to be erased"}`)
		}
		require.NoError(t, err)
		require.Less(t, before.Status, 300, "%s", before.Body)
		a, err := client.Write(ctx, http.MethodPost, m.path+"/erase", `{"reason":"request 4711"}`)
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, a.Status, "%s", a.Body)
		m.record, m.token = a.Body, a.Token()
		for range c.Commands {
			refused, err := client.Write(ctx, http.MethodPatch, m.path, `{"first_name":"Back"}`)
			require.NoError(t, err)
			requireProblem(t, refused, http.StatusGone, "customer-erased")
		}
	}
}

// requireErased checks what each API says of the erased, and that who lives
// still does.
func requireErased(t *testing.T, client *cluster.Client, gone, living []*marked) {
	t.Helper()
	ctx := cluster.Within(t, time.Minute)
	for _, m := range gone {
		var read cluster.Answer
		// The token is of a log that may have been restored since, to fewer
		// versions; that it was erased is what must not depend on it.
		err := cluster.Poll(ctx, 20*time.Millisecond, func() bool {
			var err error
			read, err = client.Read(ctx, m.path+"/erasure")
			return err == nil && read.Status == http.StatusOK
		})
		require.NoError(t, err, "%d %s", read.Status, read.Body)
		require.JSONEq(t, withoutVersion(t, m.record), withoutVersion(t, read.Body))
		read, err = client.Read(ctx, m.path)
		require.NoError(t, err)
		requireProblem(t, read, http.StatusGone, "customer-erased")
		for _, command := range [][2]string{{http.MethodPatch, ""}, {http.MethodPost, "/restore"}, {http.MethodDelete, ""}} {
			body := ""
			if command[0] == http.MethodPatch {
				body = `{"first_name":"Back"}`
			}
			refused, err := client.Write(ctx, command[0], m.path+command[1], body)
			require.NoError(t, err)
			requireProblem(t, refused, http.StatusGone, "customer-erased")
		}
	}
	for _, m := range living {
		var read cluster.Answer
		err := cluster.Poll(ctx, 20*time.Millisecond, func() bool {
			var err error
			read, err = client.Read(ctx, m.path, "Consistency-Token", m.token)
			return err == nil && read.Status == http.StatusOK
		})
		require.NoError(t, err, "%d %s", read.Status, read.Body)
		require.Contains(t, string(read.Body), m.marks[len(m.marks)-6])
	}
}

func withoutVersion(t *testing.T, record []byte) string {
	t.Helper()
	var fields map[string]any
	require.NoError(t, json.Unmarshal(record, &fields), "%s", record)
	require.Contains(t, fields, "version")
	delete(fields, "version")
	text, err := json.Marshal(fields)
	require.NoError(t, err)
	return string(text)
}

func ids(all []*marked) (out []string) {
	for _, m := range all {
		out = append(out, m.id)
	}
	return out
}

func wrappedKeys(t *testing.T, c *cluster.Cluster, of []*marked) [][]byte {
	t.Helper()
	rows, err := c.EventLog().Query(cluster.Within(t, time.Minute), `SELECT wrapped_key FROM eventlog.subject_keys WHERE customer_id = ANY ($1)`, ids(of))
	require.NoError(t, err)
	keys, err := pgx.CollectRows(rows, pgx.RowTo[[]byte])
	require.NoError(t, err)
	return keys
}

func requireApplied(t *testing.T, c *cluster.Cluster) {
	t.Helper()
	ctx := cluster.Within(t, 30*time.Second)
	require.NoError(t, cluster.Poll(ctx, 20*time.Millisecond, func() bool {
		left, err := behind(ctx, c)
		return err == nil && left == 0
	}))
}

// dumpRedis has Redis write all it holds to a file, uncompressed.
func dumpRedis(t *testing.T, c *cluster.Cluster) {
	t.Helper()
	ctx := cluster.Within(t, time.Minute)
	client := connectRedis(t, c)
	require.NoError(t, client.ConfigSet(ctx, "rdbcompression", "no").Err())
	require.NoError(t, client.Save(ctx).Err())
}

// redeliver publishes messages once more, as a broker may.
func redeliver(t *testing.T, c *cluster.Cluster, messages []amqp.Delivery) {
	t.Helper()
	conn, err := amqp.Dial(c.Stack.URLs().AMQP)
	require.NoError(t, err)
	defer conn.Close()
	ch, err := conn.Channel()
	require.NoError(t, err)
	require.NoError(t, ch.Confirm(false))
	for _, m := range messages {
		confirm, err := ch.PublishWithDeferredConfirm(feedExchange(c), m.RoutingKey, false, false, amqp.Publishing{
			Headers: m.Headers, ContentType: m.ContentType, MessageId: m.MessageId, Type: m.Type, DeliveryMode: amqp.Persistent, Body: m.Body,
		})
		require.NoError(t, err)
		require.True(t, confirm.Wait())
	}
	ctx := cluster.Within(t, 30*time.Second)
	require.NoError(t, cluster.Poll(ctx, 20*time.Millisecond, func() bool {
		for _, name := range laneQueues(c) {
			if q, err := ch.QueueDeclarePassive(name, true, false, false, false, nil); err != nil || q.Messages > 0 {
				return false
			}
		}
		return true
	}))
}
