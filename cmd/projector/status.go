package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"github.com/ebrahem-outlook/customer-service/internal/config"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
)

type status struct {
	config.ProjectorTask
	JSON bool `name:"json" help:"Print it for machines."`
}

// standing is what status prints.
type standing struct {
	Generation int               `json:"generation"`
	Head       eventlog.Position `json:"head"`
	Lanes      []laneStanding    `json:"lanes"`
	Parked     int               `json:"parked"`
	Rebuild    *rebuildStanding  `json:"rebuild"`
}

type laneStanding struct {
	Lane       eventlog.Lane     `json:"lane"`
	Head       eventlog.Position `json:"head"`
	Applied    eventlog.Position `json:"applied"`
	LagEvents  int               `json:"lag_events"` // 1000 stands for that many or more
	LagSeconds float64           `json:"lag_seconds"`
}

type rebuildStanding struct {
	Generation int       `json:"generation"`
	Phase      string    `json:"phase"`
	Done       int64     `json:"done"`
	Total      int64     `json:"total"`
	StartedAt  time.Time `json:"started_at"`
}

// lagCounted bounds what is read to count how far a lane is behind.
const lagCounted = 1000

// Run prints how far each lane is.
func (s *status) Run(ctx context.Context) error {
	return withParts(ctx, s.ProjectorTask, func(p *parts) error {
		now, err := p.standing(ctx, s.Lanes.Value)
		if err != nil {
			return err
		}
		if s.JSON {
			return printJSON(os.Stdout, now)
		}
		return now.print(os.Stdout)
	})
}

func (p *parts) standing(ctx context.Context, lanes int) (s standing, err error) {
	checkpoints, err := p.store.Checkpoints(ctx)
	if err != nil {
		return s, err
	}
	parked, err := p.store.Parked(ctx)
	if err != nil {
		return s, err
	}
	live, next, err := p.store.Generations(ctx)
	if err != nil {
		return s, err
	}
	// After the checkpoints, so that no head is behind its checkpoint.
	heads, err := p.events.LaneHeads(ctx)
	if err != nil {
		return s, err
	}
	if s.Head, err = p.events.Head(ctx); err != nil {
		return s, err
	}
	s.Generation, s.Parked = live, len(parked)
	if next != nil {
		s.Rebuild = &rebuildStanding{next.Generation, string(next.Phase), next.Done, next.Total, next.StartedAt}
	}
	applied := make(map[eventlog.Lane]eventlog.Position, len(checkpoints))
	for _, c := range checkpoints {
		applied[c.Lane] = c.Position
	}
	for lane := range eventlog.Lane(lanes) { //nolint:gosec // at most 1024
		l := laneStanding{Lane: lane, Head: heads[lane], Applied: applied[lane]}
		if l.Head > l.Applied {
			left, err := p.events.ReadLane(ctx, lane, l.Applied, 0, lagCounted)
			if err != nil {
				return s, err
			}
			if l.LagEvents = len(left); l.LagEvents > 0 {
				l.LagSeconds = max(0, time.Since(left[0].RecordedAt).Seconds())
			}
		}
		s.Lanes = append(s.Lanes, l)
	}
	return s, nil
}

func (s standing) print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintln(w, "lane\thead\tapplied\tbehind\tstate\t")
	for _, l := range s.Lanes {
		state, behind := "up to date", fmt.Sprint(l.LagEvents)
		switch {
		case l.Applied > l.Head:
			state = "ahead of the log"
		case l.Head > l.Applied:
			state = fmt.Sprintf("behind by %s", time.Duration(l.LagSeconds*float64(time.Second)).Round(time.Millisecond))
			if l.LagEvents == lagCounted {
				behind += " or more"
			}
		}
		_, _ = fmt.Fprintf(w, "%d\t%d\t%d\t%s\t%s\t\n", l.Lane, l.Head, l.Applied, behind, state)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "generation: %d\nparked customers: %d\n", s.Generation, s.Parked)
	if r := s.Rebuild; r != nil && err == nil {
		_, err = fmt.Fprintf(out, "rebuild of generation %d: %s, %d of %d events folded, begun %s\n",
			r.Generation, r.Phase, r.Done, r.Total, r.StartedAt.Format(time.RFC3339))
	}
	return err
}
