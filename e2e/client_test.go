package e2e

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/ebrahem-outlook/customer-service/api/client"
	"github.com/ebrahem-outlook/customer-service/e2e/cluster"
)

// Whoever uses the Go client registers and reads back, and never learns that
// processes were killed and restarted meanwhile.
func TestTheClientOutlivesRestarts(t *testing.T) {
	c := cluster.New(t, stack, cluster.Size{})
	customers, err := client.NewCustomers(c.Commands[0].URL(), c.Queries[0].URL())
	require.NoError(t, err)
	var done atomic.Int64
	running, stop := context.WithCancel(t.Context())
	group, ctx := errgroup.WithContext(t.Context())
	for range 4 {
		group.Go(func() error {
			for running.Err() == nil {
				if err := registerAndGet(ctx, customers); err != nil {
					return fmt.Errorf("after %d: %w", done.Load(), err)
				}
				done.Add(1)
			}
			return nil
		})
	}
	// progress waits until n more are done, so that each fault meets a busy client.
	progress := func(n int64) {
		t.Helper()
		until := done.Load() + n
		err := cluster.Poll(cluster.Within(t, time.Minute), 5*time.Millisecond, func() bool { return done.Load() >= until || ctx.Err() != nil })
		require.NoError(t, err)
	}
	progress(50)
	for _, p := range c.Processes() {
		p.Kill()
		require.NoError(t, p.Start())
		progress(50)
	}
	stop()
	require.NoError(t, group.Wait())
	t.Logf("%d registered and read back at once, through a restart of every process", done.Load())
	var events int64
	require.NoError(t, c.EventLog().QueryRow(t.Context(), "SELECT count(*) FROM eventlog.events").Scan(&events))
	require.Equal(t, done.Load()*3, events, "each command had one effect")
}

func registerAndGet(ctx context.Context, customers *client.Customers) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	written, err := customers.Register(ctx, client.Registration{FirstName: client.Set("Ada"), Email: newPerson().Email})
	if err != nil {
		return fmt.Errorf("register: %w", err)
	}
	id := written.Id.String()
	if written, err = customers.AddTag(ctx, id, "vip", client.IfVersion(written.Version)); err != nil {
		return fmt.Errorf("tag: %w", err)
	}
	if _, err = customers.Suspend(ctx, id, "chargeback", client.IfVersion(written.Version)); err != nil {
		return fmt.Errorf("suspend: %w", err)
	}
	read, err := customers.Get(ctx, id)
	if err != nil {
		return fmt.Errorf("get: %w", err)
	}
	if read.Version != 3 || read.Status != client.CustomerStatusSuspended {
		return errors.New("read something older than was written")
	}
	return nil
}
