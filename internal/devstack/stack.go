package devstack

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
)

// Kind names a service.
type Kind string

// The services that a stack is made of.
const (
	Postgres Kind = "postgres"
	RabbitMQ Kind = "rabbitmq"
	Redis    Kind = "redis"
)

// Config says what stack to start.
type Config struct {
	// Dir is the stack's own directory, made when missing. Required.
	Dir string
	// Services to start; all three when nil, none when empty.
	Services []Kind
	// Databases to make in PostgreSQL if they are not there.
	Databases []string
	// Fresh forgets what an earlier stack in Dir stored. Data that had to be
	// kept outside Dir is removed with Stop as well. Logs go either way.
	Fresh bool
	// Install gets missing services with the machine's package manager. Without
	// it a missing service is an error that says what to install.
	Install bool
	// Log gets a short line for each step; nothing by default.
	Log io.Writer
}

// Stack is a running set of services. It belongs to the process that started
// it.
type Stack struct {
	layout   layout
	lock     *os.File
	guard    *guard
	mark     string
	services map[Kind]*Service
	progress *progress
	discard  string // directory to remove with Stop, if any

	mu       sync.Mutex
	children map[Kind][]process
	victims  map[Kind][]victim
	adopted  map[int]victim

	stop func() error // once
}

// Start brings a stack up and returns when all its services answer. It fails
// with a [*RunningError] when another process runs the stack in that directory,
// and ends what a killed one left there. ctx bounds the start, not the stack.
func Start(ctx context.Context, cfg Config) (*Stack, error) {
	if cfg.Dir == "" {
		return nil, errors.New("start stack: no directory given")
	}
	if cfg.Services == nil {
		cfg.Services = []Kind{Postgres, RabbitMQ, Redis}
	}
	s := &Stack{
		mark:     rand.Text(),
		services: make(map[Kind]*Service),
		progress: &progress{to: cfg.Log},
		children: make(map[Kind][]process),
		victims:  make(map[Kind][]victim),
		adopted:  make(map[int]victim),
	}
	s.stop = sync.OnceValue(s.shutdown)
	var err error
	if s.layout, err = newLayout(cfg.Dir); err != nil {
		return nil, err
	}
	if s.lock, err = s.layout.lock(); err != nil {
		return nil, err
	}
	if err := s.start(ctx, cfg); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	return s, nil
}

func (s *Stack) start(ctx context.Context, cfg Config) error {
	found, err := provide(ctx, cfg, s.say)
	if err != nil {
		return err
	}
	accounts := make(map[Kind]*account)
	for _, kind := range cfg.Services {
		if accounts[kind], err = accountFor(kind); err != nil {
			return err
		}
	}
	if err := s.layout.locate(accounts); err != nil {
		return err
	}
	if err := s.layout.recover(ctx, s.say); err != nil {
		return err
	}
	if cfg.Fresh {
		if !strings.HasPrefix(s.layout.data, s.layout.dir) {
			s.discard = s.layout.data
		}
		for _, kind := range cfg.Services {
			if err := os.RemoveAll(s.layout.serviceDir(kind)); err != nil {
				return fmt.Errorf("forget the earlier stack: %w", err)
			}
		}
	}
	if s.guard, err = startGuard(s.mark); err != nil {
		return err
	}
	if err := s.publish(); err != nil {
		return err
	}
	var starts errgroup.Group
	for _, kind := range cfg.Services {
		driver, err := newDriver(kind, s.layout, found, accounts[kind], s.say)
		if err != nil {
			return err
		}
		service := &Service{stack: s, kind: kind, driver: driver, who: accounts[kind]}
		s.services[kind] = service
		if err := rotate(service.LogFile()); err != nil {
			return err
		}
		starts.Go(func() error { return service.firstStart(ctx) })
	}
	if err := starts.Wait(); err != nil {
		return err
	}
	if s.Postgres() != nil {
		return createDatabases(ctx, s.URLs(), cfg.Databases)
	}
	return nil
}

// firstStart starts a service that nobody knows the port of yet. Between our
// choosing a port and the service's taking it somebody else may.
func (s *Service) firstStart(ctx context.Context) error {
	for try := 1; ; try++ {
		err := s.Start(ctx)
		if err == nil || try == 3 || !portTaken(err, s.driver.profile().port) {
			return err
		}
		s.stack.say("%s: somebody else took %s, choosing another port", s.kind, s.Addr())
		if err := s.driver.move(); err != nil {
			return err
		}
	}
}

func newDriver(kind Kind, l layout, found binaries, who *account, say func(string, ...any)) (driver, error) {
	switch kind {
	case Postgres:
		return newPostgres(l, found, who, say)
	case RabbitMQ:
		return newRabbitMQ(l, found, who)
	case Redis:
		return newRedis(l, found, who)
	default:
		return nil, fmt.Errorf("there is no service %q", kind)
	}
}

// Stop ends all services in order and returns when nothing of the stack runs
// any more. A second call returns what the first did.
func (s *Stack) Stop() error { return s.stop() }

func (s *Stack) shutdown() error {
	var errs []error
	var stops errgroup.Group
	for _, service := range s.services {
		stops.Go(service.Stop)
	}
	errs = append(errs, stops.Wait(), s.sweep())
	if s.guard != nil {
		errs = append(errs, s.guard.dismiss(), os.Remove(s.layout.recordFile()))
	}
	if s.discard != "" {
		errs = append(errs, os.RemoveAll(s.discard))
	}
	errs = append(errs, s.lock.Close())
	return errors.Join(errs...)
}

// sweep ends what is left of the processes that carry our mark.
func (s *Stack) sweep() error {
	left, err := orphans(s.mark, s.layout.pgdata())
	if err != nil {
		return fmt.Errorf("look for processes to end: %w", err)
	}
	return killAll(context.Background(), left)
}

// Postgres is the stack's PostgreSQL, nil if it has none.
func (s *Stack) Postgres() *Service { return s.services[Postgres] }

// RabbitMQ is the stack's RabbitMQ, nil if it has none.
func (s *Stack) RabbitMQ() *Service { return s.services[RabbitMQ] }

// Redis is the stack's Redis, nil if it has none.
func (s *Stack) Redis() *Service { return s.services[Redis] }

// Dir is the stack's directory, absolute.
func (s *Stack) Dir() string { return s.layout.dir }

// Environ is what a process needs in its environment to count as the stack's:
// it ends when the owner is killed. See also [Stack.Adopt].
func (s *Stack) Environ() []string {
	return []string{s.markEntry(), "DEVSTACK_DIR=" + s.layout.dir}
}

// Adopt makes process pid, a child of ours, end with SIGTERM when we are
// killed, until the returned function is called.
func (s *Stack) Adopt(pid int) (release func() error, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.adopted[pid] = victim{pid: pid, signal: "TERM"}
	return func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.adopted, pid)
		return s.publish()
	}, s.publish()
}

func (s *Stack) markEntry() string { return markVariable + "=" + s.mark }

// note takes down which processes are a service's.
func (s *Stack) note(kind Kind, tree []process, victims []victim) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.children[kind], s.victims[kind] = tree, victims
	return s.publish()
}

// publish brings the record and the guard's list up to date.
func (s *Stack) publish() error {
	now := record{Mark: s.mark}
	var victims []victim
	for _, kind := range slices.Sorted(maps.Keys(s.children)) {
		for _, p := range s.children[kind] {
			now.Children = append(now.Children, childRecord{PID: p.pid, Born: p.born})
		}
		victims = append(victims, s.victims[kind]...)
	}
	victims = slices.AppendSeq(victims, maps.Values(s.adopted))
	if err := s.layout.writeRecord(now); err != nil {
		return fmt.Errorf("record the stack's processes: %w", err)
	}
	return s.guard.watch(victims)
}

func (s *Stack) say(format string, args ...any) { s.progress.say(format, args...) }

// progress writes whole lines from any goroutine.
type progress struct {
	mu sync.Mutex
	to io.Writer
}

func (p *progress) say(format string, args ...any) {
	if p.to == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	_, _ = fmt.Fprintf(p.to, format+"\n", args...)
}

// rotate starts a log anew and keeps the one before.
func rotate(file string) error {
	err := os.Rename(file, file+".1")
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("rotate a log: %w", err)
	}
	return nil
}
