package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"github.com/google/uuid"

	"github.com/ebrahem-outlook/customer-service/internal/config"
	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
	"github.com/ebrahem-outlook/customer-service/internal/projection"
)

type parkedList struct {
	config.ProjectorTask
	JSON bool `name:"json" help:"Print them for machines."`
}

// halted is a parked customer as list prints it.
type halted struct {
	CustomerID  customer.ID       `json:"customer_id"`
	Lane        eventlog.Lane     `json:"lane"`
	Position    eventlog.Position `json:"position"`
	FromVersion customer.Version  `json:"from_version"`
	LastVersion customer.Version  `json:"last_version"`
	Type        string            `json:"type"`
	Reason      string            `json:"reason"`
	Attempts    int               `json:"attempts"`
	Since       time.Time         `json:"since"`
}

// Run prints the customers that are halted.
func (l *parkedList) Run(ctx context.Context) error {
	return withParts(ctx, l.ProjectorTask, func(p *parts) error {
		parked, err := p.store.Parked(ctx)
		if err != nil {
			return err
		}
		all := make([]halted, len(parked))
		for i, c := range parked {
			all[i] = halted{c.CustomerID, c.Lane, c.Position, c.Version, c.LastVersion, c.Type, c.Reason, c.Attempts, c.Since.UTC()}
		}
		if l.JSON {
			return printJSON(os.Stdout, all)
		}
		return printParked(os.Stdout, all)
	})
}

func printParked(out io.Writer, all []halted) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "customer\tlane\tfrom version\tthrough\ttype\ttries\tsince\treason")
	for _, c := range all {
		_, _ = fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%s\t%d\t%s\t%s\n", c.CustomerID, c.Lane, c.FromVersion, c.LastVersion, c.Type, c.Attempts,
			c.Since.Format(time.RFC3339), c.Reason)
	}
	return w.Flush()
}

type parkedRetry struct {
	config.ProjectorTask
	Customer string `arg:"" optional:"" help:"The customer's id."`
	All      bool   `help:"Everybody who is halted."`
}

// Help says what becomes of the events.
func (r *parkedRetry) Help() string {
	return `Reads the customer's events from the log and applies them from where it was halted, in order. Do so after a release that
can read them. Who still cannot be applied stays halted, and the exit code is 1.`
}

// Run applies halted customers' events again.
func (r *parkedRetry) Run(ctx context.Context) error {
	if (r.Customer == "") != r.All {
		return errors.New("name one customer, or --all")
	}
	return withParts(ctx, r.ProjectorTask, func(p *parts) error {
		if !r.All {
			return letGo(ctx, p, r.Customer, p.projector.Retry)
		}
		parked, err := p.store.Parked(ctx)
		if err != nil {
			return err
		}
		var errs []error
		for _, c := range parked {
			err := letGo(ctx, p, c.CustomerID.String(), p.projector.Retry)
			if errors.Is(err, projection.ErrNotParked) {
				err = nil // somebody else was quicker
			}
			errs = append(errs, err)
		}
		return errors.Join(errs...)
	})
}

type parkedRelease struct {
	config.ProjectorTask
	Customer string `arg:"" help:"The customer's id."`
}

// Help says what is lost.
func (r *parkedRelease) Help() string {
	return `Like retry, but an event that cannot be applied counts as a version that changed nothing, so that what came after it is
read again. The decision is kept: a rebuild passes over the same events, unless it can apply them by then. Later events that
cannot be applied halt the customer anew. 'projector verify' of a release that can apply them reports the difference.`
}

// Run lets a halted customer go on without what cannot be applied.
func (r *parkedRelease) Run(ctx context.Context) error {
	return withParts(ctx, r.ProjectorTask, func(p *parts) error { return letGo(ctx, p, r.Customer, p.projector.Release) })
}

func letGo(ctx context.Context, p *parts, text string, how func(context.Context, customer.ID) (*projection.Parked, error)) error {
	id, err := uuid.Parse(text)
	if err != nil {
		return errors.New("the customer's id is not a UUID")
	}
	still, err := how(ctx, id)
	if err != nil {
		return err
	}
	if still != nil {
		return fmt.Errorf("%s is still halted at version %d (%s): %s", id, still.Version, still.Type, still.Reason)
	}
	_, err = fmt.Fprintf(os.Stdout, "%s is up to date\n", id)
	return err
}
