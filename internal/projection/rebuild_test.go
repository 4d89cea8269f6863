package projection_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
	"github.com/ebrahem-outlook/customer-service/internal/postgres"
	"github.com/ebrahem-outlook/customer-service/internal/projection"
)

// rebuilding is one process at a rebuild of w's read model.
type rebuilding struct {
	*projection.Rebuild
	next *postgres.Rebuild
}

func (w *world) rebuild(alter ...func(*projection.Deps)) *rebuilding {
	w.t.Helper()
	next, err := postgres.OpenRebuild(w.ctx, w.readModel, eventlog.DefaultLanes)
	require.NoError(w.t, err)
	d := projection.Deps{Log: w.log, Codec: w.codec, Keyring: w.keyring, Logger: slog.New(slog.DiscardHandler)}
	for _, f := range alter {
		f(&d)
	}
	r, err := projection.NewRebuild(d, next, w.log, projection.RebuildConfig{Workers: 2})
	require.NoError(w.t, err)
	return &rebuilding{Rebuild: r, next: next}
}

// run does everything there is to do.
func (r *rebuilding) run(ctx context.Context) error {
	if err := r.Prepare(ctx); err != nil {
		return err
	}
	return r.Run(ctx)
}

func (r *rebuilding) close(t testing.TB) { require.NoError(t, r.next.Close(context.Background())) }

// contents is a table's rows as one value.
func (w *world) contents(schema, table string) string {
	w.t.Helper()
	var sum string
	require.NoError(w.t, w.readModel.QueryRow(w.ctx, fmt.Sprintf(
		`SELECT count(*) || ' ' || coalesce(md5(string_agg(t::text, E'\n' ORDER BY t::text)), '') FROM %s.%s t`, schema, table)).Scan(&sum))
	return sum
}

func TestARebuildMakesWhatIsLive(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.projector()
	w.workload(rand.New(rand.NewPCG(3, 4)), 300, 4000)
	w.feed(p)
	tables := []string{"documents", "history", "parked"}
	before := map[string]string{}
	for _, name := range tables {
		before[name] = w.contents("readmodel", name)
	}
	shape := w.shape("readmodel")
	r := w.rebuild()
	defer r.close(t)
	require.NoError(t, r.run(w.ctx))
	for _, name := range tables {
		require.Equal(t, before[name], w.contents("readmodel", name), name)
		require.Equal(t, before[name], w.contents("readmodel_old", name), name)
	}
	require.Equal(t, shape, w.shape("readmodel"), "settings, indexes and rights have to come along")
	require.Equal(t, 1, w.count(`SELECT count(*) FROM readmodel.generations WHERE state = 'live' AND generation = 2`))
	require.Zero(t, w.count(`SELECT count(*) FROM readmodel.rebuild`))
	w.verify()
	require.NoError(t, r.next.DropOld(w.ctx))
	// The projector and the reader that ran before go on with their statements.
	ada := w.register("ada@example.com")
	w.append(ada, customer.Renamed{At: w.now(), FirstName: "Augusta"})
	w.feed(p)
	require.Equal(t, customer.Version(2), w.entry(ada.id).Version)
	w.verify()
}

// shape is what describes a schema's derived tables besides their rows.
func (w *world) shape(schema string) []string {
	w.t.Helper()
	rows, err := w.readModel.Query(w.ctx, `
SELECT t.relname || ' ' || coalesce(t.reloptions::text, '') || ' ' || coalesce((SELECT string_agg(g::text, ',' ORDER BY g::text) FROM aclexplode(t.relacl) g), '')
       || ' ' || pg_get_userbyid(t.relowner)
  FROM pg_class t WHERE t.relnamespace = $1::regnamespace AND t.relkind = 'r'
UNION ALL
SELECT t.relname || ' ' || a.attnum || ' ' || a.attname || ' ' || a.atttypid::regtype::text || ' ' || a.attnotnull || ' ' || a.attstattarget || ' ' || a.attstorage::text
       || ' ' || coalesce(pg_get_expr(d.adbin, d.adrelid), '')
  FROM pg_class t JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum > 0 LEFT JOIN pg_attrdef d ON d.adrelid = t.oid AND d.adnum = a.attnum
 WHERE t.relnamespace = $1::regnamespace AND t.relkind IN ('r', 'i') AND NOT a.attisdropped
UNION ALL
SELECT pg_get_indexdef(i.indexrelid) || ' ' || i.indisprimary || i.indisvalid FROM pg_index i JOIN pg_class t ON t.oid = i.indrelid WHERE t.relnamespace = $1::regnamespace
UNION ALL
SELECT c.conrelid::regclass::text || ' ' || c.conname || ' ' || pg_get_constraintdef(c.oid) FROM pg_constraint c WHERE c.connamespace = $1::regnamespace
 ORDER BY 1`, schema)
	require.NoError(w.t, err)
	var all []string
	for rows.Next() {
		var s string
		require.NoError(w.t, rows.Scan(&s))
		all = append(all, s)
	}
	require.NoError(w.t, rows.Err())
	return all
}
