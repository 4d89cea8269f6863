package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
	"github.com/ebrahem-outlook/customer-service/internal/projection"
	"github.com/ebrahem-outlook/customer-service/internal/query"
)

var (
	_ projection.FeedStore  = (*ReadModel)(nil)
	_ query.FeedReader      = (*ReadModelReader)(nil)
	_ eventlog.NoticeReader = (*Log)(nil)
)

const (
	selectFeedPosition = `SELECT position FROM readmodel.events_checkpoint`
	lockFeed           = selectFeedPosition + ` FOR UPDATE`
	moveFeed           = `UPDATE readmodel.events_checkpoint SET position = $1`

	// Names of fields have no comma, and a list of lists has no array type.
	insertEvents = `
INSERT INTO readmodel.events (position, event_id, type, customer_id, version, changed, at)
SELECT position, event_id, type, customer_id, version, string_to_array(changed, ','), at
  FROM unnest($1::bigint[], $2::uuid[], $3::text[], $4::uuid[], $5::bigint[], $6::text[], $7::timestamptz[])
       u (position, event_id, type, customer_id, version, changed, at)`
)

// FeedPosition implements projection.FeedStore.
func (m *ReadModel) FeedPosition(ctx context.Context) (at eventlog.Position, err error) {
	if err := m.pool.QueryRow(ctx, selectFeedPosition).Scan(&at); err != nil {
		return 0, fmt.Errorf("read the feed's position: %w", err)
	}
	return at, nil
}

// ExtendFeed implements projection.FeedStore.
func (m *ReadModel) ExtendFeed(ctx context.Context, notices []eventlog.Notice) (at eventlog.Position, err error) {
	err = pgx.BeginFunc(ctx, m.pool, func(tx pgx.Tx) error {
		if err := tx.QueryRow(ctx, lockFeed).Scan(&at); err != nil {
			return err
		}
		for len(notices) > 0 && notices[0].Position <= at {
			notices = notices[1:]
		}
		if len(notices) == 0 || notices[0].Position != at+1 {
			return nil
		}
		last := notices[len(notices)-1].Position
		var b pgx.Batch
		b.Queue(insertEvents, eventArgs(notices)...)
		b.Queue(moveFeed, last)
		if err := tx.SendBatch(ctx, &b).Close(); err != nil {
			return err
		}
		at = last
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("extend the feed: %w", err)
	}
	return at, nil
}

func eventArgs(notices []eventlog.Notice) []any {
	n := len(notices)
	var (
		positions = make([]int64, n)
		ids       = make([][16]byte, n)
		types     = make([]string, n)
		customers = make([][16]byte, n)
		versions  = make([]int64, n)
		changed   = make([]string, n)
		at        = make([]time.Time, n)
	)
	for i, e := range notices {
		positions[i], ids[i], types[i], customers[i] = int64(e.Position), e.ID, e.Type, e.CustomerID
		versions[i], changed[i], at[i] = int64(e.Version), strings.Join(e.Changed, ","), e.Time
	}
	return []any{positions, ids, types, customers, versions, changed, at}
}

const selectEvents = `
SELECT position, event_id, type, customer_id, version, changed, at
  FROM readmodel.events
 WHERE position > $1
 ORDER BY position
 LIMIT $2`

// Events implements query.FeedReader.
func (r *ReadModelReader) Events(ctx context.Context, after eventlog.Position, limit int) ([]eventlog.Notice, error) {
	rows, err := r.pool.Query(ctx, selectEvents, after, limit)
	if err != nil {
		return nil, unreadable("events", err)
	}
	events, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (n eventlog.Notice, err error) {
		err = row.Scan(&n.Position, &n.ID, &n.Type, &n.CustomerID, &n.Version, &n.Changed, &n.Time)
		n.Time = n.Time.UTC()
		return n, err
	})
	if err != nil {
		return nil, unreadable("events", err)
	}
	return events, nil
}

// FeedPosition implements query.FeedReader.
func (r *ReadModelReader) FeedPosition(ctx context.Context) (at eventlog.Position, err error) {
	if err := r.pool.QueryRow(ctx, selectFeedPosition).Scan(&at); err != nil {
		return 0, unreadable("the feed's position", err)
	}
	return at, nil
}

const selectEventVersions = `
SELECT c.id, e.version
  FROM unnest($1::uuid[]) AS c (id)
 CROSS JOIN LATERAL (
       SELECT version FROM readmodel.events WHERE customer_id = c.id ORDER BY version DESC LIMIT 1) e`

// EventVersions implements query.FeedReader.
func (r *ReadModelReader) EventVersions(ctx context.Context, ids []customer.ID) (map[customer.ID]customer.Version, error) {
	rows, err := r.pool.Query(ctx, selectEventVersions, ids)
	if err != nil {
		return nil, unreadable("versions of events", err)
	}
	versions := make(map[customer.ID]customer.Version, len(ids))
	var (
		id customer.ID
		v  customer.Version
	)
	if _, err = pgx.ForEachRow(rows, []any{&id, &v}, func() error { versions[id] = v; return nil }); err != nil {
		return nil, unreadable("versions of events", err)
	}
	return versions, nil
}

// feedBeat is the event feed in the heartbeat row.
type feedBeat struct {
	Applied   eventlog.Position `json:"applied"`
	Behind    bool              `json:"behind"`
	WaitingMS int64             `json:"waiting_ms"`
}

func feedBeatOf(f *query.FeedFreshness) ([]byte, error) {
	if f == nil {
		return nil, nil
	}
	return json.Marshal(feedBeat{Applied: f.Applied, Behind: f.Behind, WaitingMS: f.Waiting.Milliseconds()})
}

func feedFreshnessOf(raw []byte) (query.FeedFreshness, error) {
	if raw == nil { // no projector that knows of the feed has beaten yet
		return query.FeedFreshness{}, nil
	}
	var b feedBeat
	if err := json.Unmarshal(raw, &b); err != nil {
		return query.FeedFreshness{}, err
	}
	return query.FeedFreshness{Applied: b.Applied, Behind: b.Behind, Waiting: time.Duration(b.WaitingMS) * time.Millisecond}, nil
}
