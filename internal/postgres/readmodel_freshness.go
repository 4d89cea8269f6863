package postgres

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
	"github.com/ebrahem-outlook/customer-service/internal/projection"
	"github.com/ebrahem-outlook/customer-service/internal/query"
)

// laneBeat is one lane in the heartbeat row.
type laneBeat struct {
	Lane      eventlog.Lane     `json:"lane"`
	Head      eventlog.Position `json:"head"`
	Applied   eventlog.Position `json:"applied"`
	Behind    int64             `json:"behind"` // 0 from releases that did not count
	WaitingMS int64             `json:"waiting_ms"`
}

// The first beat after a silence says in the same step that nothing in the cache
// is to be trusted, if any lane is not known to be written there: whoever ended
// before may have committed what it did not write, and readers must not go by
// this beat until that is made good.
//
// Several projectors beat; the row need not change more often than one would.
// A beat from the future was written before the server's clock was set back, or
// by a server that another one replaced: it must not silence those that follow.
const upsertHeartbeat = `
WITH suspended AS (
    UPDATE readmodel.cache_state SET run_id = ''
     WHERE run_id <> ''
       AND EXISTS (SELECT FROM readmodel.heartbeat WHERE at < clock_timestamp() - make_interval(secs => $5))
       AND EXISTS (SELECT FROM readmodel.checkpoints WHERE ` + ofGeneration + ` AND cached_position < position))
INSERT INTO readmodel.heartbeat AS h (at, head, lanes, feed) VALUES (clock_timestamp(), $2, $3, $4)
ON CONFLICT (one) DO UPDATE SET at = excluded.at, head = excluded.head, lanes = excluded.lanes,
       feed = coalesce(excluded.feed, h.feed)
 WHERE h.at NOT BETWEEN excluded.at - interval '100 ms' AND excluded.at + interval '1 second'`

// Beat tells query processes what a projector saw.
func (m *ReadModel) Beat(ctx context.Context, h projection.Heartbeat) error {
	lanes := make([]laneBeat, len(h.Lanes))
	for i, l := range h.Lanes {
		lanes[i] = laneBeat{Lane: l.Lane, Head: l.Head, Applied: l.Applied, Behind: l.Behind, WaitingMS: l.Waiting.Milliseconds()}
	}
	raw, err := json.Marshal(lanes)
	if err != nil {
		return fmt.Errorf("beat: %w", err)
	}
	feed, err := feedBeatOf(h.Feed)
	if err != nil {
		return fmt.Errorf("beat: %w", err)
	}
	if _, err := m.pool.Exec(ctx, upsertHeartbeat, m.generation, h.Head, raw, feed, query.HeartbeatGrace.Seconds()); err != nil {
		return fmt.Errorf("beat: %w", err)
	}
	return nil
}

const selectFreshness = `
SELECT g.generation, (SELECT count(*) FROM readmodel.parked), c.epoch, c.run_id,
       h.at, coalesce(extract(epoch FROM clock_timestamp() - h.at), 0)::float8, coalesce(h.head, 0), h.lanes, h.feed,
       (SELECT json_agg(json_build_object('lane', p.lane, 'applied', p.position) ORDER BY p.lane)
          FROM readmodel.checkpoints p WHERE p.generation = g.generation),
       (SELECT e.position FROM readmodel.events_checkpoint e),
       r.generation, coalesce(r.done, 0), coalesce(r.total, 0), r.started_at
  FROM readmodel.generations g CROSS JOIN readmodel.cache_state c
  LEFT JOIN readmodel.heartbeat h ON true LEFT JOIN readmodel.rebuild r ON true
 WHERE g.state = 'live'`

// Freshness answers how far the read model is, in one statement.
func (r *ReadModelReader) Freshness(ctx context.Context) (query.Freshness, error) {
	var (
		f     query.Freshness
		at    *time.Time
		age   float64
		lanes []byte
		feed  []byte
		// What is applied now: the beat is of half a second ago, and under load there
		// is always something that had not been applied then.
		applied     []byte
		feedApplied eventlog.Position
		generation  *int
		rebuild     query.Rebuild
		startedAt   *time.Time
	)
	err := r.pool.QueryRow(ctx, selectFreshness).Scan(
		&f.Generation, &f.Parked, &f.Cache.Epoch, &f.Cache.RunID, &at, &age, &f.Head, &lanes, &feed,
		&applied, &feedApplied, &generation, &rebuild.Done, &rebuild.Total, &startedAt)
	if err != nil {
		return query.Freshness{}, unreadable("freshness", err)
	}
	if generation != nil && startedAt != nil {
		rebuild.Generation, rebuild.StartedAt = *generation, startedAt.UTC()
		f.Rebuild = &rebuild
	}
	var beats, checkpoints []laneBeat
	if applied != nil {
		if err := json.Unmarshal(applied, &checkpoints); err != nil {
			return query.Freshness{}, unreadable("freshness", err)
		}
	}
	if at != nil {
		f.Beat, f.Age = at.UTC(), max(0, time.Duration(age*float64(time.Second)))
		if err := json.Unmarshal(lanes, &beats); err != nil {
			return query.Freshness{}, unreadable("freshness", err)
		}
		if f.Feed, err = feedFreshnessOf(feed); err != nil {
			return query.Freshness{}, unreadable("freshness", err)
		}
	}
	f.Feed.Applied = max(f.Feed.Applied, feedApplied)
	f.Lanes = lanesOf(beats, checkpoints)
	for _, l := range f.Lanes { // a checkpoint may be of later than the beat
		f.Head = max(f.Head, l.Applied)
	}
	f.Head = max(f.Head, f.Feed.Applied)
	return f, nil
}

// lanesOf is what the heart said of each lane, with what has been applied since.
func lanesOf(beats, checkpoints []laneBeat) []query.LaneFreshness {
	lanes := make([]query.LaneFreshness, 0, max(len(beats), len(checkpoints)))
	for _, b := range beats {
		lanes = append(lanes, query.LaneFreshness{
			Lane: b.Lane, Head: b.Head, Applied: b.Applied, Behind: b.Behind, Waiting: time.Duration(b.WaitingMS) * time.Millisecond,
		})
	}
	for _, c := range checkpoints {
		i, found := slices.BinarySearchFunc(lanes, c.Lane, func(l query.LaneFreshness, lane eventlog.Lane) int { return cmp.Compare(l.Lane, lane) })
		if !found {
			lanes = slices.Insert(lanes, i, query.LaneFreshness{Lane: c.Lane})
		}
		lanes[i] = lanes[i].AppliedNow(c.Applied)
	}
	return lanes
}

const selectCacheState = `SELECT epoch, run_id FROM readmodel.cache_state`

// State answers which entries of the cache readers trust.
func (m *ReadModel) State(ctx context.Context) (s query.CacheState, err error) {
	if err := m.pool.QueryRow(ctx, selectCacheState).Scan(&s.Epoch, &s.RunID); err != nil {
		return query.CacheState{}, fmt.Errorf("read cache state: %w", err)
	}
	return s, nil
}

const (
	lockCheckpoints = `SELECT FROM readmodel.checkpoints WHERE ` + ofGeneration + ` ORDER BY lane FOR UPDATE`
	renewCache      = `UPDATE readmodel.cache_state SET epoch = epoch + 1, run_id = $2 WHERE epoch = $1`
	allCached       = `UPDATE readmodel.checkpoints SET cached_position = position WHERE ` + ofGeneration
	suspendCache    = `UPDATE readmodel.cache_state SET run_id = '' WHERE run_id <> ''`
)

// Renew begins an empty epoch. It holds every lane's lock, so that whatever is
// committed later knows the epoch, and whatever was before is seen by those
// who fill it. Nothing has to be written into it: empty is not old.
func (m *ReadModel) Renew(ctx context.Context, was query.CacheState, runID string) (now query.CacheState, err error) {
	err = pgx.BeginFunc(ctx, m.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, lockCheckpoints, m.generation); err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, renewCache, was.Epoch, runID)
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 1 {
			if _, err := tx.Exec(ctx, allCached, m.generation); err != nil {
				return err
			}
		}
		return tx.QueryRow(ctx, selectCacheState).Scan(&now.Epoch, &now.RunID)
	})
	if err != nil {
		return query.CacheState{}, fmt.Errorf("renew cache epoch: %w", err)
	}
	return now, nil
}

// Suspend makes readers trust nothing in the cache.
func (m *ReadModel) Suspend(ctx context.Context) error {
	if _, err := m.pool.Exec(ctx, suspendCache); err != nil {
		return fmt.Errorf("suspend cache: %w", err)
	}
	return nil
}

const (
	// History, which only grows, says who changed; see the index on it.
	selectChanged = `
SELECT h.customer_id, h.position
  FROM readmodel.history h JOIN readmodel.documents d USING (customer_id)
 WHERE h.position > $1 AND d.slot BETWEEN $2 AND $3
 ORDER BY h.position LIMIT $4`

	markCached = `
UPDATE readmodel.checkpoints SET cached_position = least($3, position)
 WHERE ` + ofGeneration + ` AND lane = $2 AND rewinds = $4 AND cached_position < least($3, position)`
)

// ChangedAfter returns the customers of a lane that changed after a position.
func (m *ReadModel) ChangedAfter(
	ctx context.Context, lane eventlog.Lane, after eventlog.Position, limit int,
) (changed []projection.Row, through eventlog.Position, more bool, err error) {
	first, last := m.slots(lane)
	found, err := m.pool.Query(ctx, m.sql(selectChanged), after, first, last, limit)
	if err != nil {
		return nil, 0, false, fmt.Errorf("read changes of lane %d: %w", lane, err)
	}
	var (
		id   customer.ID
		seen = map[customer.ID]bool{}
		ids  []customer.ID
	)
	through = after
	tag, err := pgx.ForEachRow(found, []any{&id, &through}, func() error {
		if !seen[id] {
			seen[id] = true
			ids = append(ids, id)
		}
		return nil
	})
	if err != nil {
		return nil, 0, false, fmt.Errorf("read changes of lane %d: %w", lane, err)
	}
	found, err = m.pool.Query(ctx, m.sql(selectRows), ids)
	if err != nil {
		return nil, 0, false, fmt.Errorf("read changes of lane %d: %w", lane, err)
	}
	changed, err = pgx.CollectRows(found, scanRow)
	if err != nil {
		return nil, 0, false, fmt.Errorf("read changes of lane %d: %w", lane, err)
	}
	return changed, through, tag.RowsAffected() == int64(limit), nil
}

// MarkCached records that the cache holds nothing older up to a position.
func (m *ReadModel) MarkCached(ctx context.Context, lane eventlog.Lane, through eventlog.Position, rewinds int64) error {
	if _, err := m.pool.Exec(ctx, markCached, m.generation, lane, through, rewinds); err != nil {
		return fmt.Errorf("mark lane %d cached: %w", lane, err)
	}
	return nil
}
