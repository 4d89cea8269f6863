package postgres_test

import (
	"encoding/json"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
	"github.com/ebrahem-outlook/customer-service/internal/postgres"
	"github.com/ebrahem-outlook/customer-service/internal/postgres/postgrestest"
	"github.com/ebrahem-outlook/customer-service/internal/projection"
	"github.com/ebrahem-outlook/customer-service/internal/query"
)

// listWorld is a read model of its own, written as the projector writes it.
type listWorld struct {
	t        testing.TB
	owner    *pgxpool.Pool
	store    *postgres.ReadModel
	reader   *postgres.ReadModelReader
	plain    *pgx.Conn // with the server's own settings, once used
	position atomic.Int64
	lanes    [eventlog.DefaultLanes]sync.Mutex
}

func newListWorld(t testing.TB) *listWorld {
	t.Helper()
	db := postgrestest.ReadModel(t)
	return &listWorld{
		t: t, owner: db.Pool(t, ""),
		store:  postgres.NewReadModel(db.Pool(t, postgres.RoleProjector), eventlog.DefaultLanes),
		reader: postgres.NewReadModelReader(db.Pool(t, postgres.RoleQuery)),
	}
}

// put makes each of customers what it is there, with one event more.
func (w *listWorld) put(customers ...*customer.Data) {
	w.t.Helper()
	require.NoError(w.t, w.tryPut(customers...))
}

func (w *listWorld) tryPut(customers ...*customer.Data) error {
	byLane := map[eventlog.Lane][]*customer.Data{}
	for _, c := range customers {
		lane := eventlog.LaneOf(eventlog.SlotOf(c.ID), eventlog.DefaultLanes)
		byLane[lane] = append(byLane[lane], c)
	}
	for lane, all := range byLane {
		if err := w.putLane(lane, all); err != nil {
			return err
		}
	}
	return nil
}

func (w *listWorld) putLane(lane eventlog.Lane, all []*customer.Data) error {
	w.lanes[lane].Lock() // positions of a lane are committed in their order
	defer w.lanes[lane].Unlock()
	ids := make([]customer.ID, len(all))
	for i, c := range all {
		ids[i] = c.ID
	}
	return w.store.Update(w.t.Context(), lane, ids, func(v projection.View) (projection.Delta, error) {
		var d projection.Delta
		for _, c := range all {
			before := v.Rows[c.ID].Data
			c.Version = before.Version + 1
			d.Position = eventlog.Position(w.position.Add(1))
			d.Rows = append(d.Rows, projection.Row{Data: *c, Position: d.Position, Shredded: c.Status == customer.StatusErased})
			h := projection.HistoryRow{CustomerID: c.ID, Version: c.Version, Position: d.Position, Type: "customer.changed", At: c.UpdatedAt}
			if before.LastName != c.LastName {
				h.Changes = append(h.Changes, projection.Change{Field: "last_name", Old: textOrNull(before.LastName), New: textOrNull(c.LastName)})
			}
			d.History = append(d.History, h)
		}
		return d, nil
	})
}

func textOrNull(n customer.Name) json.RawMessage {
	if n == "" {
		return json.RawMessage("null")
	}
	raw, _ := json.Marshal(string(n)) // a string always can be
	return raw
}

// person is a customer that is nowhere yet.
func person(first, last, email string) *customer.Data {
	now := time.Now().UTC().Truncate(time.Microsecond)
	return &customer.Data{
		ID: uuid.Must(uuid.NewV7()), Status: customer.StatusActive, FirstName: customer.Name(first), LastName: customer.Name(last),
		Email: customer.Email(email), CreatedAt: now, UpdatedAt: now,
	}
}

// page reads one page, as documents.
func (w *listWorld) page(q query.PageRequest) ([]query.Document, *query.Place) {
	w.t.Helper()
	p, err := w.reader.Page(w.t.Context(), q)
	require.NoError(w.t, err)
	docs := make([]query.Document, len(p.Documents))
	for i, raw := range p.Documents {
		require.NoError(w.t, json.Unmarshal(raw, &docs[i]))
	}
	return docs, p.Next
}

// all walks to the end.
func (w *listWorld) all(q query.PageRequest) []query.Document {
	w.t.Helper()
	var all []query.Document
	for {
		docs, next := w.page(q)
		all = append(all, docs...)
		if next == nil {
			return all
		}
		q.After = next
	}
}

func terms(t testing.TB, text string) []query.Term {
	t.Helper()
	all, err := query.ParseTerms(text)
	require.NoError(t, err)
	return all
}
