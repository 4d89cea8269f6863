// Package cluster runs the whole service for a test: the three processes from
// their real binaries, as many of each as asked for, on a private stack that
// the test may kill, stop and restart. It knows the processes' command lines
// and environment, and nothing of their insides.
package cluster

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/ebrahem-outlook/customer-service/internal/devstack"
)

// Size is how many of each process a cluster has; zero means one.
type Size struct{ Commands, Projectors, Queries int }

// Cluster is a running service with a log, a read model and queues of its own.
type Cluster struct {
	Stack      *devstack.Stack
	Commands   []*Process
	Projectors []*Process
	Queries    []*Process

	EventLogURL, ReadModelURL string
	KeysFile                  string
	Prefix                    string // of exchanges, queues and Redis keys
	Dir                       string // logs and keys

	options    Options
	bins       string
	log, model *pgxpool.Pool
}

// New migrates fresh databases on the stack, starts the processes and waits
// until all answer ready. They end with the test.
func New(t testing.TB, stack *devstack.Stack, size Size) *Cluster {
	t.Helper()
	return NewWith(t, stack, Options{Size: size})
}

// Prepare does what New does, but starts no process.
func Prepare(t testing.TB, stack *devstack.Stack, size Size) *Cluster {
	t.Helper()
	return PrepareWith(t, stack, Options{Size: size})
}

// NewWith is New with options.
func NewWith(t testing.TB, stack *devstack.Stack, o Options) *Cluster {
	t.Helper()
	c := PrepareWith(t, stack, o)
	for _, p := range c.Processes() {
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
	}
	c.WaitReady(t, 30*time.Second)
	return c
}

// PrepareWith is Prepare with options.
func PrepareWith(t testing.TB, stack *devstack.Stack, o Options) *Cluster {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	if o.Binaries == "" {
		o.Binaries = binaries(t)
	}
	prefix := "e2e" + strings.ReplaceAll(uuid.NewString(), "-", "")[:12]
	c := &Cluster{
		Stack: stack, Prefix: prefix, Dir: o.Dir, options: o, bins: o.Binaries,
		EventLogURL:  createDatabase(t, stack, prefix+"_eventlog"),
		ReadModelURL: createDatabase(t, stack, prefix+"_readmodel"),
	}
	c.KeysFile = filepath.Join(c.Dir, "keys.json")
	c.run(t, "command-api", "keys", "init", "--out", c.KeysFile)
	c.run(t, "command-api", "migrate")
	c.run(t, "projector", "migrate")
	createLogins(t, c.EventLogURL)
	c.Commands = c.processes(t, "command-api", "COMMAND_API_ADDR", o.Size.Commands)
	c.Projectors = c.processes(t, "projector", "PROJECTOR_ADDR", o.Size.Projectors)
	c.Queries = c.processes(t, "query-api", "QUERY_API_ADDR", o.Size.Queries)
	c.log, c.model = connect(t, c.EventLogURL), connect(t, c.ReadModelURL)
	t.Cleanup(func() {
		for _, p := range c.Processes() {
			p.Kill()
			if t.Failed() {
				t.Logf("--- end of the log of %s\n%s", p.Name, p.Tail(30))
			}
		}
	})
	return c
}

// Processes are all of them: command APIs, projectors, query APIs.
func (c *Cluster) Processes() []*Process {
	return append(append(append([]*Process(nil), c.Commands...), c.Projectors...), c.Queries...)
}

// WaitReady waits until every process answers ready.
func (c *Cluster) WaitReady(t testing.TB, within time.Duration) {
	t.Helper()
	ctx := Within(t, within)
	for _, p := range c.Processes() {
		if err := p.WaitReady(ctx); err != nil {
			t.Fatal(err)
		}
	}
}

// EventLog is a superuser's view of the log, for checking.
func (c *Cluster) EventLog() *pgxpool.Pool { return c.log }

// ReadModel is a superuser's view of the read model, for checking.
func (c *Cluster) ReadModel() *pgxpool.Pool { return c.model }

// environ configures a process. As login it has no rights but its role's; the
// empty login is the superuser, as whom migrations run.
func (c *Cluster) environ(login string, url func(devstack.Kind, string) string) []string {
	return append(append(os.Environ(), c.Stack.Environ()...),
		"EVENTLOG_DATABASE_URL="+url(devstack.Postgres, as(login, c.EventLogURL)),
		"READMODEL_DATABASE_URL="+url(devstack.Postgres, as(login, c.ReadModelURL)),
		"AMQP_URL="+url(devstack.RabbitMQ, c.Stack.URLs().AMQP),
		"REDIS_URL="+url(devstack.Redis, c.Stack.URLs().Redis),
		"AMQP_PREFIX="+c.Prefix,
		"REDIS_PREFIX="+c.Prefix,
		"KEYS_FILE="+c.KeysFile,
		"AUTH_MODE=dev",
	)
}

// logins are the ones that deploy/logins.sql makes, by process.
var logins = map[string]string{"command-api": "command_api", "projector": "projector", "query-api": "query_api"}

func as(login, databaseURL string) string {
	u, err := url.Parse(databaseURL)
	if err != nil || login == "" {
		return databaseURL
	}
	u.User = url.User(login)
	return u.String()
}

// createLogins runs the script that operators run.
func createLogins(t testing.TB, databaseURL string) {
	t.Helper()
	cmd := exec.CommandContext(Within(t, time.Minute), "psql", "-q", "-v", "ON_ERROR_STOP=1",
		"-v", "command_password=c", "-v", "projector_password=p", "-v", "query_password=q",
		"-f", filepath.Join(repository(t), "deploy", "logins.sql"), databaseURL)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("make the processes' logins: %v\n%s", err, out)
	}
}

// Command is one of the service's binaries with this cluster's configuration,
// run under the login of its process.
func (c *Cluster) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(c.bins, name), args...)
	cmd.Env = c.environ(logins[name], direct)
	return cmd
}

func (c *Cluster) run(t testing.TB, name string, args ...string) {
	t.Helper()
	cmd := c.Command(Within(t, time.Minute), name, args...)
	cmd.Env = c.environ("", direct)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

func createDatabase(t testing.TB, stack *devstack.Stack, name string) string {
	t.Helper()
	ctx := Within(t, time.Minute)
	conn, err := pgx.Connect(ctx, stack.URLs().Postgres("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, "CREATE DATABASE "+pgx.Identifier{name}.Sanitize()); err != nil {
		t.Fatal(err)
	}
	return stack.URLs().Postgres(name)
}

func connect(t testing.TB, databaseURL string) *pgxpool.Pool {
	t.Helper()
	u, err := url.Parse(databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Set("pool_max_conns", "4")
	u.RawQuery = q.Encode()
	pool, err := pgxpool.New(context.Background(), u.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

// freeAddr finds a loopback port below the kernel's ephemeral range, so that
// no outgoing connection takes it between two runs of its process.
func freeAddr(t testing.TB) string {
	t.Helper()
	for range 200 {
		port := 20000 + int(time.Now().UnixNano()/1000)%12000
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		addr := l.Addr().String()
		_ = l.Close()
		if _, taken := addrs.LoadOrStore(addr, true); !taken {
			return addr
		}
	}
	t.Fatal("no free loopback port found between 20000 and 32000")
	return ""
}

var addrs sync.Map // handed out by this test run
