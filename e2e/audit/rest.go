package audit

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/ebrahem-outlook/customer-service/e2e/chaos"
	"github.com/ebrahem-outlook/customer-service/e2e/cluster"
)

// status is what /v1/status answers, as far as it is held to anything.
type status struct {
	Head       int64   `json:"head"`
	LagSeconds float64 `json:"lag_seconds"`
	LagEvents  int64   `json:"lag_events"`
	Parked     int64   `json:"parked"`
	Lanes      []struct {
		Lane      int   `json:"lane"`
		LagEvents int64 `json:"lag_events"`
	} `json:"lanes"`
	Feed struct {
		Applied int64 `json:"applied"`
	} `json:"feed"`
}

// askStatus asks one query API how far it is, and what a read says of it.
func askStatus(ctx context.Context, c *cluster.Cluster, p *cluster.Process) (s status, lag string, err error) {
	client := c.NewClient()
	a, err := client.ReadFrom(ctx, p, "/v1/status")
	if err != nil {
		return s, "", err
	}
	if a.Status != 200 {
		return s, "", fmt.Errorf("%s answers /v1/status with %d", p.Name, a.Status)
	}
	return s, a.Header.Get("Projection-Lag"), json.Unmarshal(a.Body, &s)
}

// Rest waits until all that was written has come everywhere: every event has a
// position and is in the read model and in the feed, and nothing is under way
// in the log any more.
func Rest(ctx context.Context, c *cluster.Cluster) error {
	last := errors.New("nothing was asked")
	err := cluster.Poll(ctx, 100*time.Millisecond, func() bool {
		var events, head, busy int64
		if last = c.EventLog().QueryRow(ctx, `
SELECT (SELECT count(*) FROM eventlog.events), (SELECT coalesce(max(pos), 0) FROM eventlog.positions),
       (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND usename = 'command_api' AND state <> 'idle'
           AND xact_start < clock_timestamp() - interval '1 second')`).Scan(&events, &head, &busy); last != nil {
			return false
		}
		if events != head || busy != 0 {
			last = fmt.Errorf("%d of %d events have a position, %d transactions are open", head, events, busy)
			return false
		}
		for _, p := range c.Queries {
			s, _, err := askStatus(ctx, c, p)
			if err != nil {
				last = err
				return false
			}
			if s.Head != head || s.LagEvents != 0 || s.Feed.Applied != head {
				last = fmt.Errorf("%s is at head %d of %d, %d events behind, its feed at %d", p.Name, s.Head, head, s.LagEvents, s.Feed.Applied)
				return false
			}
		}
		return true
	})
	if err != nil {
		return fmt.Errorf("the cluster does not come to rest: %w: %w", err, last)
	}
	return nil
}

// checkLag is P8: lag is said to be what it is. At rest it is none.
func checkLag(ctx context.Context, c *cluster.Cluster, parked int64) Verdict {
	v := Verdict{Promise: "P8", Check: "status and Projection-Lag say that nothing is behind at rest", Unit: "query APIs"}
	for _, p := range c.Queries {
		v.Checked++
		wrong := "never asked"
		within, cancel := context.WithTimeout(ctx, 10*time.Second)
		_ = cluster.Poll(within, 200*time.Millisecond, func() bool {
			s, header, err := askStatus(within, c, p)
			lag, parseErr := strconv.ParseFloat(header, 64)
			switch {
			case err != nil:
				wrong = err.Error()
			case parseErr != nil:
				wrong = fmt.Sprintf("Projection-Lag is %q", header)
			case s.LagEvents != 0 || s.LagSeconds != 0 || lag != 0:
				wrong = fmt.Sprintf("%d events, %g s behind, Projection-Lag %s", s.LagEvents, s.LagSeconds, header)
			case s.Parked != parked:
				wrong = fmt.Sprintf("%d parked, there are %d", s.Parked, parked)
			default:
				wrong = ""
			}
			return wrong == ""
		})
		cancel()
		if wrong != "" {
			v.Violate("%s: %s", p.Name, wrong)
		}
	}
	return v
}

// recoveryLimit is how long after a fault the service may take to be whole again.
const recoveryLimit = 30 * time.Second

// checkRecovery is P6 and P8 by the records of the faults.
func checkRecovery(faults []chaos.Record) Verdict {
	v := Verdict{Promise: "P6, P8", Check: "a new write is read back within 30 s of the end of each fault", Unit: "faults"}
	longest := time.Duration(0)
	for _, f := range faults {
		v.Checked++
		name := fmt.Sprintf("fault %d (%s of %s)", f.Number, f.Fault, f.Target)
		switch {
		case f.Error != "":
			v.Error = fmt.Sprintf("%s: %s", name, f.Error)
		case f.Recovered == 0:
			v.Violate("%s: not recovered", name)
		case f.Recovery() > recoveryLimit:
			v.Violate("%s: recovered after %s", name, f.Recovery().Round(time.Millisecond))
		}
		if f.Missed != "" {
			v.Violate("%s: %s", name, f.Missed)
		}
		longest = max(longest, f.Recovery())
	}
	v.Note = fmt.Sprintf("the longest recovery took %.1f s", longest.Seconds())
	return v
}

// checkLogs is P11 for the processes: none ended by itself or panicked.
func checkLogs(processes []*cluster.Process) Verdict {
	v := Verdict{Promise: "P11", Check: "no process ended by itself, panicked or raced", Unit: "log lines"}
	failures := 0
	for _, p := range processes {
		if !p.Running() {
			v.Violate("%s does not run: %s", p.Name, p.Exit())
		}
		file, err := os.Open(p.Log)
		if err != nil {
			v.Error = err.Error()
			continue
		}
		lines := bufio.NewScanner(file)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			v.Checked++
			line := lines.Text()
			switch {
			case strings.HasPrefix(line, "panic:"), strings.HasPrefix(line, "fatal error:"), strings.HasPrefix(line, "WARNING: DATA RACE"),
				strings.HasPrefix(line, "goroutine ") && strings.HasSuffix(line, "]:"), strings.HasPrefix(line, "SIG") && strings.Contains(line, "PC="):
				v.Violate("%s printed: %.300s", p.Name, line)
			case strings.Contains(line, `"level":"ERROR"`):
				failures++
				if strings.Contains(line, `"stack"`) || strings.Contains(line, "panic") {
					v.Violate("%s logged: %.600s", p.Name, line)
				}
			}
		}
		if err := lines.Err(); err != nil {
			v.Error = fmt.Sprintf("read the log of %s: %v", p.Name, err)
		}
		_ = file.Close()
	}
	v.Note = fmt.Sprintf("%d lines are errors of other kinds", failures)
	return v
}
