// Package eventlogtest holds every implementation of the event log's ports to
// their comments, so that a fake may stand in for PostgreSQL only when it
// behaves like it.
package eventlogtest

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
)

// Log is all ports of one event log.
type Log interface {
	eventlog.Appender
	eventlog.Loader
	eventlog.Reader
}

// Implementation is an empty log under test.
type Implementation struct {
	Log Log
	// Sequence gives positions to all events committed so far, in DefaultLanes lanes.
	Sequence func(t *testing.T)
}

// Run holds an implementation to the ports' comments. open is called a few
// times and returns an empty log each time.
func Run(t *testing.T, open func(t *testing.T) Implementation) {
	t.Helper()
	appending := map[string]func(*testing.T, Log){
		"an unknown customer is version 0":                    unknownCustomer,
		"what is appended is loaded":                          appendAndLoad,
		"an empty batch is nothing":                           emptyBatch,
		"a stale version conflicts":                           staleVersion,
		"items of one batch do not touch each other":          independentItems,
		"a taken claim stays with its holder":                 takenClaim,
		"a claim the customer holds already is its own":       ownClaim,
		"a freed claim can be taken":                          freedClaim,
		"nobody frees another's claim":                        freeingAnothers,
		"a recorded key is replayed":                          replay,
		"a replay comes before a conflict and a claim":        replayFirst,
		"an idempotency record needs no events":               recordOnly,
		"an item handed in again is appended once":            resubmission,
		"an item handed in again later is still appended":     lateResubmission,
		"another command at the same version is no replay":    sameVersionOtherEvents,
		"a destroyed key is gone and the events stay":         destroyedKey,
		"a refused item fails alone":                          refusedItem,
		"a batch that breaks the conditions is misuse":        misuse,
		"of many writers the compare-and-set picks one":       racingWriters,
		"of many claimants one wins and losers leave nothing": racingClaimants,
		"one idempotency key has one effect":                  racingKeys,
		"the same batch under way twice is appended once":     racingResubmission,
		"two batches swapping claims never corrupt them":      swappingClaims,
		"overlapping batches all come to an end":              overlappingBatches,
	}
	t.Run("append", func(t *testing.T) {
		t.Parallel()
		log := open(t).Log // shared: every test has customers and claims of its own
		for name, test := range appending {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				test(t, log)
			})
		}
	})
	reading := map[string]func(*testing.T, Implementation){
		"an empty log":                    emptyLog,
		"lanes are read in global order":  readLanes,
		"a customer is read in its order": readStream,
		"concurrent appends keep order":   orderUnderConcurrency,
	}
	t.Run("read", func(t *testing.T) {
		t.Parallel()
		for name, test := range reading {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				test(t, open(t))
			})
		}
	})
}

const patience = time.Minute // a shared machine is slow at times

func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// envelopes returns n events after a version, with something in every field.
func envelopes(id customer.ID, after customer.Version, n int) []eventlog.Envelope {
	command := uuid.Must(uuid.NewV7())
	out := make([]eventlog.Envelope, n)
	for i := range out {
		out[i] = eventlog.Envelope{
			EventID:       uuid.Must(uuid.NewV7()),
			CustomerID:    id,
			Version:       after + 1 + customer.Version(i),
			Type:          "customer.tagged",
			SchemaVersion: 1,
			Data:          json.RawMessage(`{"changed": ["tags"]}`),
			Personal:      random(40),
			Metadata:      eventlog.Metadata{Actor: "suite", CorrelationID: "c-1", TraceParent: "00-…-01", CommandID: command},
			RecordedAt:    time.Now().UTC().Truncate(time.Microsecond),
		}
	}
	if n > 1 {
		out[1].Personal = nil // as a deletion has it
	}
	return out
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return b
}

func newID() customer.ID { return uuid.Must(uuid.NewV7()) }

func newClaim(kind eventlog.ClaimKind) eventlog.Claim {
	return eventlog.Claim{Kind: kind, Digest: [32]byte(random(32))}
}

// register is what a registration appends: one event, a key and claims.
func register(id customer.ID, take ...eventlog.Claim) eventlog.Append {
	return eventlog.Append{
		CustomerID: id,
		Events:     envelopes(id, 0, 1),
		Take:       take,
		NewKey:     &eventlog.WrappedKey{Wrapped: random(60), KEK: "suite"},
	}
}

// change is what a later command appends: one event.
func change(id customer.ID, expected customer.Version) eventlog.Append {
	return eventlog.Append{CustomerID: id, Expected: expected, Events: envelopes(id, expected, 1)}
}

// recorded adds an idempotency record with a key of its own.
func recorded(a eventlog.Append) eventlog.Append {
	p := eventlog.Idempotency{
		Principal:     "suite",
		Key:           fmt.Sprintf("%x", random(12)),
		RequestDigest: [32]byte(random(32)),
		CustomerID:    a.CustomerID,
		Version:       a.Expected + customer.Version(len(a.Events)),
		Status:        201,
		CommandID:     uuid.Must(uuid.NewV7()),
	}
	if len(a.Events) > 0 {
		p.CommandID = a.Events[0].Metadata.CommandID
	}
	a.Idempotency = &p
	return a
}

// appendOne appends a batch of one.
func appendOne(t *testing.T, log Log, item eventlog.Append) eventlog.Outcome {
	t.Helper()
	outcomes, err := log.AppendBatch(testContext(t), []eventlog.Append{item})
	require.NoError(t, err)
	require.Len(t, outcomes, 1)
	return outcomes[0]
}

// mustAppend appends a batch of one that has to succeed.
func mustAppend(t *testing.T, log Log, item eventlog.Append) {
	t.Helper()
	want := eventlog.Outcome{Verdict: eventlog.Appended, Version: item.Expected + customer.Version(len(item.Events))}
	require.Equal(t, want, appendOne(t, log, item))
}

// mustFind hands in a batch of one that is committed already.
func mustFind(t *testing.T, log Log, item eventlog.Append) {
	t.Helper()
	want := eventlog.Outcome{Verdict: eventlog.Appended, Version: item.Expected + customer.Version(len(item.Events)), Earlier: true}
	require.Equal(t, want, appendOne(t, log, item))
}

func load(t *testing.T, log Log, id customer.ID) eventlog.Stream {
	t.Helper()
	stream, err := log.Load(testContext(t), id, 0)
	require.NoError(t, err)
	require.Len(t, stream.Events, int(stream.Version), "versions are dense")
	for i, e := range stream.Events {
		require.Equal(t, customer.Version(i+1), e.Version)
	}
	return stream
}

// requireEnvelopes compares events; data is stored as JSON, so its spelling may change.
func requireEnvelopes(t *testing.T, want, got []eventlog.Envelope) {
	t.Helper()
	require.Len(t, got, len(want))
	for i := range want {
		require.JSONEq(t, string(want[i].Data), string(got[i].Data))
		w, g := want[i], got[i]
		w.Data, g.Data = nil, nil
		require.Equal(t, w, g)
	}
}

// requireNothing checks that an item left no trace: no stream, key, event or
// idempotency record.
func requireNothing(t *testing.T, log Log, item eventlog.Append) {
	t.Helper()
	require.Equal(t, eventlog.Stream{}, load(t, log, item.CustomerID))
	keys, err := log.Keys(testContext(t), []customer.ID{item.CustomerID})
	require.NoError(t, err)
	require.Empty(t, keys)
	if p := item.Idempotency; p != nil {
		found, err := log.FindIdempotency(testContext(t), p.Principal, p.Key)
		require.NoError(t, err)
		require.Nil(t, found)
	}
}

// requireFree checks that nobody holds a claim, by taking it.
func requireFree(t *testing.T, log Log, claims ...eventlog.Claim) {
	t.Helper()
	mustAppend(t, log, register(newID(), claims...))
}

// requireTaken checks that another customer than a new one holds a claim.
func requireTaken(t *testing.T, log Log, claim eventlog.Claim) {
	t.Helper()
	require.Equal(t, eventlog.Outcome{Verdict: eventlog.ClaimTaken, Claim: claim.Kind}, appendOne(t, log, register(newID(), claim)))
}
