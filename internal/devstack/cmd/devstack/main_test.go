package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ebrahem-outlook/customer-service/internal/devstack"
)

// asDevstack makes the test binary behave as the command.
const asDevstack = "DEVSTACK_TEST_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(asDevstack) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// command is `devstack args…`, with settings added to an environment that says
// nothing about services.
func command(t *testing.T, settings []string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	for _, entry := range os.Environ() {
		name, _, _ := strings.Cut(entry, "=")
		switch name {
		case eventLogURL, readModelURL, amqpURL, redisURL, "AUTH_MODE", "REPLICAS":
		default:
			cmd.Env = append(cmd.Env, entry)
		}
	}
	cmd.Env = append(append(cmd.Env, asDevstack+"=1"), settings...)
	return cmd
}

// directory is a temporary directory that the services' users can reach, so
// that it holds all of a stack. Those that testing makes are private.
func directory(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "devstack-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// output runs cmd and returns what it says on either stream, and its status.
func output(t *testing.T, cmd *exec.Cmd) (string, int) {
	t.Helper()
	out, err := cmd.CombinedOutput()
	t.Logf("devstack %v:\n%s", cmd.Args[1:], out)
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

func TestExec(t *testing.T) {
	t.Parallel()
	given := []string{eventLogURL + "=e", readModelURL + "=r", amqpURL + "=a"}
	const show = `echo "$EVENTLOG_DATABASE_URL $READMODEL_DATABASE_URL $AMQP_URL $REDIS_URL"; exit 7`

	t.Run("starts what the environment does not name", func(t *testing.T) {
		t.Parallel()
		dir := filepath.Join(directory(t), "stack")
		out, code := output(t, command(t, given, "exec", "--dir", dir, "--", "sh", "-c", show))
		if code != 7 || !strings.Contains(out, "e r a redis://127.0.0.1:") || strings.Contains(out, "rabbitmq:") {
			t.Errorf("it exits with %d", code)
		}
	})
	t.Run("starts nothing if all is named", func(t *testing.T) {
		t.Parallel()
		dir := filepath.Join(directory(t), "stack")
		out, code := output(t, command(t, append(given, redisURL+"=x"), "exec", "--dir", dir, "--", "sh", "-c", show))
		if code != 7 || out != "e r a x\n" {
			t.Errorf("it exits with %d", code)
		}
		if _, err := os.Stat(dir); err == nil {
			t.Error("it makes a stack's directory all the same")
		}
	})
	t.Run("ends the command with itself", func(t *testing.T) {
		t.Parallel()
		dir := directory(t)
		cmd := command(t, given, "exec", "--dir", dir, "--", "sh", "-c", "echo started; exec sleep 600")
		var out safeBuffer
		cmd.Stdout = &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		eventually(t, func() error {
			if out.String() != "started\n" {
				return errors.New("the command does not start")
			}
			return nil
		})
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // the status tells
		if code := cmd.ProcessState.ExitCode(); code != 128+int(syscall.SIGTERM) {
			t.Errorf("it exits with %d", code)
		}
		if owner, err := devstack.Owner(dir); owner != nil || err != nil {
			t.Errorf("the stack has owner %v, %v", owner, err)
		}
	})
}

// product lays out a directory with fakes of the product's programs, and
// settings that put them on free ports.
type product struct {
	dir      string
	settings []string
	addrs    map[string]string
}

func newProduct(t *testing.T) product {
	t.Helper()
	p := product{dir: directory(t), addrs: make(map[string]string)}
	fake := filepath.Join(p.dir, "bin", commandAPI.name)
	build := exec.CommandContext(t.Context(), "go", "build", "-o", fake, "./testdata/fake")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the fake: %v\n%s", err, out)
	}
	for _, program := range []program{commandAPI, queryAPI, projector} {
		port, err := devstack.FreePort()
		if err != nil {
			t.Fatal(err)
		}
		p.addrs[program.name] = fmt.Sprintf("127.0.0.1:%d", port)
		p.settings = append(p.settings, program.addrEnv+"="+p.addrs[program.name])
		if program == commandAPI {
			continue
		}
		if err := os.Link(fake, filepath.Join(p.dir, "bin", program.name)); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		down := p.command(t, "down")
		again := exec.Command(down.Path, down.Args[1:]...) // the test's context has ended
		again.Env = down.Env
		if out, err := again.CombinedOutput(); err != nil {
			t.Errorf("down: %v\n%s", err, out)
		}
	})
	return p
}

func (p product) command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	return command(t, p.settings, append(args, "--local", p.dir, "--bin-dir", filepath.Join(p.dir, "bin"))...)
}

func (p product) get(t *testing.T, program, path string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.addrs[program]+path, nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	return string(b), err
}

func (p product) stopped() error {
	for name, addr := range p.addrs {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if err := l.Close(); err != nil {
			return err
		}
	}
	return nil
}

func TestBackground(t *testing.T) {
	t.Parallel()
	p := newProduct(t)
	if out, code := output(t, p.command(t, "status")); code != 3 || !strings.Contains(out, "Nothing runs") {
		t.Errorf("status of nothing exits with %d", code)
	}
	out, code := output(t, p.command(t, "up", "--replicas", "2"))
	if code != 0 || !strings.Contains(out, "Ready.") {
		t.Fatalf("up exits with %d", code)
	}
	for _, want := range []string{"http://" + p.addrs[commandAPI.name] + "/v1/customers -H", "projector-2 ", "REDIS_URL "} {
		if !strings.Contains(out, want) {
			t.Errorf("up does not say %q", want)
		}
	}
	if info, err := os.Stat(filepath.Join(p.dir, "keys", "keys.json")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the keys are %v, %v", info, err)
	}
	if out, code = output(t, p.command(t, "up")); code != 0 || !strings.Contains(out, "Running already.") {
		t.Errorf("a second up exits with %d", code)
	}
	if out, code = output(t, p.command(t, "run")); code != 1 || !strings.Contains(out, "already") || !strings.Contains(out, "make down") {
		t.Errorf("a run beside it exits with %d", code)
	}
	if _, code = output(t, p.command(t, "status")); code != 0 {
		t.Errorf("status exits with %d", code)
	}
	if log, err := os.ReadFile(filepath.Join(p.dir, "log", "devstack.log")); err != nil || !bytes.Contains(log, []byte(`query-api-2: {"level":"WARN"`)) {
		t.Errorf("warnings are not shown: %v\n%s", err, log)
	}

	before, err := p.get(t, queryAPI.name, "/pid")
	if err != nil {
		t.Fatal(err)
	}
	_, _ = p.get(t, queryAPI.name, "/crash") // it does not get to answer
	eventually(t, func() error {
		after, err := p.get(t, queryAPI.name, "/pid")
		if err == nil && after == before {
			err = errors.New("it has not crashed")
		}
		return err
	})

	for range 2 {
		if _, code = output(t, p.command(t, "down")); code != 0 {
			t.Errorf("down exits with %d", code)
		}
	}
	if err := p.stopped(); err != nil {
		t.Errorf("after down: %v", err)
	}
}

// What the environment names is used, and neither started nor shown.
func TestGivenServices(t *testing.T) {
	t.Parallel()
	p := newProduct(t)
	p.settings = append(p.settings, eventLogURL+"=postgres://me:secret@h/e", readModelURL+"=r", amqpURL+"=a")
	out, code := output(t, p.command(t, "up"))
	if code != 0 || !strings.Contains(out, "Ready.") || strings.Contains(out, "secret") || !strings.Contains(out, eventLogURL+"  as set") {
		t.Errorf("up exits with %d", code)
	}
	log, err := os.ReadFile(filepath.Join(p.dir, "log", "devstack.log"))
	if err != nil || !bytes.Contains(log, []byte("redis: ready")) || bytes.Contains(log, []byte("postgres:")) || bytes.Contains(log, []byte("rabbitmq:")) {
		t.Errorf("the background run started something else than Redis: %v\n%s", err, log)
	}
	if got, err := p.get(t, commandAPI.name, "/environ"); err != nil || got != "postgres://me:secret@h/e r a" {
		t.Errorf("command-api runs on %q, %v", got, err)
	}
}

func TestForeground(t *testing.T) {
	t.Parallel()
	p := newProduct(t)
	start := func() (*exec.Cmd, *safeBuffer) {
		t.Helper()
		cmd := p.command(t, "run")
		var out safeBuffer
		cmd.Stderr = &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { t.Logf("devstack run:\n%s", out.String()) })
		eventually(t, func() error {
			if !strings.Contains(out.String(), "Ctrl-C stops everything.") {
				return errors.New("it is not ready")
			}
			return nil
		})
		return cmd, &out
	}
	cmd, _ := start()
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("after Ctrl-C it ends with %v", err)
	}
	if err := p.stopped(); err != nil {
		t.Errorf("after Ctrl-C: %v", err)
	}

	cmd, _ = start()
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	eventually(t, p.stopped)
}

func TestRunSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	t.Run("a port in use", func(t *testing.T) {
		t.Parallel()
		p := newProduct(t)
		l, err := net.Listen("tcp", p.addrs[queryAPI.name])
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = l.Close() }()
		out, code := output(t, p.command(t, "run"))
		if code != 1 || !strings.Contains(out, "set QUERY_API_ADDR to another address") || strings.Contains(out, "postgres:") {
			t.Errorf("it exits with %d", code)
		}
	})
	t.Run("no programs", func(t *testing.T) {
		t.Parallel()
		p := newProduct(t)
		if err := os.Remove(filepath.Join(p.dir, "bin", projector.name)); err != nil {
			t.Fatal(err)
		}
		if out, code := output(t, p.command(t, "up")); code != 1 || !strings.Contains(out, "there is no projector in") || !strings.Contains(out, "make build") {
			t.Errorf("it exits with %d", code)
		}
	})
	t.Run("a migration that fails", func(t *testing.T) {
		t.Parallel()
		p := newProduct(t)
		p.settings = append(p.settings, "FAKE_MIGRATE_FAILS=1")
		if out, code := output(t, p.command(t, "up")); code != 1 || !strings.Contains(out, "column nonsense does not exist") {
			t.Errorf("it exits with %d", code)
		}
		if owner, err := devstack.Owner(filepath.Join(p.dir, "stack")); owner != nil || err != nil {
			t.Errorf("the stack has owner %v, %v", owner, err)
		}
	})
}

// eventually fails the test if try does not succeed in time.
func eventually(t *testing.T, try func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := try()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatal(err)
		case <-ticker.C:
		}
	}
}
