package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/internal/httpapi/httpapitest"
	"github.com/ebrahem-outlook/customer-service/internal/postgres"
	"github.com/ebrahem-outlook/customer-service/internal/postgres/postgrestest"
	"github.com/ebrahem-outlook/customer-service/internal/privacy"
	"github.com/ebrahem-outlook/customer-service/migrations"
)

// link is a connection to a server that can be cut and mended.
type link struct {
	to string
	ln net.Listener

	mu    sync.Mutex
	up    bool
	conns map[net.Conn]struct{}
}

func newLink(t *testing.T, to string) *link {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	l := &link{to: to, ln: ln, conns: make(map[net.Conn]struct{})}
	t.Cleanup(func() { _ = ln.Close(); l.set(false) })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			l.serve(conn)
		}
	}()
	return l
}

func (l *link) serve(from net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	to, err := net.Dial("tcp", l.to)
	if err != nil || !l.up {
		_ = from.Close()
		if err == nil {
			_ = to.Close()
		}
		return
	}
	for a, b := range map[net.Conn]net.Conn{from: to, to: from} {
		l.conns[a] = struct{}{}
		go func() {
			_, _ = io.Copy(a, b)
			_ = a.Close()
		}()
	}
}

func (l *link) set(up bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.up = up; up {
		return
	}
	for conn := range l.conns {
		_ = conn.Close()
		delete(l.conns, conn)
	}
}

// startOn is a world whose database need not be ready.
func startOn(t *testing.T, database string) *world {
	t.Helper()
	keys := filepath.Join(t.TempDir(), "keys.json")
	require.NoError(t, privacy.InitKeyring(keys))
	w := &world{logs: new(buffer)}
	var err error
	w.app, err = newApp(t.Context(), parsed(t, "--addr=127.0.0.1:0", "--auth-mode=dev", "--drain-delay=0s",
		"--eventlog-database-url="+database, "--amqp-url="+nowhere, "--keys-file="+keys), slog.New(slog.NewJSONHandler(w.logs, nil)))
	require.NoError(t, err)
	for _, s := range w.app.services {
		require.NoError(t, s.Start(context.WithoutCancel(t.Context())))
	}
	t.Cleanup(func() { w.stop(t) })
	w.Client = httpapitest.New(t, "http://"+w.app.server.Addr().String())
	return w
}

func TestCommandsAreUnavailableUntilTheLogIsMigrated(t *testing.T) {
	t.Parallel()
	db := postgrestest.Empty(t)
	w := startOn(t, db.URL)
	w.eventually(t, func() bool {
		return strings.Contains(string(w.Do(t, "GET", "/readyz", "").Body), "schema eventlog is at version 0")
	})
	registration := fmt.Sprintf(`{"last_name": "x", "email": %q}`, unusedEmail())
	for _, a := range []*httpapitest.Answer{
		w.Do(t, "POST", "/v1/customers", registration),
		w.Do(t, "DELETE", "/v1/customers/"+uuid.NewString(), ""),
	} {
		require.Equal(t, 503, a.StatusCode, "%s", a.Body)
		require.Equal(t, "unavailable", a.Problem(t).Code)
		require.NotEmpty(t, a.Header.Get("Retry-After"))
	}
	require.NoError(t, postgres.Migrate(t.Context(), db.URL, migrations.EventLog(), slog.New(slog.DiscardHandler)))
	w.eventually(t, func() bool { return w.Do(t, "GET", "/readyz", "").StatusCode == 200 })
	require.Equal(t, 201, w.Do(t, "POST", "/v1/customers", registration).StatusCode)
}

func TestCommandsAreUnavailableWhileTheLogIsAndComeBackByThemselves(t *testing.T) {
	t.Parallel()
	u, err := url.Parse(postgrestest.EventLog(t).URL)
	require.NoError(t, err)
	pg := newLink(t, u.Host)
	u.Host = pg.ln.Addr().String()
	w := startOn(t, u.String())
	register := func() *httpapitest.Answer {
		return w.Do(t, "POST", "/v1/customers", fmt.Sprintf(`{"last_name": "x", "email": %q}`, unusedEmail()))
	}
	down := func() {
		t.Helper()
		require.Equal(t, 200, w.Do(t, "GET", "/livez", "").StatusCode)
		w.eventually(t, func() bool { return w.Do(t, "GET", "/readyz", "").StatusCode == 503 })
		a := register()
		require.Equal(t, 503, a.StatusCode, "%s", a.Body)
		require.Equal(t, "unavailable", a.Problem(t).Code)
		require.Equal(t, 422, w.Do(t, "POST", "/v1/customers", `{}`).StatusCode, "what needs no log is still said")
	}
	up := func() {
		t.Helper()
		began := time.Now()
		w.eventually(t, func() bool { return register().StatusCode == 201 && w.Do(t, "GET", "/readyz", "").StatusCode == 200 })
		require.Less(t, time.Since(began), 10*time.Second)
	}
	down()
	pg.set(true)
	up()
	pg.set(false)
	down()
	pg.set(true)
	up()
	require.Contains(t, w.logs.String(), `"msg":"waiting for a dependency"`)
	require.Contains(t, w.logs.String(), `"msg":"dependency is back"`)
}

func TestRequestsUnderWayAreAnsweredBeforeTheProcessEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "--drain-delay=300ms")
	w.register(t)
	conn, err := w.db.Pool(t, "").Acquire(t.Context())
	require.NoError(t, err)
	defer conn.Release()
	tx, err := conn.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), "LOCK TABLE eventlog.streams IN EXCLUSIVE MODE")
	require.NoError(t, err)

	answered := make(chan *httpapitest.Answer, 1)
	go func() {
		answered <- w.Do(t, "POST", "/v1/customers", fmt.Sprintf(`{"last_name": "x", "email": %q}`, unusedEmail()))
	}()
	waiting := `SELECT count(*) > 0 FROM pg_locks WHERE NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`
	w.eventually(t, func() (blocked bool) {
		require.NoError(t, tx.QueryRow(t.Context(), waiting).Scan(&blocked))
		return blocked
	})
	stopped := make(chan error, 1)
	go func() { stopped <- w.app.server.Stop(context.Background()) }()
	w.eventually(t, func() bool {
		a := w.Do(t, "GET", "/readyz", "")
		return a.StatusCode == 503 && a.Close // balancers look elsewhere while it still accepts
	})
	require.NoError(t, tx.Rollback(t.Context()))
	require.Equal(t, 201, (<-answered).StatusCode)
	require.NoError(t, <-stopped)
	_, err = net.Dial("tcp", w.addr)
	require.Error(t, err, "nothing listens any more")
}
