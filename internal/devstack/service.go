package devstack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Service is one of a stack's services. Its methods may be called from any
// goroutine; each waits for the one before it.
type Service struct {
	stack  *Stack
	kind   Kind
	driver driver
	who    *account

	mu       sync.Mutex
	children []*child
	tree     []process // the children and what was below them when last seen
	paused   bool
}

// driver knows one technology.
type driver interface {
	// prepare makes what the service needs before every start.
	prepare(ctx context.Context) error
	// commands are what to run, in order; the last is the service itself.
	commands() []*exec.Cmd
	// ready is nil once the service answers as a client needs it to.
	ready(ctx context.Context) error
	// move chooses other ports, for when somebody took ours before the start.
	move() error
	profile() profile
}

// profile is what drivers differ in and the service must know.
type profile struct {
	port int
	// stop asks for an orderly end, crash for one without any order that the
	// service brings about itself; 0 if it has no such way.
	stop, crash syscall.Signal
	// patience bounds a start, recovery after a crash included.
	patience time.Duration
	// abandon is the signal that ends the service's first process and all
	// below it when the owner is gone; none means to kill each of them.
	abandon string
}

// child is a process that we started and wait for.
type child struct {
	process
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
	err  error         // how; read only after done
}

func (c *child) running() bool {
	select {
	case <-c.done:
		return false
	default:
		return true
	}
}

// Kind says which service it is.
func (s *Service) Kind() Kind { return s.kind }

// Addr is the host:port that clients connect to. It stays the same for as long
// as the stack lives.
func (s *Service) Addr() string { return loopback(s.driver.profile().port) }

// DataDir is where the service keeps its data. Its owner is the user that the
// service runs as.
func (s *Service) DataDir() string { return s.stack.layout.serviceDir(s.kind) }

// LogFile is where the service's own log goes, this run's from its first line.
func (s *Service) LogFile() string { return s.stack.layout.logFile(s.kind) }

// PID is the service's first process, the root of its tree; 0 when stopped.
func (s *Service) PID() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if main := s.main(); main != nil && main.running() {
		return main.pid
	}
	return 0
}

// Exited is closed when the service's process of now has ended, whoever ended
// it. A service that does not run has exited.
func (s *Service) Exited() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if main := s.main(); main != nil {
		return main.done
	}
	closed := make(chan struct{})
	close(closed)
	return closed
}

func (s *Service) main() *child {
	if len(s.children) == 0 {
		return nil
	}
	return s.children[len(s.children)-1]
}

// Start starts the service on the port and with the data it had, and returns
// when it answers. A service that runs is left alone.
func (s *Service) Start(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.start(ctx)
}

func (s *Service) start(ctx context.Context) error {
	if main := s.main(); main != nil && main.running() {
		return nil
	}
	began := time.Now()
	if err := s.reap(ctx); err != nil {
		return err
	}
	if err := s.driver.prepare(ctx); err != nil {
		return fmt.Errorf("prepare %s: %w", s.kind, err)
	}
	s.stack.say("%s: starting on %s", s.kind, s.Addr())
	for _, cmd := range s.driver.commands() {
		if err := s.launch(cmd); err != nil {
			return errors.Join(err, s.reap(ctx))
		}
	}
	if err := s.note(); err != nil {
		return errors.Join(err, s.reap(ctx))
	}
	main := s.main()
	err := poll(ctx, s.driver.profile().patience, func(ctx context.Context) error {
		if !main.running() {
			return nil
		}
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		return s.driver.ready(ctx)
	})
	if !main.running() {
		err = fmt.Errorf("it ended: %w", orExit0(main.err))
	}
	if err != nil {
		return errors.Join(fmt.Errorf("start %s: %w\n%s", s.kind, err, s.Tail(15)), s.reap(context.WithoutCancel(ctx)))
	}
	s.stack.say("%s: ready on %s in %.1fs", s.kind, s.Addr(), time.Since(began).Seconds())
	// Once more, now that the tree below the service is complete.
	return s.note()
}

// launch runs one command with its output in the service's log.
func (s *Service) launch(cmd *exec.Cmd) error {
	log, err := os.OpenFile(s.LogFile(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return fmt.Errorf("open the log of %s: %w", s.kind, err)
	}
	defer func() { _ = log.Close() }() // the child has its own handle
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(cmd.Env, s.stack.markEntry())
	cmd.SysProcAttr = s.who.attributes()
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", s.kind, err)
	}
	c := &child{cmd: cmd, done: make(chan struct{})}
	c.process, _ = lookup(cmd.Process.Pid)
	c.pid = cmd.Process.Pid
	go func() {
		c.err = cmd.Wait()
		close(c.done)
	}()
	s.children = append(s.children, c)
	return nil
}

// Kill ends the service and all processes below it at once, as kill -9 does,
// and returns when they are gone.
//
// RabbitMQ 3.10.8 may lose what makes up a quorum queue if it is killed within
// a second or so of the queue's declaration: the queue is there afterwards, has
// no leader and never gets one, and operations on it time out after 65 s. Two
// seconds were enough in every try.
func (s *Service) Kill() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.reap(context.Background()); err != nil {
		return err
	}
	s.stack.say("%s: killed", s.kind)
	return s.note()
}

// reap kills whatever is left of the service and forgets it.
func (s *Service) reap(ctx context.Context) error {
	if len(s.children) > 0 {
		tree, err := freeze(s.roots()...)
		if err != nil {
			return fmt.Errorf("kill %s: %w", s.kind, err)
		}
		// A child of a process that is gone already is below none of ours: we
		// may have seen it before, or find it by where it works.
		tree = append(tree, s.tree...)
		if s.kind == Postgres {
			backends, err := orphans("", s.stack.layout.pgdata())
			if err != nil {
				return fmt.Errorf("kill %s: %w", s.kind, err)
			}
			tree = append(tree, backends...)
		}
		if err := killAll(ctx, tree); err != nil {
			return fmt.Errorf("kill %s: %w", s.kind, err)
		}
		for _, c := range s.children {
			<-c.done
		}
	}
	s.children, s.tree, s.paused = nil, nil, false
	return nil
}

// Restart stops the service in order and starts it again.
func (s *Service) Restart(ctx context.Context) error {
	if err := s.Stop(); err != nil {
		return err
	}
	return s.Start(ctx)
}

// Pause stops every process of the service where it is (SIGSTOP): connections
// stay open and nothing answers.
func (s *Service) Pause() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.paused {
		return nil
	}
	if main := s.main(); main == nil || !main.running() {
		return fmt.Errorf("pause %s: it does not run", s.kind)
	}
	if err := s.note(); err != nil {
		return err
	}
	if _, err := freeze(s.roots()...); err != nil {
		return fmt.Errorf("pause %s: %w", s.kind, err)
	}
	s.paused = true
	s.stack.say("%s: paused", s.kind)
	return nil
}

// Resume lets a paused service go on.
func (s *Service) Resume() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.paused {
		return nil
	}
	if err := s.resume(); err != nil {
		return err
	}
	s.stack.say("%s: resumed", s.kind)
	return nil
}

func (s *Service) resume() error {
	if !s.paused {
		return nil
	}
	tree, err := descendants(s.roots()...)
	if err != nil {
		return fmt.Errorf("resume %s: %w", s.kind, err)
	}
	for _, p := range tree {
		if err := signalProcess(p, syscall.SIGCONT); err != nil {
			return fmt.Errorf("resume %s: %w", s.kind, err)
		}
	}
	s.paused = false
	return nil
}

// note tells the stack which processes are the service's now, for its record
// and its guard.
func (s *Service) note() error {
	tree, err := descendants(s.roots()...)
	if err != nil {
		return err
	}
	s.tree = tree
	return s.stack.note(s.kind, tree, s.victims())
}

func (s *Service) victims() []victim {
	if abandon := s.driver.profile().abandon; abandon != "" {
		var first []victim
		for _, pid := range s.roots() {
			first = append(first, victim{pid: pid, signal: abandon})
		}
		return first
	}
	all := make([]victim, len(s.tree))
	for i, p := range s.tree {
		all[i] = victim{pid: p.pid, signal: "KILL"}
	}
	return all
}

// roots are the processes that we started and that still run.
func (s *Service) roots() []int {
	var pids []int
	for _, c := range s.children {
		if c.running() {
			pids = append(pids, c.pid)
		}
	}
	return pids
}

// Tail is the end of the service's log, for a message about it.
func (s *Service) Tail(lines int) string {
	b, err := os.ReadFile(s.LogFile())
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimRight(string(b), "\n"), "\n")
	if len(all) > lines {
		all = all[len(all)-lines:]
	}
	return "the end of " + s.LogFile() + ":\n  " + strings.Join(all, "\n  ")
}

func orExit0(err error) error {
	if err == nil {
		return errors.New("exit status 0")
	}
	return err
}
