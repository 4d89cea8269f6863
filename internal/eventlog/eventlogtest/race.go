package eventlogtest

import (
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
)

// racers is how many goroutines compete in each race.
const racers = 32

// race appends each batch from its own goroutine, all at once, and returns the
// outcomes in the order of the batches.
func race(t *testing.T, log Log, batches [][]eventlog.Append) [][]eventlog.Outcome {
	t.Helper()
	ctx := testContext(t)
	outcomes := make([][]eventlog.Outcome, len(batches))
	begin := make(chan struct{})
	var all errgroup.Group
	for i, batch := range batches {
		all.Go(func() (err error) {
			<-begin
			outcomes[i], err = log.AppendBatch(ctx, batch)
			return err
		})
	}
	close(begin)
	require.NoError(t, all.Wait())
	return outcomes
}

func single(items []eventlog.Append) [][]eventlog.Append {
	batches := make([][]eventlog.Append, len(items))
	for i := range items {
		batches[i] = items[i : i+1]
	}
	return batches
}

func racingWriters(t *testing.T, log Log) {
	id := newID()
	mustAppend(t, log, register(id))
	want := load(t, log, id).Events
	for round := range 3 {
		expected := customer.Version(round + 1)
		items := make([]eventlog.Append, racers)
		for i := range items {
			items[i] = change(id, expected)
		}
		won := 0
		for i, got := range race(t, log, single(items)) {
			if got[0].Verdict == eventlog.Appended {
				won++
				want = append(want, items[i].Events...)
				continue
			}
			require.Equal(t, eventlog.Outcome{Verdict: eventlog.Conflicted, Version: expected + 1}, got[0])
		}
		require.Equal(t, 1, won)
	}
	requireEnvelopes(t, want, load(t, log, id).Events)
}

func racingClaimants(t *testing.T, log Log) {
	contested := newClaim(eventlog.ClaimEmail)
	items := make([]eventlog.Append, racers)
	for i := range items {
		items[i] = recorded(register(newID(), contested, newClaim(eventlog.ClaimExternalID)))
	}
	won := 0
	for i, got := range race(t, log, single(items)) {
		if got[0].Verdict == eventlog.Appended {
			won++
			continue
		}
		require.Equal(t, eventlog.Outcome{Verdict: eventlog.ClaimTaken, Claim: eventlog.ClaimEmail}, got[0])
		requireNothing(t, log, items[i])
		requireFree(t, log, items[i].Take[1])
	}
	require.Equal(t, 1, won)
	requireTaken(t, log, contested)
}

// racingKeys is a client that sends a request again before the first answer:
// whatever else it would lose to itself, it must hear that it is a replay.
func racingKeys(t *testing.T, log Log) {
	id, claim := newID(), newClaim(eventlog.ClaimEmail)
	mustAppend(t, log, register(id))
	oneEffect(t, log, func() eventlog.Append { return recorded(register(newID(), claim)) })
	oneEffect(t, log, func() eventlog.Append { return recorded(change(id, 1)) })
	oneEffect(t, log, func() eventlog.Append { return recorded(eventlog.Append{CustomerID: id, Expected: 2}) })
	require.Equal(t, customer.Version(2), load(t, log, id).Version)
}

func oneEffect(t *testing.T, log Log, request func() eventlog.Append) {
	t.Helper()
	items := make([]eventlog.Append, racers)
	for i := range items {
		items[i] = request()
		items[i].Idempotency.Key = items[0].Idempotency.Key
	}
	won := -1
	outcomes := race(t, log, single(items))
	for i, got := range outcomes {
		if got[0].Verdict == eventlog.Appended {
			require.Equal(t, -1, won)
			won = i
		}
	}
	require.GreaterOrEqual(t, won, 0)
	for i, got := range outcomes {
		if i != won {
			require.Equal(t, eventlog.Replayed, got[0].Verdict)
			require.Equal(t, items[won].Idempotency.CommandID, got[0].Recorded.CommandID)
		}
	}
}

// racingResubmission is a caller that lost its connection and hands the batch
// in again while the first attempt still runs.
func racingResubmission(t *testing.T, log Log) {
	for range 5 {
		id := newID()
		mustAppend(t, log, register(id))
		changed := change(id, 1)
		changed.Take = []eventlog.Claim{newClaim(eventlog.ClaimEmail)}
		batch := []eventlog.Append{
			recorded(register(newID(), newClaim(eventlog.ClaimEmail))),
			register(newID(), newClaim(eventlog.ClaimEmail)),
			register(newID()),
			changed,
		}
		batches := make([][]eventlog.Append, 8)
		for i := range batches {
			batches[i] = batch
		}
		first := make([]int, len(batch))
		for _, got := range race(t, log, batches) {
			for i := range batch {
				if !got[i].Earlier {
					first[i]++
				}
				got[i].Earlier = false
				require.Equal(t, eventlog.Outcome{Version: batch[i].Expected + 1}, got[i])
			}
		}
		require.Equal(t, []int{1, 1, 1, 1}, first, "one attempt appended each item, the others found it")
		for _, item := range batch {
			require.Equal(t, item.Expected+1, load(t, log, item.CustomerID).Version)
		}
	}
}

// swappingClaims has pairs of customers that each want what the other holds,
// while giving up their own.
func swappingClaims(t *testing.T, log Log) {
	for range 10 {
		ids := []customer.ID{newID(), newID()}
		claims := []eventlog.Claim{newClaim(eventlog.ClaimEmail), newClaim(eventlog.ClaimEmail)}
		items := make([]eventlog.Append, 2)
		for i, id := range ids {
			mustAppend(t, log, register(id, claims[i]))
			items[i] = change(id, 1)
			items[i].Take, items[i].Free = []eventlog.Claim{claims[1-i]}, []eventlog.Claim{claims[i]}
		}
		// Neither can go first, so both lose, and each keeps what it had.
		for i, got := range race(t, log, single(items)) {
			require.Equal(t, eventlog.Outcome{Verdict: eventlog.ClaimTaken, Claim: eventlog.ClaimEmail}, got[0])
			require.Equal(t, customer.Version(1), load(t, log, ids[i]).Version)
			keep := change(ids[i], 1)
			keep.Take = []eventlog.Claim{claims[i]}
			mustAppend(t, log, keep)
		}
	}
}

// overlappingBatches mixes everything over few customers, claims and keys, and
// compares the log with what the outcomes said.
func overlappingBatches(t *testing.T, log Log) {
	ids := make([]customer.ID, 12)
	claims := make([]eventlog.Claim, 12)
	for i := range ids {
		ids[i], claims[i] = newID(), newClaim(eventlog.ClaimEmail)
	}
	var mu sync.Mutex
	appended := map[customer.ID][]eventlog.Envelope{}
	ctx := testContext(t)
	var all errgroup.Group
	for range 8 {
		all.Go(func() error {
			for range 25 {
				batch := overlapping(ids, claims)
				for i := range batch {
					stream, err := log.Load(ctx, batch[i].CustomerID, 0)
					if err != nil {
						return err
					}
					batch[i] = at(batch[i], stream.Version)
				}
				outcomes, err := log.AppendBatch(ctx, batch)
				if err != nil {
					return err
				}
				mu.Lock()
				for i, got := range outcomes {
					if got.Verdict == eventlog.Appended {
						appended[batch[i].CustomerID] = append(appended[batch[i].CustomerID], batch[i].Events...)
					}
				}
				mu.Unlock()
			}
			return nil
		})
	}
	require.NoError(t, all.Wait())
	for _, id := range ids {
		stored := load(t, log, id).Events
		want := map[uuid.UUID]customer.Version{}
		for _, e := range appended[id] {
			want[e.EventID] = e.Version
		}
		got := map[uuid.UUID]customer.Version{}
		for _, e := range stored {
			got[e.EventID] = e.Version
		}
		require.Equal(t, want, got)
	}
}

// overlapping is up to six changes of different customers; some take a claim,
// some free one.
func overlapping(ids []customer.ID, claims []eventlog.Claim) []eventlog.Append {
	var batch []eventlog.Append
	claimed := shuffled(len(claims))
	for i, which := range shuffled(len(ids))[:1+upTo(6)] {
		item := eventlog.Append{CustomerID: ids[which]}
		if upTo(2) == 0 {
			item.Take = []eventlog.Claim{claims[claimed[2*i]]}
		}
		if upTo(2) == 0 {
			item.Free = []eventlog.Claim{claims[claimed[2*i+1]]}
		}
		batch = append(batch, item)
	}
	return batch
}

// at gives an item its events after a version.
func at(item eventlog.Append, v customer.Version) eventlog.Append {
	item.Expected, item.Events = v, envelopes(item.CustomerID, v, 1+upTo(3))
	return item
}

func shuffled(n int) []int { return rand.Perm(n) } //nolint:gosec // a test's variety needs no secrecy
func upTo(n int) int       { return rand.IntN(n) } //nolint:gosec // as above
