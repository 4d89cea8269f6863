package audit

import (
	"context"
	"fmt"
	"time"

	"github.com/ebrahem-outlook/customer-service/e2e/chaos"
	"github.com/ebrahem-outlook/customer-service/e2e/cluster"
	"github.com/ebrahem-outlook/customer-service/e2e/history"
	"github.com/ebrahem-outlook/customer-service/internal/customer"
)

// Evidence is everything that a run leaves behind.
type Evidence struct {
	Ops      []history.Op // in the order of their calls, as history.Load gives them
	Cluster  *cluster.Cluster
	Observer *Observer // stopped
	Faults   []chaos.Record

	// Planted are customers whom the run gave an event that cannot be applied.
	Planted []customer.ID
	// PeakMiB is the most that any process may have been resident; 768 when 0.
	PeakMiB int64
	// Took is told how long each step took.
	Took func(step string, d time.Duration)
}

// Check judges a run by its evidence. The cluster has to be at rest (see Rest)
// and running. What cannot be checked is an Error of its verdict; no check
// keeps another from being made.
func Check(ctx context.Context, e Evidence) []Verdict {
	if e.PeakMiB == 0 {
		e.PeakMiB = 768
	}
	var verdicts []Verdict
	timed := func(step string, f func() []Verdict) {
		began := time.Now()
		verdicts = append(verdicts, f()...)
		if e.Took != nil {
			e.Took(step, time.Since(began))
		}
	}
	// First, before reading everything costs memory and connections anywhere.
	timed("resources", func() []Verdict { return checkResources(ctx, e) })
	timed("recovery", func() []Verdict {
		var faults []Verdict
		if len(e.Faults) > 0 {
			faults = append(faults, checkRecovery(e.Faults))
		}
		return append(faults, checkQueues(ctx, e.Cluster))
	})
	var log *Log
	timed("read the log", func() []Verdict {
		var err error
		log, err = readLog(ctx, e.Cluster.EventLog(), e.Observer.ring, e.Observer.kept, keysOf(e.Ops))
		if err != nil {
			return []Verdict{{Promise: "P1–P12", Check: "the log can be read", Unit: "events", Error: err.Error()}}
		}
		return nil
	})
	if len(verdicts) > 0 && verdicts[len(verdicts)-1].Promise == "P1–P12" {
		return verdicts
	}
	effects := attribute(e.Ops, log)
	timed("commands", func() []Verdict {
		all := []Verdict{checkAcknowledged(e.Ops, log, effects)}
		all = append(all, checkWhole(e.Ops, log, effects)...)
		return append(all, checkAttributed(e.Ops, log, effects), checkBeside(log, e.Observer.ring.Digest), checkRepeats(e.Ops, log, effects))
	})
	timed("linearizability", func() []Verdict {
		return []Verdict{checkLinear(e.Ops, log, effects), checkEmails(e.Ops, log, effects)}
	})
	timed("order", func() []Verdict { return []Verdict{checkOrder(log), checkChanged(log), e.Observer.checkServed(ctx)} })
	timed("answers", func() []Verdict {
		return append(checkAnswers(e.Ops, log), checkSent(log, effects), checkHistories(e.Ops, log))
	})
	timed("tokens and walks", func() []Verdict {
		return []Verdict{checkTokens(e.Ops, log), checkSessions(e.Ops), checkWalks(e.Ops, log, effects)}
	})
	timed("read model", func() []Verdict { return checkReadModel(ctx, e, log, effects) })
	timed("events for others", func() []Verdict { return e.Observer.checkEvents(ctx, log) })
	timed("cache", func() []Verdict { return []Verdict{settleCache(ctx, e.Cluster, log)} })
	timed("projector verify", func() []Verdict { return []Verdict{checkVerify(ctx, e.Cluster)} })
	timed("final reads", func() []Verdict { return []Verdict{checkFinalReads(ctx, e.Cluster, log)} })
	return verdicts
}

func checkResources(ctx context.Context, e Evidence) []Verdict {
	after, err := TakeBaseline(ctx, e.Cluster)
	if err != nil {
		return []Verdict{{Promise: "P11", Check: "memory, files, threads and connections", Unit: "figures", Error: err.Error()}}
	}
	peaks := map[string]int64{}
	for _, p := range e.Cluster.Processes() {
		peaks[p.Name] = p.PeakMiB()
	}
	return []Verdict{checkHeld(e.Observer.baseline, after, peaks, e.PeakMiB), checkLogs(e.Cluster.Processes())}
}

func checkReadModel(ctx context.Context, e Evidence, log *Log, effects effects) []Verdict {
	failed := func(err error) []Verdict {
		return []Verdict{{Promise: "P6", Check: "the read model can be read", Unit: "customers", Error: err.Error()}}
	}
	parked, passedOver, err := readParked(ctx, e.Cluster.ReadModel())
	if err != nil {
		return failed(err)
	}
	rows, err := readRows(ctx, e.Cluster.ReadModel(), log)
	if err != nil {
		return failed(err)
	}
	feed, err := readFeed(ctx, e.Cluster.ReadModel())
	if err != nil {
		return failed(err)
	}
	all := []Verdict{
		checkModel(log, rows, parked), checkFeed("the table behind GET /v1/events", log, feed),
		checkParked(int64(len(log.Streams)), parked, passedOver, e.Planted), checkLag(ctx, e.Cluster, int64(len(parked))),
	}
	erased := checkErasedRows(log, rows)
	if erased.Checked > 0 { // without an erasure there is nothing to hold
		all = append(all, erased, checkErasedReads(e.Ops, log, effects))
	}
	return all
}

// checkServed compares what the observer saw first with what is there now.
func (o *Observer) checkServed(ctx context.Context) Verdict {
	var now []seen
	rows, err := o.cluster.EventLog().Query(ctx, lookUpTo, o.mark())
	if err == nil {
		err = scanSeen(rows, &now)
	}
	v := checkServed(o.served, now, o.late)
	if err != nil {
		v.Error = err.Error()
	}
	v.Note = fmt.Sprintf("%s; %d looks failed during faults", v.Note, o.failed)
	return v
}

// checkEvents is what the observer learned as another service.
func (o *Observer) checkEvents(_ context.Context, log *Log) []Verdict {
	overHTTP := checkFeed("GET /v1/events as followed during the run", log, o.feed)
	for _, wrong := range o.feedBy {
		overHTTP.Violate("%s", wrong)
	}
	queue := checkQueue(log, o.got)
	for _, wrong := range o.gotBy {
		queue.Violate("%s", wrong)
	}
	return []Verdict{overHTTP, queue}
}
