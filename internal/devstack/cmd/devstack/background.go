package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"

	"github.com/ebrahem-outlook/customer-service/internal/devstack"
)

// What a background run prints.
const backgroundLog = "devstack"

type upCommand struct {
	runCommand `embed:""`
}

func (c *upCommand) Help() string { return c.runCommand.Help() }

// Run starts a background `devstack run` and waits for it to be ready.
func (c *upCommand) Run(ctx context.Context) error {
	terminal := &console{to: os.Stdout}
	owner, err := devstack.Owner(c.stack())
	if err != nil {
		return err
	}
	if owner != nil {
		if s, ok := c.readState(owner.PID); ok {
			terminal.say("Running already.\n\n%s\n`make down` stops everything.", c.describe(s))
			return nil
		}
		return fmt.Errorf("%w, or: make down", owner)
	}
	if err := os.MkdirAll(c.log("."), 0o755); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	log, err := os.Create(c.log(backgroundLog))
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }() // the child has its own handle
	cmd := exec.Command(self, "run", "--local", c.Local, "--bin-dir", c.BinDir,
		"--replicas", strconv.Itoa(c.Replicas), "--install="+strconv.FormatBool(c.Install))
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // it stays when the terminal goes
	if err := cmd.Start(); err != nil {
		return err
	}
	terminal.say("starting in the background (%s)…", log.Name())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case err := <-ended:
			return fmt.Errorf("the background run ended: %w\n%s", err, tail(log.Name(), 30))
		case <-ctx.Done():
			return errors.Join(exitCode(130), cmd.Process.Signal(syscall.SIGTERM), <-ended)
		case <-ticker.C:
			if s, ok := c.readState(cmd.Process.Pid); ok {
				terminal.say("Ready.\n\n%s\n`make down` stops everything.", c.describe(s))
				return nil
			}
		}
	}
}

type downCommand struct {
	places `embed:""`
}

// Run asks the owner to stop and waits until it has. That nothing runs is fine.
func (c *downCommand) Run(ctx context.Context) error {
	asked := make(map[int]syscall.Signal)
	for began := time.Now(); ; {
		owner, err := devstack.Owner(c.stack())
		if err != nil {
			return err
		}
		if owner == nil {
			return removeIfThere(c.state())
		}
		sig := syscall.SIGTERM
		if time.Since(began) > time.Minute {
			sig = syscall.SIGKILL // its guard ends the rest
		}
		// An owner that has just begun may not have said who it is yet.
		if owner.PID != 0 && asked[owner.PID] != sig {
			asked[owner.PID] = sig
			if err := syscall.Kill(owner.PID, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
				return fmt.Errorf("stop process %d: %w", owner.PID, err)
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
}

type statusCommand struct {
	places `embed:""`
}

// Run says what runs; its exit status is 0 only if all of it is ready.
func (c *statusCommand) Run(ctx context.Context) error {
	terminal := &console{to: os.Stdout}
	owner, err := devstack.Owner(c.stack())
	if err != nil {
		return err
	}
	if owner == nil {
		terminal.say("Nothing runs here. `make run` or `make up` starts it.")
		return exitCode(3)
	}
	s, ok := c.readState(owner.PID)
	if !ok {
		terminal.say("Process %d (%s) is starting or stopping.", owner.PID, owner.Command)
		return exitCode(3)
	}
	terminal.say("Process %d (%s) runs this since %s:\n\n%s", owner.PID, owner.Command, owner.Since.Format(time.DateTime), c.describe(s))
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	var result error
	for name, url := range s.Processes {
		if err := ready(ctx, url); err != nil {
			terminal.say("%s is not ready: %v", name, err)
			result = exitCode(1)
		}
	}
	return result
}
