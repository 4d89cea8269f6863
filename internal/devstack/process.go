package devstack

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"
)

// process is one row of the machine's process table.
type process struct {
	pid, ppid int
	// born is when the process started, in the system's own words. A pid is
	// used again once its process is gone; a pid with its birth is not.
	born string
	// zombie says that the process has ended and its parent has yet to notice.
	zombie bool
}

// alive reports whether the process that was born as pid still runs.
func alive(p process) bool {
	now, ok := lookup(p.pid)
	return ok && !now.zombie && (p.born == "" || now.born == p.born)
}

// descendants returns the living processes below roots, the roots included,
// parents before their children.
func descendants(roots ...int) ([]process, error) {
	table, err := processes()
	if err != nil {
		return nil, fmt.Errorf("read the process table: %w", err)
	}
	children := make(map[int][]process, len(table))
	byPID := make(map[int]process, len(table))
	for _, p := range table {
		children[p.ppid] = append(children[p.ppid], p)
		byPID[p.pid] = p
	}
	var found []process
	seen := make(map[int]bool)
	var walk func(process)
	walk = func(p process) {
		if seen[p.pid] {
			return
		}
		seen[p.pid] = true
		if !p.zombie {
			found = append(found, p)
		}
		for _, c := range children[p.pid] {
			walk(c)
		}
	}
	for _, pid := range roots {
		if p, ok := byPID[pid]; ok {
			walk(p)
		}
	}
	return found, nil
}

// freeze stops (SIGSTOP) every process below roots and returns them. It looks
// again until a pass finds nothing new, because a process may fork between the
// look and the signal; one that is stopped cannot.
func freeze(roots ...int) ([]process, error) {
	frozen := make(map[int]bool)
	for {
		tree, err := descendants(roots...)
		if err != nil {
			return nil, err
		}
		fresh := false
		for _, p := range tree {
			if frozen[p.pid] {
				continue
			}
			frozen[p.pid], fresh = true, true
			if err := signalProcess(p, syscall.SIGSTOP); err != nil {
				return tree, err
			}
		}
		if !fresh {
			return tree, nil
		}
	}
}

// killAll ends processes at once and returns when they are gone.
func killAll(ctx context.Context, victims []process) error {
	var errs []error
	for _, p := range victims {
		errs = append(errs, signalProcess(p, syscall.SIGKILL))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return poll(ctx, 5*time.Second, func(context.Context) error {
		for _, p := range victims {
			if alive(p) {
				return fmt.Errorf("process %d does not die", p.pid)
			}
		}
		return nil
	})
}

// signalProcess sends sig to p. That p is gone already is no error.
func signalProcess(p process, sig syscall.Signal) error {
	if !alive(p) {
		return nil
	}
	if err := syscall.Kill(p.pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("signal %v to process %d: %w", sig, p.pid, err)
	}
	return nil
}

// poll calls try until it succeeds, ctx ends or limit has passed, and then
// returns what try said last.
func poll(ctx context.Context, limit time.Duration, try func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	ticker := time.NewTicker(25 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := try(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-ticker.C:
		}
	}
}
