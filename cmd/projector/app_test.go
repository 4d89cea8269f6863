package main

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/internal/config"
	"github.com/ebrahem-outlook/customer-service/internal/httpapi/httpapitest"
	"github.com/ebrahem-outlook/customer-service/internal/postgres/postgrestest"
	"github.com/ebrahem-outlook/customer-service/internal/privacy"
)

func settings(t *testing.T) config.ProjectorServe {
	t.Helper()
	keys := filepath.Join(t.TempDir(), "keys.json")
	require.NoError(t, privacy.InitKeyring(keys))
	redis := os.Getenv("REDIS_URL")
	if redis == "" {
		t.Fatal("REDIS_URL is not set: run make test (or devstack exec)")
	}
	var cli struct {
		Serve config.ProjectorServe `cmd:""`
	}
	var out bytes.Buffer
	_, err := config.Parse(&cli, "projector", "", []string{
		"serve", "--addr=127.0.0.1:0", "--keys-file=" + keys, "--amqp-url=amqp://127.0.0.1:1", "--redis-url=" + redis, "--redis-prefix=t" + uuid.NewString()[:8],
		"--eventlog-database-url=" + postgrestest.EventLog(t).URL, "--readmodel-database-url=" + postgrestest.ReadModel(t).URL, "--pool=3",
	}, &out)
	require.NoError(t, err)
	return cli.Serve
}

// Without a broker the projector heals itself from the log, so it is ready; and
// it must be able to end although it never connected.
func TestTheProjectorIsReadyAndEndsWithoutABroker(t *testing.T) {
	t.Parallel()
	a, err := newApp(t.Context(), settings(t), slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	for _, s := range a.services {
		require.NoError(t, s.Start(context.WithoutCancel(t.Context())))
	}
	c := httpapitest.New(t, "http://"+a.server.Addr().String())
	require.Eventually(t, func() bool { return c.Do(t, "GET", "/readyz", "").StatusCode == 200 }, 15*time.Second, 20*time.Millisecond)
	require.Equal(t, 404, c.Do(t, "GET", "/v1/customers/"+uuid.NewString(), "").StatusCode)
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	began := time.Now()
	for i := len(a.services) - 1; i >= 0; i-- {
		require.NoError(t, a.services[i].Stop(ctx))
	}
	require.Less(t, time.Since(began), 5*time.Second)
}
