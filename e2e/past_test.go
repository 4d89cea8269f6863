package e2e

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/e2e/cluster"
)

// What commands answered is what the past answers, byte for byte, by version and
// by time, through the whole system; and an export has each customer as it is.
func TestThePastIsWhatCommandsAnswered(t *testing.T) {
	c := cluster.New(t, stack, cluster.Size{})
	client := c.NewClient()
	ctx := cluster.Within(t, 2*time.Minute)
	write := func(status int, method, path, body string, header ...string) cluster.Answer {
		a, err := client.Write(ctx, method, path, body, header...)
		require.NoError(t, err)
		require.Equal(t, status, a.Status, "%s %s: %s", method, path, a.Body)
		return a
	}
	read := func(status int, path string, header ...string) cluster.Answer {
		a, err := client.Read(ctx, path, append(header, "Prefer", "wait=10")...)
		require.NoError(t, err)
		require.Equal(t, status, a.Status, "%s: %s", path, a.Body)
		return a
	}
	first := write(201, "POST", "/v1/customers", newFullPerson().json())
	document, err := first.Document()
	require.NoError(t, err)
	on := "/v1/customers/" + document.ID
	answers := []cluster.Answer{first}
	for i := range 70 { // beyond two keyframes
		answers = append(answers, write(200, "PATCH", on, fmt.Sprintf(`{"first_name": "Ada %d", "metadata": {"plan": "p%d"}}`, i, i%3)))
	}
	last := answers[len(answers)-1]
	token := []string{"Consistency-Token", last.Token()}
	for _, a := range answers {
		d, err := a.Document()
		require.NoError(t, err)
		version := fmt.Sprint(d.Version)
		for _, moment := range []string{"?version=" + version, "?as_of=" + url.QueryEscape(updatedAt(a))} {
			past := read(200, on+moment, token...)
			require.Equal(t, strings.TrimSpace(string(a.Body)), string(past.Body), moment)
			require.Equal(t, `"`+version+`"`, past.Header.Get("ETag"))
		}
	}
	deleted := write(204, "DELETE", on, "")
	read(410, on, "Consistency-Token", deleted.Token())
	require.Equal(t, strings.TrimSpace(string(last.Body)), string(read(200, on+"?as_of="+url.QueryEscape(updatedAt(last))).Body))
	require.Empty(t, read(200, "/v1/customers/export").Body)
	restored := write(200, "POST", on+"/restore", "")
	require.Equal(t, strings.TrimSpace(string(restored.Body))+"\n", string(read(200, "/v1/customers/export", "Consistency-Token", restored.Token()).Body))
	requireReadModelEqualsLog(t, c)
}

func updatedAt(a cluster.Answer) string {
	_, rest, _ := strings.Cut(string(a.Body), `"updated_at":"`)
	at, _, _ := strings.Cut(rest, `"`)
	return at
}
