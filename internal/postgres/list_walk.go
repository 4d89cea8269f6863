package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
	"github.com/ebrahem-outlook/customer-service/internal/query"
)

// What a move is: in the order of changes every event is one, in that of names
// those that name the field.
const renames = `changes @> '[{"field": "last_name"}]'`

// unmoved is the condition that a customer has not moved since a walk began.
func (s *listStatement) unmoved(w *query.Walk) string {
	began := fmt.Sprintf("(%s::bigint[])[1 + d.slot::integer * %d / %d]", s.arg(w.Began), len(w.Began), eventlog.Slots)
	if s.q.Sort.By == query.SortLastName {
		return fmt.Sprintf(`(d.position <= %[1]s OR NOT EXISTS (
       SELECT FROM readmodel.history h WHERE h.customer_id = d.customer_id AND h.position > %[1]s AND h.%[2]s))`, began, renames)
	}
	return "d.position <= " + began
}

func isInvalidCursor(err error) bool { return errors.Is(err, query.ErrInvalidCursor) }

// walkedPage is a page of an order in which customers move. First come those
// that moved since the last page and would be missed, then the order goes on.
// tx sees one moment.
func walkedPage(ctx context.Context, tx pgx.Tx, q query.PageRequest) (query.Page, error) {
	now, newest, err := lanePositions(ctx, tx)
	if err != nil {
		return query.Page{}, err
	}
	if q.After == nil {
		return orderedPage(ctx, tx, q, &query.Walk{Began: now, Seen: now, Newest: newest})
	}
	w := q.After.Walk
	if w == nil || len(w.Began) != len(now) {
		return query.Page{}, query.ErrInvalidCursor
	}
	moved, seen, done, err := movedAway(ctx, tx, q, now)
	if err != nil {
		return query.Page{}, err
	}
	next := &query.Walk{Began: w.Began, Seen: seen, Newest: w.Newest}
	here := *q.After
	here.Walk = next
	page := query.Page{Documents: moved}
	// Until every move is looked at, the order must not go on: it might pass where
	// somebody was.
	if !done || len(moved) == q.Limit {
		page.Next = &here
		return page, nil
	}
	rest := q
	rest.Limit -= len(moved)
	ordered, err := orderedPage(ctx, tx, rest, next)
	if err != nil {
		return query.Page{}, err
	}
	page.Documents, page.Next = append(page.Documents, ordered.Documents...), ordered.Next
	return page, nil
}

const selectLanePositions = `
SELECT coalesce((SELECT json_array_length(h.lanes::json) FROM readmodel.heartbeat h), 0),
       coalesce((SELECT max(d.updated_at) FROM readmodel.documents d WHERE d.status IN ('active', 'suspended')), 'epoch'),
       array(SELECT c.lane::integer FROM readmodel.checkpoints c JOIN readmodel.generations g USING (generation)
              WHERE g.state = 'live' ORDER BY c.lane),
       array(SELECT c.position FROM readmodel.checkpoints c JOIN readmodel.generations g USING (generation)
              WHERE g.state = 'live' ORDER BY c.lane)`

// lanePositions answers how far each lane is, and the time of the latest change.
// A lane in which nothing ever happened has no row; the projector says how many
// there are.
func lanePositions(ctx context.Context, tx pgx.Tx) (all []eventlog.Position, newest time.Time, err error) {
	var (
		n         int
		lanes     []int32
		positions []int64
	)
	if err := tx.QueryRow(ctx, selectLanePositions).Scan(&n, &newest, &lanes, &positions); err != nil {
		return nil, time.Time{}, err
	}
	if n == 0 {
		n = eventlog.DefaultLanes
	}
	if len(lanes) > 0 {
		n = max(n, int(lanes[len(lanes)-1])+1)
	}
	all = make([]eventlog.Position, n)
	for i, l := range lanes {
		all[l] = eventlog.Position(positions[i])
	}
	return all, newest, nil
}

// scanMoves is how many events a page looks through for moves. When more happened
// since the page before, there are pages with moved customers alone.
const scanMoves = 5000

// selectScanned tells which event is the last to look at.
const selectScanned = `
SELECT count(*), max(position)
  FROM (SELECT position FROM readmodel.history WHERE position > $1 AND position <= $2 ORDER BY position LIMIT $3) s`

// selectMoved are the customers whose first move since the walk began, $5, is
// after the positions $3 and among the events up to $2, with where they were.
const selectMoved = `
WITH moved AS MATERIALIZED (
    SELECT h.customer_id, min(h.position) AS position, d.slot::integer * cardinality($3::bigint[]) / 1024 + 1 AS lane
      FROM readmodel.history h JOIN readmodel.documents d USING (customer_id)
     WHERE h.position > $1 AND h.position <= $2
       AND h.position > ($3::bigint[])[d.slot::integer * cardinality($3::bigint[]) / 1024 + 1]
       AND h.position <= ($4::bigint[])[d.slot::integer * cardinality($3::bigint[]) / 1024 + 1]
       AND (NOT $6 OR h.` + renames + `)
     GROUP BY h.customer_id, d.slot)
SELECT m.position, m.customer_id, base.at, l.last_name, d.document,
       (SELECT c.changes FROM readmodel.history c
         WHERE $6 AND c.customer_id = m.customer_id AND c.version > base.version AND c.` + renames + ` ORDER BY c.version LIMIT 1)
  FROM moved m
  JOIN readmodel.listing l USING (customer_id)
  JOIN readmodel.documents d USING (customer_id)
 CROSS JOIN LATERAL (
       SELECT b.version, b.at FROM readmodel.history b
        WHERE b.customer_id = m.customer_id AND b.position <= ($5::bigint[])[m.lane] ORDER BY b.version DESC LIMIT 1) base
 WHERE NOT EXISTS (
       SELECT FROM readmodel.history b
        WHERE b.customer_id = m.customer_id AND b.version > base.version AND b.position <= ($3::bigint[])[m.lane]
          AND (NOT $6 OR b.` + renames + `))`

// movedAway answers the customers who moved since the page before from where the
// walk had not come to, at most a page of them. seen is up to where moves have
// been looked at then, and done whether that is all there are.
func movedAway(
	ctx context.Context, tx pgx.Tx, q query.PageRequest, now []eventlog.Position,
) (documents [][]byte, seen []eventlog.Position, done bool, err error) {
	w := q.After.Walk
	// Lanes that did not move hold nobody back.
	var low, high eventlog.Position = -1, 0
	for i, at := range now {
		if at > w.Seen[i] && (low < 0 || w.Seen[i] < low) {
			low = w.Seen[i]
		}
		high = max(high, at)
	}
	if low < 0 {
		return nil, w.Seen, true, nil
	}
	var (
		scanned int
		last    *eventlog.Position
	)
	if err := tx.QueryRow(ctx, selectScanned, low, high, scanMoves).Scan(&scanned, &last); err != nil {
		return nil, nil, false, err
	}
	if done = scanned < scanMoves; !done {
		high = *last
	}
	byName := q.Sort.By == query.SortLastName
	condition, args := filterSQL(q.Filter, []any{low, high, w.Seen, now, w.Began, byName})
	rows, err := tx.Query(ctx, selectMoved+" AND "+condition+" ORDER BY m.position",
		append([]any{pgx.QueryExecModeCacheDescribe}, args...)...)
	if err != nil {
		return nil, nil, false, err
	}
	defer rows.Close()
	for rows.Next() {
		var (
			position eventlog.Position
			row      listRow
			changes  []byte
		)
		if err := rows.Scan(&position, &row.id, &row.at, &row.name, &row.document, &changes); err != nil {
			return nil, nil, false, err
		}
		if changes != nil {
			if row.name, err = nameBefore(changes); err != nil {
				return nil, nil, false, err
			}
		}
		if !isBehind(row, q) {
			continue
		}
		documents = append(documents, row.document)
		if len(documents) == q.Limit {
			high, done = position, false
			break
		}
	}
	rows.Close()
	if err := rows.Err(); err != nil {
		return nil, nil, false, err
	}
	seen = make([]eventlog.Position, len(now))
	for i, at := range now {
		seen[i] = max(w.Seen[i], at)
		if !done {
			seen[i] = max(w.Seen[i], min(at, high))
		}
	}
	return documents, seen, done, nil
}

// isBehind tells whether a customer was behind the walk's place in the order.
func isBehind(row listRow, q query.PageRequest) bool {
	var order int
	if q.Sort.By == query.SortLastName {
		order = strings.Compare(row.name, q.After.Name)
	} else {
		order = row.at.Compare(q.After.At)
	}
	if order == 0 {
		order = strings.Compare(string(row.id[:]), string(q.After.ID[:]))
	}
	return (order > 0) != q.Sort.Descending && order != 0
}

// nameBefore is what a renaming's customer was sorted by.
func nameBefore(changes []byte) (string, error) {
	var all []query.Change
	if err := json.Unmarshal(changes, &all); err != nil {
		return "", errors.New("a history row cannot be read")
	}
	for _, c := range all {
		if c.Field != "last_name" {
			continue
		}
		var old *customer.Name
		if err := json.Unmarshal(c.Old, &old); err != nil {
			return "", errors.New("a history row cannot be read")
		}
		if old != nil {
			return query.SortName(*old), nil
		}
	}
	return "", nil
}
