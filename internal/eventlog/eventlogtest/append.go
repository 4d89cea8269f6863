package eventlogtest

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
)

func unknownCustomer(t *testing.T, log Log) {
	require.Equal(t, eventlog.Stream{}, load(t, log, newID()))
	found, err := log.FindIdempotency(testContext(t), "suite", "never used")
	require.NoError(t, err)
	require.Nil(t, found)
}

func appendAndLoad(t *testing.T, log Log) {
	ctx, id := testContext(t), newID()
	first := recorded(register(id, newClaim(eventlog.ClaimEmail)))
	first.Events = envelopes(id, 0, 3)
	first.Idempotency.Version, first.Idempotency.CommandID = 3, first.Events[0].Metadata.CommandID
	mustAppend(t, log, first)
	second := change(id, 3)
	mustAppend(t, log, second)

	stream := load(t, log, id)
	require.Equal(t, customer.Version(4), stream.Version)
	require.Equal(t, first.NewKey, stream.Key)
	all := append(first.Events, second.Events...)
	requireEnvelopes(t, all, stream.Events)

	stream, err := log.Load(ctx, id, 2)
	require.NoError(t, err)
	require.Equal(t, customer.Version(4), stream.Version)
	requireEnvelopes(t, all[2:], stream.Events)
	stream, err = log.Load(ctx, id, 4)
	require.NoError(t, err)
	require.Equal(t, eventlog.Stream{Version: 4, Key: first.NewKey}, stream)

	found, err := log.FindIdempotency(ctx, first.Idempotency.Principal, first.Idempotency.Key)
	require.NoError(t, err)
	require.WithinDuration(t, time.Now(), found.CreatedAt, patience)
	found.CreatedAt = time.Time{}
	require.Equal(t, first.Idempotency, found)

	keys, err := log.Keys(ctx, []customer.ID{newID(), id})
	require.NoError(t, err)
	require.Equal(t, map[customer.ID]eventlog.WrappedKey{id: *first.NewKey}, keys)
}

func emptyBatch(t *testing.T, log Log) {
	outcomes, err := log.AppendBatch(testContext(t), nil)
	require.NoError(t, err)
	require.Empty(t, outcomes)
}

func staleVersion(t *testing.T, log Log) {
	id := newID()
	mustAppend(t, log, register(id))
	mustAppend(t, log, change(id, 1))
	for _, expected := range []customer.Version{0, 1, 3} {
		item := recorded(change(id, expected))
		item.Take = []eventlog.Claim{newClaim(eventlog.ClaimEmail)}
		require.Equal(t, eventlog.Outcome{Verdict: eventlog.Conflicted, Version: 2}, appendOne(t, log, item))
		found, err := log.FindIdempotency(testContext(t), item.Idempotency.Principal, item.Idempotency.Key)
		require.NoError(t, err)
		require.Nil(t, found)
		requireFree(t, log, item.Take...)
	}
	require.Equal(t, customer.Version(2), load(t, log, id).Version)

	unknown := change(newID(), 4)
	require.Equal(t, eventlog.Outcome{Verdict: eventlog.Conflicted}, appendOne(t, log, unknown))
	requireNothing(t, log, unknown)
}

func independentItems(t *testing.T, log Log) {
	held := newClaim(eventlog.ClaimEmail)
	holder, stale, replayed := newID(), newID(), newID()
	mustAppend(t, log, register(holder, held))
	mustAppend(t, log, register(stale))
	mustAppend(t, log, change(stale, 1))
	before := recorded(register(replayed))
	mustAppend(t, log, before)

	loserClaim := newClaim(eventlog.ClaimExternalID)
	again := recorded(change(replayed, 1))
	again.Idempotency.Key = before.Idempotency.Key
	batch := []eventlog.Append{
		recorded(register(newID(), newClaim(eventlog.ClaimEmail))),
		recorded(register(newID(), held, loserClaim)),
		recorded(change(stale, 1)),
		again,
		recorded(change(holder, 1)),
		register(newID()),
	}
	outcomes, err := log.AppendBatch(testContext(t), batch)
	require.NoError(t, err)
	require.Len(t, outcomes, len(batch))
	require.Equal(t, eventlog.Outcome{Verdict: eventlog.Appended, Version: 1}, outcomes[0])
	require.Equal(t, eventlog.Outcome{Verdict: eventlog.ClaimTaken, Claim: eventlog.ClaimEmail}, outcomes[1])
	require.Equal(t, eventlog.Outcome{Verdict: eventlog.Conflicted, Version: 2}, outcomes[2])
	require.Equal(t, eventlog.Replayed, outcomes[3].Verdict)
	require.Equal(t, before.Idempotency.CommandID, outcomes[3].Recorded.CommandID)
	require.Equal(t, eventlog.Outcome{Verdict: eventlog.Appended, Version: 2}, outcomes[4])
	require.Equal(t, eventlog.Outcome{Verdict: eventlog.Appended, Version: 1}, outcomes[5])

	requireEnvelopes(t, batch[0].Events, load(t, log, batch[0].CustomerID).Events)
	requireNothing(t, log, batch[1])
	requireFree(t, log, loserClaim)
	require.Equal(t, customer.Version(2), load(t, log, stale).Version)
	require.Equal(t, customer.Version(1), load(t, log, replayed).Version)
	require.Equal(t, customer.Version(2), load(t, log, holder).Version)
}

func takenClaim(t *testing.T, log Log) {
	email, externalID := newClaim(eventlog.ClaimEmail), newClaim(eventlog.ClaimExternalID)
	mustAppend(t, log, register(newID(), email))
	mustAppend(t, log, register(newID(), externalID))
	// The same digest under another kind is another claim.
	mustAppend(t, log, register(newID(), eventlog.Claim{Kind: eventlog.ClaimExternalID, Digest: email.Digest}))

	free := newClaim(eventlog.ClaimEmail)
	loser := recorded(register(newID(), free, externalID))
	require.Equal(t, eventlog.Outcome{Verdict: eventlog.ClaimTaken, Claim: eventlog.ClaimExternalID}, appendOne(t, log, loser))
	requireNothing(t, log, loser)
	requireFree(t, log, free)

	// A customer that exists loses no more than the command.
	id, own := newID(), newClaim(eventlog.ClaimEmail)
	mustAppend(t, log, register(id, own))
	item := change(id, 1)
	item.Take, item.Free = []eventlog.Claim{email}, []eventlog.Claim{own}
	require.Equal(t, eventlog.ClaimTaken, appendOne(t, log, item).Verdict)
	require.Equal(t, customer.Version(1), load(t, log, id).Version)
	requireTaken(t, log, own)
}

func ownClaim(t *testing.T, log Log) {
	id, own, taken := newID(), newClaim(eventlog.ClaimEmail), newClaim(eventlog.ClaimExternalID)
	mustAppend(t, log, register(id, own))
	mustAppend(t, log, register(newID(), taken))
	item := change(id, 1)
	item.Take = []eventlog.Claim{own}
	mustAppend(t, log, item)
	// Losing another claim does not lose the one held before.
	item = change(id, 2)
	item.Take = []eventlog.Claim{own, taken}
	require.Equal(t, eventlog.ClaimTaken, appendOne(t, log, item).Verdict)
	requireTaken(t, log, own)
}

func freedClaim(t *testing.T, log Log) {
	id, old, now := newID(), newClaim(eventlog.ClaimEmail), newClaim(eventlog.ClaimEmail)
	mustAppend(t, log, register(id, old))
	item := change(id, 1)
	item.Take, item.Free = []eventlog.Claim{now}, []eventlog.Claim{old}
	mustAppend(t, log, item)
	requireFree(t, log, old)
	requireTaken(t, log, now)
}

func freeingAnothers(t *testing.T, log Log) {
	id, anothers := newID(), newClaim(eventlog.ClaimEmail)
	mustAppend(t, log, register(newID(), anothers))
	mustAppend(t, log, register(id))
	item := change(id, 1)
	item.Free = []eventlog.Claim{anothers, newClaim(eventlog.ClaimEmail)}
	mustAppend(t, log, item)
	requireTaken(t, log, anothers)
}

func replay(t *testing.T, log Log) {
	id, claim := newID(), newClaim(eventlog.ClaimEmail)
	first := recorded(register(id))
	mustAppend(t, log, first)
	second := recorded(change(id, 1))
	second.Take = []eventlog.Claim{claim}
	second.Idempotency.Key = first.Idempotency.Key
	got := appendOne(t, log, second)
	require.Equal(t, eventlog.Replayed, got.Verdict)
	require.WithinDuration(t, time.Now(), got.Recorded.CreatedAt, patience)
	got.Recorded.CreatedAt = time.Time{}
	require.Equal(t, first.Idempotency, got.Recorded)
	require.Equal(t, customer.Version(1), load(t, log, id).Version)
	requireFree(t, log, claim)

	other := recorded(change(id, 1)) // another principal may use the same key
	other.Idempotency.Principal, other.Idempotency.Key = "another", first.Idempotency.Key
	mustAppend(t, log, other)
}

func replayFirst(t *testing.T, log Log) {
	id, claim := newID(), newClaim(eventlog.ClaimEmail)
	first := recorded(register(id, claim))
	mustAppend(t, log, first)
	for _, item := range []eventlog.Append{recorded(change(id, 7)), recorded(register(newID(), claim))} {
		item.Idempotency.Key = first.Idempotency.Key
		require.Equal(t, eventlog.Replayed, appendOne(t, log, item).Verdict)
	}
}

func recordOnly(t *testing.T, log Log) {
	id := newID()
	mustAppend(t, log, register(id))
	item := recorded(eventlog.Append{CustomerID: id, Expected: 1})
	mustAppend(t, log, item)
	mustAppend(t, log, change(id, 1))
	mustFind(t, log, item) // still the same command
	found, err := log.FindIdempotency(testContext(t), item.Idempotency.Principal, item.Idempotency.Key)
	require.NoError(t, err)
	require.Equal(t, item.Idempotency.CommandID, found.CommandID)

	stale := recorded(eventlog.Append{CustomerID: id, Expected: 1})
	require.Equal(t, eventlog.Outcome{Verdict: eventlog.Conflicted, Version: 2}, appendOne(t, log, stale))
}

func resubmission(t *testing.T, log Log) {
	id, old, now := newID(), newClaim(eventlog.ClaimEmail), newClaim(eventlog.ClaimEmail)
	first := recorded(register(id, old))
	second := change(id, 1) // without idempotency record: the event ids tell
	second.Events = envelopes(id, 1, 2)
	second.Take, second.Free = []eventlog.Claim{now}, []eventlog.Claim{old}
	for _, item := range []eventlog.Append{first, second} {
		mustAppend(t, log, item)
		mustFind(t, log, item)
		mustFind(t, log, item)
	}
	requireEnvelopes(t, append(first.Events, second.Events...), load(t, log, id).Events)
	requireFree(t, log, old)
}

func lateResubmission(t *testing.T, log Log) {
	id, old := newID(), newClaim(eventlog.ClaimEmail)
	first := register(id, old)
	mustAppend(t, log, first)
	second := change(id, 1)
	second.Free = []eventlog.Claim{old}
	mustAppend(t, log, second)
	requireFree(t, log, old) // now another's
	erase := change(id, 2)
	erase.DestroyKey = true
	mustAppend(t, log, erase)

	mustFind(t, log, first) // writes neither key nor claim again
	mustFind(t, log, second)
	require.Nil(t, load(t, log, id).Key)
	requireTaken(t, log, old)
}

func sameVersionOtherEvents(t *testing.T, log Log) {
	id := newID()
	mustAppend(t, log, register(id))
	item := change(id, 1)
	item.Events = envelopes(id, 1, 2)
	mustAppend(t, log, item)
	other := item
	other.Events = []eventlog.Envelope{item.Events[0], envelopes(id, 2, 1)[0]}
	require.Equal(t, eventlog.Outcome{Verdict: eventlog.Conflicted, Version: 3}, appendOne(t, log, other))
	longer := item
	longer.Events = append(append([]eventlog.Envelope{}, item.Events...), envelopes(id, 3, 1)...)
	require.Equal(t, eventlog.Outcome{Verdict: eventlog.Conflicted, Version: 3}, appendOne(t, log, longer))
}

func destroyedKey(t *testing.T, log Log) {
	id, claim := newID(), newClaim(eventlog.ClaimEmail)
	mustAppend(t, log, register(id, claim))
	erase := change(id, 1)
	erase.DestroyKey, erase.Free = true, []eventlog.Claim{claim}
	mustAppend(t, log, erase)
	stream := load(t, log, id)
	require.Nil(t, stream.Key)
	require.Len(t, stream.Events, 2)
	keys, err := log.Keys(testContext(t), []customer.ID{id})
	require.NoError(t, err)
	require.Empty(t, keys)
	requireFree(t, log, claim)
}

// refusedItem uses what a store of JSON or text commonly cannot hold.
func refusedItem(t *testing.T, log Log) {
	var batch []eventlog.Append
	for range 9 {
		batch = append(batch, recorded(register(newID(), newClaim(eventlog.ClaimEmail))))
	}
	batch[4].Events[0].Data = json.RawMessage(`{"canary": `)
	outcomes, err := log.AppendBatch(testContext(t), batch)
	require.NoError(t, err)
	require.Len(t, outcomes, len(batch))
	for i, got := range outcomes {
		if i != 4 {
			require.Equal(t, eventlog.Outcome{Verdict: eventlog.Appended, Version: 1}, got)
			continue
		}
		require.Equal(t, eventlog.Refused, got.Verdict)
		require.Error(t, got.Err)
		require.NotContains(t, got.Err.Error(), "canary")
	}
	requireNothing(t, log, batch[4])
	requireFree(t, log, batch[4].Take...)
}

func misuse(t *testing.T, log Log) {
	id, claim := newID(), newClaim(eventlog.ClaimEmail)
	wrongVersion := register(newID())
	wrongVersion.Events[0].Version = 2
	wrongCustomer := register(newID())
	wrongCustomer.Events[0].CustomerID = newID()
	lateKey := change(newID(), 1)
	lateKey.NewKey = &eventlog.WrappedKey{Wrapped: []byte{1}, KEK: "suite"}
	first, second := recorded(register(newID())), recorded(register(newID()))
	second.Idempotency.Key = first.Idempotency.Key
	freeing := register(newID())
	freeing.Free = []eventlog.Claim{claim}
	for name, batch := range map[string][]eventlog.Append{
		"a customer twice":     {register(id), register(id)},
		"a claim twice":        {register(newID(), claim), register(newID(), claim)},
		"a claim both ways":    {register(newID(), claim), freeing},
		"a key twice":          {first, second},
		"a wrong version":      {wrongVersion},
		"a wrong customer":     {wrongCustomer},
		"a late key":           {lateKey},
		"a negative version":   {change(newID(), -1)},
		"claims but no events": {{CustomerID: newID(), Take: []eventlog.Claim{claim}}},
	} {
		_, err := log.AppendBatch(testContext(t), append(batch, register(uuid.UUID{1})))
		require.ErrorIs(t, err, eventlog.ErrMisuse, name)
		require.NotErrorIs(t, err, eventlog.ErrUnavailable, name)
	}
	require.Equal(t, eventlog.Stream{}, load(t, log, uuid.UUID{1}), "nothing was committed")
	requireFree(t, log, claim)
}
