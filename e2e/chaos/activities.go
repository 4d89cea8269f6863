package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/ebrahem-outlook/customer-service/e2e/cluster"
	"github.com/ebrahem-outlook/customer-service/internal/crash"
	"github.com/ebrahem-outlook/customer-service/internal/devstack"
)

const (
	// againAfter is how soon a task that ended badly is started again, as a
	// supervisor or an operator would.
	againAfter = 500 * time.Millisecond
	// taskLimit bounds one run of a task. None that works takes a tenth of it.
	taskLimit = 2 * time.Minute
	// saidAtEnd is how much of what a task printed is kept.
	saidAtEnd = 2000
)

// Outcome is what became of one thing that was done beside the service.
type Outcome struct {
	Task     string        // as in projector rebuild
	Began    time.Duration // since the activities were made
	Took     time.Duration // until it ended well, or until now
	Runs     int
	Killed   []string // where, as in rebuild-before-switch or after 120 ms
	Ended    bool     // well
	Said     string   // last, if it did not end well
	Violated string   // what it said that it must never say
}

// Activities are what operators do while the service runs: each is a process of
// its own, is killed at random, and is started again until it has ended well.
// Unlike a fault it goes on when its turn is over.
type Activities struct {
	cluster *cluster.Cluster
	points  *CrashPoints // of tasks alone: serving processes pass some of them too
	links   *Links       // nil without
	dir     string
	began   time.Time
	run     context.Context
	stop    context.CancelFunc
	tasks   sync.WaitGroup

	mu       sync.Mutex
	busy     map[string]bool
	outcomes []*Outcome
	imported []Imported
}

// NewActivities does nothing yet. links may be nil; files go to dir.
func NewActivities(c *cluster.Cluster, links *Links, dir string) (*Activities, error) {
	points, err := NewCrashPoints(filepath.Join(dir, "points"))
	if err != nil {
		return nil, err
	}
	a := &Activities{cluster: c, points: points, links: links, dir: dir, began: time.Now(), busy: make(map[string]bool)}
	a.run, a.stop = context.WithCancel(context.Background())
	return a, nil
}

// Died is how often a task died at each point.
func (a *Activities) Died() map[string]int { return a.points.Died() }

// task is one thing to do.
type task struct {
	name   string                                           // as in projector rebuild
	start  func(ctx context.Context, said string) *exec.Cmd // said is what the run before printed
	points []crash.Point                                    // where it may be killed, beside anywhere
	never  string                                           // what it must never say
	ended  func()                                           // called once it has ended well
}

// Faults begin the activities, one kind each.
func (a *Activities) Faults() []Fault {
	kinds := []struct {
		kind   string
		begins func(*Injection) (task, error)
	}{
		{"rebuild", func(*Injection) (task, error) { return a.rebuild(), nil }},
		{"verify", func(*Injection) (task, error) { return a.verify(), nil }},
		{"rotate-keys", func(*Injection) (task, error) { return a.rotate(), nil }},
		{"import", a.newImport},
	}
	var faults []Fault
	for _, k := range kinds {
		faults = append(faults, Fault{
			Kind: k.kind, Targets: []string{"beside the service"},
			Inject: func(_ context.Context, in *Injection) error {
				if !a.take(k.kind) {
					in.Say("one is under way already")
					return nil
				}
				t, err := k.begins(in)
				if err != nil {
					return err
				}
				o := &Outcome{Task: t.name, Began: time.Since(a.began)}
				a.mu.Lock()
				a.outcomes = append(a.outcomes, o)
				a.mu.Unlock()
				rnd := rand.New(rand.NewPCG(in.Rand.Uint64(), 0)) //nolint:gosec // reproducible, not secret
				in.Undo(func(context.Context) error {
					now := a.copyOf(o)
					in.Say("%d runs, killed %d times, ended %t so far", now.Runs, len(now.Killed), now.Ended)
					return nil
				})
				a.tasks.Go(func() {
					defer a.release(k.kind)
					a.carryOut(t, o, rnd)
				})
				return nil
			},
		})
	}
	return faults
}

func (a *Activities) take(kind string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	taken := a.busy[kind]
	a.busy[kind] = true
	return !taken
}

func (a *Activities) release(kind string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.busy[kind] = false
}

func (a *Activities) copyOf(o *Outcome) Outcome {
	a.mu.Lock()
	defer a.mu.Unlock()
	return *o
}

// carryOut runs t until it ends well. Its first two runs may be killed.
func (a *Activities) carryOut(t task, o *Outcome, rnd *rand.Rand) {
	began, said := time.Now(), ""
	for run := 1; a.run.Err() == nil; run++ {
		var killer func(context.Context, *exec.Cmd) string
		if run <= 2 && (run == 1 || rnd.IntN(2) == 0) {
			killer = a.killer(t, rnd)
		}
		var killed string
		var err error
		said, killed, err = a.once(t, said, killer)
		a.mu.Lock()
		o.Runs, o.Took, o.Said, o.Ended = run, time.Since(began), said, err == nil
		if killed != "" {
			o.Killed = append(o.Killed, killed)
		}
		if t.never != "" && strings.Contains(said, t.never) {
			o.Violated = said
		}
		a.mu.Unlock()
		if err == nil {
			if t.ended != nil {
				t.ended()
			}
			return
		}
		pause(a.run, againAfter)
	}
}

// killer decides where the next run dies: at one of the task's points or after
// some time.
func (a *Activities) killer(t task, rnd *rand.Rand) func(context.Context, *exec.Cmd) string {
	after := time.Duration(rnd.Int64N(int64(800 * time.Millisecond)))
	if len(t.points) == 0 || rnd.IntN(3) == 0 {
		return func(ctx context.Context, cmd *exec.Cmd) string {
			if !pause(ctx, after) {
				return "" // it has ended
			}
			_ = cmd.Process.Kill()
			return fmt.Sprintf("after %d ms", after.Milliseconds())
		}
	}
	p := t.points[rnd.IntN(len(t.points))]
	if a.points.arm(p) != nil {
		return nil
	}
	return func(ctx context.Context, _ *exec.Cmd) string {
		<-ctx.Done() // it has ended, for whatever reason
		if pid, err := a.points.disarm(p); err != nil || pid == 0 {
			return ""
		}
		return p.String()
	}
}

// once runs t once and returns the end of what it printed.
func (a *Activities) once(t task, said string, kill func(context.Context, *exec.Cmd) string) (string, string, error) {
	ctx, cancel := context.WithTimeout(a.run, taskLimit)
	defer cancel()
	cmd := t.start(ctx, said)
	cmd.Env = append(cmd.Env, a.points.Environ("")...)
	out := &tail{}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		return err.Error(), "", err
	}
	release, err := a.cluster.Stack.Adopt(cmd.Process.Pid)
	if err != nil {
		_ = cmd.Process.Kill()
	}
	ended, end := context.WithCancel(ctx)
	killed := make(chan string, 1)
	go func() {
		where := ""
		if kill != nil {
			where = kill(ended, cmd)
		}
		killed <- where
	}()
	err = errors.Join(err, cmd.Wait())
	end()
	if release != nil {
		_ = release()
	}
	where := <-killed
	if err == nil {
		where = "" // it was quicker
	}
	return out.String(), where, err
}

// Finish waits until everything that was begun has ended well, once faults have
// ceased, and tells what has not.
func (a *Activities) Finish(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		a.tasks.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
	a.stop()
	<-done
	var errs []error
	for _, o := range a.Outcomes() {
		if !o.Ended {
			errs = append(errs, fmt.Errorf("%s has not ended well in %d runs: %s", o.Task, o.Runs, o.Said))
		}
		if o.Violated != "" {
			errs = append(errs, fmt.Errorf("%s: %s", o.Task, o.Violated))
		}
	}
	return errors.Join(errs...)
}

// Rebuild makes the views anew, once, undisturbed. It is what the documents ask
// for after an upgrade to a version that derives them differently: what the
// earlier one wrote while both ran stays as it was until then.
func (a *Activities) Rebuild(ctx context.Context) error {
	out, err := a.command(ctx, "projector", true, "rebuild").CombinedOutput()
	if err != nil {
		return fmt.Errorf("rebuild: %w: %s", err, out)
	}
	return nil
}

// Outcomes are what became of everything so far, in the order in which it began.
func (a *Activities) Outcomes() []Outcome {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := make([]Outcome, len(a.outcomes))
	for i, o := range a.outcomes {
		all[i] = *o
	}
	return all
}

// command is a task's command line, led through links of its own. As owner it
// is the login that migrates.
func (a *Activities) command(ctx context.Context, program string, owner bool, args ...string) *exec.Cmd {
	cmd := a.cluster.Command(ctx, program, args...)
	urls := map[string]string{} // the last entry of a name is the one that counts
	for _, e := range cmd.Env {
		if name, url, _ := strings.Cut(e, "="); name == "EVENTLOG_DATABASE_URL" || name == "READMODEL_DATABASE_URL" {
			urls[name] = url
		}
	}
	if owner {
		urls["EVENTLOG_DATABASE_URL"], urls["READMODEL_DATABASE_URL"] = a.cluster.EventLogURL, a.cluster.ReadModelURL
	}
	for name, url := range urls {
		if a.links != nil {
			url = a.links.URL(program+" "+args[0], devstack.Postgres, url)
		}
		cmd.Env = append(cmd.Env, name+"="+url)
	}
	cmd.Dir = a.dir
	return cmd
}

func (a *Activities) rebuild() task {
	return task{
		name:   "projector rebuild",
		start:  func(ctx context.Context, _ string) *exec.Cmd { return a.command(ctx, "projector", true, "rebuild") },
		points: []crash.Point{crash.RebuildAfterPart, crash.RebuildBeforeSwitch, crash.RebuildAfterSwitch},
		never:  "is not the fold of the log",
	}
}

func (a *Activities) verify() task {
	return task{
		name:  "projector verify",
		start: func(ctx context.Context, _ string) *exec.Cmd { return a.command(ctx, "projector", false, "verify") },
		never: "is not the fold of the log",
	}
}

// rotate goes on as the documents say: once the new key is the primary one,
// what is left is to wrap the rest. Old keys are not retired, because whoever
// judges the run still opens what it kept under them.
func (a *Activities) rotate() task {
	promoted := false
	return task{
		name: "command-api keys rotate",
		start: func(ctx context.Context, said string) *exec.Cmd {
			if promoted = promoted || strings.Contains(said, "wraps new keys from now on"); promoted {
				return a.command(ctx, "command-api", false, "keys", "rewrap")
			}
			return a.command(ctx, "command-api", false, "keys", "rotate")
		},
		points: []crash.Point{crash.RotationBetweenBatches},
	}
}

// tail keeps the end of what is written to it.
type tail struct {
	mu   sync.Mutex
	text []byte
}

// Write implements io.Writer.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	if over := len(t.text) - saidAtEnd; over > 0 {
		t.text = t.text[over:]
	}
	return len(p), nil
}

// String is what is kept.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.text))
}

func (a *Activities) file(name string) string { return filepath.Join(a.dir, name) }

func write(path, text string) error { return os.WriteFile(path, []byte(text), 0o600) }
