package postgres_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/query"
)

// Whatever order a walk is in, and while everything is renamed, changed,
// registered, deleted and erased under it, it meets nobody twice and misses
// nobody who was there all the time.
func TestWalksMeetEachCustomerOnce(t *testing.T) {
	t.Parallel()
	w := newListWorld(t)
	const stable, writers = 300, 4
	var people [writers][]*customer.Data
	throughout := map[customer.ID]bool{}
	for i := range stable {
		p := person("Ada", randomWord(rand.New(rand.NewPCG(uint64(i), 1)), 3), fmt.Sprintf("p%d@example.com", i))
		p.Tags = []customer.Tag{"all"}
		people[i%writers] = append(people[i%writers], p)
		throughout[p.ID] = true
		w.put(p)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	group, ctx := errgroup.WithContext(ctx)
	var writes atomic.Int64
	for i := range writers {
		group.Go(func() error {
			rnd := rand.New(rand.NewPCG(uint64(i), 2))
			var passing []*customer.Data
			for ctx.Err() == nil {
				p := people[i][rnd.IntN(len(people[i]))]
				switch n := rnd.IntN(10); {
				case n < 4:
					p.LastName = customer.Name(randomWord(rnd, 1+rnd.IntN(4)))
				case n < 5:
					p.LastName = ""
				case n < 8: // something that is in no order but that of changes
					p.FirstName = customer.Name(randomWord(rnd, 4))
				case n < 9:
					p = person("Passing", randomWord(rnd, 3), fmt.Sprintf("q%d@example.com", writes.Load()))
					passing = append(passing, p)
				case len(passing) > 0:
					p = passing[rnd.IntN(len(passing))]
					switch p.Status {
					case customer.StatusActive:
						p.Status = customer.StatusDeleted
					case customer.StatusDeleted:
						p.Status = customer.StatusActive
					}
				}
				p.UpdatedAt = time.Now().UTC().Truncate(time.Microsecond)
				if err := w.tryPut(p); err != nil && ctx.Err() == nil {
					return err
				}
				writes.Add(1)
			}
			return nil
		})
	}
	for _, f := range []query.Filter{{}, {Tag: "all", Terms: terms(t, "example")}} {
		for _, sort := range sorts {
			for _, limit := range []int{7} {
				began, pages, seen := writes.Load(), 0, map[customer.ID]int{}
				q := query.PageRequest{Filter: f, Sort: sorted(t, sort), Limit: limit}
				for {
					docs, next := w.page(q)
					pages++
					require.LessOrEqual(t, len(docs), limit)
					for _, d := range docs {
						seen[d.ID]++
						require.Equal(t, 1, seen[d.ID], "%s met twice by %s", d.ID, sort)
					}
					if next == nil || (sort == "created_at" && len(seen) > 10*stable) {
						break // the registered of meanwhile are at its end, and more come
					}
					q.After = next
				}
				missed := 0
				for id := range throughout {
					if seen[id] == 0 {
						missed++
					}
				}
				require.Zero(t, missed, "missed by %s, pages of %d", sort, limit)
				t.Logf("%s, pages of %d: %d pages, %d writes meanwhile", sort, limit, pages, writes.Load()-began)
			}
		}
	}
	stop()
	require.NoError(t, group.Wait())
}

// A client may come back after more has happened than one page looks through.
func TestWalksMayPause(t *testing.T) {
	t.Parallel()
	for _, sort := range []string{"updated_at", "-updated_at", "last_name", "-last_name"} {
		t.Run(sort, func(t *testing.T) {
			t.Parallel()
			w := newListWorld(t)
			people := make([]*customer.Data, 200)
			for i := range people {
				people[i] = person("Ada", fmt.Sprintf("n%03d", i), fmt.Sprintf("p%d@example.com", i))
			}
			w.put(people...)
			met := map[customer.ID]int{}
			q := query.PageRequest{Sort: sorted(t, sort), Limit: 30}
			docs, next := w.page(q)
			for round := range 30 {
				for i, p := range people {
					p.UpdatedAt = p.UpdatedAt.Add(time.Second)
					p.LastName = customer.Name(fmt.Sprintf("n%03d", (i*37+round*11)%200))
				}
				w.put(people...)
			}
			for {
				for _, d := range docs {
					met[d.ID]++
				}
				if next == nil {
					break
				}
				q.After = next
				docs, next = w.page(q)
			}
			require.Len(t, met, len(people))
			for _, n := range met {
				require.Equal(t, 1, n)
			}
		})
	}
}
