// Package process is what the three commands have in common: from arguments to
// an exit code, and background services started in order and stopped in
// reverse. It must not know what any of them does.
package process

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/ebrahem-outlook/customer-service/internal/config"
	"github.com/ebrahem-outlook/customer-service/internal/lifecycle"
)

// Main reads settings into cli and runs the command they choose, whose Run
// method takes a context that ends with the first SIGINT or SIGTERM. A second
// signal ends the process at once. It returns the exit code: 2 for faulty
// settings, 1 when the command failed.
func Main(cli any, name, description string, args []string, errOut io.Writer) int {
	chosen, err := config.Parse(cli, name, description, args, errOut)
	switch {
	case err != nil:
		_, _ = fmt.Fprintf(errOut, "%s cannot start:\n%s\nSee %s --help.\n", name, err, name)
		return 2
	case chosen == nil:
		return 0
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	heard := make(chan os.Signal, 1)
	signal.Notify(heard, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(heard)
	go func() {
		select {
		case <-heard:
			// Before anybody can see the first one's effect, signals do again what
			// they do by default; otherwise a second could still be swallowed.
			signal.Stop(heard)
			cancel()
		case <-ctx.Done():
		}
	}()
	chosen.BindTo(ctx, (*context.Context)(nil))
	if err := chosen.Run(); err != nil {
		_, _ = fmt.Fprintf(errOut, "%s: %s\n", name, err)
		return 1
	}
	return 0
}

// Run starts the services in order, waits for the end of ctx and stops them in
// reverse. Each has patience for stopping; one that needs longer is left and
// reported, so that the others still stop.
func Run(ctx context.Context, log *slog.Logger, patience time.Duration, services ...lifecycle.Service) error {
	// Services outlive ctx until they are stopped: what the first ones still
	// need must not end before they do.
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	started := services[:0:0]
	var failed error
	for _, s := range services {
		if failed = s.Start(running); failed != nil {
			break
		}
		started = append(started, s)
	}
	if failed == nil {
		log.InfoContext(ctx, "started")
		<-ctx.Done()
		log.InfoContext(running, "stopping")
	}
	errs := []error{failed}
	for _, s := range slices.Backward(started) {
		limit, done := context.WithTimeout(running, patience)
		errs = append(errs, s.Stop(limit))
		done()
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	log.InfoContext(running, "stopped")
	return nil
}

// OnStop is a service that is nothing but its end: a pool or a connection that
// those started after it use.
type OnStop func() error

// Start does nothing.
func (OnStop) Start(context.Context) error { return nil }

// Stop runs the function.
func (f OnStop) Stop(context.Context) error { return f() }
