package main

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
)

type status struct {
	Head       int64
	LagSeconds float64 `json:"lag_seconds"`
	LagEvents  int64   `json:"lag_events"`
	Heartbeat  *string `json:"heartbeat_at"`
	Generation int
	Parked     int
	Lanes      []struct {
		Lane, Applied int64
		LagEvents     int64 `json:"lag_events"`
	}
	Feed    struct{ Applied int64 }
	Rebuild *struct {
		Generation, Done, Total int64
		StartedAt               string `json:"started_at"`
	}
}

func (w *world) status(t *testing.T) (s status) {
	t.Helper()
	a := w.Do(t, "GET", "/v1/status", "")
	require.Equal(t, 200, a.StatusCode, "%s", a.Body)
	require.Regexp(t, `^\d+\.\d{3}$`, a.Header.Get("Projection-Lag"))
	a.JSON(t, &s)
	return s
}

func TestStatusFollowsTheProjector(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var people []customer.Data
	for range 5 {
		d, _ := w.register(t)
		people = append(people, d)
	}
	eventually(t, func() bool { // everything is applied, and nothing is behind
		s := w.status(t)
		applied := int64(0)
		for _, l := range s.Lanes {
			applied = max(applied, l.Applied)
			if l.LagEvents != 0 {
				return false
			}
		}
		return s.Head == 5 && applied == 5 && s.LagEvents == 0 && s.LagSeconds == 0 && s.Heartbeat != nil && len(s.Lanes) == 8 &&
			s.Generation == 1 && s.Parked == 0 && s.Rebuild == nil
	})

	// Somebody holds a lane back: that lane lags, by as many events as it lacks,
	// and the others go on.
	tx, err := w.owner.Begin(t.Context())
	require.NoError(t, err)
	defer func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) }() // or its pool never closes
	_, err = tx.Exec(t.Context(), `
INSERT INTO readmodel.checkpoints AS c (generation, lane) VALUES (1, 3)
ON CONFLICT (generation, lane) DO UPDATE SET position = c.position`)
	require.NoError(t, err)
	lacking := int64(0)
	for lacking < 3 {
		d, _ := w.register(t)
		if laneOf(d.ID) == 3 {
			lacking++
		}
		people = append(people, d)
	}
	var behind status
	eventually(t, func() bool {
		behind = w.status(t)
		return behind.LagEvents == lacking && behind.Lanes[3].LagEvents == lacking && behind.Head == int64(len(people)) && behind.LagSeconds > 0.1
	})
	eventually(t, func() bool { return w.status(t).LagSeconds > behind.LagSeconds+0.5 })
	a := w.Do(t, "GET", "/v1/status", "", "Consistency-Token: "+token(people[len(people)-1]), "Prefer: wait=0")
	require.Contains(t, []int{200, 503}, a.StatusCode)
	require.NoError(t, tx.Rollback(t.Context()))
	eventually(t, func() bool { s := w.status(t); return s.LagEvents == 0 && s.LagSeconds == 0 })

	for _, sql := range []string{
		`INSERT INTO readmodel.generations (generation, state) VALUES (2, 'building')`,
		`INSERT INTO readmodel.rebuild (generation, state, done, total, started_at, schema_version) VALUES (2, 'filling', 7, 42, '2026-01-02T03:04:05.5Z', 6)`,
		`INSERT INTO readmodel.parked (customer_id, lane, position, version, last_version, type, reason, attempts)
		 VALUES (gen_random_uuid(), 0, 1, 1, 1, 'customer.registered', 'test', 1)`,
	} {
		_, err := w.owner.Exec(t.Context(), sql)
		require.NoError(t, err)
	}
	s := w.status(t)
	require.Equal(t, 1, s.Generation, "the one that is read")
	require.Equal(t, 1, s.Parked)
	require.EqualValues(t, []int64{2, 7, 42}, []int64{s.Rebuild.Generation, s.Rebuild.Done, s.Rebuild.Total})
	require.Equal(t, "2026-01-02T03:04:05.500000Z", s.Rebuild.StartedAt)

	// A dead projector is lag that grows, though nothing is known to wait.
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	require.NoError(t, w.sweeping.Stop(ctx))
	beat := w.status(t).Heartbeat
	eventually(t, func() bool { return w.status(t).LagSeconds > 2 })
	first := w.status(t).LagSeconds
	eventually(t, func() bool { return w.status(t).LagSeconds > first+1 })
	require.Equal(t, beat, w.status(t).Heartbeat)
	get := w.Do(t, "GET", "/v1/customers/"+people[0].ID.String(), "")
	require.Greater(t, get.Header.Get("Projection-Lag"), "2")
}

func TestBadStatusesAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d, tok := w.register(t)
	require.Equal(t, 200, w.Do(t, "GET", "/v1/status", "", "Consistency-Token: "+tok, "Prefer: wait=10").StatusCode)
	head := w.Do(t, "HEAD", "/v1/status", "")
	require.Equal(t, 200, head.StatusCode)
	require.Positive(t, head.ContentLength)
	for name, row := range map[string]struct {
		path    string
		headers []string
		status  int
		code    string
	}{
		"parameter":     {path: "?lane=1", status: 400, code: "invalid-parameter"},
		"XML":           {headers: []string{"Accept: application/xml"}, status: 406, code: "not-acceptable"},
		"garbage token": {headers: []string{"Consistency-Token: garbage"}, status: 400, code: "invalid-token"},
		"future token": {
			headers: []string{"Consistency-Token: " + token(customer.Data{ID: d.ID, Version: 9}), "Prefer: wait=0"}, status: 503, code: "read-model-behind",
		},
	} {
		a := w.Do(t, "GET", "/v1/status"+row.path, "", row.headers...)
		require.Equal(t, row.status, a.StatusCode, name)
		require.Equal(t, row.code, a.Problem(t).Code, name)
	}
}

func laneOf(id customer.ID) eventlog.Lane {
	return eventlog.LaneOf(eventlog.SlotOf(id), eventlog.DefaultLanes)
}
