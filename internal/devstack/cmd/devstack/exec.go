package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"github.com/mattn/go-isatty"

	"github.com/ebrahem-outlook/customer-service/internal/devstack"
)

// The product's configuration names the services by these variables.
const (
	eventLogURL  = "EVENTLOG_DATABASE_URL"
	readModelURL = "READMODEL_DATABASE_URL"
	amqpURL      = "AMQP_URL"
	redisURL     = "REDIS_URL"
)

// The databases behind the first two.
const (
	eventLogDatabase  = "eventlog"
	readModelDatabase = "readmodel"
)

type execCommand struct {
	Dir     string   `default:".local/test" help:"The stack's directory; what an earlier one stored there is forgotten." type:"path"`
	Install bool     `default:"true" negatable:"" help:"Install missing services with the machine's package manager."`
	Command []string `arg:"" passthrough:"" help:"The command and its arguments, after --."`
}

func (c *execCommand) Help() string {
	return `EVENTLOG_DATABASE_URL, READMODEL_DATABASE_URL, AMQP_URL and REDIS_URL tell the command where the services are,
DEVSTACK_DIR where the stack is. A service whose variables are set already is not started.`
}

func (c *execCommand) Run(ctx context.Context) (err error) {
	argv := c.Command
	if len(argv) > 0 && argv[0] == "--" {
		argv = argv[1:]
	}
	if len(argv) == 0 {
		return errors.New("exec: no command given")
	}
	services := unset()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if len(services) == 0 {
		return attend(ctx, cmd, func(int) (func() error, error) { return func() error { return nil }, nil })
	}
	stack, err := devstack.Start(ctx, devstack.Config{
		Dir:       c.Dir,
		Services:  services,
		Databases: []string{eventLogDatabase, readModelDatabase},
		Fresh:     true,
		Install:   c.Install,
		Log:       os.Stderr,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stack.Stop()) }()
	cmd.Env = append(os.Environ(), stack.Environ()...)
	for _, v := range serviceVariables(stack.URLs()) {
		cmd.Env = append(cmd.Env, v.entry())
	}
	return attend(ctx, cmd, stack.Adopt)
}

// unset tells which services the environment does not name.
func unset() []devstack.Kind {
	kinds := []devstack.Kind{} // not nil: that would be all
	if os.Getenv(eventLogURL) == "" || os.Getenv(readModelURL) == "" {
		kinds = append(kinds, devstack.Postgres)
	}
	if os.Getenv(amqpURL) == "" {
		kinds = append(kinds, devstack.RabbitMQ)
	}
	if os.Getenv(redisURL) == "" {
		kinds = append(kinds, devstack.Redis)
	}
	return kinds
}

// variable is one of the product's settings.
type variable struct{ name, value string }

func (v variable) entry() string { return v.name + "=" + v.value }

// serviceVariables name the stack's services where the environment names none.
func serviceVariables(urls devstack.URLs) []variable {
	var missing []variable
	for _, v := range []variable{
		{eventLogURL, urls.Postgres(eventLogDatabase)},
		{readModelURL, urls.Postgres(readModelDatabase)},
		{amqpURL, urls.AMQP},
		{redisURL, urls.Redis},
	} {
		if os.Getenv(v.name) == "" {
			missing = append(missing, v)
		}
	}
	return missing
}

// givenVariables are the ones of the four that the environment has. Their
// values may hold passwords, so they are named and never shown.
func givenVariables() []string {
	var given []string
	for _, name := range []string{eventLogURL, readModelURL, amqpURL, redisURL} {
		if os.Getenv(name) != "" {
			given = append(given, name)
		}
	}
	return given
}

// attend runs cmd to its end and answers its exit status as an exitCode. The
// command stays in our process group, so that it can use the terminal.
func attend(ctx context.Context, cmd *exec.Cmd, adopt func(int) (func() error, error)) error {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(signals)
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("run %s: %w", cmd.Path, err)
	}
	release, err := adopt(cmd.Process.Pid)
	if err != nil {
		return errors.Join(err, cmd.Process.Kill(), cmd.Wait())
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	var tooLate <-chan time.Time
	for {
		select {
		case err := <-ended:
			return errors.Join(asExitCode(err), release())
		case s := <-signals:
			if tooLate == nil {
				tooLate = time.After(10 * time.Second)
			}
			// The terminal has sent its Ctrl-C to the command as well.
			if s == syscall.SIGINT && isatty.IsTerminal(os.Stdin.Fd()) {
				continue
			}
			if err := cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
				return err
			}
		case <-tooLate:
			if err := cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
				return err
			}
		}
	}
}

func asExitCode(err error) error {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return err
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return exitCode(128 + int(status.Signal()))
	}
	return exitCode(exit.ExitCode())
}
