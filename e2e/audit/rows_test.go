package audit

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/e2e/chaos"
	"github.com/ebrahem-outlook/customer-service/internal/customer"
)

// rowsOf are the read model's rows as they should be.
func rowsOf(l *Log) map[customer.ID]*row {
	rows := map[customer.ID]*row{}
	for id, s := range l.Streams {
		head := s.head()
		r := &row{version: head.Version, status: string(head.State.Status()), document: head.Document, history: len(s.Versions), listed: held(head.State)}
		if live(head.State.Status()) {
			r.listState = r.status
		}
		if !s.erased() {
			r.told = r.history
		}
		rows[id] = r
	}
	return rows
}

func requireOnly(t *testing.T, v Verdict, words string) {
	t.Helper()
	if words == "" {
		require.True(t, v.OK(), "%s: %v", v.Check, v)
		return
	}
	require.Positive(t, v.Violated, v.Check)
	require.Contains(t, fmt.Sprint(v.Violations), words)
}

func TestReadModelAgainstLog(t *testing.T) {
	t.Parallel()
	w, ada, bob := life(t)
	l := w.log()
	for words, spoil := range map[string]func(map[customer.ID]*row){
		"":                       func(map[customer.ID]*row) {},
		"is missing":             func(r map[customer.ID]*row) { delete(r, ada) },
		"is at version 3":        func(r map[customer.ID]*row) { r[ada].version = 3 },
		"is not the fold":        func(r map[customer.ID]*row) { r[ada].document = digest{} },
		"has 3 events":           func(r map[customer.ID]*row) { r[ada].history = 3 },
		"under its address":      func(r map[customer.ID]*row) { r[ada].listed = "other@example.com" },
		"listed as":              func(r map[customer.ID]*row) { r[ada].listState = "suspended" },
		"not in the log":         func(r map[customer.ID]*row) { r[uuid.New()] = &row{} },
		"is active at version 4": func(r map[customer.ID]*row) { r[bob].status = "active" },
	} {
		rows := rowsOf(l)
		spoil(rows)
		requireOnly(t, checkModel(l, rows, nil), words)
	}
	for words, spoil := range map[string]func(*row, *Log){
		"":              func(*row, *Log) {},
		"can be opened": func(_ *row, l *Log) { l.HasKey[bob] = true },
		"is listed":     func(r *row, _ *Log) { r.listed = "bob@example.com" },
		"with values":   func(r *row, _ *Log) { r.told = 2 },
		"holds its":     func(r *row, _ *Log) { r.holds = []string{"email"} },
	} {
		l, rows := w.log(), rowsOf(l)
		spoil(rows[bob], l)
		requireOnly(t, checkErasedRows(l, rows), words)
	}
	require.Equal(t, []string{"email"}, personalIn(l.Streams[bob], `{"email":"bob@example.com"}`))
}

func TestParked(t *testing.T) {
	t.Parallel()
	id := uuid.New()
	requireOnly(t, checkParked(1, map[customer.ID]bool{id: true}, 0, []customer.ID{id}), "")
	requireOnly(t, checkParked(1, map[customer.ID]bool{id: true}, 0, nil), "is parked")
	requireOnly(t, checkParked(1, nil, 0, []customer.ID{id}), "is not parked")
	requireOnly(t, checkParked(1, nil, 1, nil), "passed over")
}

func TestFeedsAgainstLog(t *testing.T) {
	t.Parallel()
	w, _, _ := life(t)
	l := w.log()
	good := func() (all []notice) {
		for _, v := range l.index()[1:] {
			all = append(all, notice{v.Position, v.EventID, v.Type, v.State.ID(), v.Version, v.Changed, v.Event.OccurredAt()})
		}
		return all
	}
	for words, spoil := range map[string]func([]notice) []notice{
		"":                 func(n []notice) []notice { return n },
		"comes after":      func(n []notice) []notice { return append(n[:2:2], n[3:]...) },
		"ends at position": func(n []notice) []notice { return n[:len(n)-1] },
		"is not in the log": func(n []notice) []notice {
			more := n[len(n)-1]
			more.position++
			return append(n, more)
		},
		"names other fields":  func(n []notice) []notice { n[0].changed = nil; return n },
		"in the log customer": func(n []notice) []notice { n[0].id = uuid.New(); return n },
	} {
		requireOnly(t, checkFeed("it", l, spoil(good())), words)
	}
	for words, spoil := range map[string]func([]notice) []notice{
		"":             func(n []notice) []notice { return append(n, n[len(n)-3:]...) }, // some came again
		"never came":   func(n []notice) []notice { return n[:len(n)-1] },
		"came after":   func(n []notice) []notice { n[2], n[0] = n[0], n[2]; return n },
		"another time": func(n []notice) []notice { n[0].at = time.Time{}; return n },
	} {
		requireOnly(t, checkQueue(l, spoil(good())), words)
	}
}

func TestServedAgainstLog(t *testing.T) {
	t.Parallel()
	good := []seen{{1, digest{1}}, {2, digest{2}}, {3, digest{3}}}
	for words, now := range map[string][]seen{
		"":                good,
		"is gone":         good[:2],
		"is not what was": {{1, digest{1}}, {2, digest{9}}, {3, digest{3}}},
		"when position":   {{1, digest{1}}, {3, digest{3}}},
		"appeared after":  {{1, digest{1}}, {2, digest{2}}, {3, digest{3}}, {3, digest{4}}},
	} {
		requireOnly(t, checkServed(good, now, nil), words)
	}
	requireOnly(t, checkServed(good, good, []string{"late"}), "late")
}

func TestCacheAgainstLog(t *testing.T) {
	t.Parallel()
	w, ada, bob := life(t)
	l := w.log()
	entry := func(id customer.ID, value string) cached {
		e, ok := parseCached("p:1:7:{"+id.String()+"}", value, 7)
		require.True(t, ok)
		return e
	}
	document := string(w.document(ada, 4))
	for value, words := range map[string]string{
		"1:4:a:00000000:" + document:               "",
		"1:3:a:00000000:" + document:               "is at version 3",
		"1:4:s:00000000:" + document:               "has state",
		"1:4:a:00000000:" + `{"id":"x","tags":[]}`: "another document",
	} {
		requireOnly(t, checkCache(l, []cached{entry(ada, value)}), words)
	}
	requireOnly(t, checkCache(l, []cached{entry(bob, "1:4:e:00000000:")}), "")
	requireOnly(t, checkCache(l, []cached{entry(bob, "1:4:a:00000000:{}")}), "erased customer")
	requireOnly(t, checkCache(l, []cached{entry(uuid.New(), "1:4:a:00000000:{}")}), "does not have")
	_, ok := parseCached("p:1:7:{"+ada.String()+"}", "L:abc", 7)
	require.False(t, ok, "a lease is no entry")
}

func TestRecoveryByTheRecords(t *testing.T) {
	t.Parallel()
	good := chaos.Record{Number: 1, Fault: "kill", Target: "redis", Began: 1, Healed: 2, Recovered: 3}
	requireOnly(t, checkRecovery([]chaos.Record{good}), "")
	late, missed, failed := good, good, good
	late.Recovered = time.Minute
	requireOnly(t, checkRecovery([]chaos.Record{late}), "recovered after")
	missed.Missed = "projector-1 ended by itself"
	requireOnly(t, checkRecovery([]chaos.Record{missed}), "by itself")
	failed.Error = "no such process"
	require.NotEmpty(t, checkRecovery([]chaos.Record{failed}).Error)
}

func TestWhatIsHeldIsBounded(t *testing.T) {
	t.Parallel()
	before := Baseline{Processes: map[string]Held{"projector-1": {Files: 20, Threads: 10, ResidentMiB: 40}}, Postgres: map[string]int{"projector": 4}, RabbitMQ: 4, Redis: 2}
	peaks := map[string]int64{"projector-1": 200}
	requireOnly(t, checkHeld(before, before, peaks, 768), "")
	after := before
	after.Processes = map[string]Held{"projector-1": {Files: 2000, Threads: 10, ResidentMiB: 40}}
	requireOnly(t, checkHeld(before, after, peaks, 768), "files of projector-1")
	after = before
	after.RabbitMQ = 40
	requireOnly(t, checkHeld(before, after, peaks, 768), "RabbitMQ")
	requireOnly(t, checkHeld(before, before, peaks, 100), "peak resident")
}
