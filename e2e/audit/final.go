package audit

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/ebrahem-outlook/customer-service/e2e/cluster"
	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
)

// finalReads are how many living and deleted customers are read at the end, of
// each query API; who is erased is read in any case.
const finalReads = 4000

// checkFinalReads is P6, P7 and P10 from outside, once all is at rest: every
// query API answers each customer as the log has it.
func checkFinalReads(ctx context.Context, c *cluster.Cluster, log *Log) Verdict {
	v := Verdict{Promise: "P6, P7, P10", Check: "each query API answers customers at rest as the log has them", Unit: "reads"}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var (
		due     []*Stream
		mu      sync.Mutex
		workers sync.WaitGroup
		queue   = make(chan func())
		erased  int
		client  = c.NewClient()
	)
	every := 1 + len(log.Streams)/finalReads
	for i, s := range log.sorted() {
		if s.erased() {
			erased++
		}
		if s.erased() || i%every == 0 {
			due = append(due, s)
		}
	}
	for range 8 {
		workers.Go(func() {
			for read := range queue {
				read()
			}
		})
	}
	for _, p := range c.Queries {
		for _, s := range due {
			queue <- func() {
				token := eventlog.Token{CustomerID: s.ID, Version: s.head().Version}.String()
				a, err := client.ReadFrom(ctx, p, "/v1/customers/"+s.ID.String(), "Consistency-Token", token)
				wrong := ""
				if err != nil {
					wrong = err.Error()
				} else {
					wrong = finally(s, a)
				}
				mu.Lock()
				defer mu.Unlock()
				v.Checked++
				if wrong != "" {
					v.Violate("%s on %s: %s", p.Name, s.ID, wrong)
				}
			}
		}
	}
	close(queue)
	workers.Wait()
	v.Note = fmt.Sprintf("%d customers, all %d erased among them", len(due), erased)
	return v
}

// finally tells what is wrong with an answer at rest.
func finally(s *Stream, a cluster.Answer) string {
	head := s.head()
	switch status := head.State.Status(); {
	case live(status) && a.Status != 200:
		return fmt.Sprintf("%d, it is %s", a.Status, status)
	case live(status) && s.Opened && digestOf(a.Body) != head.Document:
		return fmt.Sprintf("the document is not version %d; it differs in %s", head.Version, differences(head.State, a.Body))
	case !live(status) && a.Status != 410:
		return fmt.Sprintf("%d, it is %s", a.Status, status)
	case status == customer.StatusErased && !contains(a.Body, "customer-erased"), status == customer.StatusDeleted && !contains(a.Body, "customer-deleted"):
		return fmt.Sprintf("410 that does not say it is %s", status)
	default:
		return ""
	}
}

func contains(body []byte, text string) bool { return bytes.Contains(body, []byte(text)) }
