package e2e

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/e2e/cluster"
)

// Every command that there is on a customer can be read with its token at once,
// from another process: the very document that the command answered, or that
// the customer is gone. A restored customer is there again, whatever any cache
// remembers of its deletion.
func TestEveryCommandIsReadWithItsToken(t *testing.T) {
	c := cluster.New(t, stack, cluster.Size{Commands: 2, Projectors: 2, Queries: 2})
	client := c.NewClient()
	ctx := cluster.Within(t, time.Minute)
	registered, err := client.Write(ctx, http.MethodPost, "/v1/customers", newFullPerson().json())
	require.NoError(t, err)
	require.Equal(t, http.StatusCreated, registered.Status, "%s", registered.Body)
	path := registered.Header.Get("Location")
	var document struct{ Addresses []struct{ ID string } }
	require.NoError(t, json.Unmarshal(registered.Body, &document))
	address := "/addresses/" + document.Addresses[0].ID

	for _, step := range []struct {
		method, under, body string
		status              int
		code                string // of the problem that the read answers with
	}{
		{"POST", "/addresses", `{"line1": "1 Main Street", "city": "Cork", "country": "IE", "default_for": ["shipping", "billing"]}`, 201, ""},
		{"PUT", address, `{"line1": "2 Main Street", "city": "Cork", "country": "IE", "default_for": ["billing"]}`, 200, ""},
		{"DELETE", address, "", 200, ""},
		{"PUT", "/tags/vip", "", 200, ""},
		{"DELETE", "/tags/vip", "", 200, ""},
		{"PUT", "/consents/email", `{"granted": false, "source": "letter"}`, 200, ""},
		{"PUT", "/consents/sms", `{"granted": true, "wording": "Yes"}`, 200, ""},
		{"POST", "/suspend", `{"reason": "fraud"}`, 200, ""},
		{"DELETE", "", "", 204, "customer-deleted"},
		{"POST", "/restore", "", 200, ""},
		{"POST", "/reinstate", "", 200, ""},
		{"DELETE", "", "", 204, "customer-deleted"},
		{"POST", "/restore", "", 200, ""},
		{"POST", "/erase", `{"reason": "asked for"}`, 200, "customer-erased"},
	} {
		written, err := client.Write(ctx, step.method, path+step.under, step.body)
		require.NoError(t, err)
		require.Equal(t, step.status, written.Status, "%s %s: %s", step.method, step.under, written.Body)
		for range c.Queries {
			read, err := client.Read(ctx, path, "Consistency-Token", written.Token())
			require.NoError(t, err)
			if step.code == "" {
				require.Equal(t, http.StatusOK, read.Status, "%s %s: %s", step.method, step.under, read.Body)
				require.JSONEq(t, string(written.Body), string(read.Body))
				require.Equal(t, written.Header.Get("ETag"), read.Header.Get("ETag"))
				continue
			}
			require.Equal(t, http.StatusGone, read.Status, "%s %s: %s", step.method, step.under, read.Body)
			require.Contains(t, string(read.Body), step.code)
		}
	}
	requireReadModelEqualsLog(t, c)
}
