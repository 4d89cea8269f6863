package client_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/api/client"
)

const id = "01920e5c-7a3e-7c11-9b53-2f0f6b1c9a10"

// service answers as the contract has it and notes what it was asked.
func service(t *testing.T) (c *client.Customers, asked *atomic.Pointer[http.Request]) {
	t.Helper()
	asked = new(atomic.Pointer[http.Request])
	document := `{"id": "` + id + `", "version": %d, "status": "active", "first_name": "Ada", "last_name": null, "email": "ada@example.com", "phone": null,
		"locale": null, "external_id": null, "addresses": [], "tags": [], "metadata": {}, "consents": {},
		"created_at": "2026-01-02T03:04:05.000006Z", "updated_at": "2026-01-02T03:04:05.000006Z"}`
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Store(r)
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Consistency-Token", "token-of-"+r.Method)
		switch {
		case r.Header.Get("If-Match") == `"9"`:
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusPreconditionFailed)
			_, _ = fmt.Fprint(w, `{"type": "/problems/version-mismatch", "title": "x", "status": 412, "detail": "Read again.", "code": "version-mismatch", "trace_id": "t", "current_version": 2}`)
		case r.Method == http.MethodPost:
			w.WriteHeader(http.StatusCreated)
			_, _ = fmt.Fprintf(w, document, 1)
		case r.Method == http.MethodDelete:
			w.WriteHeader(http.StatusNoContent)
		case r.URL.Path == "/v1/customers/broken":
			w.Header().Set("Content-Type", "text/html")
			w.WriteHeader(http.StatusBadGateway)
			_, _ = fmt.Fprint(w, "<html>")
		default:
			_, _ = fmt.Fprintf(w, document, 2)
		}
	}))
	t.Cleanup(server.Close)
	c, err := client.NewCustomers(server.URL, server.URL)
	require.NoError(t, err)
	return c, asked
}

func TestTokensAreCarried(t *testing.T) {
	t.Parallel()
	c, asked := service(t)
	_, err := c.Get(t.Context(), id)
	require.NoError(t, err)
	require.Empty(t, asked.Load().Header.Get("Consistency-Token"))

	d, err := c.Register(t.Context(), client.Registration{Email: "ada@example.com"}, "key")
	require.NoError(t, err)
	require.EqualValues(t, 1, d.Version)
	require.Equal(t, "key", asked.Load().Header.Get("Idempotency-Key"))
	_, err = c.Get(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, "token-of-POST", asked.Load().Header.Get("Consistency-Token"))

	_, err = c.Change(t.Context(), id, client.CustomerPatch{}, 1)
	require.NoError(t, err)
	require.Equal(t, `"1"`, asked.Load().Header.Get("If-Match"))
	require.Equal(t, "application/merge-patch+json", asked.Load().Header.Get("Content-Type"))
	require.NoError(t, c.Delete(t.Context(), id, 0))
	require.Empty(t, asked.Load().Header.Get("If-Match"))
	_, err = c.Get(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, "token-of-DELETE", asked.Load().Header.Get("Consistency-Token"))
}

func TestProblemsAreErrors(t *testing.T) {
	t.Parallel()
	c, _ := service(t)
	_, err := c.Change(t.Context(), id, client.CustomerPatch{}, 9)
	problem, ok := errors.AsType[*client.Error](err)
	require.True(t, ok)
	require.EqualValues(t, "version-mismatch", problem.Code)
	require.EqualValues(t, 2, *problem.CurrentVersion)
	require.ErrorContains(t, err, "412 version-mismatch: Read again. (trace t)")
	_, err = c.Get(t.Context(), "broken")
	require.EqualError(t, err, "customer service answered 502")
}
