package main

import (
	"context"
	"fmt"
	"os"

	"github.com/ebrahem-outlook/customer-service/internal/config"
)

type verify struct {
	config.ProjectorTask
	Differences int `default:"10" help:"How many differences to print before giving up; 0 for all. Default ${default}."`
}

// Run compares the read model with the fold of the log, customer by customer,
// and fails if they differ. It may run while the service does.
func (v *verify) Run(ctx context.Context) error {
	return withParts(ctx, v.ProjectorTask, func(p *parts) error {
		report, err := p.projector.Verify(ctx, v.Differences)
		if err != nil {
			return err
		}
		for _, d := range report.Differences {
			_, _ = fmt.Fprintf(os.Stdout, "%s %s\n", d.CustomerID, d.What)
		}
		_, _ = fmt.Fprintf(os.Stdout, "%d customers, %d events: %d differences\n", report.Customers, report.Events, len(report.Differences))
		if len(report.Differences) > 0 {
			return fmt.Errorf("the read model is not the fold of the log; %d differences are listed above", len(report.Differences))
		}
		return nil
	})
}
