package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/e2e/cluster"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
	"github.com/ebrahem-outlook/customer-service/internal/privacy"
)

func runTool(t *testing.T, name string, args ...string) {
	t.Helper()
	out, err := exec.CommandContext(cluster.Within(t, time.Minute), name, args...).CombinedOutput()
	require.NoError(t, err, "%s: %s", name, out)
}

// restore puts a backup of a log into a database of its own.
func restore(t *testing.T, c *cluster.Cluster, file, suffix string) *pgxpool.Pool {
	t.Helper()
	ctx := cluster.Within(t, time.Minute)
	name := c.Prefix + suffix
	execute(t, ctx, c.EventLog(), "CREATE DATABASE "+name)
	runTool(t, "pg_restore", "--exit-on-error", "--dbname="+c.Stack.URLs().Postgres(name), file)
	pool, err := pgxpool.New(ctx, c.Stack.URLs().Postgres(name))
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	return pool
}

// restoreService does what docs/privacy.md says to do with a backup: restore
// the log and then its keys, replay the list of erasures, only then serve.
func restoreService(t *testing.T, was *cluster.Cluster, log, ofKeys, list string, listed int) *cluster.Cluster {
	t.Helper()
	ctx := cluster.Within(t, time.Minute)
	c := cluster.Prepare(t, was.Stack, cluster.Size{Commands: 2})
	execute(t, ctx, c.EventLog(), "DROP SCHEMA eventlog CASCADE")
	runTool(t, "pg_restore", "--exit-on-error", "--dbname="+c.EventLogURL, log)
	runTool(t, "pg_restore", "--exit-on-error", "--data-only", "--dbname="+c.EventLogURL, ofKeys)
	keys, err := os.ReadFile(was.KeysFile)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(c.KeysFile, keys, 0o600))
	for n, wants := range []string{
		fmt.Sprintf("listed %d: erased now %d, without a key already 0, not in this log 0;", listed, listed),
		fmt.Sprintf("listed %d: erased now 0, without a key already %d, not in this log 0;", listed, listed),
	} {
		out, err := c.Command(ctx, "command-api", "erasures", "replay", list).CombinedOutput()
		require.NoError(t, err, "%s", out)
		require.Contains(t, string(out), wants, "run %d", n+1)
	}
	for _, p := range c.Processes() {
		require.NoError(t, p.Start())
	}
	c.WaitReady(t, 30*time.Second)
	requireReadModelEqualsLog(t, c)
	return c
}

// openable tries every sealed value in a log with every data key that its
// operator can unwrap, and counts those that open, of some customers and of the
// others.
func openable(t *testing.T, log, held *pgxpool.Pool, keysFile string, of []*marked) (theirs, others int) {
	t.Helper()
	ctx := cluster.Within(t, time.Minute)
	ring, err := privacy.LoadKeyring(keysFile)
	require.NoError(t, err)
	var keys []privacy.SubjectKey
	rows, err := held.Query(ctx, `SELECT customer_id, wrapped_key, kek FROM eventlog.subject_keys`)
	require.NoError(t, err)
	var (
		id uuid.UUID
		w  eventlog.WrappedKey
	)
	_, err = pgx.ForEachRow(rows, []any{&id, &w.Wrapped, &w.KEK}, func() error {
		key, err := ring.Unwrap(id, w)
		keys = append(keys, key)
		return err
	})
	require.NoError(t, err)
	require.NotEmpty(t, keys)
	erased := map[string]bool{}
	for _, m := range of {
		erased[m.id] = true
	}
	codec := eventlog.NewCodec()
	rows, err = log.Query(ctx, `
		SELECT customer_id, version, event_id, type, schema_version, data, personal, recorded_at
		  FROM eventlog.events WHERE personal IS NOT NULL`)
	require.NoError(t, err)
	var env eventlog.Envelope
	_, err = pgx.ForEachRow(rows, []any{
		&env.CustomerID, &env.Version, &env.EventID, &env.Type, &env.SchemaVersion, (*[]byte)(&env.Data), &env.Personal, &env.RecordedAt,
	}, func() error {
		for _, key := range keys {
			if _, err := codec.Decode(env, key); err != nil {
				continue
			}
			if erased[env.CustomerID.String()] {
				theirs++
			} else {
				others++
			}
		}
		return nil
	})
	require.NoError(t, err)
	return theirs, others
}

func countIn(s *scanner, data []byte) map[int]int {
	found := map[int]int{}
	s.in(data, found)
	return found
}
