package e2e

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/ebrahem-outlook/customer-service/e2e/cluster"
)

// Every read that carries the token of a write answers 200 with that version
// or a newer one: none is 404, none is older, none gives up.
func TestReadsWithATokenSeeTheWrite(t *testing.T) {
	for _, size := range []cluster.Size{{}, {Commands: 2, Projectors: 3, Queries: 2}} {
		t.Run(fmt.Sprintf("%d command-apis, %d projectors, %d query-apis",
			max(size.Commands, 1), max(size.Projectors, 1), max(size.Queries, 1)), func(t *testing.T) {
			c := cluster.New(t, stack, size)
			client := c.NewClient()
			t.Run("2,000 one after another", func(t *testing.T) { pairs(t, client, 2000, 1) })
			t.Run("5,000 concurrently", func(t *testing.T) { pairs(t, client, 5000, 64) })
			requireReadModelEqualsLog(t, c)
		})
	}
}

// pairs registers n customers, workers at a time, and reads each back at once.
func pairs(t *testing.T, client *cluster.Client, n, workers int) {
	t.Helper()
	ctx := cluster.Within(t, 5*time.Minute)
	waits := make([]time.Duration, n)
	var next atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	for range workers {
		group.Go(func() error {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				wait, err := registerThenRead(ctx, client)
				if err != nil {
					return fmt.Errorf("pair %d: %w", i, err)
				}
				waits[i] = wait
			}
			return nil
		})
	}
	began := time.Now()
	require.NoError(t, group.Wait())
	slices.Sort(waits)
	t.Logf("%d of %d pairs right at %.0f pairs/s; read with token: median %s, p99 %s, longest %s",
		n, n, float64(n)/time.Since(began).Seconds(), waits[n/2], waits[n*99/100], waits[n-1])
}

func registerThenRead(ctx context.Context, client *cluster.Client) (time.Duration, error) {
	p := newPerson()
	written, err := client.Write(ctx, http.MethodPost, "/v1/customers", p.json())
	if err != nil {
		return 0, err
	}
	if written.Status != http.StatusCreated {
		return 0, fmt.Errorf("register answered %d: %s", written.Status, written.Body)
	}
	began := time.Now()
	read, err := client.Read(ctx, written.Header.Get("Location"), "Consistency-Token", written.Token())
	wait := time.Since(began)
	if err != nil {
		return 0, err
	}
	if read.Status != http.StatusOK {
		return 0, fmt.Errorf("read answered %d after %s: %s", read.Status, wait, read.Body)
	}
	if got, want := read.Header.Get("ETag"), written.Header.Get("ETag"); got != want {
		return 0, fmt.Errorf("read version %s, wrote %s", got, want)
	}
	if string(read.Body) != string(written.Body) {
		return 0, fmt.Errorf("read %s, wrote %s", read.Body, written.Body)
	}
	return wait, nil
}

// A customer that keeps changing is never read older than its last token, by
// whichever query API, and 409s and 412s aside every change gets its version.
func TestReadsFollowAChangingCustomer(t *testing.T) {
	c := cluster.New(t, stack, cluster.Size{Commands: 2, Projectors: 2, Queries: 2})
	client := c.NewClient()
	ctx := cluster.Within(t, time.Minute)
	written, err := client.Write(ctx, http.MethodPost, "/v1/customers", newPerson().json())
	require.NoError(t, err)
	require.Equal(t, http.StatusCreated, written.Status, "%s", written.Body)
	path := written.Header.Get("Location")
	for i := range 300 {
		written, err = client.Write(ctx, http.MethodPatch, path, fmt.Sprintf(`{"first_name":"Ada %d"}`, i), "If-Match", written.Header.Get("ETag"))
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, written.Status, "%s", written.Body)
		read, err := client.Read(ctx, path, "Consistency-Token", written.Token())
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, read.Status, "%s", read.Body)
		require.JSONEq(t, string(written.Body), string(read.Body))
	}
	written, err = client.Write(ctx, http.MethodDelete, path, "")
	require.NoError(t, err)
	require.Equal(t, http.StatusNoContent, written.Status)
	read, err := client.Read(ctx, path, "Consistency-Token", written.Token())
	require.NoError(t, err)
	require.Equal(t, http.StatusGone, read.Status, "%s", read.Body)
	requireReadModelEqualsLog(t, c)
}
