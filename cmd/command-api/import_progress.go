package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"
)

const (
	drawEvery = 200 * time.Millisecond
	logEvery  = 5 * time.Second
	waitEvery = 3 * time.Second // how often it is said that an import waits
	barWidth  = 30
)

// shown is what whoever waits for an import sees of it: a bar on a terminal,
// now and then a line in a log.
type shown struct {
	out      io.Writer
	terminal bool
	log      *slog.Logger
	in       *input
	next     time.Time

	mu       sync.Mutex
	waitNext time.Time // when it may be said again what is waited for
}

func newShown(out io.Writer, terminal bool, log *slog.Logger, in *input) *shown {
	return &shown{out: out, terminal: terminal, log: log, in: in}
}

// rate is lines a second in this run.
func (s *shown) rate() float64 {
	return float64(s.in.progress.Lines()-s.in.before.Lines()) / max(time.Since(s.in.begun).Seconds(), 0.001)
}

// waiting says, now and then, what the import waits for. Unlike the other
// methods it may be called at any time.
func (s *shown) waiting(ctx context.Context, cause error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Now().Before(s.waitNext) || ctx.Err() != nil {
		return
	}
	s.waitNext = time.Now().Add(waitEvery)
	if !s.terminal {
		s.log.WarnContext(ctx, "waiting for the event log", "error", cause, "patience", importPatience)
		return
	}
	_, _ = fmt.Fprintf(s.out, "\r\x1b[Kwaiting up to %s for the event log: %s\n", importPatience, cause)
}

func (s *shown) update(ctx context.Context) {
	if time.Now().Before(s.next) {
		return
	}
	if s.terminal {
		s.next = time.Now().Add(drawEvery)
		_, _ = fmt.Fprintf(s.out, "\r\x1b[K%s", s.bar())
		return
	}
	if !s.next.IsZero() {
		s.report(ctx, "importing")
	}
	s.next = time.Now().Add(logEvery)
}

// bar knows what is left of a file by its bytes: counting its lines would mean
// reading it twice.
func (s *shown) bar() string {
	p, size := s.in.progress, s.in.fingerprint.Size
	text := fmt.Sprintf("%d lines  %.0f/s  %d rejected", p.Lines(), s.rate(), p.Failed)
	if size == 0 {
		return text
	}
	filled := int(p.Offset * barWidth / size)
	left := time.Duration(float64(time.Since(s.in.begun)) * float64(size-p.Offset) / float64(max(p.Offset-s.in.offset, 1)))
	return fmt.Sprintf("[%s%s] %3d%%  %s  %s left", strings.Repeat("#", filled), strings.Repeat(".", barWidth-filled),
		p.Offset*100/size, text, left.Round(time.Second))
}

func (s *shown) report(ctx context.Context, message string) {
	p := s.in.progress
	s.log.LogAttrs(ctx, slog.LevelInfo, message, //nolint:sloglint // one of three constants
		slog.Int64("line", p.Line), slog.Int64("bytes", p.Offset), slog.Int64("of_bytes", s.in.fingerprint.Size),
		slog.Int64("registered", p.Registered), slog.Int64("updated", p.Updated), slog.Int64("unchanged", p.Unchanged),
		slog.Int64("rejected", p.Failed), slog.Int("per_second", int(s.rate())))
}

// end says what came of it all, of the runs before this one too.
func (s *shown) end(ctx context.Context, err error) {
	if !s.terminal {
		message := "import ended"
		if err != nil {
			message = "import broken off"
		}
		s.report(ctx, message)
		return
	}
	p := s.in.progress
	_, _ = fmt.Fprintf(s.out, "\r\x1b[K%d registered, %d updated, %d unchanged, %d rejected in %s (%.0f/s)\n",
		p.Registered, p.Updated, p.Unchanged, p.Failed, time.Since(s.in.begun).Round(time.Millisecond), s.rate())
}
