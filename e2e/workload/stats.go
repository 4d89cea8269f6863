package workload

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"

	"github.com/ebrahem-outlook/customer-service/e2e/history"
)

// maxSamples is how many unexpected answers are told in full.
const maxSamples = 20

// Stats counts what came of the clients' ops.
type Stats struct {
	Acknowledged int64 // commands answered with success, those sent once more on purpose included
	Refused      int64 // commands
	Unknown      int64 // commands whose outcome stays open
	Reads        int64 // answered with what was asked for
	ReadsRefused int64
	ReadsLost    int64
	DryRuns      int64

	Resent     int64 // attempts of commands after the first
	Unexpected int64 // answers that the contract does not have for the request
	// Samples are the first of those, in words.
	Samples []string

	// ByKind counts ops by kind and outcome; ByCode answers, of every attempt, as
	// in "412 version-mismatch".
	ByKind map[history.Kind]map[history.Outcome]int64
	ByCode map[string]int64

	// Seconds is what ended in each second since the run began.
	Seconds []Second
}

// Second is one point of the timeline.
type Second struct {
	Acknowledged int64 `json:"acknowledged"`
	Reads        int64 `json:"reads"`
	Errors       int64 `json:"errors"`  // attempts without an answer, and answers of 5xx
	Unknown      int64 `json:"unknown"` // commands
}

type counters struct {
	mu sync.Mutex
	s  Stats
}

func newCounters() *counters {
	return &counters{s: Stats{ByKind: map[history.Kind]map[history.Outcome]int64{}, ByCode: map[string]int64{}}}
}

func (c *counters) snapshot() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.s
	s.Samples, s.Seconds, s.ByCode = slices.Clone(s.Samples), slices.Clone(s.Seconds), maps.Clone(s.ByCode)
	s.ByKind = make(map[history.Kind]map[history.Outcome]int64, len(c.s.ByKind))
	for kind, outcomes := range c.s.ByKind {
		s.ByKind[kind] = maps.Clone(outcomes)
	}
	return s
}

// second is called with mu held.
func (c *counters) second(at int64) *Second {
	i := int(at / 1e9)
	for len(c.s.Seconds) <= i {
		c.s.Seconds = append(c.s.Seconds, Second{})
	}
	return &c.s.Seconds[i]
}

// attempt counts one answer, or none when status is 0.
func (c *counters) attempt(at int64, status int, code string, again bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	name := "no answer"
	if status != 0 {
		name = strconv.Itoa(status)
	}
	if code != "" {
		name += " " + code
	}
	c.s.ByCode[name]++
	if status == 0 || status >= 500 {
		c.second(at).Errors++
	}
	if again {
		c.s.Resent++
	}
}

// ended counts an op that was written down.
func (c *counters) ended(op *history.Op) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.s.ByKind[op.Kind] == nil {
		c.s.ByKind[op.Kind] = map[history.Outcome]int64{}
	}
	c.s.ByKind[op.Kind][op.Outcome]++
	second := c.second(op.Return)
	switch {
	case op.DryRun:
		c.s.DryRuns++
	case op.Command() && op.Outcome == history.OK:
		c.s.Acknowledged++
		second.Acknowledged++
	case op.Command() && op.Outcome == history.Refused:
		c.s.Refused++
	case op.Command():
		c.s.Unknown++
		second.Unknown++
	case op.Outcome == history.OK:
		c.s.Reads++
		second.Reads++
	case op.Outcome == history.Refused:
		c.s.ReadsRefused++
	default:
		c.s.ReadsLost++
	}
}

// unexpected counts an answer that cannot be.
func (c *counters) unexpected(op *history.Op) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.s.Unexpected++
	if len(c.s.Samples) < maxSamples {
		c.s.Samples = append(c.s.Samples, fmt.Sprintf("op %d, %s %s at %s: %s", op.ID, op.Kind, op.Path, op.Process, op.Error))
	}
}
