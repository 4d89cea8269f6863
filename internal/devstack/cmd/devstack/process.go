package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// How long a process that ended waits for its next start: twice as long each
// time, from the start again once it has run for a while.
const (
	backoffFloor   = 500 * time.Millisecond
	backoffCeiling = 10 * time.Second
	backoffForgets = 30 * time.Second
)

// drain is how long a process may take to end in order; the product promises
// ten seconds.
const drain = 12 * time.Second

// keeper runs one replica and starts it again whenever it ends.
type keeper struct {
	replica replica
	binary  string
	environ []string
	logFile string
	adopt   func(pid int) (release func() error, err error)
	say     func(format string, args ...any)
}

func newKeeper(r replica, p places, environ []string, adopt func(int) (func() error, error), say func(string, ...any)) *keeper {
	own := append(environ[:len(environ):len(environ)], r.program.addrEnv+"="+r.addr)
	return &keeper{
		replica: r,
		binary:  filepath.Join(p.BinDir, r.program.name),
		environ: own,
		logFile: p.log(r.name),
		adopt:   adopt,
		say:     say,
	}
}

// keep runs the replica until ctx ends and returns when its process has ended.
func (k *keeper) keep(ctx context.Context) error {
	log, err := openLog(k.logFile, func(line string) { k.say("%s: %s", k.replica.name, line) })
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	backoff := backoffFloor
	for {
		began := time.Now()
		err := k.once(ctx, log)
		if ctx.Err() != nil {
			if err != nil {
				k.say("%s: did not end in order: %v", k.replica.name, err)
			}
			return nil
		}
		if time.Since(began) > backoffForgets {
			backoff = backoffFloor
		}
		if err == nil {
			err = errors.New("exit status 0")
		}
		k.say("%s: ended (%v), starting it again in %s; %s", k.replica.name, err, backoff, tail(k.logFile, 3))
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(backoff):
		}
		backoff = min(2*backoff, backoffCeiling)
	}
}

// once runs the process to its end. When ctx ends it asks the process to.
func (k *keeper) once(ctx context.Context, log *logFile) (err error) {
	cmd := exec.CommandContext(ctx, k.binary, "serve")
	cmd.Env, cmd.Stdout, cmd.Stderr = k.environ, log, log
	// A group of its own keeps the terminal's Ctrl-C from it: the processes are
	// stopped before the services that they work with, not along with them.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = drain
	if err := cmd.Start(); err != nil {
		return err
	}
	release, err := k.adopt(cmd.Process.Pid)
	if err != nil {
		return errors.Join(err, cmd.Process.Kill(), cmd.Wait())
	}
	err = cmd.Wait()
	if errors.Is(err, context.Canceled) && cmd.ProcessState.Success() {
		err = nil // it ended because we asked
	}
	return errors.Join(err, release())
}

// awaitReady returns when the replica says that it can do its work.
func (k *keeper) awaitReady(ctx context.Context, within time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := ready(ctx, k.replica.url())
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready after %s: %w\n%s", k.replica.name, within, err, tail(k.logFile, 15))
		case <-ticker.C:
		}
	}
}

// tail is the end of a log, for a message about whoever wrote it.
func tail(file string, lines int) string {
	b, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	return "the end of " + file + ":\n" + lastLines(b, lines)
}
