package postgres_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/query"
)

var sorts = []string{"created_at", "-created_at", "updated_at", "-updated_at", "last_name", "-last_name"}

func sorted(t testing.TB, text string) query.Sort {
	t.Helper()
	s, err := query.ParseSort(text)
	require.NoError(t, err)
	return s
}

func TestListsFilterAndSort(t *testing.T) {
	t.Parallel()
	w := newListWorld(t)
	begun := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	var people []*customer.Data
	for i := range 60 {
		p := person("Ada", fmt.Sprintf("%c%d", 'z'-i%26, i%7), fmt.Sprintf("p%d@example.com", i))
		p.CreatedAt = begun.Add(time.Duration(i/3) * time.Second) // three at a time
		p.UpdatedAt = p.CreatedAt.Add(time.Duration(i*7919%60) * time.Minute)
		p.ExternalID = customer.ExternalID(fmt.Sprintf("crm-%d", i))
		p.Phone = customer.Phone(fmt.Sprintf("+1415555%04d", i))
		switch i % 10 {
		case 0:
			p.Status = customer.StatusSuspended
		case 1:
			p.LastName = ""
		case 2:
			p.Tags = []customer.Tag{"gold", "vip"}
		case 3:
			p.Status = customer.StatusDeleted
		case 4:
			*p = customer.Data{ID: p.ID, Status: customer.StatusErased, CreatedAt: p.CreatedAt, UpdatedAt: p.UpdatedAt}
		}
		people = append(people, p)
	}
	w.put(people...)
	filters := map[string]query.Filter{
		"none":      {},
		"active":    {Status: customer.StatusActive},
		"suspended": {Status: customer.StatusSuspended},
		"tag":       {Tag: "vip"},
		"no tag":    {Tag: "vi"},
		"external":  {ExternalID: "crm-7"},
		"e-mail":    {Email: "P7@EXAMPLE.com"},
		"phone":     {Phone: "+14155550007"},
		"of gone":   {Phone: "+14155550004"},
		"after":     {CreatedAfter: begun.Add(5 * time.Second)},
		"before":    {CreatedBefore: begun.Add(5*time.Second + time.Nanosecond)},
		"between":   {CreatedAfter: begun.Add(5*time.Second - time.Nanosecond), CreatedBefore: begun.Add(15 * time.Second)},
		"changed":   {UpdatedAfter: begun.Add(30 * time.Minute)},
		"several":   {Status: customer.StatusActive, Tag: "gold", UpdatedAfter: begun.Add(20 * time.Minute)},
	}
	for name, f := range filters {
		for _, sort := range sorts {
			t.Run(name+" by "+sort, func(t *testing.T) {
				s := sorted(t, sort)
				var want []customer.ID
				for _, p := range inOrder(people, s) {
					if admits(f, *p) {
						want = append(want, p.ID)
					}
				}
				for _, limit := range []int{1, 4, 100} {
					require.Equal(t, want, ids(w.all(query.PageRequest{Filter: f, Sort: s, Limit: limit})), "pages of %d", limit)
				}
			})
		}
	}
}

// admits is what a Filter means, without its terms.
func admits(f query.Filter, d customer.Data) bool {
	return (d.Status == customer.StatusActive || d.Status == customer.StatusSuspended) &&
		(f.Status == "" || f.Status == d.Status) &&
		(f.Tag == "" || slices.Contains(d.Tags, f.Tag)) &&
		(f.ExternalID == "" || f.ExternalID == d.ExternalID) &&
		(f.Email == "" || f.Email.Canonical() == d.Email.Canonical()) &&
		(f.Phone == "" || f.Phone == d.Phone) &&
		(f.CreatedAfter.IsZero() || d.CreatedAt.After(f.CreatedAfter)) &&
		(f.CreatedBefore.IsZero() || d.CreatedAt.Before(f.CreatedBefore)) &&
		(f.UpdatedAfter.IsZero() || d.UpdatedAt.After(f.UpdatedAfter))
}

func inOrder(people []*customer.Data, s query.Sort) []*customer.Data {
	all := slices.Clone(people)
	slices.SortFunc(all, func(a, b *customer.Data) int {
		var order int
		switch s.By {
		case query.SortUpdated:
			order = a.UpdatedAt.Compare(b.UpdatedAt)
		case query.SortLastName:
			order = slices.Compare([]byte(query.SortName(a.LastName)), []byte(query.SortName(b.LastName)))
		default:
			order = a.CreatedAt.Compare(b.CreatedAt)
		}
		if order == 0 {
			order = slices.Compare(a.ID[:], b.ID[:])
		}
		if s.Descending {
			order = -order
		}
		return order
	})
	return all
}

func ids(docs []query.Document) []customer.ID {
	var all []customer.ID
	for _, d := range docs {
		all = append(all, d.ID)
	}
	return all
}

func TestWhoWasProjectedBeforeThereWereListsIsListed(t *testing.T) {
	t.Parallel()
	w := newListWorld(t)
	var people []*customer.Data
	for i := range 1200 {
		p := person("Ada", "Lovelace", fmt.Sprintf("p%d@example.com", i))
		if i%3 == 0 {
			p.Status = customer.StatusDeleted
		}
		people = append(people, p)
	}
	w.put(people...)
	_, err := w.owner.Exec(t.Context(), `TRUNCATE readmodel.listing; UPDATE readmodel.listing_state SET complete = false`)
	require.NoError(t, err)
	w.put(people[0], people[1]) // by this release
	filled, err := w.store.CompleteListing(t.Context())
	require.NoError(t, err)
	require.Equal(t, 799, filled)
	complete, err := w.reader.Complete(t.Context())
	require.NoError(t, err)
	require.True(t, complete)
	require.Len(t, w.all(query.PageRequest{Filter: query.Filter{Terms: terms(t, "lovelace")}, Limit: 100}), 800)
	filled, err = w.store.CompleteListing(t.Context())
	require.NoError(t, err)
	require.Zero(t, filled)
}
