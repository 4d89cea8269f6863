// Package report says what a run of faults did and what came of it: a page in
// Markdown for people who read diffs and terminals, a page in HTML with the
// timeline, and the whole of it as JSON for whoever wants to look further.
package report

import (
	"slices"
	"time"

	"github.com/ebrahem-outlook/customer-service/e2e/audit"
	"github.com/ebrahem-outlook/customer-service/e2e/chaos"
)

// Run is everything known of one run.
type Run struct {
	Seed     uint64          `json:"seed"`
	Asked    int             `json:"faults_asked_for"`
	Began    time.Time       `json:"began"`
	Length   time.Duration   `json:"length"` // of the load, warm-up included
	Machine  string          `json:"machine"`
	Product  string          `json:"product"` // as git describe has it
	Repeat   string          `json:"repeat"`  // command that runs the same again
	Totals   []Figure        `json:"totals"`
	Series   []Second        `json:"series"`
	Faults   []chaos.Record  `json:"faults"`
	Verdicts []audit.Verdict `json:"verdicts"`
	Guards   []Guard         `json:"guards"`
	Absent   []string        `json:"absent,omitempty"` // faults this machine cannot inject, and why
}

// Figure is one number with its name.
type Figure struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Second is what happened within one second of the run.
type Second struct {
	At           int     `json:"at"`           // whole seconds since the run began
	Acknowledged int64   `json:"acknowledged"` // commands
	Reads        int64   `json:"reads"`        // answered
	Unknown      int64   `json:"unknown"`      // commands given up without an answer
	Shed         int64   `json:"shed"`         // answers 503
	Lag          float64 `json:"lag"`          // of the read model in seconds by /v1/status; below 0 where nobody could say
}

// Guard is a condition without which a run proves nothing.
type Guard struct {
	Name  string  `json:"name"`
	Seen  float64 `json:"seen"`
	Least float64 `json:"least"`
	Why   string  `json:"why"`
}

// OK tells whether enough was seen.
func (g Guard) OK() bool { return g.Seen >= g.Least }

// OK tells whether every promise held, every guard was met and every fault was
// put back.
func (r *Run) OK() bool {
	return !slices.ContainsFunc(r.Verdicts, func(v audit.Verdict) bool { return !v.OK() }) &&
		!slices.ContainsFunc(r.Guards, func(g Guard) bool { return !g.OK() }) &&
		!slices.ContainsFunc(r.Faults, func(f chaos.Record) bool { return f.Error != "" }) &&
		len(r.Verdicts) > 0
}

// Recoveries are the times the service needed after each fault had ended, in
// ascending order, those it never came back from left out.
func (r *Run) Recoveries() []time.Duration {
	var all []time.Duration
	for _, f := range r.Faults {
		if f.Error == "" && f.Recovered > 0 {
			all = append(all, max(0, f.Recovery()))
		}
	}
	slices.Sort(all)
	return all
}

func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}
