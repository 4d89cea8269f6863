package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/ebrahem-outlook/customer-service/e2e/cluster"
)

// customerPage is an answer of a list or a search.
type customerPage struct {
	Data []struct {
		ID        string `json:"id"`
		Version   int64  `json:"version"`
		FirstName string `json:"first_name"`
	} `json:"data"`
	NextCursor *string `json:"next_cursor"`
}

// Whoever registers or changes a customer finds it, as it is by then, in a list
// and in a search that carry the token: all of them, at once.
// LISTS_TOKEN_READS says how many writes; 5,000 need a minute or two.
func TestListsWithATokenSeeTheWrite(t *testing.T) {
	n := 500
	if text := os.Getenv("LISTS_TOKEN_READS"); text != "" {
		var err error
		n, err = strconv.Atoi(text)
		require.NoError(t, err)
	}
	c := cluster.New(t, stack, cluster.Size{Commands: 2, Projectors: 2, Queries: 2})
	client := c.NewClient()
	ctx := cluster.Within(t, 10*time.Minute)
	lists, searches := make([]time.Duration, n), make([]time.Duration, n)
	var next atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	for range 16 {
		group.Go(func() error {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				var err error
				if lists[i], searches[i], err = writeThenFind(ctx, client); err != nil {
					return fmt.Errorf("write %d: %w", i, err)
				}
			}
			return nil
		})
	}
	require.NoError(t, group.Wait())
	slices.Sort(lists)
	slices.Sort(searches)
	t.Logf("%d lists and %d searches with a token right: median %s and %s, p99 %s and %s",
		n, n, lists[n/2], searches[n/2], lists[n*99/100], searches[n*99/100])
	requireReadModelEqualsLog(t, c)
}

// writeThenFind registers a customer and searches for it, then changes it and
// lists it. What is written is in the first answer of each.
func writeThenFind(ctx context.Context, client *cluster.Client) (listing, searching time.Duration, err error) {
	p := newPerson()
	p.ExternalID = "x-" + p.Email[:36]
	written, err := client.Write(ctx, http.MethodPost, "/v1/customers", p.json())
	if err != nil {
		return 0, 0, err
	}
	if written.Status != http.StatusCreated {
		return 0, 0, fmt.Errorf("register answered %d: %s", written.Status, written.Body)
	}
	began := time.Now()
	found, err := client.Search(ctx, `{"q":`+quoted(p.LastName)+`}`, "Consistency-Token", written.Token())
	searching = time.Since(began)
	if err := exactlyOne(found, err, 1, p.FirstName); err != nil {
		return 0, 0, fmt.Errorf("search: %w", err)
	}
	changed, err := client.Write(ctx, http.MethodPatch, written.Header.Get("Location"), `{"first_name":"Changed"}`)
	if err != nil {
		return 0, 0, err
	}
	began = time.Now()
	found, err = client.Read(ctx, "/v1/customers?sort=-updated_at&external_id="+url.QueryEscape(p.ExternalID), "Consistency-Token", changed.Token())
	listing = time.Since(began)
	if err := exactlyOne(found, err, 2, "Changed"); err != nil {
		return 0, 0, fmt.Errorf("list: %w", err)
	}
	return listing, searching, nil
}

func exactlyOne(a cluster.Answer, err error, version int64, firstName string) error {
	if err != nil {
		return err
	}
	var page customerPage
	if a.Status != http.StatusOK {
		return fmt.Errorf("answered %d: %s", a.Status, a.Body)
	}
	if err := json.Unmarshal(a.Body, &page); err != nil {
		return err
	}
	if len(page.Data) != 1 || page.Data[0].Version != version || page.Data[0].FirstName != firstName || page.NextCursor != nil {
		return fmt.Errorf("answered %s, want one customer at version %d", a.Body, version)
	}
	return nil
}

// A cursor outlives every query process, and is nothing to whoever changes it or
// what it was given for.
func TestCursorsOutliveRestarts(t *testing.T) {
	c := cluster.New(t, stack, cluster.Size{Queries: 2})
	client := c.NewClient()
	ctx := cluster.Within(t, time.Minute)
	var token string
	for range 5 {
		written, err := client.Write(ctx, http.MethodPost, "/v1/customers", newPerson().json())
		require.NoError(t, err)
		require.Equal(t, http.StatusCreated, written.Status)
		token += "," + written.Token()
	}
	page := func(path string) (customerPage, cluster.Answer) {
		a, err := client.Read(ctx, path, "Consistency-Token", token[1:])
		require.NoError(t, err)
		var p customerPage
		if a.Status == http.StatusOK {
			require.NoError(t, json.Unmarshal(a.Body, &p))
			require.NotEmpty(t, a.Header.Get("Projection-Lag"))
		}
		return p, a
	}
	for _, sort := range []string{"created_at", "-last_name"} {
		first, a := page("/v1/customers?limit=3&sort=" + sort)
		require.Equal(t, http.StatusOK, a.Status, "%s", a.Body)
		require.Len(t, first.Data, 3)
		require.NotNil(t, first.NextCursor)
		require.Contains(t, a.Header.Get("Link"), `rel="next"`)
		for _, q := range c.Queries {
			q.Kill()
			require.NoError(t, q.Start())
		}
		c.WaitReady(t, 30*time.Second)
		next := "/v1/customers?limit=3&sort=" + sort + "&cursor="
		second, a := page(next + *first.NextCursor)
		require.Equal(t, http.StatusOK, a.Status, "%s", a.Body)
		require.Len(t, second.Data, 2)
		require.Nil(t, second.NextCursor)
		require.Empty(t, a.Header.Get("Link"))
		for _, bad := range []string{
			next + "x", next + (*first.NextCursor)[1:], next + *first.NextCursor + "A",
			next + *first.NextCursor + "&status=active",
			"/v1/customers?sort=updated_at&cursor=" + *first.NextCursor,
		} {
			_, a := page(bad)
			requireProblem(t, a, http.StatusBadRequest, "invalid-cursor")
		}
	}
}

// Deleted and erased customers are nowhere; the restored one is back.
func TestListsForgetTheDeletedAndTheErased(t *testing.T) {
	c := cluster.New(t, stack, cluster.Size{})
	client := c.NewClient()
	ctx := cluster.Within(t, time.Minute)
	p := newFullPerson()
	written, err := client.Write(ctx, http.MethodPost, "/v1/customers", p.json())
	require.NoError(t, err)
	require.Equal(t, http.StatusCreated, written.Status, "%s", written.Body)
	path := written.Header.Get("Location")
	requireFound := func(token string, want int) {
		t.Helper()
		answers := []cluster.Answer{}
		for _, query := range []string{"", "?tag=" + p.Tags[0], "?external_id=" + p.ExternalID, "?sort=-updated_at", "?sort=last_name&status=active"} {
			a, err := client.Read(ctx, "/v1/customers"+query, "Consistency-Token", token)
			require.NoError(t, err)
			answers = append(answers, a)
		}
		for _, body := range []string{
			`{"q":` + quoted(p.FirstName) + `}`, `{"email":` + quoted(p.Email) + `}`, `{"phone":` + quoted(p.Phone) + `}`, `{"q":` + quoted(p.Phone) + `}`, `{}`,
		} {
			a, err := client.Search(ctx, body, "Consistency-Token", token)
			require.NoError(t, err)
			answers = append(answers, a)
		}
		for i, a := range answers {
			require.Equal(t, http.StatusOK, a.Status, "%s", a.Body)
			var page customerPage
			require.NoError(t, json.Unmarshal(a.Body, &page))
			require.Len(t, page.Data, want, "answer %d", i)
		}
	}
	requireFound(written.Token(), 1)
	deleted, err := client.Write(ctx, http.MethodDelete, path, "")
	require.NoError(t, err)
	requireFound(deleted.Token(), 0)
	restored, err := client.Write(ctx, http.MethodPost, path+"/restore", "")
	require.NoError(t, err)
	requireFound(restored.Token(), 1)
	erased, err := client.Write(ctx, http.MethodPost, path+"/erase", `{"reason":"asked"}`)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, erased.Status, "%s", erased.Body)
	requireFound(erased.Token(), 0)
	var kept int
	require.NoError(t, c.ReadModel().QueryRow(ctx, `SELECT count(*) FROM readmodel.listing`).Scan(&kept))
	require.Zero(t, kept)
}
