package e2e

import (
	"bytes"
	"context"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/e2e/cluster"
)

// scanner finds any of many byte strings in large data, in one pass: it looks
// the eight bytes at each place up among the beginnings of what it seeks.
type scanner struct {
	beginnings map[uint64][]int
	maybe      []uint64 // a bit for each hash of a beginning
	seeks      [][]byte
}

const beginning = 8

func newScanner(t *testing.T, seeks [][]byte) *scanner {
	t.Helper()
	s := &scanner{beginnings: map[uint64][]int{}, maybe: make([]uint64, 1<<14), seeks: seeks}
	for i, n := range seeks {
		require.GreaterOrEqual(t, len(n), beginning, "%q is too short to be sought", n)
		b := binary.LittleEndian.Uint64(n)
		s.beginnings[b] = append(s.beginnings[b], i)
		h := hash(b)
		s.maybe[h>>6] |= 1 << (h & 63)
	}
	return s
}

func hash(b uint64) uint64 { return b * 0x9E3779B97F4A7C15 >> 44 }

// in counts the finds in data by what was sought.
func (s *scanner) in(data []byte, found map[int]int) {
	for i := 0; i+beginning <= len(data); i++ {
		b := binary.LittleEndian.Uint64(data[i:])
		if h := hash(b); s.maybe[h>>6]&(1<<(h&63)) == 0 {
			continue
		}
		for _, n := range s.beginnings[b] {
			if bytes.HasPrefix(data[i:], s.seeks[n]) {
				found[n]++
			}
		}
	}
}

// finds is what a scan of files came to.
type finds struct {
	files, bytes int
	where        map[string]int // places in a file, by its path below the directory scanned
	of           map[int]int    // places by what was sought
}

func (f finds) places() (n int) {
	for _, one := range f.where {
		n += one
	}
	return n
}

// inDirectory scans every file below a directory. One that goes meanwhile is
// none.
func (s *scanner) inDirectory(t *testing.T, dir string) finds {
	t.Helper()
	f := finds{where: map[string]int{}, of: map[int]int{}}
	require.NoError(t, filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if os.IsNotExist(err) {
			return nil
		}
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if os.IsNotExist(err) {
			return nil
		}
		if err != nil {
			return err
		}
		found := map[int]int{}
		s.in(data, found)
		f.files, f.bytes = f.files+1, f.bytes+len(data)
		name, _ := filepath.Rel(dir, path)
		for n, places := range found {
			f.where[name] += places
			f.of[n] += places
		}
		return nil
	}))
	require.NotZero(t, f.files, "nothing in %s was scanned", dir)
	return f
}

// closeWindow runs what docs/privacy.md says closes the window after an
// erasure: it has the tables written anew without their dead rows, and the
// write-ahead log until now overwritten or removed.
func closeWindow(t *testing.T, c *cluster.Cluster) {
	t.Helper()
	ctx := cluster.Within(t, time.Minute)
	for _, table := range readModelTables(t, c) {
		execute(t, ctx, c.ReadModel(), "VACUUM (FULL) "+table)
	}
	for _, table := range []string{"eventlog.subject_keys", "eventlog.snapshots"} {
		execute(t, ctx, c.EventLog(), "VACUUM (FULL) "+table)
	}
	execute(t, ctx, c.EventLog(), "ALTER SYSTEM SET wal_recycle = off")
	execute(t, ctx, c.EventLog(), "SELECT pg_reload_conf()")
	var segments int
	require.NoError(t, c.EventLog().QueryRow(ctx, "SELECT count(*) FROM pg_ls_waldir()").Scan(&segments))
	// A switch fills the rest of its segment with zeros, so once round all files
	// overwrites those that were kept to be used again.
	for range segments + 1 {
		execute(t, ctx, c.EventLog(), "SELECT pg_logical_emit_message(false, 'erasure', '')")
		execute(t, ctx, c.EventLog(), "SELECT pg_switch_wal()")
	}
	execute(t, ctx, c.EventLog(), "CHECKPOINT")
	execute(t, ctx, c.EventLog(), "CHECKPOINT") // removes what the first one had to keep
	execute(t, ctx, c.EventLog(), "ALTER SYSTEM RESET wal_recycle")
	execute(t, ctx, c.EventLog(), "SELECT pg_reload_conf()")
}

// readModelTables are all there are, so that one that is added is scanned too.
func readModelTables(t *testing.T, c *cluster.Cluster) []string {
	t.Helper()
	rows, err := c.ReadModel().Query(cluster.Within(t, time.Minute), "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname = 'readmodel'")
	require.NoError(t, err)
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	require.Contains(t, tables, "readmodel.documents")
	return tables
}

func execute(t *testing.T, ctx context.Context, pool *pgxpool.Pool, sql string) {
	t.Helper()
	_, err := pool.Exec(ctx, sql)
	require.NoError(t, err, sql)
}
