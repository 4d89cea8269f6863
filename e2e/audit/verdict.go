// Package audit holds what clients remember of a run against the log, the read
// model, the cache and what other services were told. Its judgements are
// promises P1 to P12 of docs/reliability.md.
package audit

import "fmt"

// Verdict is the judgement of one check.
type Verdict struct {
	Promise string `json:"promise"` // as in P1; several as in P3, P4
	Check   string `json:"check"`   // as in "acknowledged commands are in the log"
	Checked int64  `json:"checked"` // how many things were held to it; 0 fails the run as vacuous
	Unit    string `json:"unit"`    // of Checked, as in commands

	// Violations says what was wrong, at most MaxViolations of them; Violated
	// counts all.
	Violations []string `json:"violations,omitempty"`
	Violated   int64    `json:"violated"`

	// Error is why the check could not be finished; the run fails as well.
	Error string `json:"error,omitempty"`
	// Note is what a reader should know beside, as in figures.
	Note string `json:"note,omitempty"`
}

// MaxViolations are told of each check; the rest is only counted.
const MaxViolations = 20

// Violate adds a violation.
func (v *Verdict) Violate(format string, args ...any) {
	v.Violated++
	if len(v.Violations) < MaxViolations {
		v.Violations = append(v.Violations, fmt.Sprintf(format, args...))
	}
}

// OK tells whether the promise held and something was held to it.
func (v *Verdict) OK() bool { return v.Violated == 0 && v.Error == "" && v.Checked > 0 }
