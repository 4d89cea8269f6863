package e2e

import (
	"encoding/json"
	"fmt"
	"testing"

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
