package projection_test

import (
	"bytes"
	"context"
	"log/slog"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
	"github.com/ebrahem-outlook/customer-service/internal/projection"
)

// filled is a rebuild that has come to where its rows are read back.
func (w *world) filled() *rebuilding {
	w.t.Helper()
	r := w.rebuild()
	require.NoError(w.t, r.Prepare(w.ctx))
	require.NoError(w.t, r.next.Enter(w.ctx, projection.PhaseFilling))
	require.NoError(w.t, r.FillAll(w.ctx))
	return r
}

// Whatever is wrong with a row, its part is compared with the log.
func TestARebuildNoticesRowsThatAreNotThoseWritten(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.workload(rand.New(rand.NewPCG(11, 12)), 150, 1000)
	odd := w.register("odd@example.com")
	w.append(odd, customer.Renamed{At: w.now(), FirstName: "O\"Brien\\ <&>", LastName: "a\u2028b\tc\x01 é 日本 \x7f"})
	w.append(odd, customer.MetadataChanged{At: w.now(), Set: map[string]string{"é\"\\": "x\ny", "long": "\U0001F600", "a": "<b>"}})
	w.append(odd, customer.ConsentGranted{At: w.now(), Channel: "email", Source: "w\"eb", Wording: "yes & no"})
	w.append(odd, customer.Suspended{At: w.now(), Reason: "r\\"})
	r := w.filled()
	altered, err := r.next.Altered(w.ctx)
	require.NoError(t, err)
	require.Empty(t, altered, "whatever JSON there is, it is written as the server keeps it")
	parts, err := r.next.Parts(w.ctx)
	require.NoError(t, err)

	for _, damage := range []string{
		`DELETE FROM readmodel_next.documents WHERE customer_id = (SELECT min(customer_id::text)::uuid FROM readmodel_next.documents)`,
		`DELETE FROM readmodel_next.history WHERE position = 7`,
		`DELETE FROM readmodel_next.listing WHERE ctid = '(0,1)'`,
		`INSERT INTO readmodel_next.history SELECT * FROM readmodel_next.history WHERE position = 7`,
		`UPDATE readmodel_next.history SET changes = jsonb_set(changes, '{0,new}', '"x"') WHERE position = 7`,
		`UPDATE readmodel_next.documents SET position = position + 1 WHERE ctid = '(0,1)'`,
		`UPDATE readmodel_next.listing SET grams = grams[2:] WHERE ctid = '(0,1)'`,
	} {
		tx, err := w.readModel.Begin(w.ctx)
		require.NoError(t, err)
		tag, err := tx.Exec(w.ctx, damage)
		require.NoError(t, err)
		require.EqualValues(t, 1, tag.RowsAffected(), damage)
		require.NoError(t, tx.Commit(w.ctx))
		altered, err := r.next.Altered(w.ctx)
		require.NoError(t, err)
		require.NotEmpty(t, altered, damage)
		// What is wrong stays, so everything is begun anew.
		require.NoError(t, r.next.Discard(w.ctx))
		r.close(t)
		r = w.filled()
	}

	w.exec(`DELETE FROM readmodel_next.history WHERE position = 7`)
	differs := (*projection.DiffersError)(nil)
	require.ErrorAs(t, r.Run(w.ctx), &differs)
	require.Len(t, differs.Report.Differences, 1)
	require.Contains(t, differs.Report.Differences[0].What, "is missing")
	r.close(t)

	// Another process knows nothing of what this one wrote.
	another := w.rebuild()
	require.NoError(t, another.Prepare(w.ctx))
	altered, err = another.next.Altered(w.ctx)
	require.NoError(t, err)
	require.Equal(t, parts, altered)
	require.ErrorIs(t, another.Run(w.ctx), projection.ErrDiffers)
	require.NoError(t, another.next.Discard(w.ctx))
}

// forgetful is a log that does not hand over all events of a customer.
type forgetful struct {
	projection.CustomerLog
	lost eventlog.Position
}

func TestARebuildCountsWhatItFolds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ada := w.register("ada@example.com")
	w.append(ada, customer.Renamed{At: w.now(), FirstName: "Augusta"})
	w.append(ada, customer.Tagged{At: w.now(), Tag: "vip"})
	bob := w.register("bob@example.com")
	w.feed(w.projector())
	r := w.rebuildFrom(&forgetful{CustomerLog: w.log, lost: 3})
	require.NoError(t, r.Prepare(w.ctx))
	miscount := (*projection.MiscountError)(nil)
	require.ErrorAs(t, r.Run(w.ctx), &miscount, "the last event of a customer leaves no gap behind")
	require.Equal(t, projection.Census{Events: 3, Positions: 7}, miscount.Folded)
	require.Equal(t, projection.Census{Events: 4, Positions: 10}, miscount.Logged)
	require.NoError(t, r.next.Discard(w.ctx))
	r.close(t)

	// What is not in the log at all cannot be folded.
	tx, err := w.owner.Begin(w.ctx)
	require.NoError(t, err)
	for _, statement := range []string{
		`SET LOCAL session_replication_role = replica`, // nothing but this takes events out
		`DELETE FROM eventlog.events WHERE customer_id = '` + bob.id.String() + `'`,
	} {
		_, err = tx.Exec(w.ctx, statement)
		require.NoError(t, err)
	}
	require.NoError(t, tx.Commit(w.ctx))
	w.exec(`DELETE FROM readmodel.documents WHERE customer_id = '` + bob.id.String() + `'`)
	var notes bytes.Buffer
	r = w.rebuild(func(d *projection.Deps) { d.Logger = slog.New(slog.NewTextHandler(&notes, nil)) })
	require.NoError(t, r.run(w.ctx))
	require.Empty(t, notes.String())
}

// Scan implements projection.CustomerLog.
func (f *forgetful) Scan(ctx context.Context, first, last customer.ID, each func(eventlog.Sequenced) error) error {
	return f.CustomerLog.Scan(ctx, first, last, func(e eventlog.Sequenced) error {
		if e.Position == f.lost {
			return nil
		}
		return each(e)
	})
}
