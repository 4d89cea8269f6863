package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Process is one of the service's processes, started from its real binary. It
// keeps its address and its log file over restarts.
type Process struct {
	Name    string // as in command-api-1
	Program string // as in command-api
	Addr    string // host:port
	Log     string // file with everything it printed, all runs

	binary string
	env    []string
	adopt  func(pid int) (release func() error, err error)

	mu      sync.Mutex
	cmd     *exec.Cmd
	exited  chan struct{}
	release func() error
	peakKiB int64
}

// URL is where the process listens.
func (p *Process) URL() string { return "http://" + p.Addr }

// Use makes the process's next start that of the program in another directory.
func (p *Process) Use(binaries string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.binary = filepath.Join(binaries, p.Program)
}

// Setenv makes the process's next starts have NAME=value; the last one of a name
// counts.
func (p *Process) Setenv(entries ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.env = append(p.env, entries...)
}

// Start starts the process and does not wait for it to be ready. One that runs
// is left alone.
func (p *Process) Start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running() {
		return nil
	}
	log, err := os.OpenFile(p.Log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(p.binary, "serve")
	cmd.Env, cmd.Stdout, cmd.Stderr = p.env, log, log
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", p.Name, err)
	}
	release, err := p.adopt(cmd.Process.Pid)
	if err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return err
	}
	if p.release != nil {
		_ = p.release() // of a run that ended by itself
	}
	exited := make(chan struct{})
	p.cmd, p.exited, p.release = cmd, exited, release
	go func() {
		_ = cmd.Wait()
		close(exited)
	}()
	return nil
}

// Kill ends the process as kill -9 does and waits until it is gone.
func (p *Process) Kill() { p.end(syscall.SIGKILL, 10*time.Second) }

// Terminate asks the process to drain and reports its exit code; it is an
// error when it does not end within the given time.
func (p *Process) Terminate(within time.Duration) (int, error) {
	if !p.end(syscall.SIGTERM, within) {
		p.Kill()
		return -1, fmt.Errorf("%s did not end within %s of SIGTERM", p.Name, within)
	}
	return p.cmd.ProcessState.ExitCode(), nil
}

func (p *Process) end(sig syscall.Signal, within time.Duration) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return true
	}
	p.rememberPeak()
	_ = p.cmd.Process.Signal(sig)
	select {
	case <-p.exited:
		_ = p.release()
		return true
	case <-time.After(within):
		return false
	}
}

// Pause stops the process where it is (SIGSTOP): its connections stay open and
// nothing answers.
func (p *Process) Pause() error { return p.Signal(syscall.SIGSTOP) }

// Resume lets a paused process go on.
func (p *Process) Resume() error { return p.Signal(syscall.SIGCONT) }

// Running tells whether the process was started and has not ended since.
func (p *Process) Running() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.running()
}

func (p *Process) running() bool {
	if p.cmd == nil {
		return false
	}
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// Exit says how the process ended, empty while it runs or has never run.
func (p *Process) Exit() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil || p.running() {
		return ""
	}
	return p.cmd.ProcessState.String()
}

// Files is how many file descriptors the process holds, and how many of them
// are sockets; none where /proc does not tell.
func (p *Process) Files() (all, sockets int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.running() {
		return 0, 0
	}
	dir := filepath.Join("/proc", strconv.Itoa(p.cmd.Process.Pid), "fd")
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		to, err := os.Readlink(filepath.Join(dir, e.Name()))
		if err == nil && strings.HasPrefix(to, "socket:") {
			sockets++
		}
	}
	return len(entries), sockets
}

// Signal sends any signal, as for stopping and continuing a process.
func (p *Process) Signal(sig syscall.Signal) error { return p.cmd.Process.Signal(sig) }

// Pid is the running process's id.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// PeakMiB is the largest resident size the process had, over all its runs.
func (p *Process) PeakMiB() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rememberPeak()
	return p.peakKiB / 1024
}

// ResidentMiB is the resident size of now.
func (p *Process) ResidentMiB() int64 { return p.status("VmRSS:") / 1024 }

func (p *Process) rememberPeak() { p.peakKiB = max(p.peakKiB, p.status("VmHWM:")) }

// status reads one figure of /proc/PID/status in KiB; 0 where there is none.
func (p *Process) status(field string) int64 {
	if p.cmd == nil || p.cmd.Process == nil {
		return 0
	}
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(p.cmd.Process.Pid), "status"))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, field); ok {
			n, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			return n
		}
	}
	return 0
}

// WaitReady waits until /readyz answers 200.
func (p *Process) WaitReady(ctx context.Context) error { return p.waitFor(ctx, http.StatusOK) }

// WaitNotReady waits until /readyz answers 503.
func (p *Process) WaitNotReady(ctx context.Context) error {
	return p.waitFor(ctx, http.StatusServiceUnavailable)
}

func (p *Process) waitFor(ctx context.Context, status int) error {
	last := errors.New("never asked")
	err := Poll(ctx, 20*time.Millisecond, func() bool {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.URL()+"/readyz", http.NoBody)
		if err != nil {
			last = err
			return false
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			last = err
			return false
		}
		_ = res.Body.Close()
		last = fmt.Errorf("/readyz answers %d", res.StatusCode)
		return res.StatusCode == status
	})
	if err != nil {
		return fmt.Errorf("wait for %s to answer %d: %w (last: %w)\n%s", p.Name, status, err, last, p.Tail(20))
	}
	return nil
}

// Tail is the end of the process's log, less the requests that it served.
func (p *Process) Tail(lines int) string {
	text, _ := os.ReadFile(p.Log)
	var all []string
	for line := range strings.Lines(string(text)) {
		if !strings.Contains(line, `"msg":"request"`) || !strings.Contains(line, `"status":2`) {
			all = append(all, strings.TrimSuffix(line, "\n"))
		}
	}
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// Poll asks done again and again until it says yes or ctx ends.
func Poll(ctx context.Context, every time.Duration, done func() bool) error {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for !done() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
	return nil
}

// Within is a context that ends after d, and with the test.
func Within(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}
