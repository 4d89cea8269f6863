package command_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/internal/command"
	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
)

// folding is a replica that makes and uses snapshots. With forgetful it has a
// cold cache for every command.
func (w *world) folding(forgetful bool) *command.Service {
	w.t.Helper()
	return w.foldingFrom(w.log, forgetful)
}

func (w *world) foldingFrom(store eventlog.SnapshotStore, forgetful bool) *command.Service {
	w.t.Helper()
	log := slog.New(slog.DiscardHandler)
	snapshots, err := command.NewSnapshots(store, log)
	require.NoError(w.t, err)
	require.NoError(w.t, snapshots.Start(w.t.Context()))
	cfg := command.Config{MaxWait: patience}
	if forgetful {
		cfg.CacheFor = time.Nanosecond
	}
	service, err := command.New(command.Deps{
		Log: w.log, Claims: w.log, Appender: w.appender(w.log, command.AppenderConfig{MaxWait: patience}),
		Codec: eventlog.NewCodec(), Keys: w.keys, Now: time.Now, Snapshots: snapshots,
	}, cfg)
	require.NoError(w.t, err)
	w.t.Cleanup(func() {
		service.Close()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		require.NoError(w.t, snapshots.Stop(ctx))
	})
	return service
}

// aged has customers with n events each written to the log, in big items.
func (w *world) aged(customers, n int) []customer.ID {
	w.t.Helper()
	const part = 10_000
	codec, ids := eventlog.NewCodec(), make([]customer.ID, customers)
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for c := range ids {
		id := uuid.Must(uuid.NewV7())
		key, wrapped, err := w.keys.NewSubjectKey(id)
		require.NoError(w.t, err)
		ids[c] = id
		for from := 0; from < n; from += part {
			item := eventlog.Append{CustomerID: id, Expected: customer.Version(from)}
			if from == 0 {
				item.NewKey = &wrapped
			}
			for v := from + 1; v <= min(from+part, n); v++ {
				at := customer.At{Time: begin.Add(time.Duration(v) * time.Millisecond)}
				var e customer.Event = customer.Renamed{At: at, FirstName: customer.Name(fmt.Sprintf("Ada %d", v)), LastName: "Lovelace"}
				if v == 1 {
					e = customer.Registered{At: at, FirstName: "Ada", Email: "ada@example.com", Phone: "+14155552671"}
				}
				envelope, err := codec.Encode(e, eventlog.Place{
					EventID: uuid.Must(uuid.NewV7()), CustomerID: id, Version: customer.Version(v),
					Metadata: eventlog.Metadata{Actor: "tester", CommandID: uuid.Must(uuid.NewV7())},
				}, key)
				require.NoError(w.t, err)
				item.Events = append(item.Events, envelope)
			}
			outcomes, err := w.log.AppendBatch(w.t.Context(), []eventlog.Append{item})
			require.NoError(w.t, err)
			require.Equal(w.t, eventlog.Appended, outcomes[0].Verdict)
		}
	}
	return ids
}

// awaitSnapshot waits until the customer has a snapshot at version or later.
func (w *world) awaitSnapshot(id customer.ID, version int) {
	w.t.Helper()
	require.Eventually(w.t, func() bool {
		return w.count("SELECT count(*) FROM eventlog.snapshots WHERE customer_id = $1 AND version >= $2", id, version) == 1
	}, patience, time.Millisecond)
}

func (w *world) exec(sql string, args ...any) {
	w.t.Helper()
	tag, err := w.pool.Exec(w.t.Context(), sql, args...)
	require.NoError(w.t, err)
	require.NotZero(w.t, tag.RowsAffected())
}

func TestSnapshotsChangeNothingButTime(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.aged(1, 450)[0]
	s, ctx := w.folding(true), t.Context()
	change := func() customer.Data {
		t.Helper()
		r, err := s.Change(ctx, asking(), id, rename(fmt.Sprint("Grace ", serial.Add(1))))
		require.NoError(t, err)
		// A replica that knows no snapshots reads the same.
		whole, err := w.replica().Change(ctx, asking(), id, customer.Change{})
		require.NoError(t, err)
		require.Equal(t, whole.Data, r.Data)
		return r.Data
	}
	change()
	w.awaitSnapshot(id, 450)
	change()

	t.Log("rows gone")
	w.exec("DELETE FROM eventlog.snapshots")
	change()
	w.awaitSnapshot(id, 452)

	t.Log("unreadable")
	w.exec("UPDATE eventlog.snapshots SET state = 'x'")
	change()
	require.Eventually(t, func() bool {
		return w.count("SELECT count(*) FROM eventlog.snapshots WHERE octet_length(state) > 1") == 1
	}, patience, time.Millisecond, "it is replaced")

	t.Log("moved to where it does not belong")
	w.exec("UPDATE eventlog.snapshots SET version = version - 1")
	change()

	t.Log("of another fold")
	w.exec("UPDATE eventlog.snapshots SET fold_hash = sha256('another'), state = 'x'")
	change()
	require.Eventually(t, func() bool {
		return w.count("SELECT count(*) FROM eventlog.snapshots WHERE octet_length(state) > 1") == 1
	}, patience, time.Millisecond, "it is replaced")
	require.EqualValues(t, 457, change().Version)
}

// A customer that never leaves the cache has its snapshots too.
func TestSnapshotsOfABusyCustomer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s, ctx := w.folding(false), t.Context()
	created, err := s.Register(ctx, asking(), registration())
	require.NoError(t, err)
	for i := range 399 {
		_, err := s.Change(ctx, asking(), created.Data.ID, rename(fmt.Sprint("Ada ", i)))
		require.NoError(t, err)
		if i == 97 {
			require.Zero(t, w.count("SELECT count(*) FROM eventlog.snapshots"), "99 events are read fast enough")
		}
	}
	w.awaitSnapshot(created.Data.ID, 400)
}

// reads counts the events that commands read of streams.
type reads struct {
	eventlog.SnapshotStore
	events atomic.Int64
}

func (r *reads) LoadFolded(ctx context.Context, id customer.ID, fold eventlog.FoldHash) (*eventlog.Snapshot, eventlog.Stream, error) {
	snapshot, stream, err := r.SnapshotStore.LoadFolded(ctx, id, fold)
	r.events.Add(int64(len(stream.Events)))
	return snapshot, stream, err
}

// What BenchmarkColdCommand measures holds on a quiet machine; what it rests on
// holds on any: however long the stream, a command reads little of it.
func TestACommandReadsLittleOfALongStream(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.aged(1, 20_000)[0]
	store := &reads{SnapshotStore: w.log}
	s, ctx := w.foldingFrom(store, true), t.Context()
	_, err := s.Change(ctx, asking(), id, rename("Grace"))
	require.NoError(t, err)
	require.EqualValues(t, 20_000, store.events.Swap(0))
	w.awaitSnapshot(id, 20_000)
	for v := 20_002; v <= 20_250; v++ {
		r, err := s.Change(ctx, asking(), id, rename(fmt.Sprint("Grace ", v)))
		require.NoError(t, err)
		require.EqualValues(t, v, r.Data.Version)
		if v%100 == 0 {
			w.awaitSnapshot(id, v-100) // they are made beside the commands, which do not wait for them
		}
		require.Less(t, store.events.Swap(0), int64(220), "at version %d", v)
	}
}

func TestSnapshotsTellNobodyAnything(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.aged(1, 300)[0]
	s, ctx := w.folding(true), t.Context()
	_, err := s.Change(ctx, asking(), id, rename("Grace"))
	require.NoError(t, err)
	w.awaitSnapshot(id, 300)
	require.Zero(t, w.count("SELECT count(*) FROM eventlog.snapshots WHERE position('ada@example.com'::bytea IN state) > 0"))
	_, err = s.Erase(ctx, asking(), id, "asked for")
	require.NoError(t, err)
	require.Zero(t, w.count("SELECT count(*) FROM eventlog.snapshots"), "gone with the key")
	_, err = s.Change(ctx, asking(), id, rename("Ada"))
	require.ErrorIs(t, err, customer.ErrErased)
	require.Zero(t, w.count("SELECT count(*) FROM eventlog.snapshots"), "and none is made any more")
}

// BenchmarkColdCommand compares a command on a customer with 100,000 events to
// one on a customer with 10, neither of them in the cache. Run it with
// -benchtime=100x: along the way the long stream grows to 100 events beyond its
// snapshot, when the next one is due.
func BenchmarkColdCommand(b *testing.B) {
	w := newWorld(b)
	s, ctx := w.folding(true), b.Context()
	small := w.aged(110, 10)
	long := w.aged(1, 100_000)[0]
	command := func(id customer.ID) float64 {
		begin := time.Now()
		_, err := s.Change(ctx, asking(), id, rename(fmt.Sprint("Grace ", serial.Add(1))))
		require.NoError(b, err)
		return float64(time.Since(begin).Microseconds())
	}
	first := command(long)
	w.awaitSnapshot(long, 100_000)
	for _, id := range small[100:] { // warms up what plans and connections there are
		command(id)
		command(long)
	}
	var of10, of100k []float64
	i := 0
	for b.Loop() {
		a, z := command(small[i%100]), command(long)
		of10, of100k = append(of10, a), append(of100k, z)
		i++
	}
	b.ReportMetric(median(of10), "µs-of-10")
	b.ReportMetric(median(of100k), "µs-of-100k")
	b.ReportMetric(median(of100k[len(of100k)*3/4:]), "µs-of-100k-last-quarter")
	b.ReportMetric(median(of100k)/median(of10), "ratio")
	b.ReportMetric(first, "µs-without-snapshot")
	b.ReportMetric(0, "ns/op")
}
