package e2e

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/ebrahem-outlook/customer-service/e2e/cluster"
)

// A key-encryption key is replaced twice and the old ones are dropped while
// customers register, change and are read. Nobody restarts and no request fails.
func TestRotatingKeysUnderLoad(t *testing.T) {
	c := cluster.New(t, stack, cluster.Size{Commands: 2, Projectors: 2})
	client := c.NewClient()
	ctx := cluster.Within(t, 2*time.Minute)
	var requests, rounds atomic.Int64
	load, stop := context.WithCancel(ctx)
	group, load := errgroup.WithContext(load)
	for range 8 {
		group.Go(func() error {
			for load.Err() == nil {
				if err := liveBriefly(ctx, client, &requests); err != nil {
					return err
				}
				rounds.Add(1)
			}
			return nil
		})
	}
	task := func(args ...string) string {
		out, err := c.Command(ctx, "command-api", append([]string{"keys"}, args...)...).CombinedOutput()
		require.NoError(t, err, "keys %v: %s", args, out)
		return string(out)
	}
	require.NoError(t, cluster.Poll(ctx, 10*time.Millisecond, func() bool { return rounds.Load() > 200 || load.Err() != nil }))
	began := time.Now()
	t.Log(task("rotate"))
	t.Log(task("retire"))
	task("add") // the way with a roll-out in between
	t.Log(task("rotate"))
	t.Log(task("status"))
	t.Log(task("retire"))
	took := time.Since(began)
	stop()
	require.NoError(t, group.Wait())
	var keks, keys int
	require.NoError(t, c.EventLog().QueryRow(ctx, `SELECT count(DISTINCT kek), count(*) FROM eventlog.subject_keys`).Scan(&keks, &keys))
	require.Equal(t, 1, keks, "all data keys are under one")
	requireReadModelEqualsLog(t, c)
	t.Logf("two rotations of up to %d data keys in %s: %d requests, 0 failed", keys, took.Round(10*time.Millisecond), requests.Load())

	// Nothing is lost with the old keys: processes that know only the new one read all.
	for _, p := range c.Processes() {
		p.Kill()
		require.NoError(t, p.Start())
	}
	c.WaitReady(t, 30*time.Second)
	requireReadModelEqualsLog(t, c)
	require.NoError(t, liveBriefly(ctx, c.NewClient(), &requests))
}

// liveBriefly registers a customer, changes it through another process and
// reads it.
func liveBriefly(ctx context.Context, client *cluster.Client, requests *atomic.Int64) error {
	p := newPerson()
	answer := func(want int, a cluster.Answer, err error) error {
		requests.Add(1)
		if err != nil {
			return err
		}
		if a.Status != want {
			return fmt.Errorf("want %d: %d %s", want, a.Status, a.Body)
		}
		return nil
	}
	made, err := client.Write(ctx, http.MethodPost, "/v1/customers", p.json())
	if err := answer(http.StatusCreated, made, err); err != nil {
		return err
	}
	path := made.Header.Get("Location")
	changed, err := client.Write(ctx, http.MethodPatch, path, `{"first_name":"Changed"}`)
	if err := answer(http.StatusOK, changed, err); err != nil {
		return err
	}
	// After a kill nothing is sequenced until the dead leader's lease has run out.
	read, err := client.Read(ctx, path, "Consistency-Token", changed.Token(), "Prefer", "wait=10")
	return answer(http.StatusOK, read, err)
}
