package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/ebrahem-outlook/customer-service/e2e/cluster"
	"github.com/ebrahem-outlook/customer-service/e2e/contract"
)

// contractChecks is how many requests each operation gets; -rapid.checks
// overrules it.
const contractChecks = 500

// Whatever a client sends, it gets an answer that the OpenAPI document has, and
// what the document forbids is refused. The document is the one that the
// processes serve, so every operation they have is asked.
func TestEveryAnswerIsDocumented(t *testing.T) {
	setRapid(t)
	c := cluster.New(t, stack, cluster.Size{})
	ctx := t.Context()
	doc, err := contract.Read(ctx, c.Commands[0].URL())
	require.NoError(t, err)
	clients := map[string]*contract.Client{
		"commands": contract.NewClient(doc, c.Commands[0].URL()),
		"queries":  contract.NewClient(doc, c.Queries[0].URL()),
	}
	for _, op := range doc.Operations {
		client := clients[op.Tag]
		if client == nil {
			client = clients["queries"]
		}
		t.Run(op.Name(), func(t *testing.T) {
			known := customersInEveryState(t, c)
			statuses := map[int]int{}
			rapid.Check(t, func(t *rapid.T) {
				r := contract.Draw(t, op, known)
				status, err := client.Send(ctx, r)
				if errors.Is(err, contract.ErrUnsendable) {
					return
				}
				statuses[status]++
				if err != nil {
					t.Fatalf("%s\n%v", r, err)
				}
			})
			t.Logf("answered %v", statuses)
		})
	}
	for _, p := range c.Processes() {
		require.NoError(t, p.WaitReady(cluster.Within(t, time.Minute)), p.Name)
	}
}

// setRapid makes this run's seed known, since a random one is shown only when
// rapid finds a fault. -rapid.seed repeats a run.
func setRapid(t *testing.T) {
	t.Helper()
	given := map[string]bool{}
	flag.Visit(func(f *flag.Flag) { given[f.Name] = true })
	for name, value := range map[string]string{
		"rapid.checks": strconv.Itoa(contractChecks), "rapid.seed": strconv.FormatUint(rand.Uint64()|1, 10),
		"rapid.nofailfile": "true", "rapid.shrinktime": "10s",
	} {
		if !given[name] {
			require.NoError(t, flag.Set(name, value))
		}
	}
	t.Logf("repeat this with -rapid.seed=%s", flag.Lookup("rapid.seed").Value)
}

// customersInEveryState makes customers for one operation's requests to be
// about, as many active ones as keep some of them alive to the end.
func customersInEveryState(t *testing.T, c *cluster.Cluster) contract.Known {
	t.Helper()
	client, ctx := c.NewClient(), cluster.Within(t, time.Minute)
	var known contract.Known
	register := func() (path string) {
		t.Helper()
		a, err := client.Write(ctx, http.MethodPost, "/v1/customers", fmt.Sprintf(`{"first_name":"Ada","email":%q,"tags":["vip"],
			"addresses":[{"line1":"1 Rue de Rivoli","city":"Paris","postal_code":"75001","country":"FR"}]}`, newPerson().Email))
		require.NoError(t, err)
		require.Equal(t, http.StatusCreated, a.Status, "%s", a.Body)
		var d struct {
			ID        string
			Addresses []struct{ ID string }
		}
		require.NoError(t, json.Unmarshal(a.Body, &d))
		known.Path = append(known.Path, map[string]string{"id": d.ID, "address_id": d.Addresses[0].ID})
		known.Tokens = append(known.Tokens, a.Token())
		return a.Header.Get("Location")
	}
	do := func(ctx context.Context, method, path, body string) {
		t.Helper()
		a, err := client.Write(ctx, method, path, body)
		require.NoError(t, err)
		require.Less(t, a.Status, 300, "%s %s: %s", method, path, a.Body)
	}
	for range 25 {
		register()
	}
	for range 2 {
		do(ctx, http.MethodPost, register()+"/suspend", `{"reason":"chargeback"}`)
		do(ctx, http.MethodDelete, register(), "")
		do(ctx, http.MethodPost, register()+"/erase", `{"reason":"asked for"}`)
	}
	return known
}

// What the document does not have is refused by a problem, not served; OPTIONS
// may be answered with what there is.
func TestNothingElseIsServed(t *testing.T) {
	c := cluster.New(t, stack, cluster.Size{})
	ctx := cluster.Within(t, time.Minute)
	doc, err := contract.Read(ctx, c.Commands[0].URL())
	require.NoError(t, err)
	documented := map[string]map[string]bool{"/nowhere": {}, "/v1": {}, "/": {}}
	for _, op := range doc.Operations {
		if documented[op.Path] == nil {
			documented[op.Path] = map[string]bool{}
		}
		documented[op.Path][op.Method] = true
		if op.Method == http.MethodGet {
			documented[op.Path][http.MethodHead] = true
		}
	}
	for path, methods := range documented {
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"} {
			if methods[method] {
				continue
			}
			for _, base := range []string{c.Commands[0].URL(), c.Queries[0].URL()} {
				req, err := http.NewRequestWithContext(ctx, method, base+path, http.NoBody)
				require.NoError(t, err)
				res, err := http.DefaultClient.Do(req)
				require.NoError(t, err)
				_ = res.Body.Close()
				if method == http.MethodOptions && res.StatusCode == http.StatusNoContent {
					require.NotEmpty(t, res.Header.Get("Allow"), "%s %s", method, path)
					continue
				}
				require.Contains(t, []int{http.StatusNotFound, http.StatusMethodNotAllowed}, res.StatusCode, "%s %s", method, path)
				require.Equal(t, "application/problem+json", res.Header.Get("Content-Type"), "%s %s", method, path)
				if res.StatusCode == http.StatusMethodNotAllowed {
					require.NotEmpty(t, res.Header.Get("Allow"), "%s %s", method, path)
					require.NotContains(t, res.Header.Get("Allow"), method, "%s %s", method, path)
				}
			}
		}
	}
}
