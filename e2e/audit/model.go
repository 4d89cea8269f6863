package audit

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/ebrahem-outlook/customer-service/e2e/cluster"
	"github.com/ebrahem-outlook/customer-service/internal/customer"
)

// row is a customer in the read model.
type row struct {
	version   customer.Version
	status    string
	document  digest
	holds     []string // values of an erased customer that are still in it
	history   int      // events of it in the history
	told      int      // of those, with values
	listed    string   // the canonical address it is found by; "" when it is not listed
	listState string
}

// readRows reads the read model's tables, apart from the product's own way.
func readRows(ctx context.Context, pool *pgxpool.Pool, log *Log) (map[customer.ID]*row, error) {
	rows := map[customer.ID]*row{}
	var (
		id                      customer.ID
		version                 customer.Version
		status, document, email string
		n, values               int
	)
	found, err := pool.Query(ctx, `SELECT customer_id, version, status, document::text FROM readmodel.documents`)
	if err != nil {
		return nil, err
	}
	if _, err = pgx.ForEachRow(found, []any{&id, &version, &status, &document}, func() error {
		r := &row{version: version, status: status, document: digestOf([]byte(document))}
		if s := log.Streams[id]; s != nil && s.erased() {
			r.holds = personalIn(s, document)
		}
		rows[id] = r
		return nil
	}); err != nil {
		return nil, err
	}
	of := func() *row {
		if rows[id] == nil {
			rows[id] = &row{}
		}
		return rows[id]
	}
	found, err = pool.Query(ctx, `
SELECT customer_id, count(*), count(*) FILTER (WHERE changes <> '[]'::jsonb OR keyframe IS NOT NULL OR actor IS NOT NULL)
  FROM readmodel.history GROUP BY customer_id`)
	if err != nil {
		return nil, err
	}
	if _, err = pgx.ForEachRow(found, []any{&id, &n, &values}, func() error {
		of().history, of().told = n, values
		return nil
	}); err != nil {
		return nil, err
	}
	found, err = pool.Query(ctx, `SELECT customer_id, status, email FROM readmodel.listing`)
	if err != nil {
		return nil, err
	}
	_, err = pgx.ForEachRow(found, []any{&id, &status, &email}, func() error {
		of().listed, of().listState = email, status
		return nil
	})
	return rows, err
}

// personalIn names the values of a customer, as it was at any version, that are
// in a text.
func personalIn(s *Stream, text string) (found []string) {
	seen := map[string]bool{}
	for i := range s.Versions {
		d := s.Versions[i].State.Data()
		for name, value := range map[string]string{"email": string(d.Email), "last_name": string(d.LastName), "phone": string(d.Phone)} {
			if len(value) > 5 && !seen[name] && strings.Contains(text, value) {
				seen[name] = true
				found = append(found, name)
			}
		}
	}
	slices.Sort(found)
	return found
}

// checkModel is P6: every row of the read model is what the log says.
func checkModel(log *Log, rows map[customer.ID]*row, parked map[customer.ID]bool) Verdict {
	v := Verdict{Promise: "P6", Check: "documents, histories and lists are the fold of the log", Unit: "customers"}
	for _, s := range log.sorted() {
		if parked[s.ID] {
			continue
		}
		v.Checked++
		head, r := s.head(), rows[s.ID]
		status := head.State.Status()
		switch {
		case r == nil || r.version == 0:
			v.Violate("customer %s, at version %d in the log, is missing", s.ID, head.Version)
			continue
		case r.version != head.Version:
			v.Violate("customer %s is at version %d, in the log at %d", s.ID, r.version, head.Version)
			continue
		case r.status != string(status):
			v.Violate("customer %s is %s at version %d, in the log %s", s.ID, r.status, r.version, status)
		case status != customer.StatusErased && s.Opened && r.document != head.Document:
			v.Violate("the document of %s at version %d is not the fold of the log", s.ID, r.version)
		}
		if r.history != len(s.Versions) {
			v.Violate("the history of %s has %d events, the log %d", s.ID, r.history, len(s.Versions))
		}
		if want := held(head.State); s.Opened && want != r.listed {
			v.Violate("customer %s is %s and that it is listed under its address is %t", s.ID, status, r.listed != "")
		}
		if live(status) && r.listState != string(status) {
			v.Violate("customer %s is %s and listed as %q", s.ID, status, r.listState)
		}
	}
	for id := range rows {
		if log.Streams[id] == nil {
			v.Violate("customer %s is in the read model and not in the log", id)
		}
	}
	return v
}

var verified = regexp.MustCompile(`(\d+) customers, (\d+) events: (\d+) differences`)

// checkVerify runs the product's own comparison, which holds every column of
// every derived table.
func checkVerify(ctx context.Context, c *cluster.Cluster) Verdict {
	v := Verdict{Promise: "P6", Check: "projector verify finds no difference", Unit: "customers"}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	out, err := c.Command(ctx, "projector", "verify").CombinedOutput()
	var customers, events, differences int64
	if m := verified.FindSubmatch(out); m == nil {
		v.Error = fmt.Sprintf("it did not finish: %v: %.500s", err, out)
	} else if _, scanErr := fmt.Sscan(fmt.Sprintf("%s %s %s", m[1], m[2], m[3]), &customers, &events, &differences); scanErr != nil {
		v.Error = scanErr.Error()
	}
	v.Checked = customers
	v.Note = fmt.Sprintf("%d events folded", events)
	if differences > 0 || err != nil && v.Error == "" {
		v.Violate("%d differences: %.1000s", differences, out)
	}
	return v
}

// readParked reads who is halted, and how many events an operator passed over.
func readParked(ctx context.Context, pool *pgxpool.Pool) (parked map[customer.ID]bool, passedOver int64, err error) {
	parked = map[customer.ID]bool{}
	found, err := pool.Query(ctx, `SELECT customer_id FROM readmodel.parked`)
	if err != nil {
		return nil, 0, err
	}
	ids, err := pgx.CollectRows(found, pgx.RowTo[uuid.UUID])
	if err != nil {
		return nil, 0, err
	}
	for _, id := range ids {
		parked[id] = true
	}
	err = pool.QueryRow(ctx, `SELECT count(*) FROM readmodel.passed_over`).Scan(&passedOver)
	return parked, passedOver, err
}

// checkParked is P12: what cannot be applied halts its customer and no other.
func checkParked(customers int64, parked map[customer.ID]bool, passedOver int64, planted []customer.ID) Verdict {
	v := Verdict{Promise: "P12", Check: "nobody is parked but whom the run planted", Unit: "customers"}
	v.Checked = customers
	due := map[customer.ID]bool{}
	for _, id := range planted {
		due[id] = true
		if !parked[id] {
			v.Violate("customer %s has an event that cannot be applied and is not parked", id)
		}
	}
	for id := range parked {
		if !due[id] {
			v.Violate("customer %s is parked", id)
		}
	}
	if passedOver != 0 {
		v.Violate("%d events were passed over, and nobody decided so", passedOver)
	}
	return v
}
