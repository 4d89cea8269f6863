package devstack

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// owner starts a process that owns a stack in dir and returns it once the stack
// is up.
func owner(t *testing.T, dir string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), ownerVariable+"="+dir)
	cmd.Stderr = t.Output()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // dead already in a test that goes well
		_ = cmd.Wait()
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("the owner says %q, %v", line, err)
	}
	return cmd
}

func TestOwnerKilled(t *testing.T) {
	t.Parallel()
	dir := directory(t)
	first := owner(t, dir)
	l, err := newLayout(dir)
	if err != nil {
		t.Fatal(err)
	}
	r, err := l.readRecord()
	if err != nil {
		t.Fatal(err)
	}
	if running, err := Owner(dir); err != nil || running == nil || running.PID != first.Process.Pid {
		t.Errorf("the owner is %v, %v", running, err)
	}
	if len(r.Children) < 10 {
		t.Fatalf("the record is %+v", r)
	}
	// Stopped processes take no signal but the last one.
	for _, c := range r.Children[:2] {
		if err := syscall.Kill(c.PID, syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
	}
	if err := first.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	err = poll(t.Context(), 15*time.Second, func(context.Context) error {
		return errIfAlive(r)
	})
	if err != nil {
		t.Fatalf("the services outlive their owner: %v", err)
	}

	// The guard may be killed as well. The next start then ends what is left.
	second := owner(t, dir)
	if r, err = l.readRecord(); err != nil {
		t.Fatal(err)
	}
	for _, p := range guardsOf(t, second.Process.Pid, r) {
		if err := signalProcess(p, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	if err := second.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = second.Wait()
	if errIfAlive(r) == nil {
		t.Fatal("nothing is left to clean up: the test shows nothing")
	}
	var log strings.Builder
	s, err := Start(t.Context(), Config{Dir: dir, Log: &log, Install: true})
	if err != nil {
		t.Fatalf("%v\n%s", err, log.String())
	}
	if err := errIfAlive(r); err != nil {
		t.Errorf("after the next start: %v", err)
	}
	if !strings.Contains(log.String(), "that a killed run left behind") {
		t.Errorf("the log says nothing about it: %s", log.String())
	}
	if err := s.Stop(); err != nil {
		t.Error(err)
	}
}

func errIfAlive(r record) error {
	for _, c := range r.Children {
		if alive(process{pid: c.PID, born: c.Born}) {
			return fmt.Errorf("process %d still runs", c.PID)
		}
	}
	return nil
}

// guardsOf are the owner's children that are no service's.
func guardsOf(t *testing.T, pid int, r record) []process {
	t.Helper()
	tree, err := descendants(pid)
	if err != nil {
		t.Fatal(err)
	}
	services := make(map[int]bool)
	for _, c := range r.Children {
		services[c.PID] = true
	}
	var guards []process
	for _, p := range tree {
		if p.ppid == pid && !services[p.pid] {
			guards = append(guards, p)
		}
	}
	if len(guards) != 1 {
		t.Fatalf("the owner has guards %v", guards)
	}
	return guards
}

// A process that merely has the pid of one in the record is not ours.
func TestRecoveryLeavesStrangersAlone(t *testing.T) {
	t.Parallel()
	stranger := exec.Command("sleep", "60")
	if err := stranger.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = stranger.Process.Kill()
		_ = stranger.Wait()
	})
	l, err := newLayout(directory(t))
	if err != nil {
		t.Fatal(err)
	}
	l.data = l.dir
	err = l.writeRecord(record{Mark: "none", Children: []childRecord{{PID: stranger.Process.Pid, Born: "another time"}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.recover(t.Context(), t.Logf); err != nil {
		t.Fatal(err)
	}
	if !alive(process{pid: stranger.Process.Pid}) {
		t.Error("recovery killed a process of somebody else's")
	}
}
