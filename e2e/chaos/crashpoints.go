package chaos

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ebrahem-outlook/customer-service/e2e/cluster"
	"github.com/ebrahem-outlook/customer-service/internal/crash"
)

// crashTag is the build tag with which processes have crash points.
const crashTag = "crashpoints"

// CrashPoints kills processes between two effects, where they say themselves
// that it matters: whoever passes an armed point first dies there.
type CrashPoints struct {
	dir string

	mu   sync.Mutex
	died map[crash.Point]int
	idle map[crash.Point]bool // armed in vain when it was last
}

// NewCrashPoints arms points by files in dir. The processes must be built by
// [BuildWithCrashPoints] and have [CrashPoints.Environ].
func NewCrashPoints(dir string) (*CrashPoints, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make the directory of crash points: %w", err)
	}
	return &CrashPoints{dir: dir, died: make(map[crash.Point]int), idle: make(map[crash.Point]bool)}, nil
}

// Environ lets a process find its points; it fits cluster.Options.
func (c *CrashPoints) Environ(string) []string { return []string{crash.DirVariable + "=" + c.dir} }

// Died is how often a process died at each point.
func (c *CrashPoints) Died() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := make(map[string]int)
	for _, p := range crash.Points() {
		all[p.String()] = c.died[p]
	}
	return all
}

// Unreached are the points that nobody passed when they were last armed.
func (c *CrashPoints) Unreached() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var names []string
	for _, p := range crash.Points() {
		if c.idle[p] {
			names = append(names, p.String())
		}
	}
	return names
}

func (c *CrashPoints) file(p crash.Point) string { return filepath.Join(c.dir, p.String()) }

// arm makes the next process that passes p die.
func (c *CrashPoints) arm(p crash.Point) error { return os.WriteFile(c.file(p), nil, 0o600) }

// victim is who died at p since it was armed; 0 for nobody yet.
func (c *CrashPoints) victim(p crash.Point) (pid int, err error) {
	left, err := filepath.Glob(c.file(p) + ".died-*")
	if err != nil || len(left) == 0 {
		return 0, err
	}
	return strconv.Atoi(left[0][strings.LastIndexByte(left[0], '-')+1:])
}

// disarm ends what arm began and tells who died.
func (c *CrashPoints) disarm(p crash.Point) (pid int, err error) {
	if err := os.Remove(c.file(p)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	pid, err = c.victim(p)
	if err != nil {
		return 0, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.idle[p] = pid == 0
	if pid == 0 {
		return 0, nil
	}
	c.died[p]++
	return pid, os.Remove(fmt.Sprintf("%s.died-%d", c.file(p), pid))
}

// passing are the points that a program's processes pass while they serve.
var passing = map[string][]crash.Point{
	"command-api": {
		crash.CommandBeforeCommit, crash.CommandAfterCommit, crash.CommandBeforeReply, crash.EraseAfterCommit,
		crash.SequenceBeforeCommit, crash.SequenceAfterCommit,
		crash.FeedBeforePublish, crash.FeedAfterConfirm, crash.IntegrationBeforePublish, crash.IntegrationAfterConfirm,
		crash.ImportBetweenBatches, // over HTTP
	},
	"projector": {
		crash.ProjectBeforeCommit, crash.ProjectBeforeCache, crash.ProjectBeforeAck,
		crash.EventFeedBeforeCommit, crash.EventFeedAfterCommit,
	},
}

// CrashFaults are one fault for each point that processes pass while they serve.
func CrashFaults(c *cluster.Cluster, points *CrashPoints) []Fault {
	var faults []Fault
	for _, g := range []group{c.Commands, c.Projectors} {
		program := g[0].Program
		for _, p := range passing[program] {
			faults = append(faults, Fault{
				Kind: "crash " + p.String(), Targets: []string{program},
				Touches: func(string) []string { return g.names() },
				Least:   time.Second,
				Inject: func(_ context.Context, in *Injection) error {
					return points.strike(in, g, p)
				},
			})
		}
	}
	return faults
}

// strike arms p and starts again whoever died of it. That nobody came by is no
// error: it depends on what clients did meanwhile.
func (c *CrashPoints) strike(in *Injection, g group, p crash.Point) error {
	in.Undo(func(ctx context.Context) error {
		pid, err := c.disarm(p)
		if err != nil {
			return err
		}
		if pid == 0 {
			in.Say("not reached")
			return nil
		}
		i := slices.IndexFunc(g, func(one *cluster.Process) bool { return one.Pid() == pid })
		if i < 0 {
			in.Say("it was process %d, a task beside the service, that died", pid)
			return nil
		}
		in.Say("%s died", g[i].Name)
		// Its end may not have been noticed yet.
		if err := cluster.Poll(ctx, time.Millisecond, func() bool { return !g[i].Running() }); err != nil {
			return fmt.Errorf("%s did not die at %s: %w", g[i].Name, p, err)
		}
		return g[i].Start()
	})
	began := time.Now()
	in.During(func(ctx context.Context) error {
		var pid int
		err := cluster.Poll(ctx, 5*time.Millisecond, func() bool {
			var err error
			pid, err = c.victim(p)
			return err == nil && pid != 0
		})
		if err == nil {
			in.Say("reached after %d ms", time.Since(began).Milliseconds())
		}
		return nil
	})
	return c.arm(p)
}

// BuildWithCrashPoints builds the processes of the tree at root, with crash
// points if it knows them, into dir.
func BuildWithCrashPoints(ctx context.Context, root, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-tags", crashTag, "-buildvcs=false", "-o", dir+string(filepath.Separator), "./cmd/...")
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build the processes of %s: %w\n%s", root, err, out)
	}
	return nil
}
