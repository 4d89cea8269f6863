package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ebrahem-outlook/customer-service/internal/devstack"
)

// readyWithin is how long the product's processes may take to become ready.
const readyWithin = 90 * time.Second

type runCommand struct {
	places   `embed:""`
	Replicas int  `default:"1" env:"REPLICAS" help:"How many of each process."`
	Install  bool `default:"true" negatable:"" help:"Install missing services with the machine's package manager."`
}

func (c *runCommand) Help() string {
	return `Replica 1 of each process listens where COMMAND_API_ADDR, QUERY_API_ADDR and PROJECTOR_ADDR say (127.0.0.1:8080, :8081 and
:8082 unless set), further ones on free ports. Services that EVENTLOG_DATABASE_URL and READMODEL_DATABASE_URL, AMQP_URL and REDIS_URL
name are used and not started; KEYS_FILE names a keyring to use. What the processes print goes to .local/log; warnings and errors are shown here too.`
}

func (c *runCommand) Run(ctx context.Context) (err error) {
	terminal := &console{to: os.Stderr}
	// Once stopping has begun, a second Ctrl-C ends us on the spot; the stack's
	// guard then ends the rest.
	defer context.AfterFunc(ctx, func() { signal.Reset(os.Interrupt) })()
	if err := c.refuseSecond(); err != nil {
		return err
	}
	if err := c.checkPrograms(); err != nil {
		return err
	}
	replicas, err := plan(c.Replicas)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(c.log("."), 0o755); err != nil {
		return err
	}
	began := time.Now()
	stack, err := devstack.Start(ctx, devstack.Config{
		Dir:       c.stack(),
		Services:  unset(),
		Databases: []string{eventLogDatabase, readModelDatabase},
		Install:   c.Install,
		Log:       terminal,
	})
	if err != nil {
		return orInterrupted(ctx, err)
	}
	defer func() {
		terminal.say("stopping the services…")
		err = errors.Join(err, stack.Stop())
	}()
	environ := productEnviron(c.places, stack)
	terminal.say("product: preparing keys and databases")
	if err := prepare(ctx, c.places, environ); err != nil {
		return orInterrupted(ctx, err)
	}
	return orInterrupted(ctx, c.serve(ctx, stack, replicas, environ, terminal, began))
}

// serve keeps services and processes running until ctx ends, and returns when
// the processes have ended.
func (c *runCommand) serve(ctx context.Context, stack *devstack.Stack, replicas []replica, environ []string, terminal *console, began time.Time) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	var running errgroup.Group
	defer func() {
		cancel()
		terminal.say("stopping the processes…")
		err = errors.Join(err, running.Wait(), removeIfThere(c.state()))
	}()
	for _, service := range []*devstack.Service{stack.Postgres(), stack.RabbitMQ(), stack.Redis()} {
		if service == nil {
			continue // somebody else's
		}
		running.Go(func() error { return watch(ctx, service, terminal) })
	}
	var starting errgroup.Group
	for _, r := range replicas {
		terminal.say("%s: starting on %s", r.name, r.addr)
		k := newKeeper(r, c.places, environ, stack.Adopt, terminal.say)
		running.Go(func() error { return k.keep(ctx) })
		starting.Go(func() error { return k.awaitReady(ctx, readyWithin) })
	}
	if err := starting.Wait(); err != nil {
		return err
	}
	now := state{PID: os.Getpid(), Processes: map[string]string{}, Services: map[string]string{}}
	for _, r := range replicas {
		now.Processes[r.name] = r.url()
	}
	for _, v := range serviceVariables(stack.URLs()) {
		now.Services[v.name] = v.value
	}
	for _, name := range givenVariables() {
		now.Services[name] = "as set in the environment"
	}
	if err := c.writeState(now); err != nil {
		return err
	}
	terminal.say("\nReady after %.1f s.\n\n%s\nCtrl-C stops everything.", time.Since(began).Seconds(), c.describe(now))
	<-ctx.Done()
	return nil
}

// watch starts a service again that ended by itself.
func watch(ctx context.Context, service *devstack.Service, terminal *console) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-service.Exited():
		}
		terminal.say("%s: ended by itself, starting it again", service.Kind())
		if err := service.Start(ctx); err != nil && ctx.Err() == nil {
			terminal.say("%v", err)
			select {
			case <-ctx.Done():
			case <-time.After(backoffCeiling):
			}
		}
	}
}

// refuseSecond fails if the product runs from this directory already.
func (c *runCommand) refuseSecond() error {
	owner, err := devstack.Owner(c.stack())
	if err != nil || owner == nil {
		return err
	}
	return fmt.Errorf("%w, or: make down", owner)
}

// orInterrupted turns what a cancelled step complains about into silence: the
// user asked for it.
func orInterrupted(ctx context.Context, err error) error {
	if ctx.Err() != nil && err != nil {
		return exitCode(130)
	}
	return err
}

func removeIfThere(file string) error {
	if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// console writes whole lines from any goroutine.
type console struct {
	mu sync.Mutex
	to io.Writer
}

func (c *console) say(format string, args ...any) {
	_, _ = fmt.Fprintf(c, format+"\n", args...)
}

func (c *console) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.to.Write(b)
}
