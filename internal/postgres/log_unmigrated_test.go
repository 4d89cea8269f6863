package postgres_test

import (
	"context"
	"log/slog"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
	"github.com/ebrahem-outlook/customer-service/internal/postgres"
	"github.com/ebrahem-outlook/customer-service/internal/postgres/postgrestest"
	"github.com/ebrahem-outlook/customer-service/migrations"
)

// TestLogThatIsNotSetUpYetIsUnavailable: whatever of a log is missing, a
// migration or an operator will bring it, and no command is to blame.
func TestLogThatIsNotSetUpYetIsUnavailable(t *testing.T) {
	t.Parallel()
	const absent = "customer_that_no_migration_made"
	run := func(statements ...string) func(*testing.T) *postgres.Log {
		return func(t *testing.T) *postgres.Log {
			t.Helper()
			db := postgrestest.EventLog(t)
			owner := db.Pool(t, "")
			for _, s := range statements {
				_, err := owner.Exec(t.Context(), s)
				require.NoError(t, err)
			}
			return postgres.NewLog(db.Pool(t, postgres.RoleCommand))
		}
	}
	for name, open := range map[string]func(*testing.T) *postgres.Log{
		"no database": func(t *testing.T) *postgres.Log {
			u, err := url.Parse(postgrestest.Empty(t).URL)
			require.NoError(t, err)
			u.Path = "/" + absent
			return postgres.NewLog(postgrestest.Database{URL: u.String()}.Pool(t, ""))
		},
		"no role":   func(t *testing.T) *postgres.Log { return postgres.NewLog(postgrestest.EventLog(t).Pool(t, absent)) },
		"no schema": func(t *testing.T) *postgres.Log { return postgres.NewLog(postgrestest.Empty(t).Pool(t, "")) },
		"no rights": run("REVOKE USAGE ON SCHEMA eventlog FROM customer_command"),
		"half migrated": run("DROP FUNCTION eventlog.append_batch", "DROP TABLE eventlog.positions CASCADE",
			"ALTER TABLE eventlog.subject_keys DROP COLUMN kek"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			log := open(t)
			outcomes, err := log.AppendBatch(t.Context(), []eventlog.Append{registration(), registration()})
			require.ErrorIs(t, err, eventlog.ErrUnavailable)
			require.Nil(t, outcomes)
			_, err = log.Load(t.Context(), registration().CustomerID, 0)
			require.ErrorIs(t, err, eventlog.ErrUnavailable)
			_, err = log.Head(t.Context())
			require.ErrorIs(t, err, eventlog.ErrUnavailable)
		})
	}
}

func TestLogWorksOnceItIsMigrated(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	db := postgrestest.Empty(t)
	log := postgres.NewLog(db.Pool(t, ""))
	items := []eventlog.Append{registration()}
	_, err := log.AppendBatch(ctx, items)
	require.ErrorIs(t, err, eventlog.ErrUnavailable)

	require.NoError(t, postgres.Migrate(ctx, db.URL, migrations.EventLog(), slog.New(slog.DiscardHandler)))
	outcomes, err := log.AppendBatch(ctx, items)
	require.NoError(t, err)
	require.Equal(t, []eventlog.Outcome{{Version: 1}}, outcomes)
}
