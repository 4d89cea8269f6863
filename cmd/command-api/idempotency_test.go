package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/internal/httpapi/httpapitest"
	"github.com/ebrahem-outlook/customer-service/internal/postgres"
)

// locked holds commits up until the function it returns is called.
func (w *world) locked(t *testing.T) (waits func() bool, release func()) {
	t.Helper()
	conn, err := w.db.Pool(t, "").Acquire(t.Context())
	require.NoError(t, err)
	tx, err := conn.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), "LOCK TABLE eventlog.streams IN EXCLUSIVE MODE")
	require.NoError(t, err)
	return func() (blocked bool) {
			require.NoError(t, tx.QueryRow(t.Context(), `SELECT count(*) > 0 FROM pg_locks
				WHERE NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`).Scan(&blocked))
			return blocked
		}, func() {
			require.NoError(t, tx.Rollback(t.Context()))
			conn.Release()
		}
}

func TestARequestInFlightIsNotDoneTwice(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.register(t)
	body := fmt.Sprintf(`{"last_name": "x", "email": %q}`, unusedEmail())
	ask := func() *httpapitest.Answer { return w.Do(t, "POST", "/v1/customers", body, "Idempotency-Key: order-42") }

	waits, release := w.locked(t)
	first := make(chan *httpapitest.Answer, 1)
	go func() { first <- ask() }()
	w.eventually(t, waits)
	second := ask()
	require.Equal(t, http.StatusConflict, second.StatusCode, "%s", second.Body)
	require.Equal(t, "idempotency-in-flight", second.Problem(t).Code)
	require.Regexp(t, `^[1-3]$`, second.Header.Get("Retry-After"))
	dry := w.Do(t, "POST", "/v1/customers?dry_run=true", body, "Idempotency-Key: another")
	require.Equal(t, http.StatusCreated, dry.StatusCode, "who asks for nothing to be written waits for nobody: %s", dry.Body)
	release()

	answered := <-first
	require.Equal(t, http.StatusCreated, answered.StatusCode, "%s", answered.Body)
	third := ask()
	require.Equal(t, http.StatusCreated, third.StatusCode)
	require.Equal(t, string(answered.Body), string(third.Body))
	require.Equal(t, 2, w.events(t), "one effect")
}

// A key is kept for at least 24 hours and then forgotten, by the running
// process itself.
func TestKeysAreKeptForADayAndThenSwept(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	require.GreaterOrEqual(t, idempotencyKept, 24*time.Hour)
	register := func(key string) *httpapitest.Answer {
		t.Helper()
		return w.Do(t, "POST", "/v1/customers", fmt.Sprintf(`{"last_name": "x", "email": %q}`, unusedEmail()), "Idempotency-Key: "+key)
	}
	db := w.db.Pool(t, "")
	age := func(by string) {
		t.Helper()
		_, err := db.Exec(t.Context(), "UPDATE eventlog.idempotency SET created_at = created_at - $1::interval", by)
		require.NoError(t, err)
	}
	require.Equal(t, 201, register("old").StatusCode)
	age("2 hours")
	require.Equal(t, 201, register("young").StatusCode)
	age("24 hours")

	sweep := sweeping(slog.New(slog.DiscardHandler), postgres.NewLog(w.db.Pool(t, postgres.RoleCommand)))
	require.NoError(t, sweep.Start(t.Context()))
	t.Cleanup(func() { require.NoError(t, sweep.Stop(context.WithoutCancel(t.Context()))) })
	var left int
	w.eventually(t, func() bool {
		sweep.Wake()
		require.NoError(t, db.QueryRow(t.Context(), "SELECT count(*) FROM eventlog.idempotency").Scan(&left))
		return left == 1
	})
	require.Equal(t, 422, register("young").StatusCode, "it is known to be another request's")
	require.Equal(t, 201, register("old").StatusCode, "it is as free as any")
}
