// Package rediscachetest runs a Redis of a test's own, to be paused, killed and
// brought back with what it held long ago. Tests that only use Redis share the
// one of the environment instead.
package rediscachetest

import (
	"context"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

const patience = 15 * time.Second

// Server is a private Redis. It saves only when told to.
type Server struct {
	URL   string
	Admin *redis.Client

	t     testing.TB
	dir   string
	port  string
	guard *exec.Cmd
	leash io.Closer // the guard's standard input
	pid   int
}

// Start runs redis-server from PATH until the test ends.
func Start(t testing.TB) *Server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	port := strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
	require.NoError(t, l.Close())
	s := &Server{
		URL: "redis://127.0.0.1:" + port + "/0", t: t, dir: t.TempDir(), port: port,
		Admin: redis.NewClient(&redis.Options{Addr: "127.0.0.1:" + port, MaxRetries: -1}),
	}
	t.Cleanup(func() { _ = s.Admin.Close() })
	s.Run()
	t.Cleanup(s.Kill)
	return s
}

// Run starts the server, with what it saved last, and waits until it answers.
func (s *Server) Run() {
	s.t.Helper()
	// The shell ends the server when its input ends: with Kill, or with a test
	// that dies without cleaning up.
	s.guard = exec.Command("sh", "-c", `redis-server "$@" >/dev/null & read -r _; kill -9 $!; wait`, "guard",
		"--port", s.port, "--bind", "127.0.0.1", "--dir", s.dir, "--save", "", "--appendonly", "no")
	s.guard.Env = append(os.Environ(), "LC_ALL=C")
	var err error
	s.leash, err = s.guard.StdinPipe()
	require.NoError(s.t, err)
	require.NoError(s.t, s.guard.Start())
	require.Eventually(s.t, func() bool {
		info, err := s.Admin.Info(context.Background(), "server").Result()
		_, rest, _ := strings.Cut(info, "process_id:")
		number, _, _ := strings.Cut(rest, "\r")
		s.pid, _ = strconv.Atoi(number)
		return err == nil && s.pid > 0
	}, patience, 10*time.Millisecond, "redis-server must be on PATH: run make test")
}

// Save writes what the server holds to disk, for the next Run.
func (s *Server) Save() {
	s.t.Helper()
	require.NoError(s.t, s.Admin.Save(context.Background()).Err())
}

// Kill ends the server at once.
func (s *Server) Kill() {
	if s.guard == nil {
		return
	}
	_ = s.leash.Close()
	_ = s.guard.Wait()
	s.guard = nil
}

// Pause makes the server hang: connections stay, nothing is answered.
func (s *Server) Pause() { s.signal(syscall.SIGSTOP) }

// Resume ends a Pause.
func (s *Server) Resume() { s.signal(syscall.SIGCONT) }

func (s *Server) signal(sig syscall.Signal) {
	s.t.Helper()
	require.NoError(s.t, syscall.Kill(s.pid, sig))
}
