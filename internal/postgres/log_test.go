package postgres_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/internal/eventlog/eventlogtest"
	"github.com/ebrahem-outlook/customer-service/internal/postgres"
	"github.com/ebrahem-outlook/customer-service/internal/postgres/postgrestest"
)

// sequenceAll gives positions without the sequencer, in the order of ids, to
// what one snapshot shows.
const sequenceAll = `
INSERT INTO eventlog.positions (pos, event, lane)
SELECT (SELECT coalesce(max(pos), 0) FROM eventlog.positions) + row_number() OVER (ORDER BY e.id), e.id, e.slot * 8 / 1024
  FROM eventlog.events e
 WHERE NOT EXISTS (SELECT FROM eventlog.positions p WHERE p.event = e.id)`

func TestLogConforms(t *testing.T) {
	t.Parallel()
	eventlogtest.Run(t, func(t *testing.T) eventlogtest.Implementation {
		t.Helper()
		db := postgrestest.EventLog(t)
		owner := db.Pool(t, "")
		return eventlogtest.Implementation{
			Log: postgres.NewLog(db.PoolWith(t, postgres.PoolConfig{Role: postgres.RoleCommand, MaxConns: 12})),
			Sequence: func(t *testing.T) {
				t.Helper()
				_, err := owner.Exec(context.Background(), sequenceAll)
				require.NoError(t, err)
			},
		}
	})
}
