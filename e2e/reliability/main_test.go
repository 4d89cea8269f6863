package reliability

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ebrahem-outlook/customer-service/e2e/chaos"
	"github.com/ebrahem-outlook/customer-service/e2e/cluster"
	"github.com/ebrahem-outlook/customer-service/internal/devstack"
)

var (
	root  string          // of the repository
	home  string          // where all of this goes: .local/faults
	stack *devstack.Stack // the suite's own, whose services are killed
	disk  *chaos.SmallDisk
	// absent says which faults this machine does not allow, and why.
	absent []string
)

// diskSize holds a run of thousands of faults: 1 GB of write-ahead log at most,
// which is PostgreSQL's default, and the rows. What is not written is no memory.
const diskSize = 6 << 30

func TestMain(m *testing.M) {
	if code, done := chaos.InOwnMounts(); done {
		os.Exit(code)
	}
	code, err := serve(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func serve(m *testing.M) (code int, err error) {
	if root, err = cluster.Repository(); err != nil {
		return 1, err
	}
	home = filepath.Join(root, ".local", "faults")
	disk, err = chaos.NewSmallDisk(home, diskSize)
	switch {
	case errors.Is(err, chaos.ErrNoSmallDisk):
		absent = append(absent, fmt.Sprintf("a full disk: %v", err))
	case err != nil:
		return 1, err
	default:
		defer func() { err = errors.Join(err, disk.Unmount()) }()
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	stack, err = devstack.Start(ctx, devstack.Config{Dir: home, Fresh: true, Install: true, Log: os.Stderr})
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, stack.Stop()) }()
	return m.Run(), nil
}
