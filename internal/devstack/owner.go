package devstack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// RunningError says that another process owns the stack in a directory.
type RunningError struct {
	Dir     string
	PID     int       // the owner's, 0 if it has not said yet
	Command string    // the owner's command line
	Since   time.Time // when it started the stack
}

func (e *RunningError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("a stack is starting in %s already", e.Dir)
	}
	return fmt.Sprintf("a stack runs in %s already: process %d (%s), since %s; stop it with Ctrl-C there, or with: kill %d",
		e.Dir, e.PID, e.Command, e.Since.Format(time.TimeOnly), e.PID)
}

// holder is what an owner writes into its lock file.
type holder struct {
	PID     int       `json:"pid"`
	Born    string    `json:"born"`
	Command string    `json:"command"`
	Since   time.Time `json:"since"`
}

// lock makes us the owner of a directory for as long as the file is open. The
// kernel drops the lock with its holder, so none is ever stale.
func (l layout) lock() (_ *os.File, err error) {
	f, err := os.OpenFile(l.lockFile(), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open the stack's lock: %w", err)
	}
	defer func() {
		if err != nil {
			_ = f.Close()
		}
	}()
	// Somebody who merely asks who the owner is holds the lock for a moment.
	err = poll(context.Background(), 300*time.Millisecond, func(context.Context) error {
		return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	})
	switch {
	case errors.Is(err, syscall.EWOULDBLOCK):
		return nil, l.running()
	case err != nil:
		return nil, fmt.Errorf("lock %s: %w", l.lockFile(), err)
	}
	me, _ := lookup(os.Getpid())
	who, err := json.Marshal(holder{PID: os.Getpid(), Born: me.born, Command: commandLine(), Since: time.Now()})
	if err != nil {
		return nil, err
	}
	if err := f.Truncate(0); err != nil {
		return nil, fmt.Errorf("sign the stack's lock: %w", err)
	}
	if _, err := f.WriteAt(append(who, '\n'), 0); err != nil {
		return nil, fmt.Errorf("sign the stack's lock: %w", err)
	}
	return f, nil
}

// running reads who holds the lock. What an earlier holder wrote names a
// process that is gone, and then the new one has yet to sign.
func (l layout) running() *RunningError {
	running := &RunningError{Dir: l.dir}
	b, err := os.ReadFile(l.lockFile())
	if err != nil {
		return running
	}
	var h holder
	if json.Unmarshal(b, &h) == nil && alive(process{pid: h.PID, born: h.Born}) {
		running.PID, running.Command, running.Since = h.PID, h.Command, h.Since
	}
	return running
}

// Owner tells who runs the stack in dir: nil when nobody does.
func Owner(dir string) (*RunningError, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("find the stack's directory: %w", err)
	}
	l := layout{dir: abs}
	f, err := os.Open(l.lockFile())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open the stack's lock: %w", err)
	}
	defer func() { _ = f.Close() }() // which also drops the lock, if we got it
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB)
	switch {
	case errors.Is(err, syscall.EWOULDBLOCK):
		return l.running(), nil
	case err != nil:
		return nil, fmt.Errorf("try the lock %s: %w", l.lockFile(), err)
	}
	return nil, nil
}

// record is what an owner leaves in its directory for the next one, which
// cleans up after it if it was killed.
type record struct {
	Mark     string        `json:"mark"`
	Children []childRecord `json:"children"`
}

type childRecord struct {
	PID  int    `json:"pid"`
	Born string `json:"born"`
}

func (l layout) readRecord() (record, error) {
	var r record
	b, err := os.ReadFile(l.recordFile())
	if err != nil {
		return r, err
	}
	return r, json.Unmarshal(b, &r)
}

// writeRecord replaces the record in one step: a reader never sees half of it.
func (l layout) writeRecord(r record) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	next := l.recordFile() + ".next"
	if err := os.WriteFile(next, append(b, '\n'), 0o644); err != nil {
		return err
	}
	return os.Rename(next, l.recordFile())
}

// recover ends what an owner that was killed may have left behind. The caller
// holds the lock, so whoever wrote the record is gone. A process counts as the
// dead owner's by pid and birth, by its mark, or by working in our data
// directory; nothing else is touched.
func (l layout) recover(ctx context.Context, say func(string, ...any)) error {
	r, err := l.readRecord()
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		say("ignoring a damaged %s: %v", l.recordFile(), err)
	}
	var left []process
	for _, c := range r.Children {
		p := process{pid: c.PID, born: c.Born}
		if c.Born != "" && alive(p) {
			left = append(left, p)
		}
	}
	strays, err := orphans(r.Mark, l.pgdata())
	if err != nil {
		return fmt.Errorf("look for processes of an earlier run: %w", err)
	}
	ours, err := ancestry()
	if err != nil {
		return err
	}
	for _, p := range strays {
		// A shell that the dead owner ran may be the one that runs us.
		if !ours[p.pid] {
			left = append(left, p)
		}
	}
	if len(left) > 0 {
		say("ending %d processes that a killed run left behind", len(left))
		if err := killAll(ctx, left); err != nil {
			return fmt.Errorf("end processes of an earlier run: %w", err)
		}
	}
	// Every process is gone, so PostgreSQL's lock file protects nothing any
	// more, while the pid in it may by now be somebody else's.
	if err := os.Remove(filepath.Join(l.pgdata(), "postmaster.pid")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.Remove(l.recordFile())
}

// ancestry is our own process and those above it.
func ancestry() (map[int]bool, error) {
	line := make(map[int]bool)
	for pid := os.Getpid(); pid > 0 && !line[pid]; {
		line[pid] = true
		p, ok := lookup(pid)
		if !ok {
			return nil, fmt.Errorf("process %d is not in the process table", pid)
		}
		pid = p.ppid
	}
	return line, nil
}

func commandLine() string {
	return filepath.Base(os.Args[0]) + " " + strings.Join(os.Args[1:], " ")
}
