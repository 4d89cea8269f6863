package projection_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
	"github.com/ebrahem-outlook/customer-service/internal/projection"
)

// BenchmarkRebuild fills, indexes, compares and switches, and for each round
// lets one connection read the same events in order beforehand. It reports the
// medians, and how one relates to the other. REBUILD_EVENTS is how many events
// there are, five a customer.
func BenchmarkRebuild(b *testing.B) {
	events := 100_000
	if n, err := strconv.Atoi(os.Getenv("REBUILD_EVENTS")); err == nil {
		events = n
	}
	defer debug.SetGCPercent(debug.SetGCPercent(400)) // as the command does
	w := newWorld(b)
	w.many(events/5, 5)
	for _, table := range []string{"events", "positions", "subject_keys"} {
		_, err := w.owner.Exec(w.ctx, "VACUUM ANALYZE eventlog."+table)
		require.NoError(b, err)
	}
	var scans, rebuilds, ratios []float64
	b.ResetTimer()
	for range 5 {
		began := time.Now()
		require.Equal(b, events, w.scan())
		scan := float64(events) / time.Since(began).Seconds()
		phases := phaseTimes{}
		r := w.rebuild(func(d *projection.Deps) { d.Logger = slog.New(&phases) })
		began = time.Now()
		require.NoError(b, r.Prepare(w.ctx))
		require.NoError(b, r.Run(w.ctx))
		rebuild := float64(events) / time.Since(began).Seconds()
		require.NoError(b, r.next.DropOld(w.ctx))
		r.close(b)
		scans, rebuilds, ratios = append(scans, scan), append(rebuilds, rebuild), append(ratios, rebuild/scan)
		b.Logf("scan %.0f events/s, rebuild %.0f events/s, ratio %.3f;%s", scan, rebuild, rebuild/scan, phases.String())
	}
	for _, all := range [][]float64{scans, rebuilds, ratios} {
		slices.Sort(all)
	}
	b.Logf("of %d events: scan %.0f to %.0f events/s, rebuild %.0f to %.0f events/s, ratio %.3f to %.3f, median %.3f",
		events, scans[0], scans[4], rebuilds[0], rebuilds[4], ratios[0], ratios[4], ratios[2])
	b.ReportMetric(scans[2], "scan-events/s")
	b.ReportMetric(rebuilds[2], "rebuild-events/s")
	b.ReportMetric(ratios[2], "ratio")
	b.ReportMetric(0, "ns/op")
}

// phaseTimes is a logger that keeps how long each phase of a rebuild took.
type phaseTimes struct{ strings.Builder }

func (p *phaseTimes) Enabled(context.Context, slog.Level) bool { return true }
func (p *phaseTimes) WithAttrs([]slog.Attr) slog.Handler       { return p }
func (p *phaseTimes) WithGroup(string) slog.Handler            { return p }
func (p *phaseTimes) Handle(_ context.Context, r slog.Record) error {
	if r.NumAttrs() != 2 {
		return nil // something else
	}
	r.Attrs(func(a slog.Attr) bool {
		if a.Value.Kind() == slog.KindFloat64 {
			fmt.Fprintf(p, " %.2f s", a.Value.Float64())
		} else {
			fmt.Fprintf(p, " %s", a.Value)
		}
		return true
	})
	return nil
}

// scan reads the whole log in order through one connection.
func (w *world) scan() int {
	w.t.Helper()
	conn, err := w.owner.Acquire(w.ctx)
	require.NoError(w.t, err)
	defer conn.Release()
	rows, err := conn.Query(w.ctx, `
SELECT p.pos, e.customer_id, e.version, e.event_id, e.type, e.schema_version, e.data, e.personal, e.metadata, e.recorded_at
  FROM eventlog.positions p JOIN eventlog.events e ON e.id = p.event ORDER BY p.pos`)
	require.NoError(w.t, err)
	defer rows.Close()
	var (
		n                        int
		position, version        int64
		id, event                pgtype.UUID
		kind                     string
		schema                   int16
		data, personal, metadata []byte
		at                       time.Time
	)
	for rows.Next() {
		require.NoError(w.t, rows.Scan(&position, &id, &version, &event, &kind, &schema, &data, &personal, &metadata, &at))
		n++
	}
	require.NoError(w.t, rows.Err())
	return n
}

// many makes customers with so many events each, mixed as they would come.
func (w *world) many(customers, each int) {
	w.t.Helper()
	rnd := rand.New(rand.NewPCG(5, 6))
	people := make([]*person, customers)
	const batch = 400
	var items []eventlog.Append
	flush := func(force bool) {
		if len(items) >= batch || force && len(items) > 0 {
			w.appendAll(items...)
			items = items[:0]
		}
	}
	for i := range people {
		p := &person{id: uuid.Must(uuid.NewV7())}
		var err error
		p.key, p.wrapped, err = w.keyring.NewSubjectKey(p.id)
		require.NoError(w.t, err)
		w.people[p.id], people[i] = p, p
		items = append(items, w.item(p, customer.Registered{
			At: w.now(), FirstName: "Ada", LastName: "Lovelace", Email: customer.Email(fmt.Sprintf("p%d@example.com", i)), Phone: "+14155552671",
			Tags: []customer.Tag{"new"}, Metadata: map[string]string{"plan": "gold"},
		}))
		flush(false)
	}
	flush(true)
	for range each - 1 {
		for _, i := range rnd.Perm(customers) {
			var e customer.Event
			switch n := rnd.IntN(1 << 20); n % 8 {
			case 0, 1:
				e = customer.EmailChanged{At: w.now(), Email: customer.Email(fmt.Sprintf("n%d@example.com", n))}
			case 2, 3:
				e = customer.Renamed{At: w.now(), FirstName: "Augusta", LastName: customer.Name(fmt.Sprintf("King %d", n))}
			default:
				e = w.randomEvent(rnd, people[i])
				if _, erased := e.(customer.Erased); erased {
					e = customer.Tagged{At: w.now(), Tag: "kept"}
				}
			}
			items = append(items, w.item(people[i], e))
			flush(false)
		}
		flush(true)
	}
}
