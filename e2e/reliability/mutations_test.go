package reliability

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/e2e/audit"
	"github.com/ebrahem-outlook/customer-service/e2e/chaos"
	"github.com/ebrahem-outlook/customer-service/e2e/cluster"
	"github.com/ebrahem-outlook/customer-service/e2e/mutate"
)

const (
	// bugFaults is how many of its faults a planted bug gets.
	bugFaults = 3
	// bugLoad is how long it gets load alone: before its faults, or without any.
	bugLoad = 8 * time.Second
	// bugStrikes bounds the faults, after some of which nothing may ever be well.
	bugStrikes = 40 * time.Second
	// bugRest is how long what was written may take to come everywhere. With
	// some bugs it never does, which is a verdict.
	bugRest = 15 * time.Second
)

// sampled is the planted bug that is tried unless MUTATIONS asks for all of
// them, which takes half an hour.
const sampled = "commit-retried-blindly"

// Each planted bug is caught: a short run with the faults that bring it about
// finds one of the promises violated that it has to break. One that is not
// caught says that verdicts prove less than they claim. With no bug planted the
// same run finds nothing, so that it is the bug that was found.
func TestMutations(t *testing.T) {
	usual := filepath.Join(home, "bin")
	require.NoError(t, chaos.BuildWithCrashPoints(t.Context(), root, usual))
	all := mutate.All()
	if os.Getenv("MUTATIONS") != "all" {
		all = slices.DeleteFunc(all, func(m mutate.Mutation) bool { return m.Name != sampled })
	}
	require.NotEmpty(t, all)
	t.Run("none", func(t *testing.T) {
		var without mutate.Mutation
		for _, m := range all {
			without.Faults = append(without.Faults, m.Faults...)
		}
		dir := filepath.Join(home, "mutations", "none")
		require.NoError(t, os.RemoveAll(dir))
		verdicts, _ := provoke(t, without, usual, dir)
		for _, v := range verdicts {
			if v.Violated > 0 || v.Error != "" {
				t.Errorf("%s, %s: violated %d times of %d without any bug planted; %s\n  %s",
					v.Promise, v.Check, v.Violated, v.Checked, v.Error, strings.Join(v.Violations, "\n  "))
			}
		}
	})
	for _, m := range all {
		t.Run(m.Name, func(t *testing.T) {
			dir := filepath.Join(home, "mutations", m.Name)
			require.NoError(t, os.RemoveAll(dir))
			binaries := filepath.Join(dir, "bin")
			require.NoError(t, mutate.Build(cluster.Within(t, 10*time.Minute), m, root, usual, binaries))
			began := time.Now()
			verdicts, records := provoke(t, m, binaries, dir)
			var caught, others []string
			for _, v := range verdicts {
				switch what := fmt.Sprintf("%s, %s: %d of %d", v.Promise, v.Check, v.Violated, v.Checked); {
				case v.Violated > 0 && breaks(m, v.Promise):
					caught = append(caught, what+", as in "+v.Violations[0])
				case v.Violated > 0:
					others = append(others, what)
				}
			}
			if len(caught) == 0 {
				t.Errorf("the run did not catch the bug: it violated none of %v.\n%s\nViolated were: %v\nEverything known of it is in %s",
					m.Expect, m.Why, others, dir)
				return
			}
			t.Logf("caught within %.0f s, by load and %d faults:\n  %s", time.Since(began).Seconds(), len(records), strings.Join(caught, "\n  "))
		})
	}
}

// breaks tells whether a check's promises are among those m has to break.
func breaks(m mutate.Mutation, promises string) bool {
	return slices.ContainsFunc(strings.Split(promises, ", "), func(p string) bool { return slices.Contains(m.Expect, p) })
}

// provoke runs a cluster of binaries, which have m, under load and under m's faults, and judges it.
// What m keeps from happening is a verdict as well.
func provoke(t *testing.T, m mutate.Mutation, binaries, dir string) ([]audit.Verdict, []chaos.Record) {
	t.Helper()
	r := &run{t: t, plan: plan{
		seed: 1, faults: max(bugFaults, m.Strikes), binaries: binaries, rate: 300, dir: dir,
		choose: func(all []chaos.Fault) []chaos.Fault { return chosen(t, m, all) },
	}}
	require.NoError(t, os.MkdirAll(dir, 0o755))
	r.prepare()
	var verdicts []audit.Verdict
	within := func(d time.Duration, promise, what string, do func(context.Context) error) {
		ctx, cancel := context.WithTimeout(t.Context(), d)
		defer cancel()
		if err := do(ctx); err != nil {
			v := audit.Verdict{Promise: promise, Check: what, Checked: 1}
			v.Violate("%v", err)
			verdicts = append(verdicts, v)
		}
	}
	within(bugLoad, "P11", "load goes on", func(ctx context.Context) error {
		<-ctx.Done()
		return t.Context().Err()
	})
	var records []chaos.Record
	if len(m.Faults) > 0 {
		within(bugStrikes, "P6, P8", "the service recovers from each fault", func(ctx context.Context) (err error) {
			records, err = chaos.Run(ctx, chaos.Config{
				Seed: r.seed, Faults: r.faults, Cluster: r.cluster, Links: r.links, Catalogue: r.catalogue(),
				Probe: r.load.ReadBack, Now: r.recorder.Now, Log: os.Stderr,
			})
			if errors.Is(err, context.DeadlineExceeded) {
				err = nil // it had its faults
			}
			return err
		})
	}
	r.load.Stop()
	r.watch.stop()
	within(bugRest, "P6", "what is written comes everywhere", func(ctx context.Context) error { return audit.Rest(ctx, r.cluster) })
	within(bugRest/3, "P6", "others are told of everything", r.observer.Stop)
	ops, err := r.recorder.Ops()
	require.NoError(t, err)
	ctx := cluster.Within(t, 2*time.Minute)
	return append(verdicts, audit.Check(ctx, audit.Evidence{Ops: ops, Cluster: r.cluster, Observer: r.observer, Faults: records})...), records
}

// chosen are the faults that bring m about.
func chosen(t *testing.T, m mutate.Mutation, all []chaos.Fault) []chaos.Fault {
	t.Helper()
	var faults []chaos.Fault
	for _, f := range m.Faults {
		before := len(faults)
		for _, have := range all {
			have.Targets = slices.DeleteFunc(slices.Clone(have.Targets), func(target string) bool { return !f.Fits(have.Kind, target) })
			if len(have.Targets) > 0 {
				faults = append(faults, have)
			}
		}
		require.Greater(t, len(faults), before, "there is no fault %s of %s", f.Kind, f.Target)
	}
	return faults
}
