package devstack

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"testing"
)

// ownerVariable makes the test binary an owner of a stack in the directory that
// it names, for the tests that kill one.
const ownerVariable = "DEVSTACK_TEST_OWNER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(ownerVariable); dir != "" {
		os.Exit(own(dir))
	}
	os.Exit(m.Run())
}

// own starts a stack, says so, and goes on until it is killed.
func own(dir string) int {
	stack, err := Start(context.Background(), Config{Dir: dir, Install: true, Log: os.Stderr})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	_, _ = os.Stdout.WriteString("ready\n")
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	<-ctx.Done()
	if err := stack.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}
