package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/api/client"
	"github.com/ebrahem-outlook/customer-service/e2e/cluster"
)

// Everything that can be read is read by the Go client, as much as there is
// and right after it was written.
func TestTheClientReadsAll(t *testing.T) {
	c := cluster.New(t, stack, cluster.Size{Queries: 2})
	ctx := cluster.Within(t, time.Minute)
	customers, err := client.NewCustomers(c.Commands[0].URL(), c.Queries[0].URL())
	require.NoError(t, err)
	const n = 45
	tag := "t" + uuid.NewString()[:8]
	ids := map[string]bool{}
	for i := range n {
		one, err := customers.Register(ctx, client.Registration{
			FirstName: client.Set(fmt.Sprintf("Ada %02d", i)), LastName: client.Set("Lovelace"), Email: fmt.Sprintf("ada%d@example.com", i), Tags: &[]string{tag},
		})
		require.NoError(t, err)
		ids[one.Id.String()] = true
	}
	patient := client.WithPatience(10)
	t.Run("lists", func(t *testing.T) {
		limit := "7"
		found := map[string]bool{}
		for one, err := range customers.List(ctx, client.ListCustomersParams{Tag: &tag, Limit: &limit}, patient) {
			require.NoError(t, err)
			found[one.Id.String()] = true
		}
		require.Equal(t, ids, found)
	})
	t.Run("searches", func(t *testing.T) {
		q, limit, found := "lovelace", 20, 0
		for one, err := range customers.Search(ctx, client.Search{Q: &q, Limit: &limit}, patient) {
			require.NoError(t, err)
			require.True(t, ids[one.Id.String()])
			found++
		}
		require.Equal(t, n, found)
	})
	t.Run("exports", func(t *testing.T) {
		found := map[string]bool{}
		for one, err := range customers.Export(ctx, client.ExportCustomersParams{Tag: &tag}, patient) {
			require.NoError(t, err)
			found[one.Id.String()] = true
		}
		require.Equal(t, ids, found)
	})
	t.Run("the past", func(t *testing.T) {
		one, err := customers.Register(ctx, client.Registration{FirstName: client.Set("Grace"), Email: "grace@example.com"})
		require.NoError(t, err)
		id := one.Id.String()
		for i := range 25 {
			_, err := customers.Change(ctx, id, client.CustomerPatch{FirstName: client.Set(fmt.Sprintf("Grace %d", i))})
			require.NoError(t, err)
		}
		last := int64(0)
		for event, err := range customers.History(ctx, id, patient) {
			require.NoError(t, err)
			last++
			require.Equal(t, last, event.Version)
		}
		require.EqualValues(t, 26, last)
		was, err := customers.At(ctx, id, 3, patient)
		require.NoError(t, err)
		require.EqualValues(t, 3, was.Version)
		was, err = customers.AsOf(ctx, id, one.UpdatedAt, patient)
		require.NoError(t, err)
		require.Equal(t, one, was)
	})
	t.Run("events", func(t *testing.T) {
		position := int64(0)
		for event, err := range customers.Events(ctx, 0, patient) {
			require.NoError(t, err)
			position++
			require.Equal(t, position, event.Position)
		}
		require.EqualValues(t, n+26, position)
		// Live, through a restart of the process that is followed.
		following, cancel := context.WithCancel(ctx)
		defer cancel()
		seen := position - 30
		for event, err := range customers.Follow(following, seen) {
			if err != nil {
				require.ErrorIs(t, err, context.Canceled)
				break
			}
			seen++
			require.Equal(t, seen, event.Position)
			switch seen {
			case position:
				c.Queries[0].Kill()
				require.NoError(t, c.Queries[0].Start())
				fallthrough
			case position + 1, position + 2:
				_, err := customers.Register(ctx, client.Registration{FirstName: client.Set("Joan"), Email: uuid.NewString() + "@example.com", Tags: &[]string{tag}})
				require.NoError(t, err)
			case position + 3:
				cancel()
			}
		}
		require.Equal(t, position+3, seen)
	})
	t.Run("the status", func(t *testing.T) {
		status, err := customers.Status(ctx, patient)
		require.NoError(t, err)
		require.Positive(t, status.Head)
	})
}
