package reliability

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/e2e/audit"
	"github.com/ebrahem-outlook/customer-service/e2e/chaos"
	"github.com/ebrahem-outlook/customer-service/e2e/cluster"
	"github.com/ebrahem-outlook/customer-service/e2e/history"
	"github.com/ebrahem-outlook/customer-service/e2e/report"
	"github.com/ebrahem-outlook/customer-service/e2e/workload"
)

// plan is what a run is made of.
type plan struct {
	seed     uint64
	faults   int
	binaries string // with crash points
	rate     float64
	previous *chaos.Version // nil: no upgrades
	tasks    bool           // rebuilds, imports and rotations meanwhile
	// choose narrows the catalogue; nil takes all of it.
	choose func([]chaos.Fault) []chaos.Fault
	dir    string // where reports, the history and logs go
}

const (
	// calm is the time without faults that throughput under them is compared with.
	calm = 10 * time.Second
	// settling bounds each of the steps between the last fault and the audit.
	settling = 3 * time.Minute
	// auditing is a bound for judging a run of some thousand faults.
	auditing = 30 * time.Minute
)

// run is a cluster under load and what is known of it.
type run struct {
	plan
	t          testing.TB
	cluster    *cluster.Cluster
	links      *chaos.Links
	points     *chaos.CrashPoints
	activities *chaos.Activities
	observer   *audit.Observer
	recorder   *history.Recorder
	load       *workload.Workload
	watch      *watch
	counts     counts
	began      time.Time
}

// carryOut makes a run and returns all that came of it. It fails the test only
// when the run itself could not be made.
func carryOut(t testing.TB, p plan) *report.Run {
	t.Helper()
	require.NoError(t, os.MkdirAll(p.dir, 0o755))
	r := &run{plan: p, t: t}
	r.prepare()
	records := r.strike()
	r.rest()
	verdicts := r.judge(records)
	return r.report(records, verdicts)
}

// prepare starts the cluster, and then whoever watches and loads it.
func (r *run) prepare() {
	r.t.Helper()
	var err error
	r.links = chaos.NewLinks()
	r.t.Cleanup(r.links.Close)
	r.points, err = chaos.NewCrashPoints(filepath.Join(r.dir, "crash"))
	require.NoError(r.t, err)
	r.cluster = cluster.NewWith(r.t, stack, cluster.Options{
		Size: cluster.Size{Commands: 2, Projectors: 2, Queries: 2}, Dir: r.dir, Binaries: r.binaries, URL: r.links.URL,
		Environ: func(process string) []string { return append(r.points.Environ(process), "LOG_LEVEL=debug") },
	})
	require.NoError(r.t, r.links.Err())
	ctx := r.t.Context()
	r.observer, err = audit.Observe(ctx, r.cluster)
	require.NoError(r.t, err)
	r.t.Cleanup(func() {
		ended, cancel := context.WithCancel(context.Background())
		cancel()
		_ = r.observer.Stop(ended)
	})
	r.recorder, err = history.New(filepath.Join(r.dir, "history.ndjson"))
	require.NoError(r.t, err)
	r.t.Cleanup(func() { _ = r.recorder.Close() })
	r.began = r.recorder.Began()
	r.activities, err = chaos.NewActivities(r.cluster, r.links, r.dir)
	require.NoError(r.t, err)
	r.watch = watching(ctx, r.cluster)
	r.load = workload.Start(ctx, workload.Config{
		Seed: r.seed, Rate: r.rate, Recorder: r.recorder, KeepKey: r.observer.KeepKey,
		Commands: endpoints(r.cluster.Commands), Reads: endpoints(r.cluster.Queries),
	})
	r.t.Cleanup(r.load.Stop)
}

func endpoints(all []*cluster.Process) func() []workload.Endpoint {
	var to []workload.Endpoint
	for _, p := range all {
		to = append(to, workload.Endpoint{Name: p.Name, URL: p.URL()})
	}
	return func() []workload.Endpoint { return to }
}

// catalogue is what may strike.
func (r *run) catalogue() []chaos.Fault {
	all := chaos.Catalogue(r.cluster, r.links)
	all = append(all, chaos.CrashFaults(r.cluster, r.points)...)
	if r.tasks {
		all = append(all, r.activities.Faults()...)
	}
	if r.previous != nil {
		all = append(all, chaos.UpgradeFault(r.cluster, r.binaries, *r.previous))
	}
	if disk != nil {
		if full, err := disk.Fault(r.cluster); err != nil {
			absent = append(absent, fmt.Sprintf("a full disk: %v", err))
			disk = nil
		} else {
			all = append(all, full)
		}
	}
	if r.choose != nil {
		all = r.choose(all)
	}
	return all
}

// strike lets the load run for a while and then strikes.
func (r *run) strike() []chaos.Record {
	r.t.Helper()
	ctx := r.t.Context()
	select {
	case <-time.After(calm):
	case <-ctx.Done():
	}
	records, err := chaos.Run(ctx, chaos.Config{
		Seed: r.seed, Faults: r.faults, Cluster: r.cluster, Links: r.links, Catalogue: r.catalogue(),
		Probe: r.load.ReadBack, Now: r.recorder.Now, Log: os.Stderr, Always: essential(),
	})
	if err != nil { // it is in the records, and everything else is still worth judging
		r.t.Logf("faults ended early: %v", err)
	}
	return records
}

// essential are the kinds that even a short run has, because the honesty of
// every run is measured by what they bring about.
func essential() []string {
	return append(chaos.Essential(), "flush", "rebuild", "import", "crash append-after-commit")
}

// rest ends the load and waits until all it wrote has come everywhere.
func (r *run) rest() {
	r.t.Helper()
	r.load.Stop()
	r.watch.stop()
	ctx, cancel := context.WithTimeout(r.t.Context(), settling)
	defer cancel()
	if err := r.activities.Finish(ctx); err != nil {
		r.t.Logf("tasks beside the service: %v", err) // a verdict says so as well
	}
	if err := audit.Rest(ctx, r.cluster); err != nil {
		r.t.Error(err)
	}
	if err := r.observer.Stop(ctx); err != nil {
		r.t.Error(err)
	}
	require.NoError(r.t, r.recorder.Err())
}

func (r *run) judge(records []chaos.Record) []audit.Verdict {
	r.t.Helper()
	ops, err := r.recorder.Ops()
	require.NoError(r.t, err)
	r.counts, err = countEvents(r.cluster, ops)
	require.NoError(r.t, err)
	ctx, cancel := context.WithTimeout(r.t.Context(), auditing)
	defer cancel()
	verdicts := audit.Check(ctx, audit.Evidence{
		Ops: ops, Cluster: r.cluster, Observer: r.observer, Faults: records,
		Took: func(step string, d time.Duration) {
			fmt.Fprintf(os.Stderr, "audit: %s, %.1f s\n", step, d.Seconds())
		},
	})
	if r.tasks {
		verdicts = append(verdicts, r.judgeTasks(ctx)...)
	}
	return append(verdicts, r.judgeAnswers(), audit.CheckGoroutines(ctx, r.cluster))
}

// judgeAnswers holds every answer to what the contract has for its request.
func (r *run) judgeAnswers() audit.Verdict {
	stats := r.load.Stats()
	v := audit.Verdict{Promise: "contract", Check: "each answer is one that the contract has for its request", Unit: "answers"}
	for _, n := range stats.ByCode {
		v.Checked += n
	}
	for _, sample := range stats.Samples {
		v.Violate("%s", sample)
	}
	v.Violated = stats.Unexpected
	return v
}

// judgeTasks holds rebuilds, imports and rotations to their end.
func (r *run) judgeTasks(ctx context.Context) []audit.Verdict {
	ended := audit.Verdict{Promise: "P6, P10", Check: "rebuilds, verifications, rotations and imports end well, however often they are killed", Unit: "tasks"}
	runs, kills := 0, 0
	for _, o := range r.activities.Outcomes() {
		ended.Checked++
		runs, kills = runs+o.Runs, kills+len(o.Killed)
		if !o.Ended {
			ended.Violate("%s has not ended well in %d runs: %s", o.Task, o.Runs, o.Said)
		}
		if o.Violated != "" {
			ended.Violate("%s: %s", o.Task, o.Violated)
		}
	}
	ended.Note = fmt.Sprintf("%d runs, %d of them killed", runs, kills)
	verdicts := []audit.Verdict{ended}
	if len(r.activities.Imported()) > 0 {
		imported := audit.Verdict{Promise: "P4, P6", Check: "whoever was imported by a killed and resumed import is there once", Unit: "customers"}
		var violations []string
		var err error
		imported.Checked, violations, err = r.activities.CheckImported(ctx, 20)
		for _, v := range violations {
			imported.Violate("%s", v)
		}
		if err != nil {
			imported.Error = err.Error()
		}
		verdicts = append(verdicts, imported)
	}
	return verdicts
}

func machine() string {
	return fmt.Sprintf("%d cores, %s/%s, %s", runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version())
}
