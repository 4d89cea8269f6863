package devstack

import (
	_ "embed"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// markVariable is in the environment of everything that a stack starts.
const markVariable = "DEVSTACK_RUN"

//go:embed guard.sh
var guardScript string

// guard is a process that outlives its owner just long enough to end what the
// owner started. It is a shell script, not this program run again: a test
// binary would need a hook in its TestMain for that, and a forgotten hook would
// run the tests again instead. The kernel's parent-death signal is not enough:
// it is tied to a thread, not handed on to grandchildren, and only on Linux.
type guard struct {
	mu       sync.Mutex
	lifeline io.WriteCloser
	cmd      *exec.Cmd
}

func startGuard(mark string) (*guard, error) {
	cmd := exec.Command("/bin/sh", "-c", guardScript, "devstack-guard", mark)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	// Nothing else of our environment: if we run inside another stack, its mark
	// would make that one's guard end ours before it has done its work.
	cmd.Env = []string{"PATH=" + os.Getenv("PATH") + ":/usr/bin:/bin"}
	lifeline, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("open the guard's lifeline: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the guard: %w", err)
	}
	return &guard{lifeline: lifeline, cmd: cmd}, nil
}

// victim is a process to end, and how.
type victim struct {
	pid    int
	signal string
}

// watch replaces the list of what the guard ends.
func (g *guard) watch(victims []victim) error {
	words := make([]string, len(victims))
	for i, v := range victims {
		words[i] = v.signal + ":" + strconv.Itoa(v.pid)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, err := io.WriteString(g.lifeline, strings.Join(words, " ")+"\n"); err != nil {
		return fmt.Errorf("tell the guard: %w", err)
	}
	return nil
}

// dismiss ends the guard without it ending anything.
func (g *guard) dismiss() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	_, err := io.WriteString(g.lifeline, "stopped\n")
	_ = g.lifeline.Close()
	if err != nil {
		return fmt.Errorf("dismiss the guard: %w", err)
	}
	if err := g.cmd.Wait(); err != nil {
		return fmt.Errorf("wait for the guard: %w", err)
	}
	return nil
}
