package query_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/postgres"
	"github.com/ebrahem-outlook/customer-service/internal/query"
)

// list puts n customers into a read model and returns what lists them.
func (w *world) list(n int) *query.Lists {
	w.t.Helper()
	for i := range n {
		id := uuid.Must(uuid.NewV7())
		w.put(id, 1, customer.StatusActive)
		_, err := w.owner.Exec(w.t.Context(), `
			INSERT INTO readmodel.listing (customer_id, status, created_at, last_name, email, tags, words, grams)
			VALUES ($1, 'active', now(), $2, $2, '{}', ' ada', '{}')`, id, fmt.Sprintf("Lovelace %d", i))
		require.NoError(w.t, err)
	}
	_, err := w.owner.Exec(w.t.Context(), `UPDATE readmodel.documents SET position = 0`) // no lane has begun
	require.NoError(w.t, err)
	return query.NewLists(w.service, postgres.NewReadModelReader(w.pool))
}

func TestCursorsBelongToTheirList(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "", query.Config{})
	lists := w.list(5)
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, by := range []query.SortKey{query.SortCreated, query.SortUpdated, query.SortLastName} {
		right := query.ListRequest{Purpose: "list", Principal: "ada", Sort: query.Sort{By: by}, Limit: 2}
		first, err := lists.List(t.Context(), right)
		require.NoError(t, err)
		require.Len(t, first.Documents, 2)
		require.NotEmpty(t, first.Next)
		require.LessOrEqual(t, len(first.Next), query.MaxCursorLength)
		raw, err := base64.RawURLEncoding.DecodeString(first.Next)
		require.NoError(t, err)
		require.NotContains(t, string(raw), "Lovelace", "a cursor is part of URLs")
		right.Cursor = first.Next

		other := query.NewLists(w.service, postgres.NewReadModelReader(w.pool)) // another process
		second, err := other.List(t.Context(), right)
		require.NoError(t, err)
		require.Len(t, second.Documents, 2)
		wider := right
		wider.Limit = 100
		rest, err := other.List(t.Context(), wider)
		require.NoError(t, err, "the limit may change")
		require.Len(t, rest.Documents, 3)
		require.Empty(t, rest.Next)

		for name, change := range map[string]func(*query.ListRequest){
			"principal":     func(r *query.ListRequest) { r.Principal = "bob" },
			"purpose":       func(r *query.ListRequest) { r.Purpose = "search" },
			"direction":     func(r *query.ListRequest) { r.Sort.Descending = true },
			"status":        func(r *query.ListRequest) { r.Filter.Status = customer.StatusActive },
			"tag":           func(r *query.ListRequest) { r.Filter.Tag = "vip" },
			"external id":   func(r *query.ListRequest) { r.Filter.ExternalID = "vip" },
			"e-mail":        func(r *query.ListRequest) { r.Filter.Email = "a@example.com" },
			"phone":         func(r *query.ListRequest) { r.Filter.Phone = "+14155552671" },
			"created after": func(r *query.ListRequest) { r.Filter.CreatedAfter = at },
			"before":        func(r *query.ListRequest) { r.Filter.CreatedBefore = at },
			"updated after": func(r *query.ListRequest) { r.Filter.UpdatedAfter = at },
			"words":         func(r *query.ListRequest) { r.Filter.Terms = []query.Term{{Word: "ada"}} },
			"shorter":       func(r *query.ListRequest) { r.Cursor = r.Cursor[:len(r.Cursor)-2] },
			"longer":        func(r *query.ListRequest) { r.Cursor += "AA" },
			"garbage":       func(r *query.ListRequest) { r.Cursor = "garbage" },
			"long garbage":  func(r *query.ListRequest) { r.Cursor = fmt.Sprintf("%03000d", 0) },
			"format":        func(r *query.ListRequest) { r.Cursor = "Ag" + r.Cursor[2:] },
		} {
			wrong := right
			change(&wrong)
			_, err := lists.List(t.Context(), wrong)
			require.ErrorIs(t, err, query.ErrInvalidCursor, name)
		}
		for i := range raw { // not one bit may change
			raw[i] ^= 1
			wrong := right
			wrong.Cursor = base64.RawURLEncoding.EncodeToString(raw)
			_, err := lists.List(t.Context(), wrong)
			require.ErrorIs(t, err, query.ErrInvalidCursor, "byte %d", i)
			raw[i] ^= 1
		}
	}
}

func TestCursorsFollowANewSchema(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "", query.Config{})
	old := w.list(3)
	r := query.ListRequest{Sort: query.Sort{By: query.SortCreated}, Limit: 1}
	page, err := old.List(t.Context(), r)
	require.NoError(t, err)
	_, err = w.owner.Exec(t.Context(), `UPDATE readmodel.cursor_key SET key = sha256(key)`)
	require.NoError(t, err)
	r.Cursor = page.Next
	_, err = query.NewLists(w.service, postgres.NewReadModelReader(w.pool)).List(t.Context(), r)
	require.ErrorIs(t, err, query.ErrInvalidCursor)
	r.Cursor = ""
	page, err = query.NewLists(w.service, postgres.NewReadModelReader(w.pool)).List(t.Context(), r)
	require.NoError(t, err)
	r.Cursor = page.Next
	_, err = old.List(t.Context(), r)
	require.NoError(t, err, "a process that has the old key learns the new one")
}

func TestListsWaitAndFailLikeOtherReads(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "", query.Config{})
	lists := w.list(1)
	r := query.ListRequest{Sort: query.Sort{By: query.SortCreated}, Limit: 1, Tokens: token(uuid.New(), 1)}
	_, err := lists.List(t.Context(), r)
	var behind *query.Behind
	require.ErrorAs(t, err, &behind)
	_, err = w.owner.Exec(t.Context(), `UPDATE readmodel.listing_state SET complete = false`)
	require.NoError(t, err)
	r.Tokens = nil
	_, err = lists.List(t.Context(), r)
	require.ErrorIs(t, err, query.ErrUnavailable, "some customers are not listed yet")
	_, err = w.owner.Exec(t.Context(), `UPDATE readmodel.listing_state SET complete = true`)
	require.NoError(t, err)
	_, err = lists.List(t.Context(), r)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = lists.List(ctx, r)
	require.ErrorIs(t, err, context.Canceled)
}
