package devstack

import (
	"cmp"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCompareVersions(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		a, b string
		want int
	}{
		{"15.18", "15", 1},
		{"14.22", "15", -1},
		{"17rc1", "15", 1},
		{"3.10.8", "3.10", 1},
		{"3.9.13", "3.10", -1},
		{"4.0.5", "3.10", 1},
		{"7.0.15", "7", 1},
		{"7", "7", 0},
		{"6.0.16", "7", -1},
	} {
		if got := cmp.Compare(compareVersions(c.a, c.b), 0); got != c.want {
			t.Errorf("comparing %s with %s yields %d, want %d", c.a, c.b, got, c.want)
		}
	}
}

func TestNewest(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	for _, version := range []string{"13.4", "15.2", "16.1"} {
		dir := filepath.Join(root, version)
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "postgres"), nil, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	named := func(_ context.Context, dir string) (string, error) { return filepath.Base(dir), nil }
	at := func(versions ...string) []string {
		var dirs []string
		for _, v := range versions {
			dirs = append(dirs, filepath.Join(root, v))
		}
		return dirs
	}
	got, err := newest(t.Context(), Postgres, at("13.4", "16.1", "15.2", "none"), "postgres", named)
	if err != nil || filepath.Base(got) != "16.1" {
		t.Errorf("the newest is %s, %v", got, err)
	}
	_, err = newest(t.Context(), Postgres, at("13.4"), "postgres", named)
	if err == nil || !strings.Contains(err.Error(), "13.4") || !strings.Contains(err.Error(), "too old: version 15") {
		t.Errorf("the error about an old one is %v", err)
	}
	_, err = newest(t.Context(), Postgres, at("none"), "postgres", named)
	if err == nil || !strings.Contains(err.Error(), "not installed") {
		t.Errorf("the error about none is %v", err)
	}
}

func TestAdvice(t *testing.T) {
	t.Parallel()
	got := advice([]Kind{RabbitMQ, Redis})
	for _, want := range []string{"apt-get install rabbitmq-server redis-server", "brew install rabbitmq redis", "RabbitMQ 3.10 or later, Redis 7 or later"} {
		if !strings.Contains(got, want) {
			t.Errorf("the advice lacks %q:\n%s", want, got)
		}
	}
	var missing *missingError
	if err := error(&missingError{kinds: []Kind{Redis}, reasons: []error{errors.New("gone")}}); !errors.As(err, &missing) || err.Error() != "gone" {
		t.Errorf("the error says %v", err)
	}
}

func TestFreePort(t *testing.T) {
	t.Parallel()
	port, err := FreePort()
	if err != nil || port < lowestPort || port >= highestPort || !portFree(port) {
		t.Errorf("the free port is %d, %v", port, err)
	}
}
