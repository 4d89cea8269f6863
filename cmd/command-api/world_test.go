package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/internal/config"
	"github.com/ebrahem-outlook/customer-service/internal/httpapi/httpapitest"
	"github.com/ebrahem-outlook/customer-service/internal/postgres/postgrestest"
	"github.com/ebrahem-outlook/customer-service/internal/privacy"
)

// world is the whole command API on a port of its own, over a new log.
type world struct {
	*httpapitest.Client
	app  *app
	addr string
	db   postgrestest.Database
	keys string // the keyring's file
	logs *buffer
}

// buffer is a writer for several goroutines.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// nowhere is a port that nothing listens on: commands need no broker.
const nowhere = "amqp://guest:guest@127.0.0.1:1/"

func newWorld(t *testing.T, settings ...string) *world {
	t.Helper()
	db := postgrestest.EventLog(t)
	keys := filepath.Join(t.TempDir(), "keys.json")
	require.NoError(t, privacy.InitKeyring(keys))
	w := &world{db: db, keys: keys, logs: new(buffer)}
	c := parsed(t, append([]string{
		"--addr=127.0.0.1:0", "--auth-mode=dev", "--eventlog-database-url=" + db.URL, "--amqp-url=" + nowhere,
		"--keys-file=" + keys, "--drain-delay=0s", "--pool=4",
	}, settings...)...)
	a, err := newApp(t.Context(), c, slog.New(slog.NewJSONHandler(w.logs, nil)))
	require.NoError(t, err)
	w.app = a
	for _, s := range a.services {
		require.NoError(t, s.Start(context.WithoutCancel(t.Context())))
	}
	t.Cleanup(func() { w.stop(t) })
	w.addr = a.server.Addr().String()
	w.Client = httpapitest.New(t, "http://"+w.addr)
	w.eventually(t, func() bool { return w.Do(t, "GET", "/readyz", "").StatusCode == 200 })
	return w
}

func parsed(t *testing.T, args ...string) config.CommandServe {
	t.Helper()
	var cli struct {
		Serve config.CommandServe `cmd:""`
	}
	var out bytes.Buffer
	_, err := config.Parse(&cli, "command-api", "", append([]string{"serve"}, args...), &out)
	require.NoError(t, err)
	return cli.Serve
}

func (w *world) stop(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for i := len(w.app.services) - 1; i >= 0; i-- {
		require.NoError(t, w.app.services[i].Stop(ctx))
	}
}

// eventually polls with a deadline, which is no sleep to hope by.
func (w *world) eventually(t *testing.T, done func() bool) {
	t.Helper()
	require.Eventually(t, done, 15*time.Second, 20*time.Millisecond)
}

// events is how many events the log has.
func (w *world) events(t *testing.T) (n int) {
	t.Helper()
	require.NoError(t, w.db.Pool(t, "").QueryRow(t.Context(), "SELECT count(*) FROM eventlog.events").Scan(&n))
	return n
}

type document struct {
	ID        string
	Version   int64
	FirstName *string `json:"first_name"`
	LastName  *string `json:"last_name"`
	Email     string
	Phone     *string
	Metadata  map[string]string
	Tags      []string
	Addresses []address
	Status    string
	// Of these there is always one in what full registers.
	ExternalID string `json:"external_id"`
	Consents   map[string]struct {
		Granted bool
		At      string
	}
	UpdatedAt string `json:"updated_at"`
}

type address struct {
	ID, Country, Label string
	DefaultFor         []string `json:"default_for"`
}

func (w *world) register(t *testing.T) document {
	t.Helper()
	a := w.Do(t, "POST", "/v1/customers", fmt.Sprintf(`{"first_name": "Ada", "email": %q}`, unusedEmail()))
	require.Equal(t, 201, a.StatusCode, "%s", a.Body)
	var d document
	a.JSON(t, &d)
	return d
}

func unusedEmail() string { return "u" + uuid.NewString() + "@example.com" }

// asItself makes the test binary the command, for tests that kill it.
const asItself = "COMMAND_API_TEST_AS_ITSELF"

func TestMain(m *testing.M) {
	if os.Getenv(asItself) != "" {
		main()
	}
	// What the developer's shell has set is no part of what is tested here.
	for _, name := range []string{"KEYS_FILE", "AUTH_MODE", "AMQP_PREFIX", "LANES", "LOG_LEVEL", "LOG_FORMAT", "COMMAND_API_ADDR"} {
		_ = os.Unsetenv(name)
	}
	os.Exit(m.Run())
}
