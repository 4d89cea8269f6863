package report_test

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/e2e/audit"
	"github.com/ebrahem-outlook/customer-service/e2e/chaos"
	"github.com/ebrahem-outlook/customer-service/e2e/report"
)

func sample() *report.Run {
	r := &report.Run{
		Seed: 7, Asked: 2, Began: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Length: 5 * time.Minute,
		Machine: "2 cores", Product: "v1", Repeat: "make faults FAULTS=2 SEED=7",
		Totals: []report.Figure{{Name: "commands acknowledged", Value: "1,000"}},
		Faults: []chaos.Record{
			{Number: 1, Fault: "kill", Target: "command-api-1", Began: time.Minute, Healed: 62 * time.Second, Recovered: 63 * time.Second},
			{Number: 2, Fault: "pause", Target: "<postgres>", Began: 2 * time.Minute, Healed: 124 * time.Second, Recovered: 127 * time.Second},
		},
		Verdicts: []audit.Verdict{{Promise: "P1", Check: "acknowledged | in the log", Checked: 1000, Unit: "commands"}},
		Guards:   []report.Guard{{Name: "leader changes", Seen: 3, Least: 1, Why: "fencing"}},
	}
	for at := range 300 {
		r.Series = append(r.Series, report.Second{
			At: at, Acknowledged: 200 + int64(100*math.Sin(float64(at)/9)), Reads: 300, Lag: float64(at%40) / 40,
		})
	}
	return r
}

func TestOKNeedsEveryPromiseEveryGuardAndEveryFault(t *testing.T) {
	require.True(t, sample().OK())
	for name, spoil := range map[string]func(*report.Run){
		"a violation":       func(r *report.Run) { r.Verdicts[0].Violate("lost") },
		"nothing checked":   func(r *report.Run) { r.Verdicts[0].Checked = 0 },
		"unfinished":        func(r *report.Run) { r.Verdicts[0].Error = "timed out" },
		"no verdicts":       func(r *report.Run) { r.Verdicts = nil },
		"too few":           func(r *report.Run) { r.Guards[0].Seen = 0 },
		"a fault that hung": func(r *report.Run) { r.Faults[1].Error = "did not heal" },
	} {
		t.Run(name, func(t *testing.T) {
			r := sample()
			spoil(r)
			require.False(t, r.OK())
			require.Contains(t, r.Summary(), "FAILED")
		})
	}
}

func TestWrite(t *testing.T) {
	dir := t.TempDir()
	r := sample()
	require.NoError(t, r.Write(dir))
	require.Equal(t, []time.Duration{time.Second, 3 * time.Second}, r.Recoveries())

	text, err := os.ReadFile(filepath.Join(dir, report.Markdown))
	require.NoError(t, err)
	for _, part := range []string{
		"every promise held: 2 faults in 5m0s, seed 7", "make faults FAULTS=2 SEED=7", `| P1 | acknowledged \| in the log | 1000 commands | held |`,
		"| leader changes | 3 | 1 | fencing |", "| 1 | 60.0 s | kill | command-api-1 | 2.0 s | 1.0 s |",
	} {
		require.Contains(t, string(text), part)
	}
	page, err := os.ReadFile(filepath.Join(dir, report.HTML))
	require.NoError(t, err)
	require.Contains(t, string(page), "&lt;postgres&gt;")
	require.Contains(t, string(page), "every promise held")
	require.NotContains(t, string(page), "ZgotmplZ")

	var again report.Run
	whole, err := os.ReadFile(filepath.Join(dir, report.JSON))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(whole, &again))
	require.Equal(t, r, &again)

	r.Verdicts[0].Violate("customer %s", "x")
	require.NoError(t, r.Write(dir))
	text, err = os.ReadFile(filepath.Join(dir, report.Markdown))
	require.NoError(t, err)
	require.Contains(t, string(text), "**violated 1 times**")
	require.Contains(t, string(text), "customer x")
}
