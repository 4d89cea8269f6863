// Command devstack starts a private PostgreSQL, RabbitMQ and Redis and runs
// something on them: a command, such as the tests, or the product itself.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
)

type commands struct {
	Exec   execCommand   `cmd:"" help:"Run a command on a fresh stack, then stop the stack."`
	Run    runCommand    `cmd:"" help:"Run the product on a stack of its own until Ctrl-C."`
	Up     upCommand     `cmd:"" help:"Run the product in the background; return when it is ready."`
	Down   downCommand   `cmd:"" help:"Stop the product and its stack."`
	Status statusCommand `cmd:"" help:"Say what runs and where."`
}

func main() {
	var cli commands
	parsed := kong.Parse(&cli,
		kong.Name("devstack"),
		kong.Description("Private PostgreSQL, RabbitMQ and Redis for development and tests."),
		kong.UsageOnError(),
	)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	parsed.BindTo(ctx, (*context.Context)(nil))
	err := parsed.Run()
	var code exitCode
	switch {
	case errors.As(err, &code):
		os.Exit(int(code))
	case err != nil:
		_, _ = fmt.Fprintln(os.Stderr, "devstack:", err)
		os.Exit(1)
	}
}

// exitCode is how a command that we ran on somebody's behalf ended.
type exitCode int

func (c exitCode) Error() string { return fmt.Sprintf("exit status %d", int(c)) }
