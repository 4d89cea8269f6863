package postgres

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
)

// Nothing sealed is even read: what is not in memory cannot get out of it.
const readNotices = `
SELECT p.pos, e.event_id, e.type, e.customer_id, e.version, e.data -> 'changed', e.recorded_at, e.metadata ->> 'traceparent'
  FROM eventlog.positions p
  JOIN eventlog.events e ON e.id = p.event
 WHERE p.pos > $1
 ORDER BY p.pos
 LIMIT $2`

// ReadNotices implements eventlog.NoticeReader.
func (l *Log) ReadNotices(ctx context.Context, after eventlog.Position, limit int) ([]eventlog.Notice, error) {
	return collect(ctx, l, "read notices", readNotices, func(row pgx.CollectableRow) (n eventlog.Notice, err error) {
		var (
			changed []byte
			trace   *string
		)
		if err := row.Scan(&n.Position, &n.ID, &n.Type, &n.CustomerID, &n.Version, &changed, &n.Time, &trace); err != nil {
			return n, err
		}
		n.Time, n.Changed = n.Time.UTC(), []string{}
		if trace != nil {
			n.TraceParent = *trace
		}
		if changed == nil {
			return n, nil
		}
		if err := json.Unmarshal(changed, &n.Changed); err != nil {
			return n, fmt.Errorf("%w: changed fields of the event at %d", eventlog.ErrCorrupt, n.Position)
		}
		return n, nil
	}, int64(after), limit)
}
