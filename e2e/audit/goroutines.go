package audit

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/ebrahem-outlook/customer-service/e2e/cluster"
)

// spareGoroutines are those of connections that clients keep open, one or two
// each. What leaks with a fault or a request is many times that after a run.
const spareGoroutines = 100

// CheckGoroutines is P11: a process that has been through a run has hardly more
// goroutines than one that has just begun. It ends every process to count them,
// so it comes after everything else, and leaves them running anew.
func CheckGoroutines(ctx context.Context, c *cluster.Cluster) Verdict {
	v := Verdict{Promise: "P11", Check: "goroutines are given back", Unit: "processes"}
	most, atFirst := 0, 0
	for _, p := range c.Processes() {
		after, err := goroutines(ctx, p)
		fresh := 0
		if err == nil {
			fresh, err = goroutines(ctx, p)
		}
		if err != nil {
			v.Error = fmt.Sprintf("%s: %v", p.Name, err)
			return v
		}
		v.Checked++
		if after > fresh+fresh/4+spareGoroutines {
			v.Violate("%s has %d goroutines after the run, and %d once it has just begun", p.Name, after, fresh)
		}
		if after > most {
			most, atFirst = after, fresh
		}
	}
	v.Note = fmt.Sprintf("the most had %d, and %d when it began anew", most, atFirst)
	return v
}

// goroutines ends a process with the signal that has it print them, counts, and
// starts it again.
func goroutines(ctx context.Context, p *cluster.Process) (n int, err error) {
	file, err := os.Open(p.Log)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	if _, err := file.Seek(0, io.SeekEnd); err != nil {
		return 0, err
	}
	if err := p.Signal(syscall.SIGQUIT); err != nil {
		return 0, err
	}
	within, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := cluster.Poll(within, 10*time.Millisecond, func() bool { return !p.Running() }); err != nil {
		return 0, fmt.Errorf("it does not end when it is told to print its goroutines: %w", err)
	}
	text, err := io.ReadAll(file)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "goroutine ") {
			n++
		}
	}
	if err := p.Start(); err != nil {
		return n, err
	}
	return n, p.WaitReady(within)
}
