package main

import (
	"log/slog"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/internal/httpapi/httpapitest"
)

func TestReadsAreUnavailableWhileTheReadModelIs(t *testing.T) {
	t.Parallel()
	a, err := newApp(t.Context(), parsed(t, "--addr=127.0.0.1:0", "--auth-mode=dev", "--drain-delay=0s",
		"--readmodel-database-url=postgres://user:secret@127.0.0.1:1/none", "--redis-url=redis://127.0.0.1:1"), slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	start(t, a.services...)
	c := httpapitest.New(t, "http://"+a.server.Addr().String())
	require.Equal(t, 200, c.Do(t, "GET", "/livez", "").StatusCode)
	read := c.Do(t, "GET", "/v1/customers/"+uuid.NewString(), "")
	require.Equal(t, 503, read.StatusCode)
	require.Equal(t, "unavailable", read.Problem(t).Code)
	eventually(t, func() bool {
		ready := c.Do(t, "GET", "/readyz", "")
		require.Equal(t, 503, ready.StatusCode)
		require.NotContains(t, string(ready.Body), "secret")
		return string(ready.Body) == `{"status":"unavailable","failing":[{"check":"read_model","reason":"does not answer"}]}`+"\n"
	})
}
