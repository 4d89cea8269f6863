package eventlogtest

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
)

func emptyLog(t *testing.T, im Implementation) {
	ctx := testContext(t)
	head, err := im.Log.Head(ctx)
	require.NoError(t, err)
	require.Zero(t, head)
	heads, err := im.Log.LaneHeads(ctx)
	require.NoError(t, err)
	require.Empty(t, heads)
	events, err := im.Log.ReadLane(ctx, 0, 0, 0, 10)
	require.NoError(t, err)
	require.Empty(t, events)
	events, err = im.Log.ReadStream(ctx, newID(), 0, 10)
	require.NoError(t, err)
	require.Empty(t, events)
	keys, err := im.Log.Keys(ctx, nil)
	require.NoError(t, err)
	require.Empty(t, keys)
}

func laneOf(id customer.ID) eventlog.Lane {
	return eventlog.LaneOf(eventlog.SlotOf(id), eventlog.DefaultLanes)
}

func readLanes(t *testing.T, im Implementation) {
	ctx := testContext(t)
	perLane := map[eventlog.Lane][]eventlog.Envelope{}
	for range 40 {
		id := newID()
		item := register(id)
		item.Events = envelopes(id, 0, 2)
		mustAppend(t, im.Log, item)
		perLane[laneOf(id)] = append(perLane[laneOf(id)], item.Events...)
	}
	unsequenced, err := im.Log.Head(ctx)
	require.NoError(t, err)
	require.Zero(t, unsequenced, "what has no position cannot be read yet")
	im.Sequence(t)

	head, err := im.Log.Head(ctx)
	require.NoError(t, err)
	require.Equal(t, eventlog.Position(80), head)
	heads, err := im.Log.LaneHeads(ctx)
	require.NoError(t, err)
	require.Len(t, heads, len(perLane))

	seen := map[eventlog.Position]bool{}
	for lane, want := range perLane {
		all, err := im.Log.ReadLane(ctx, lane, 0, 0, 1000)
		require.NoError(t, err)
		requireEnvelopes(t, want, envelopesOf(all))
		for i, s := range all {
			require.False(t, seen[s.Position])
			seen[s.Position] = true
			if i > 0 {
				require.Greater(t, s.Position, all[i-1].Position)
			}
		}
		require.Equal(t, heads[lane], all[len(all)-1].Position)
		if len(all) < 4 {
			continue
		}
		part, err := im.Log.ReadLane(ctx, lane, all[0].Position, all[2].Position, 1000)
		require.NoError(t, err)
		require.Equal(t, all[1:3], part, "after excludes, through includes")
		part, err = im.Log.ReadLane(ctx, lane, all[0].Position, 0, 2)
		require.NoError(t, err)
		require.Equal(t, all[1:3], part, "limit")
	}
	require.Len(t, seen, 80, "positions are dense from 1")
	require.True(t, seen[1] && seen[80])
}

func readStream(t *testing.T, im Implementation) {
	ctx, id := testContext(t), newID()
	item := register(id)
	item.Events = envelopes(id, 0, 3)
	mustAppend(t, im.Log, register(newID()))
	mustAppend(t, im.Log, item)
	im.Sequence(t)
	mustAppend(t, im.Log, change(id, 3)) // not sequenced yet

	all, err := im.Log.ReadStream(ctx, id, 0, 10)
	require.NoError(t, err)
	requireEnvelopes(t, item.Events, envelopesOf(all))
	require.Equal(t, []eventlog.Position{2, 3, 4}, []eventlog.Position{all[0].Position, all[1].Position, all[2].Position})
	part, err := im.Log.ReadStream(ctx, id, 1, 1)
	require.NoError(t, err)
	require.Equal(t, all[1:2], part)
}

// orderUnderConcurrency sequences while writers append, and then expects each
// customer's events in the order of their versions.
func orderUnderConcurrency(t *testing.T, im Implementation) {
	ctx := testContext(t)
	ids := make([]customer.ID, 4)
	for i := range ids {
		ids[i] = newID()
		mustAppend(t, im.Log, register(ids[i]))
	}
	var writers errgroup.Group
	for range 6 {
		writers.Go(func() error {
			for range 30 {
				batch := make([]eventlog.Append, len(ids))
				for i, id := range ids {
					stream, err := im.Log.Load(ctx, id, 0)
					if err != nil {
						return err
					}
					batch[i] = eventlog.Append{CustomerID: id, Expected: stream.Version, Events: envelopes(id, stream.Version, 2)}
				}
				if _, err := im.Log.AppendBatch(ctx, batch); err != nil {
					return err
				}
			}
			return nil
		})
	}
	done := make(chan error, 1)
	go func() { done <- writers.Wait() }()
	for running := true; running; {
		select {
		case err := <-done:
			require.NoError(t, err)
			running = false
		default:
			im.Sequence(t)
		}
	}
	im.Sequence(t)
	for _, id := range ids {
		stream := load(t, im.Log, id)
		sequenced, err := im.Log.ReadStream(ctx, id, 0, 10_000)
		require.NoError(t, err)
		requireEnvelopes(t, stream.Events, envelopesOf(sequenced))
		for i := 1; i < len(sequenced); i++ {
			require.Greater(t, sequenced[i].Position, sequenced[i-1].Position)
		}
	}
}

func envelopesOf(all []eventlog.Sequenced) []eventlog.Envelope {
	out := make([]eventlog.Envelope, len(all))
	for i := range all {
		out[i] = all[i].Envelope
	}
	return out
}
