package devstack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	amqp "github.com/rabbitmq/amqp091-go"
	"golang.org/x/sync/errgroup"
)

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

// start brings a stack up for one test. What is stopped leaves no process.
func start(t *testing.T, cfg Config) *Stack {
	t.Helper()
	cfg.Install = true
	cfg.Log = t.Output()
	if cfg.Dir == "" {
		cfg.Dir = directory(t)
	}
	s, err := Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
		left, err := orphans(s.mark, s.layout.pgdata())
		if err != nil {
			t.Error(err)
		}
		if len(left) > 0 {
			t.Errorf("stopping leaves processes %v", left)
		}
	})
	return s
}

func TestFaults(t *testing.T) {
	t.Parallel()
	s := start(t, Config{Databases: []string{"eventlog"}})

	t.Run("a second start in the directory is refused", func(t *testing.T) {
		_, err := Start(t.Context(), Config{Dir: s.Dir(), Services: []Kind{Redis}})
		var running *RunningError
		if !errors.As(err, &running) || running.PID != os.Getpid() {
			t.Errorf("the error is %v, want a RunningError of this process", err)
		}
		owner, err := Owner(s.Dir())
		if err != nil || owner == nil || owner.PID != os.Getpid() {
			t.Errorf("the owner is %v, %v, want this process", owner, err)
		}
	})
	t.Run("postgres is durable", func(t *testing.T) {
		for _, setting := range []string{"fsync", "synchronous_commit", "full_page_writes"} {
			if got := query(t, s, "SHOW "+setting); got != "on" {
				t.Errorf("%s is %s, want on", setting, got)
			}
		}
	})
	t.Run("postgres comes back with what was committed", func(t *testing.T) {
		query(t, s, "CREATE TABLE kept AS SELECT 'this' AS word; SELECT word FROM kept")
		killAndStart(t, s.Postgres())
		if got := query(t, s, "SELECT word FROM kept"); got != "this" {
			t.Errorf("postgres kept %q", got)
		}
	})
	t.Run("rabbitmq comes back with what it confirmed", func(t *testing.T) {
		publish(t, s, "kept", "this")
		settle(t)
		killAndStart(t, s.RabbitMQ())
		if got := get(t, s, "kept"); got != "this" {
			t.Errorf("rabbitmq kept %q", got)
		}
	})
	t.Run("redis comes back empty", func(t *testing.T) {
		if got := redisCommand(t, s, "SET kept this", "+OK\r\n"); got != "+OK\r\n" {
			t.Errorf("SET answers %q", got)
		}
		killAndStart(t, s.Redis())
		if got := redisCommand(t, s, "GET kept", "$-1\r\n"); got != "$-1\r\n" {
			t.Errorf("GET answers %q", got)
		}
	})
	for _, service := range []*Service{s.Postgres(), s.RabbitMQ(), s.Redis()} {
		t.Run("pausing "+string(service.Kind()), func(t *testing.T) { pauseAndResume(t, service) })
	}
	t.Run("restarting in order", func(t *testing.T) {
		before := s.Postgres().PID()
		if err := s.Postgres().Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		if after := s.Postgres().PID(); after == before || after == 0 {
			t.Errorf("the process is %d before and %d after", before, after)
		}
		if !strings.Contains(s.Postgres().Tail(100), "database system is shut down") {
			t.Error("postgres was not shut down in order")
		}
	})
	t.Run("an immediate shutdown is recovered from", func(t *testing.T) { crashAndStart(t, s) })
	t.Run("rabbitmqctl", func(t *testing.T) {
		out, err := s.Rabbitmqctl(t.Context(), "list_queues", "name")
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(out, "kept") {
			t.Errorf("the queues are %q", out)
		}
		if _, err := s.Rabbitmqctl(t.Context(), "no_such_command"); err == nil {
			t.Error("an unknown command is no error")
		}
	})
	t.Run("a service that ends by itself is noticed", func(t *testing.T) {
		exited := s.Redis().Exited()
		_, _ = exchange(t.Context(), s.Redis().driver.profile().port, "SHUTDOWN NOSAVE\r\n", 1)
		select {
		case <-exited:
		case <-time.After(10 * time.Second):
			t.Fatal("its end is not noticed")
		}
		if pid := s.Redis().PID(); pid != 0 {
			t.Errorf("it still has process %d", pid)
		}
		if err := s.Redis().Start(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestSideBySide(t *testing.T) {
	t.Parallel()
	var pair [2]*Stack
	var starts errgroup.Group
	for i, dir := range []string{directory(t), directory(t)} {
		starts.Go(func() (err error) {
			pair[i], err = Start(t.Context(), Config{Dir: dir, Install: true, Log: t.Output()})
			return err
		})
	}
	if err := starts.Wait(); err != nil {
		t.Error(err)
	}
	for i, s := range pair {
		if s == nil {
			continue
		}
		t.Cleanup(func() {
			if err := s.Stop(); err != nil {
				t.Error(err)
			}
		})
		publish(t, s, "mine", fmt.Sprint(i))
	}
	if t.Failed() {
		return
	}
	if err := pair[0].Stop(); err != nil {
		t.Error(err)
	}
	if got := get(t, pair[1], "mine"); got != "1" {
		t.Errorf("the other stack's queue holds %q", got)
	}
	if out, err := pair[1].Rabbitmqctl(t.Context(), "status"); err != nil {
		t.Errorf("stopping one stack hurts the other: %v\n%s", err, out)
	}
}

func TestStopIsIdempotent(t *testing.T) {
	t.Parallel()
	s := start(t, Config{Services: []Kind{Redis}})
	for range 2 {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	}
	if owner, err := Owner(s.Dir()); owner != nil || err != nil {
		t.Errorf("a stopped stack's owner is %v, %v", owner, err)
	}
}

func TestDataOfAnEarlierStack(t *testing.T) {
	t.Parallel()
	dir := directory(t)
	run := func(fresh bool) string {
		t.Helper()
		s := start(t, Config{Dir: dir, Services: []Kind{Postgres}, Databases: []string{"eventlog"}, Fresh: fresh})
		query(t, s, "CREATE TABLE IF NOT EXISTS runs (n int); INSERT INTO runs VALUES (1); SELECT 'ok'")
		count := query(t, s, "SELECT count(*)::text FROM runs")
		if err := s.Stop(); err != nil {
			t.Fatal(err)
		}
		return count
	}
	if got := [3]string{run(false), run(false), run(true)}; got != [3]string{"1", "2", "1"} {
		t.Errorf("three runs, the last one fresh, see %v", got)
	}
}

// The users of the services cannot get below a private home directory; that
// must not keep root from working there. Everybody else runs them as himself.
func TestPrivateDirectory(t *testing.T) {
	t.Parallel()
	private := filepath.Join(directory(t), "home")
	if err := os.Mkdir(private, 0o700); err != nil {
		t.Fatal(err)
	}
	s := start(t, Config{Dir: filepath.Join(private, "stack"), Services: []Kind{Postgres}, Fresh: true})
	inside := strings.HasPrefix(s.layout.data, private)
	if os.Geteuid() == 0 {
		note, err := os.ReadFile(filepath.Join(s.Dir(), "data-is-at"))
		if inside || err != nil || strings.TrimSpace(string(note)) != s.layout.data {
			t.Errorf("the data is in %s, noted as %q, %v", s.layout.data, note, err)
		}
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(s.layout.data); err == nil {
			t.Errorf("%s outlives a fresh stack", s.layout.data)
		}
	} else if !inside {
		t.Errorf("the data is in %s", s.layout.data)
	}
}

func TestStartSaysWhatHappens(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	s, err := Start(t.Context(), Config{Dir: directory(t), Services: []Kind{Redis}, Log: &log, Install: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Stop(); err != nil {
		t.Error(err)
	}
	if !strings.Contains(log.String(), "redis: ready on "+s.Redis().Addr()+" in ") {
		t.Errorf("the log is %q", log.String())
	}
	if _, err := Start(t.Context(), Config{}); err == nil {
		t.Error("a stack starts without a directory")
	}
	if _, err := Start(t.Context(), Config{Dir: directory(t), Services: []Kind{"oracle"}}); err == nil {
		t.Error("a stack starts with a service that there is not")
	}
}

// settle waits until RabbitMQ has on disk what makes up a new quorum queue; see
// [Service.Kill]. Nothing outside the broker tells when it has.
func settle(t *testing.T) {
	t.Helper()
	select {
	case <-time.After(3 * time.Second):
	case <-t.Context().Done():
		t.Fatal(t.Context().Err())
	}
}

func killAndStart(t *testing.T, service *Service) {
	t.Helper()
	addr := service.Addr()
	tree, err := descendants(service.PID())
	if err != nil {
		t.Fatal(err)
	}
	if err := service.Kill(); err != nil {
		t.Fatal(err)
	}
	for _, p := range tree {
		if alive(p) {
			t.Errorf("process %d outlives the kill", p.pid)
		}
	}
	if err := service.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if service.Addr() != addr {
		t.Errorf("it moves from %s to %s", addr, service.Addr())
	}
}

func pauseAndResume(t *testing.T, service *Service) {
	t.Helper()
	if err := service.Pause(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := service.driver.ready(ctx); err == nil {
		t.Error("it answers while paused")
	}
	if err := service.Resume(); err != nil {
		t.Fatal(err)
	}
	if err := poll(t.Context(), 10*time.Second, service.driver.ready); err != nil {
		t.Errorf("it does not answer after the pause: %v", err)
	}
}

// query runs SQL in the eventlog database and returns the last value it yields.
func query(t *testing.T, s *Stack, sql string) string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), s.URLs().Postgres("eventlog"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	results, err := conn.PgConn().Exec(t.Context(), sql).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	last := results[len(results)-1]
	if len(last.Rows) == 0 {
		t.Fatalf("%s yields nothing", sql)
	}
	return string(last.Rows[0][0])
}

func channel(t *testing.T, s *Stack) *amqp.Channel {
	t.Helper()
	conn, err := amqp.Dial(s.URLs().AMQP)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() }) // a killed broker has closed it
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	return ch
}

func publish(t *testing.T, s *Stack, queue, body string) {
	t.Helper()
	ch := channel(t, s)
	if err := ch.Confirm(false); err != nil {
		t.Fatal(err)
	}
	if _, err := ch.QueueDeclare(queue, true, false, false, false, amqp.Table{"x-queue-type": "quorum"}); err != nil {
		t.Fatal(err)
	}
	confirmed, err := ch.PublishWithDeferredConfirmWithContext(t.Context(), "", queue, true, false, amqp.Publishing{Body: []byte(body)})
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := confirmed.WaitContext(t.Context()); err != nil || !ok {
		t.Fatalf("rabbitmq does not confirm: %v", err)
	}
}

func get(t *testing.T, s *Stack, queue string) string {
	t.Helper()
	ch := channel(t, s)
	var body string
	err := poll(t.Context(), 20*time.Second, func(context.Context) error {
		message, ok, err := ch.Get(queue, true)
		if err == nil && !ok {
			err = io.EOF
		}
		body = string(message.Body)
		return err
	})
	if err != nil {
		t.Fatalf("get from %s: %v", queue, err)
	}
	return body
}

func redisCommand(t *testing.T, s *Stack, command, like string) string {
	t.Helper()
	reply, err := exchange(t.Context(), s.Redis().driver.profile().port, command+"\r\n", len(like))
	if err != nil {
		t.Fatal(err)
	}
	return reply
}
