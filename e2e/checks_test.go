package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/e2e/cluster"
)

// The names the feed uses; part of how the processes talk to each other.
func feedExchange(c *cluster.Cluster) string { return c.Prefix + ".feed" }

func laneKeys() []string {
	keys := make([]string, 8)
	for i := range keys {
		keys[i] = fmt.Sprintf("lane.%02d", i)
	}
	return keys
}

func laneQueues(c *cluster.Cluster) []string {
	queues := laneKeys()
	for i, key := range queues {
		queues[i] = feedExchange(c) + "." + key
	}
	return queues
}

func requireProblem(t *testing.T, a cluster.Answer, status int, code string) {
	t.Helper()
	require.Equal(t, status, a.Status, "%s", a.Body)
	require.Equal(t, "application/problem+json", a.Header.Get("Content-Type"))
	var p struct {
		Type, Title, Detail, Code string
		Status                    int
		TraceID                   string `json:"trace_id"`
	}
	require.NoError(t, json.Unmarshal(a.Body, &p), "%s", a.Body)
	require.Equal(t, code, p.Code, "%s", a.Body)
	require.Equal(t, "/problems/"+code, p.Type)
	require.Equal(t, status, p.Status)
	require.NotEmpty(t, p.Title)
	require.NotEmpty(t, p.Detail)
	require.NotEmpty(t, p.TraceID)
}

// requireReadModelEqualsLog waits until everything committed is applied and
// compares every row of the read model with the fold of the log.
func requireReadModelEqualsLog(t *testing.T, c *cluster.Cluster) {
	t.Helper()
	ctx := cluster.Within(t, 2*time.Minute)
	var left int64
	err := cluster.Poll(ctx, 50*time.Millisecond, func() bool {
		var err error
		left, err = behind(ctx, c)
		return err == nil && left == 0
	})
	require.NoError(t, err, "%d events are still not in the read model", left)
	out, err := c.Command(ctx, "projector", "verify").CombinedOutput()
	require.NoError(t, err, "%s", out)
	t.Logf("read model against log: %s", strings.TrimSpace(string(out)))

	var events, positions, highest int64
	require.NoError(t, c.EventLog().QueryRow(ctx, `
		SELECT (SELECT count(*) FROM eventlog.events), count(*), coalesce(max(pos), 0) FROM eventlog.positions`).Scan(&events, &positions, &highest))
	require.Equal(t, []int64{events, events}, []int64{positions, highest}, "positions are not dense")
	var inverted int64
	require.NoError(t, c.EventLog().QueryRow(ctx, `
		SELECT count(*) FROM (
			SELECT version, lag(version) OVER (PARTITION BY customer_id ORDER BY pos) AS before
			FROM eventlog.events JOIN eventlog.positions ON event = id) o
		WHERE version <> coalesce(before, 0) + 1`).Scan(&inverted))
	require.Zero(t, inverted, "events of one customer are out of order in the global order")
}
