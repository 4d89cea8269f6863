package devstack

import (
	"strings"
	"testing"
)

func crashAndStart(t *testing.T, s *Stack) {
	t.Helper()
	query(t, s, "CREATE TABLE crashed AS SELECT 'this' AS word; SELECT word FROM crashed")
	if err := s.Postgres().Crash(); err != nil {
		t.Fatal(err)
	}
	if pid := s.Postgres().PID(); pid != 0 {
		t.Errorf("it still has process %d", pid)
	}
	if err := s.Postgres().Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := query(t, s, "SELECT word FROM crashed"); got != "this" {
		t.Errorf("postgres kept %q", got)
	}
	if !strings.Contains(s.Postgres().Tail(100), "automatic recovery in progress") {
		t.Error("postgres had nothing to recover from")
	}
	if err := s.Redis().Crash(); err == nil {
		t.Error("redis can crash")
	}
}
