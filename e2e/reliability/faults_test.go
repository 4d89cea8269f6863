package reliability

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/e2e/audit"
	"github.com/ebrahem-outlook/customer-service/e2e/chaos"
	"github.com/ebrahem-outlook/customer-service/e2e/report"
)

// fewest is how many faults strike unless FAULTS says otherwise: what continuous
// integration has the time for.
const fewest = 12

// Faults strike a cluster under load and every promise is held. FAULTS is how
// many, SEED which, PREVIOUS the commit that a rolling upgrade goes to and fro.
func TestFaults(t *testing.T) {
	asked := number(t, "FAULTS", fewest)
	seed := number(t, "SEED", 1) // always the same in continuous integration; make faults draws one
	dir := filepath.Join(home, "run")
	require.NoError(t, os.RemoveAll(dir))
	p := plan{
		seed: seed, faults: int(asked), tasks: true, //nolint:gosec // nobody asks for so many
		rate: float64(number(t, "RATE", 0)), binaries: filepath.Join(home, "bin"), dir: dir,
	}
	repeat := fmt.Sprintf("make faults FAULTS=%d SEED=%d", asked, seed)
	fmt.Fprintf(os.Stderr, "again: %s\n", repeat)
	require.NoError(t, chaos.BuildWithCrashPoints(t.Context(), root, p.binaries))
	previous, err := chaos.BuildPrevious(t.Context(), root, os.Getenv("PREVIOUS"))
	switch {
	case errors.Is(err, chaos.ErrNoPrevious):
		absent = append(absent, fmt.Sprintf("a rolling upgrade: %v", err))
	case err != nil:
		require.NoError(t, err)
	default:
		p.previous = &previous
		fmt.Fprintf(os.Stderr, "upgrades go from and to %s (%s)\n", previous.Commit, previous.Title)
	}

	came := carryOut(t, p)
	came.Repeat = repeat
	require.NoError(t, came.Write(dir))
	fmt.Fprintf(os.Stderr, "report: %s\n", filepath.Join(dir, report.HTML))
	for _, v := range came.Verdicts {
		if !v.OK() {
			t.Errorf("%s, %s: violated %d times of %d %s %s\n  %s", v.Promise, v.Check, v.Violated, v.Checked, v.Unit, v.Error, strings.Join(v.Violations, "\n  "))
		}
	}
	for _, g := range came.Guards {
		if !g.OK() {
			t.Errorf("the run proves too little: %s: %g, at least %g were needed", g.Name, g.Seen, g.Least)
		}
	}
	for _, f := range came.Faults {
		if f.Error != "" {
			t.Errorf("fault %d, %s of %s: %s", f.Number, f.Fault, f.Target, f.Error)
		}
	}
	t.Log(came.Summary())
	if t.Failed() {
		t.Logf("run it again: %s; everything known of it is in %s", repeat, dir)
	}
}

func number(t *testing.T, variable string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 63)
	require.NoError(t, err, "%s has to be a whole number", variable)
	return n
}

// report puts everything known of the run together.
func (r *run) report(records []chaos.Record, verdicts []audit.Verdict) *report.Run {
	r.t.Helper()
	stats, c := r.load.Stats(), &r.counts
	length := time.Duration(len(stats.Seconds)) * time.Second
	perSecond := func(n int64) string { return fmt.Sprintf("%d, %.0f a second", n, float64(n)/length.Seconds()) }
	came := &report.Run{
		Seed: r.seed, Asked: r.faults, Began: r.began, Length: length, Machine: machine(), Product: product(), Absent: absent,
		Faults: records, Verdicts: verdicts, Guards: r.guards(len(records)),
		Totals: []report.Figure{
			{Name: "commands acknowledged", Value: perSecond(c.acknowledged)},
			{Name: "reads answered", Value: perSecond(c.reads)},
			{Name: "commands without an answer", Value: strconv.FormatInt(c.unknown, 10)},
			{Name: "commands sent again", Value: strconv.FormatInt(c.resent, 10)},
			{Name: "terms of the relay's leader", Value: strconv.FormatInt(c.leaders, 10)},
			{Name: "messages applied before", Value: strconv.FormatInt(c.before, 10)},
			{Name: "times healed from the log", Value: strconv.FormatInt(c.early+c.healed, 10)},
			{Name: "crash points reached", Value: crashes(r.points)},
		},
	}
	for at, s := range stats.Seconds {
		second := report.Second{At: at, Acknowledged: s.Acknowledged, Reads: s.Reads, Unknown: s.Unknown, Shed: s.Errors, Lag: -1}
		if at < len(r.watch.lags) {
			second.Lag = r.watch.lags[at]
		}
		came.Series = append(came.Series, second)
	}
	return came
}

func crashes(points *chaos.CrashPoints) string {
	times := 0
	died := points.Died()
	for _, n := range died {
		times += n
	}
	return fmt.Sprintf("%d, %d times", len(died), times)
}

func product() string {
	cmd := exec.Command("git", "describe", "--always", "--dirty", "--tags")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		return "of an unknown commit"
	}
	return strings.TrimSpace(string(out))
}
