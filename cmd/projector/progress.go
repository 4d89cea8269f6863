package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/mattn/go-isatty"

	"github.com/ebrahem-outlook/customer-service/internal/projection"
)

const (
	drawEvery = 200 * time.Millisecond
	logEvery  = 5 * time.Second
	barWidth  = 30
)

// shown is what whoever waits for a rebuild or a verification sees of it: a bar
// on a terminal, now and then a line in a log.
type shown struct {
	out      io.Writer
	terminal bool
	log      *slog.Logger
	stop     context.CancelFunc
	done     sync.WaitGroup

	phase projection.Phase // at the last look
	begun time.Time        // the phase, in this process
	from  int64            // what was done by then
}

func newShown(out *os.File, log *slog.Logger) *shown {
	return &shown{out: out, terminal: isatty.IsTerminal(out.Fd()), log: log, stop: func() {}}
}

// follow shows what progress says, until end or ctx's.
func (s *shown) follow(ctx context.Context, progress func() projection.Progress) {
	ctx, s.stop = context.WithCancel(ctx)
	every := logEvery
	if s.terminal {
		every = drawEvery
	}
	s.look(progress())
	s.done.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				s.show(ctx, progress())
			}
		}
	})
}

func (s *shown) end() {
	s.stop()
	s.done.Wait()
	if s.terminal {
		_, _ = fmt.Fprint(s.out, "\r\x1b[K")
	}
}

// look notices a new phase.
func (s *shown) look(p projection.Progress) {
	if p.Phase != s.phase {
		s.phase, s.begun, s.from = p.Phase, time.Now(), p.Done
	}
}

// rate is how much is done a second, in this phase and this process.
func (s *shown) rate(p projection.Progress) float64 {
	return float64(p.Done-s.from) / max(time.Since(s.begun).Seconds(), 0.001)
}

func (s *shown) show(ctx context.Context, p projection.Progress) {
	s.look(p)
	if s.terminal {
		_, _ = fmt.Fprintf(s.out, "\r\x1b[K%s", s.bar(p))
		return
	}
	s.log.LogAttrs(ctx, slog.LevelInfo, "progress", slog.String("phase", string(p.Phase)), slog.Int64("done", p.Done), slog.Int64("total", p.Total),
		slog.Int("per_second", int(s.rate(p))), slog.String("left", s.left(p)))
}

func (s *shown) bar(p projection.Progress) string {
	if p.Total == 0 {
		return string(p.Phase)
	}
	done := min(p.Done, p.Total)
	filled := int(done * barWidth / p.Total)
	return fmt.Sprintf("%-11s [%s%s] %3d%%  %d of %d  %.0f/s  %s left", p.Phase,
		strings.Repeat("#", filled), strings.Repeat(".", barWidth-filled), done*100/p.Total, p.Done, p.Total, s.rate(p), s.left(p))
}

// left is how long the phase goes on at its rate so far.
func (s *shown) left(p projection.Progress) string {
	rate := s.rate(p)
	if rate <= 0 {
		return "?"
	}
	return time.Duration(float64(max(p.Total-p.Done, 0)) / rate * float64(time.Second)).Round(time.Second).String()
}

// printDifferences lists what a verification found.
func printDifferences(out io.Writer, r projection.Report) {
	for _, d := range r.Differences {
		_, _ = fmt.Fprintf(out, "%s %s\n", d.CustomerID, d.What)
	}
}
