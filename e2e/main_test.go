package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ebrahem-outlook/customer-service/internal/devstack"
)

// stack is the suite's own: tests kill, pause and restart its services, so it
// cannot be one that something else is using.
var stack *devstack.Stack

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	dir, err := filepath.Abs(filepath.Join("..", ".local", "e2e"))
	if err != nil {
		return 1, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	stack, err = devstack.Start(ctx, devstack.Config{Dir: dir, Fresh: true, Install: true, Log: os.Stderr})
	if err != nil {
		return 1, err
	}
	defer func() {
		if stopErr := stack.Stop(); err == nil {
			err = stopErr
		}
	}()
	return m.Run(), nil
}
