package main

import (
	"bytes"
	"log/slog"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/internal/config"
	"github.com/ebrahem-outlook/customer-service/internal/postgres"
	"github.com/ebrahem-outlook/customer-service/internal/projection"
)

func taskSettings(t *testing.T) config.ProjectorTask {
	t.Helper()
	c := settings(t)
	return config.ProjectorTask{EventLog: c.EventLog, ReadModel: c.ReadModel, Keys: c.Keys, Cache: c.Cache, Lanes: c.Lanes, Log: c.Log}
}

func TestTasksReadTheReadModel(t *testing.T) {
	t.Parallel()
	task := taskSettings(t)
	for _, json := range []bool{false, true} {
		require.NoError(t, (&status{task, json}).Run(t.Context()))
		require.NoError(t, (&parkedList{task, json}).Run(t.Context()))
	}
	require.NoError(t, (&verify{ProjectorTask: task, Workers: config.Int{Value: 2}}).Run(t.Context()))
	require.ErrorIs(t, (&parkedRetry{ProjectorTask: task, Customer: uuid.NewString()}).Run(t.Context()), projection.ErrNotParked)
	require.NoError(t, (&parkedRetry{ProjectorTask: task, All: true}).Run(t.Context()))
	require.ErrorContains(t, (&parkedRetry{ProjectorTask: task}).Run(t.Context()), "--all")
	require.ErrorContains(t, (&parkedRetry{ProjectorTask: task, All: true, Customer: uuid.NewString()}).Run(t.Context()), "--all")
	require.ErrorContains(t, (&parkedRelease{ProjectorTask: task, Customer: "x"}).Run(t.Context()), "not a UUID")
}

func TestStatusShowsWhatIsBehind(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	require.NoError(t, standing{
		Generation: 3, Head: 9, Parked: 2,
		Lanes: []laneStanding{
			{Lane: 0, Head: 7, Applied: 7},
			{Lane: 1, Head: 9, Applied: 3, LagEvents: 2, LagSeconds: 1.5},
			{Lane: 2, Applied: 1},
			{Lane: 3, Head: 8, Applied: 1, LagEvents: lagCounted, LagSeconds: 2},
		},
		Rebuild: &rebuildStanding{Generation: 4, Phase: "filling", Done: 5, Total: 9, StartedAt: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)},
	}.print(&out))
	require.Equal(t, `  lane  head  applied        behind             state
     0     7        7             0        up to date
     1     9        3             2    behind by 1.5s
     2     0        1             0  ahead of the log
     3     8        1  1000 or more      behind by 2s
generation: 3
parked customers: 2
rebuild of generation 4: filling, 5 of 9 events folded, begun 2026-01-02T03:04:05Z
`, out.String())
}

func rebuildSettings(c config.ProjectorTask) rebuild {
	return rebuild{EventLog: c.EventLog, ReadModel: c.ReadModel, Keys: c.Keys, Lanes: c.Lanes, Log: c.Log, Workers: config.Int{Value: 2}}
}

func TestRebuildsFollowEachOther(t *testing.T) {
	t.Parallel()
	task := taskSettings(t)
	run := func(how func(*rebuild)) error {
		r := rebuildSettings(task)
		how(&r)
		return r.Run(t.Context())
	}
	require.NoError(t, run(func(*rebuild) {}))
	require.NoError(t, run(func(r *rebuild) { r.KeepOld = true }))
	require.NoError(t, run(func(r *rebuild) { r.KeepOld, r.Restart = true, true }), "what an earlier one kept makes room")
	require.NoError(t, run(func(r *rebuild) { r.DropOld = true }))
	require.NoError(t, run(func(r *rebuild) { r.Abandon = true }))
	require.NoError(t, withParts(t.Context(), task, func(p *parts) error {
		s, err := p.standing(t.Context(), 8)
		require.Equal(t, 4, s.Generation)
		require.Nil(t, s.Rebuild)
		require.Len(t, s.Lanes, 8)
		return err
	}))
}

func TestOneRebuildAtATime(t *testing.T) {
	t.Parallel()
	task := taskSettings(t)
	r := rebuildSettings(task)
	p, err := r.open(t.Context(), slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	defer p.close()
	first, err := postgres.OpenRebuild(t.Context(), p.model, 8)
	require.NoError(t, err)
	require.ErrorIs(t, r.Run(t.Context()), postgres.ErrRebuilding)
	require.NoError(t, first.Close(t.Context()))
	require.NoError(t, r.Run(t.Context()))
}

func TestABarShowsRateAndTimeLeft(t *testing.T) {
	t.Parallel()
	s := &shown{terminal: true}
	p := projection.Progress{Phase: projection.PhaseFilling, Done: 1000, Total: 5000}
	s.look(p)
	s.begun = time.Now().Add(-10 * time.Second)
	p.Done = 2000
	require.Equal(t, "filling     [############..................]  40%  2000 of 5000  100/s  30s left", s.bar(p))
	require.Equal(t, "switching", s.bar(projection.Progress{Phase: projection.PhaseSwitching}))
}
