package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"github.com/google/uuid"

	"github.com/ebrahem-outlook/customer-service/internal/config"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
	"github.com/ebrahem-outlook/customer-service/internal/projection"
)

// taskConns is how many connections a task takes from each database, verifyConns
// what each range of customers that is compared takes besides: one its events
// come from, another to look for their keys meanwhile.
const (
	taskConns   = 2
	verifyConns = 2
)

func withParts(ctx context.Context, c config.ProjectorTask, do func(*parts) error) error {
	return withPartsOf(ctx, c, taskConns, do)
}

func withPartsOf(ctx context.Context, c config.ProjectorTask, conns int, do func(*parts) error) error {
	p, err := newParts(ctx, c.EventLog, c.ReadModel, c.Keys, c.Cache, c.Lanes.Value, conns, c.Logger(os.Stderr, "projector"))
	if err != nil {
		return err
	}
	defer p.close()
	return do(p)
}

type status struct{ config.ProjectorTask }

// Run prints how far each lane is.
func (s *status) Run(ctx context.Context) error {
	return withParts(ctx, s.ProjectorTask, func(p *parts) error {
		heads, err := p.events.LaneHeads(ctx)
		if err != nil {
			return err
		}
		checkpoints, err := p.store.Checkpoints(ctx)
		if err != nil {
			return err
		}
		parked, err := p.store.Parked(ctx)
		if err != nil {
			return err
		}
		return printStatus(os.Stdout, heads, checkpoints, len(parked), s.Lanes.Value)
	})
}

func printStatus(out io.Writer, heads map[eventlog.Lane]eventlog.Position, checkpoints []projection.Checkpoint, parked, lanes int) error {
	applied := make(map[eventlog.Lane]eventlog.Position, len(checkpoints))
	for _, c := range checkpoints {
		applied[c.Lane] = c.Position
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintln(w, "lane\thead\tapplied\tstate\t")
	for lane := range eventlog.Lane(lanes) { //nolint:gosec // at most 1024
		state := "up to date"
		if heads[lane] > applied[lane] {
			state = "behind"
		}
		_, _ = fmt.Fprintf(w, "%d\t%d\t%d\t%s\t\n", lane, heads[lane], applied[lane], state)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "parked customers: %d\n", parked)
	return err
}

type parkedList struct{ config.ProjectorTask }

// Run prints the customers that are halted.
func (l *parkedList) Run(ctx context.Context) error {
	return withParts(ctx, l.ProjectorTask, func(p *parts) error {
		parked, err := p.store.Parked(ctx)
		if err != nil {
			return err
		}
		w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
		_, _ = fmt.Fprintln(w, "customer\tlane\tfrom version\tthrough\ttype\ttries\tsince\treason")
		for _, c := range parked {
			_, _ = fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%s\t%d\t%s\t%s\n", c.CustomerID, c.Lane, c.Version, c.LastVersion, c.Type, c.Attempts,
				c.Since.UTC().Format(time.RFC3339), c.Reason)
		}
		return w.Flush()
	})
}

type one struct {
	config.ProjectorTask
	Customer string `arg:"" help:"The customer's id."`
}

func (o *one) letGo(ctx context.Context, how func(*projection.Projector, context.Context, uuid.UUID) (*projection.Parked, error)) error {
	id, err := uuid.Parse(o.Customer)
	if err != nil {
		return fmt.Errorf("the customer's id is not a UUID")
	}
	return withParts(ctx, o.ProjectorTask, func(p *parts) error {
		still, err := how(p.projector, ctx, id)
		if err != nil {
			return err
		}
		if still != nil {
			return fmt.Errorf("%s is still halted at version %d (%s): %s", id, still.Version, still.Type, still.Reason)
		}
		_, err = fmt.Fprintf(os.Stdout, "%s is up to date\n", id)
		return err
	})
}

type parkedRetry struct{ one }

// Run applies a halted customer's events again.
func (r *parkedRetry) Run(ctx context.Context) error {
	return r.letGo(ctx, (*projection.Projector).Retry)
}

type parkedRelease struct{ one }

// Run lets a halted customer go on without what cannot be applied.
func (r *parkedRelease) Run(ctx context.Context) error {
	return r.letGo(ctx, (*projection.Projector).Release)
}
