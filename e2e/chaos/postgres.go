package chaos

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ebrahem-outlook/customer-service/e2e/cluster"
)

// Service backends are those of the processes' logins; ours are the superuser's.
const (
	terminateBackends = `
SELECT count(*) FROM (
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
     WHERE datname = ANY ($1) AND backend_type = 'client backend' AND usename <> current_user AND random() < $2) AS gone`
	holdTransaction = `SELECT pg_current_xact_id()`
)

// postgresFaults are what can happen to PostgreSQL beside its end.
func postgresFaults(c *cluster.Cluster) []Fault {
	target := []string{"postgres"}
	return []Fault{
		{Kind: "immediate-shutdown", Targets: target, Most: 4 * time.Second, Inject: down(c.Stack.Postgres(), c.Stack.Postgres().Crash)},
		{Kind: "terminate-all-backends", Targets: target, Inject: func(_ context.Context, in *Injection) error {
			terminate(in, c, 1, time.Second)
			return nil
		}},
		{Kind: "terminate-some-backends", Targets: target, Inject: func(_ context.Context, in *Injection) error {
			terminate(in, c, 0.2, 100*time.Millisecond)
			return nil
		}},
		{Kind: "long-transaction", Targets: target, Least: 2 * time.Second, Inject: func(ctx context.Context, in *Injection) error {
			return hold(ctx, in, c)
		}},
	}
}

// terminate ends a share of the processes' sessions again and again.
func terminate(in *Injection, c *cluster.Cluster, share float64, every time.Duration) {
	in.During(func(ctx context.Context) error {
		total := 0
		for more := true; more; more = pause(ctx, every) {
			var ended int
			err := c.EventLog().QueryRow(ctx, terminateBackends, databases(c), share).Scan(&ended)
			if err != nil && ctx.Err() == nil {
				return fmt.Errorf("terminate backends: %w", err)
			}
			total += ended
		}
		in.Say("%d sessions ended", total)
		return nil
	})
}

func databases(c *cluster.Cluster) []string {
	return []string{c.EventLog().Config().ConnConfig.Database, c.ReadModel().Config().ConnConfig.Database}
}

// hold keeps a transaction open that has an id of its own, in the log's
// database: whoever waited for all earlier transactions would wait for it.
func hold(ctx context.Context, in *Injection, c *cluster.Cluster) error {
	conn, err := pgx.Connect(ctx, c.EventLogURL)
	if err != nil {
		return err
	}
	in.Undo(conn.Close)
	tx, err := conn.Begin(ctx)
	if err != nil {
		return err
	}
	in.Undo(tx.Rollback)
	_, err = tx.Exec(ctx, holdTransaction)
	return err
}
