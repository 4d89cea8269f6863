package reliability

import (
	"bufio"
	"encoding/json"
	"net/http"
	"os"
	"strings"

	"github.com/ebrahem-outlook/customer-service/e2e/cluster"
	"github.com/ebrahem-outlook/customer-service/e2e/history"
)

// counts is how often what makes a run hard has happened.
type counts struct {
	ops, commands, acknowledged, unknown, reads int64

	stale  int64 // commands answered 412
	shed   int64 // ops whose last answer was 503
	resent int64 // commands sent more than once and acknowledged

	ambiguous int64 // commands whose commit was found after its answer had been lost
	leaders   int64 // terms of a relay's leader
	before    int64 // messages that had been applied before
	early     int64 // messages that came before what precedes them
	healed    int64 // times a lane, or a customer, was brought up to date from the log
	refills   int64 // repairs of the cache, and epochs begun empty
}

// said are the log lines that tell, by a part of their JSON.
var said = map[string]func(*counts, string){
	`"msg":"leading the relay"`: func(c *counts, _ string) { c.leaders++ },
	`"msg":"commands were committed by an attempt whose answer was lost"`: func(c *counts, line string) {
		var l struct{ Commands int64 }
		if json.Unmarshal([]byte(line), &l) == nil {
			c.ambiguous += l.Commands
		}
	},
	`"msg":"message was applied before"`:                     func(c *counts, _ string) { c.before++ },
	`"msg":"events before a message read from the log"`:      func(c *counts, _ string) { c.early++ },
	`"msg":"lane healed from the log"`:                       func(c *counts, _ string) { c.healed++ },
	`"msg":"gap in a customer's events closed from the log"`: func(c *counts, _ string) { c.healed++ },
	`"msg":"cache repaired"`:                                 func(c *counts, _ string) { c.refills++ },
	`"msg":"cache begins an empty epoch"`:                    func(c *counts, _ string) { c.refills++ },
	`"msg":"cache is back"`:                                  func(c *counts, _ string) { c.refills++ },
}

func countEvents(c *cluster.Cluster, ops []history.Op) (counts, error) {
	var n counts
	for i := range ops {
		n.add(&ops[i])
	}
	for _, p := range c.Processes() {
		if err := n.read(p.Log); err != nil {
			return n, err
		}
	}
	return n, nil
}

func (c *counts) add(o *history.Op) {
	c.ops++
	switch o.Status {
	case http.StatusPreconditionFailed:
		c.stale++
	case http.StatusServiceUnavailable:
		c.shed++
	}
	if !o.Command() {
		if o.Outcome == history.OK {
			c.reads++
		}
		return
	}
	c.commands++
	switch o.Outcome {
	case history.OK:
		c.acknowledged++
		if o.Attempts > 1 {
			c.resent++
		}
	case history.Unknown, history.Pending:
		c.unknown++
	case history.Refused:
	}
}

func (c *counts) read(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		if strings.Contains(line, `"msg":"request"`) {
			continue
		}
		for part, count := range said {
			if strings.Contains(line, part) {
				count(c, line)
			}
		}
	}
	return lines.Err()
}

func decode(status []byte, seconds *float64) error {
	var s struct {
		Lag *float64 `json:"lag_seconds"`
	}
	s.Lag = seconds
	return json.Unmarshal(status, &s)
}
