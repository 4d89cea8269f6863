package cluster

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/ebrahem-outlook/customer-service/internal/devstack"
)

// Options say how a cluster differs from the usual one. All may be left out.
type Options struct {
	Size Size
	// Dir is where logs and keys go; a directory that ends with the test by default.
	Dir string
	// Binaries is a directory with the three programs; by default they are built
	// from the working tree. See also [Process.Use].
	Binaries string
	// Environ is added to a process's environment and wins over what is there,
	// as in LOG_LEVEL=debug.
	Environ func(process string) []string
	// URL is how a process reaches a service that listens at url, as through a
	// proxy. It is asked once for each of the process's URLs: two for PostgreSQL.
	URL func(process string, service devstack.Kind, url string) string
}

// direct is how commands reach services, and processes unless told otherwise.
func direct(_ devstack.Kind, url string) string { return url }

func (c *Cluster) processes(t testing.TB, name, addrVariable string, n int) []*Process {
	t.Helper()
	all := make([]*Process, max(n, 1))
	for i := range all {
		p := &Process{Name: fmt.Sprintf("%s-%d", name, i+1), Program: name, Addr: freeAddr(t), adopt: c.Stack.Adopt}
		p.Use(c.bins)
		p.Log = filepath.Join(c.Dir, p.Name+".log")
		url := direct
		if c.options.URL != nil {
			url = func(service devstack.Kind, url string) string { return c.options.URL(p.Name, service, url) }
		}
		p.env = append(c.environ(logins[name], url), addrVariable+"="+p.Addr)
		if c.options.Environ != nil {
			p.env = append(p.env, c.options.Environ(p.Name)...)
		}
		all[i] = p
	}
	return all
}

// Repository is the root of the working tree, found from the package that is
// being tested.
func Repository() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for at := dir; ; at = filepath.Dir(at) {
		if _, err := os.Stat(filepath.Join(at, "go.work")); err == nil {
			return at, nil
		}
		if at == filepath.Dir(at) {
			return "", errors.New("no go.work in " + dir + " or above: run tests within the repository")
		}
	}
}

func repository(t testing.TB) string {
	t.Helper()
	root, err := Repository()
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// binaries builds the three processes once per test run, as a user would.
func binaries(t testing.TB) string {
	t.Helper()
	dir, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

var build = sync.OnceValues(func() (string, error) {
	root, err := Repository()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(root, ".local", "e2e-bin")
	cmd := exec.Command("go", "build", "-o", dir+string(filepath.Separator), "./cmd/...")
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the processes: %w\n%s", err, out)
	}
	return dir, nil
})
