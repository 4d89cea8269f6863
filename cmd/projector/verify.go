package main

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"

	"github.com/ebrahem-outlook/customer-service/internal/config"
	"github.com/ebrahem-outlook/customer-service/internal/projection"
)

type verify struct {
	config.ProjectorTask
	Differences int        `default:"10" help:"How many differences to print before giving up; 0 for all. Default ${default}."`
	Workers     config.Int `default:"4" min:"1" max:"64" placeholder:"N" help:"Ranges of customers compared at once. Default ${default}."`
}

// Run compares every row of every table that is derived from the log with the
// fold of the log, and fails if they differ. It may run while the service does.
func (v *verify) Run(ctx context.Context) error {
	collectSeldom()
	return withPartsOf(ctx, v.ProjectorTask, taskConns+verifyConns*v.Workers.Value, func(p *parts) error {
		var done atomic.Int64
		head, err := p.events.Head(ctx)
		if err != nil {
			return err
		}
		shown := newShown(os.Stderr, v.Logger(os.Stderr, "projector"))
		shown.follow(ctx, func() projection.Progress {
			return projection.Progress{Phase: projection.PhaseVerifying, Done: done.Load(), Total: int64(head)}
		})
		report, err := p.projector.Verify(ctx, p.events, projection.VerifyConfig{
			Limit: v.Differences, Workers: v.Workers.Value, Progress: func(events int64) { done.Add(events) },
		})
		shown.end()
		if err != nil {
			return err
		}
		printDifferences(os.Stdout, report)
		_, _ = fmt.Fprintf(os.Stdout, "%d customers, %d events: %d differences\n", report.Customers, report.Events, len(report.Differences))
		if len(report.Differences) > 0 {
			return fmt.Errorf("the read model is not the fold of the log; %d differences are listed above", len(report.Differences))
		}
		return nil
	})
}
