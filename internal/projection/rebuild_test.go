package projection_test

import (
	"context"
	"errors"
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
	next   *postgres.Rebuild
	closed bool
}

func (w *world) rebuild(alter ...func(*projection.Deps)) *rebuilding {
	w.t.Helper()
	return w.rebuildFrom(w.log, alter...)
}

func (w *world) rebuildFrom(log projection.CustomerLog, alter ...func(*projection.Deps)) *rebuilding {
	w.t.Helper()
	next, err := postgres.OpenRebuild(w.ctx, w.readModel, eventlog.DefaultLanes)
	require.NoError(w.t, err)
	d := projection.Deps{Log: w.log, Codec: w.codec, Keyring: w.keyring, Logger: slog.New(slog.DiscardHandler)}
	for _, f := range alter {
		f(&d)
	}
	r, err := projection.NewRebuild(d, next, log, projection.RebuildConfig{Workers: 2})
	require.NoError(w.t, err)
	one := &rebuilding{Rebuild: r, next: next}
	w.t.Cleanup(func() { one.close(w.t) }) // its connection would keep the pool from closing
	return one
}

// run does everything there is to do.
func (r *rebuilding) run(ctx context.Context) error {
	if err := r.Prepare(ctx); err != nil {
		return err
	}
	err := r.Run(ctx)
	if differs := (*projection.DiffersError)(nil); errors.As(err, &differs) {
		return fmt.Errorf("%w: %v", err, differs.Report.Differences)
	}
	return err
}

func (r *rebuilding) close(t testing.TB) {
	if !r.closed {
		r.closed = true
		require.NoError(t, r.next.Close(context.Background()))
	}
}

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
	w.workload(rand.New(rand.NewPCG(3, 4)), 300, 3000)
	w.deliver(p, w.batches(256)...)
	tables := []string{"documents", "history", "listing", "parked"}
	before := map[string]string{}
	for _, name := range tables {
		before[name] = w.contents("readmodel", name)
	}
	shape := w.shape("readmodel")
	r := w.rebuild()
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
	w.deliver(p, w.batches(256)...)
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

// What happens to customers between their part being filled and the switch has
// to show in the new tables too.
func TestARebuildGoesOnWhereItWasKilled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.projector()
	w.workload(rand.New(rand.NewPCG(7, 8)), 200, 1500)
	w.deliver(p, w.batches(256)...)
	ada, bob := w.register("ada@example.com"), w.register("bob@example.com")
	w.append(ada, customer.Renamed{At: w.now(), FirstName: "Augusta"})
	w.feed(p)

	first := w.rebuild()
	require.NoError(t, first.Prepare(w.ctx))
	begun := first.Progress()
	require.NoError(t, first.next.Enter(w.ctx, projection.PhaseFilling))
	require.NoError(t, first.FillAll(w.ctx))
	first.close(t) // as a process that was killed: its tables are filled and have no indexes

	w.append(ada, customer.Erased{At: w.now(), Actor: "dpo", Reason: "asked", KeyID: ada.wrapped.ID()})
	w.append(bob, customer.Deleted{At: w.now()})
	eve := w.register("eve@example.com")
	w.feed(p)

	second := w.rebuild()
	require.NoError(t, second.Prepare(w.ctx))
	require.True(t, second.Progress().Resumed)
	require.Equal(t, begun.Generation, second.Progress().Generation)
	require.ErrorIs(t, first.next.Enter(w.ctx, projection.PhaseIndexing), projection.ErrReplaced, "who was replaced changes nothing any more")
	require.NoError(t, second.Run(w.ctx))
	require.Equal(t, customer.StatusErased, w.entry(ada.id).Status)
	require.Equal(t, customer.StatusDeleted, w.entry(bob.id).Status)
	require.Equal(t, customer.StatusActive, w.entry(eve.id).Status)
	require.Zero(t, w.countOf(`SELECT count(*) FROM readmodel.history WHERE customer_id = $1 AND (changes <> '[]' OR actor IS NOT NULL)`, ada.id))
	for _, name := range []string{"documents", "history", "listing", "parked"} {
		require.Equal(t, w.contents("readmodel_old", name), w.contents("readmodel", name), name)
	}
	w.verify()
}

func (w *world) countOf(sql string, args ...any) (n int) {
	w.t.Helper()
	require.NoError(w.t, w.readModel.QueryRow(w.ctx, sql, args...).Scan(&n))
	return n
}

func TestARebuildCarriesWhoIsHaltedAndWhatWasPassedOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	old := func(d *projection.Deps) {
		d.Codec = &selective{Codec: w.codec, unknown: map[string]error{"customer.tagged": eventlog.ErrUnknownType}}
	}
	p := w.projector(old)
	ada, bob, eve := w.register("ada@example.com"), w.register("bob@example.com"), w.register("eve@example.com")
	for _, one := range []*person{ada, bob, eve} {
		w.append(one, customer.Tagged{At: w.now(), Tag: "vip"})
		w.append(one, customer.Renamed{At: w.now(), FirstName: "Augusta"})
	}
	w.feed(p)
	_, err := p.Release(w.ctx, bob.id)
	require.NoError(t, err)
	_, err = p.Retry(w.ctx, ada.id)
	require.NoError(t, err)
	before := w.contents("readmodel", "parked")

	r := w.rebuild(old)
	require.NoError(t, r.run(w.ctx))
	r.close(t)
	require.Equal(t, before, w.contents("readmodel", "parked"), "halted as before, since when they were")
	require.Equal(t, customer.Version(1), w.entry(ada.id).Version)
	require.Equal(t, customer.Version(3), w.entry(bob.id).Version, "a decision holds")

	// Released while the rebuild runs.
	r = w.rebuild(old)
	require.NoError(t, r.Prepare(w.ctx))
	require.NoError(t, r.FillAll(w.ctx))
	_, err = p.Release(w.ctx, eve.id)
	require.NoError(t, err)
	require.NoError(t, r.Run(w.ctx))
	r.close(t)
	require.Equal(t, customer.Version(3), w.entry(eve.id).Version)

	// A release that can read the events gives everybody back what is theirs.
	r = w.rebuild()
	require.NoError(t, r.run(w.ctx))
	require.Zero(t, w.count(`SELECT count(*) FROM readmodel.parked`))
	for _, one := range []*person{ada, bob, eve} {
		require.Equal(t, customer.Version(3), w.entry(one.id).Version)
		require.Contains(t, string(w.entry(one.id).Body), "vip")
	}
	w.verify()
}

func TestARebuildHaltsWhomTheTablesRefuse(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.projector()
	ada, bob := w.register("ada@example.com"), w.register("bob@example.com")
	w.exec(`ALTER TABLE readmodel.documents ADD CONSTRAINT no_ada CHECK (document::text NOT LIKE '%Augusta%')`)
	w.append(ada, customer.Renamed{At: w.now(), FirstName: "Augusta"})
	w.feed(p)
	r := w.rebuild()
	require.NoError(t, r.run(w.ctx))
	require.Equal(t, customer.Version(1), w.entry(bob.id).Version)
	require.Equal(t, 1, w.count(`SELECT count(*) FROM readmodel.parked WHERE reason = 'read model refuses the values'`))
}

func TestARebuildTakesNobodyBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.projector()
	ada := w.register("ada@example.com")
	w.append(ada, customer.Tagged{At: w.now(), Tag: "vip"})
	w.feed(p)
	r := w.rebuild(func(d *projection.Deps) {
		d.Codec = &selective{Codec: w.codec, unknown: map[string]error{"customer.tagged": eventlog.ErrUnknownType}}
	})
	back := (*postgres.SetBackError)(nil)
	require.ErrorAs(t, r.run(w.ctx), &back, "an older release cannot read what a newer one did")
	r.close(t)
	require.Equal(t, customer.Version(2), w.entry(ada.id).Version)
	fixed := w.rebuild()
	require.NoError(t, fixed.next.Discard(w.ctx))
	require.NoError(t, fixed.run(w.ctx))
	w.verify()
}

func TestVerificationNamesWhatDiffers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.projector()
	w.workload(rand.New(rand.NewPCG(9, 10)), 20, 100)
	ada, bob, eve := w.register("ada@example.com"), w.register("bob@example.com"), w.register("eve@example.com")
	w.append(eve, customer.Renamed{At: w.now(), FirstName: "Eva"})
	w.feed(p)
	w.exec(`UPDATE readmodel.documents SET document = replace(document::text, 'Ada', 'Bda')::json WHERE customer_id = $1`, ada.id)
	w.exec(`DELETE FROM readmodel.documents WHERE customer_id = $1`, bob.id)
	w.exec(`DELETE FROM readmodel.history WHERE customer_id = $1 AND version = 2`, eve.id)
	w.exec(`UPDATE readmodel.listing SET email = 'x' WHERE customer_id = $1`, eve.id)
	w.exec(`INSERT INTO readmodel.history SELECT gen_random_uuid(), version, position, type, at, actor, correlation_id, changes, keyframe
		FROM readmodel.history WHERE customer_id = $1 AND version = 1`, ada.id)
	r, err := w.projector().Verify(w.ctx, w.log, projection.VerifyConfig{})
	require.NoError(t, err)
	found := map[customer.ID][]string{}
	for _, d := range r.Differences {
		found[d.CustomerID] = append(found[d.CustomerID], d.What)
	}
	require.Equal(t, []string{"documents differs in document"}, found[ada.id])
	require.Equal(t, []string{"is missing"}, found[bob.id])
	require.ElementsMatch(t, []string{"history version 2 is missing", "listing differs in email"}, found[eve.id])
	require.Len(t, r.Differences, 5, "and one row of nobody")
	r, err = w.projector().Verify(w.ctx, w.log, projection.VerifyConfig{Limit: 2})
	require.NoError(t, err)
	require.Len(t, r.Differences, 2)
}
