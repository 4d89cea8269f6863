package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/ebrahem-outlook/customer-service/internal/devstack"
)

// places are the directories that the commands about the product share.
type places struct {
	Local  string `default:".local" type:"path" help:"Where data, keys and logs go."`
	BinDir string `default:".local/bin" type:"path" help:"Where the product's programs are."`
}

func (p places) stack() string          { return filepath.Join(p.Local, "stack") }
func (p places) log(name string) string { return filepath.Join(p.Local, "log", name+".log") }
func (p places) state() string          { return filepath.Join(p.Local, "run.json") }

// keys is the keyring: the caller's, or one beside the stack's data.
func (p places) keys() string {
	if given := os.Getenv("KEYS_FILE"); given != "" {
		return given
	}
	return filepath.Join(p.Local, "keys", "keys.json")
}

// program is one of the product's three.
type program struct {
	name    string
	addrEnv string // the variable that sets where it listens
	addr    string // the first replica's, unless the variable says otherwise
}

var (
	commandAPI = program{name: "command-api", addrEnv: "COMMAND_API_ADDR", addr: "127.0.0.1:8080"}
	queryAPI   = program{name: "query-api", addrEnv: "QUERY_API_ADDR", addr: "127.0.0.1:8081"}
	projector  = program{name: "projector", addrEnv: "PROJECTOR_ADDR", addr: "127.0.0.1:8082"}
)

// replica is one process of a program.
type replica struct {
	program program
	name    string // as in command-api-1
	addr    string
}

// plan decides what runs where and checks that the addresses are free.
func plan(replicas int) ([]replica, error) {
	if replicas < 1 || replicas > 20 {
		return nil, fmt.Errorf("%d replicas of each process: from 1 to 20 is what makes sense on one machine", replicas)
	}
	var all []replica
	var errs []error
	for _, p := range []program{commandAPI, projector, queryAPI} {
		first := p.addr
		if set := os.Getenv(p.addrEnv); set != "" {
			first = set
		}
		if err := free(first); err != nil {
			errs = append(errs, fmt.Errorf("%s cannot listen on %s (%w); set %s to another address, as in %s=127.0.0.1:9080",
				p.name, first, err, p.addrEnv, p.addrEnv))
		}
		all = append(all, replica{program: p, name: p.name + "-1", addr: first})
		for i := 2; i <= replicas; i++ {
			port, err := devstack.FreePort()
			if err != nil {
				return nil, err
			}
			all = append(all, replica{program: p, name: fmt.Sprintf("%s-%d", p.name, i), addr: fmt.Sprintf("127.0.0.1:%d", port)})
		}
	}
	return all, errors.Join(errs...)
}

func free(addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		var op *net.OpError
		if errors.As(err, &op) {
			return op.Err // without the address, which the caller names
		}
		return err
	}
	return l.Close()
}

// url is how a client on this machine reaches the replica.
func (r replica) url() string {
	host, port, err := net.SplitHostPort(r.addr)
	if err != nil {
		return "http://" + r.addr
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(host, port)
}

// ready is nil when the process at url says that it can do its work.
func ready(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/readyz", nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s/readyz answers %s", url, resp.Status)
	}
	return nil
}

// productEnviron configures the product: our environment, the stack's services,
// and access without tokens unless the caller has set up otherwise.
func productEnviron(p places, stack *devstack.Stack) []string {
	environ := append(os.Environ(), "KEYS_FILE="+p.keys())
	if os.Getenv("AUTH_MODE") == "" {
		environ = append(environ, "AUTH_MODE=dev")
	}
	environ = append(environ, stack.Environ()...)
	for _, v := range serviceVariables(stack.URLs()) {
		environ = append(environ, v.entry())
	}
	return environ
}

// prepare makes the keys and brings the databases up to date.
func prepare(ctx context.Context, p places, environ []string) error {
	if _, err := os.Stat(p.keys()); errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(filepath.Dir(p.keys()), 0o700); err != nil {
			return err
		}
		if err := p.once(ctx, environ, "keys", commandAPI.name, "keys", "init", "--out", p.keys()); err != nil {
			return err
		}
	}
	for _, program := range []string{commandAPI.name, projector.name} {
		if err := p.once(ctx, environ, program+"-migrate", program, "migrate"); err != nil {
			return err
		}
	}
	return nil
}

// once runs a program to its end, with what it prints in a log of its own.
func (p places) once(ctx context.Context, environ []string, log, program string, args ...string) error {
	cmd := exec.CommandContext(ctx, filepath.Join(p.BinDir, program), args...)
	cmd.Env = environ
	out, err := cmd.CombinedOutput()
	if writeErr := os.WriteFile(p.log(log), out, 0o644); writeErr != nil {
		return writeErr
	}
	if err != nil {
		return fmt.Errorf("%s %v: %w\n%s", program, args, err, tail(p.log(log), 15))
	}
	return nil
}

// checkPrograms says what to do about programs that are not there.
func (p places) checkPrograms() error {
	for _, program := range []program{commandAPI, projector, queryAPI} {
		if _, err := exec.LookPath(filepath.Join(p.BinDir, program.name)); err != nil {
			return fmt.Errorf("there is no %s in %s: build it with `make build`", program.name, p.BinDir)
		}
	}
	return nil
}

// state is what a running product tells those who ask, in a file.
type state struct {
	PID       int               `json:"pid"`
	Processes map[string]string `json:"processes"` // name → URL
	Services  map[string]string `json:"services"`  // variable → URL
}

func (p places) writeState(s state) error {
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	next := p.state() + ".next"
	if err := os.WriteFile(next, append(b, '\n'), 0o644); err != nil {
		return err
	}
	return os.Rename(next, p.state())
}

// readState returns what the owner of the stack, process pid, has written; ok
// is false while that is not ready.
func (p places) readState(pid int) (s state, ok bool) {
	b, err := os.ReadFile(p.state())
	if err != nil {
		return state{}, false
	}
	if err := json.Unmarshal(b, &s); err != nil || s.PID != pid {
		return state{}, false
	}
	return s, true
}
