package audit

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
)

// notice is an event as another service learns of it.
type notice struct {
	position eventlog.Position
	id       uuid.UUID
	kind     string
	customer customer.ID
	version  customer.Version
	changed  []string
	at       time.Time
}

func noticeOf(n eventlog.Notice) notice {
	return notice{n.Position, n.ID, n.Type, n.CustomerID, n.Version, n.Changed, n.Time}
}

// index is the log by position.
func (l *Log) index() []*Version {
	all := make([]*Version, l.Events+1)
	for _, s := range l.Streams {
		for i := range s.Versions {
			if p := s.Versions[i].Position; p > 0 && int64(p) <= l.Events {
				all[p] = &s.Versions[i]
			}
		}
	}
	return all
}

// unlike tells what of a notice is not as in the log, or "".
func (n notice) unlike(index []*Version) string {
	if n.position < 1 || int(n.position) >= len(index) || index[n.position] == nil {
		return "is not in the log"
	}
	v := index[n.position]
	switch {
	case v.EventID != n.id || v.State.ID() != n.customer || v.Version != n.version || v.Type != n.kind:
		return fmt.Sprintf("is %s, version %d of %s, in the log %s, version %d of %s", n.kind, n.version, n.customer, v.Type, v.Version, v.State.ID())
	case !slices.Equal(n.changed, v.Changed):
		return "names other fields as changed"
	case !n.at.Equal(v.Event.OccurredAt()):
		return "has another time"
	default:
		return ""
	}
}

func readFeed(ctx context.Context, pool *pgxpool.Pool) ([]notice, error) {
	found, err := pool.Query(ctx, `SELECT position, event_id, type, customer_id, version, changed, at FROM readmodel.events ORDER BY position`)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(found, func(r pgx.CollectableRow) (n notice, err error) {
		err = r.Scan(&n.position, &n.id, &n.kind, &n.customer, &n.version, &n.changed, &n.at)
		n.at = n.at.UTC()
		return n, err
	})
}

// checkFeed is P6 for a sequence of notices that must be the log: the table
// behind GET /v1/events, or what was answered from it.
func checkFeed(what string, log *Log, feed []notice) Verdict {
	v := Verdict{Promise: "P5, P6", Check: what + " is the log, in its order and without holes", Unit: "events"}
	index := log.index()
	for i, n := range feed {
		v.Checked++
		if int(n.position) != i+1 {
			v.Violate("position %d comes after position %d", n.position, i)
			return v // all that follow are shifted
		}
		if wrong := n.unlike(index); wrong != "" {
			v.Violate("position %d %s", n.position, wrong)
		}
	}
	if int64(len(feed)) != log.Events {
		v.Violate("it ends at position %d, the log at %d", len(feed), log.Events)
	}
	return v
}

// checkQueue is P6 for another service: its durable queue got every event at
// least once, and along each customer in order once those that came again are
// left out.
func checkQueue(log *Log, got []notice) Verdict {
	v := Verdict{Promise: "P6", Check: "another service's durable queue gets every event, in order per customer", Unit: "messages"}
	index := log.index()
	had := make([]bool, len(index))
	last := map[customer.ID]customer.Version{}
	different := 0
	for _, n := range got {
		v.Checked++
		if wrong := n.unlike(index); wrong != "" {
			v.Violate("the message at position %d %s", n.position, wrong)
			continue
		}
		if had[n.position] {
			continue
		}
		had[n.position] = true
		different++
		if n.version != last[n.customer]+1 {
			v.Violate("of %s version %d came after version %d", n.customer, n.version, last[n.customer])
		}
		last[n.customer] = n.version
	}
	for p := 1; p < len(had); p++ {
		if !had[p] {
			v.Violate("position %d never came", p)
		}
	}
	v.Note = fmt.Sprintf("%d events, %d came again", different, int64(len(got))-int64(different))
	return v
}
