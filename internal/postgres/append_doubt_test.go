package postgres_test

import (
	"context"
	"io"
	"net"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
	"github.com/ebrahem-outlook/customer-service/internal/postgres"
	"github.com/ebrahem-outlook/customer-service/internal/postgres/postgrestest"
)

// TestForgottenAttemptIsWaitedFor holds an append back on its way to the
// server while its client has lost the connection and asks again. The second
// attempt finds a claim taken; then the claim is freed and the first one
// arrives. Whatever is reported must be what happened.
func TestForgottenAttemptIsWaitedFor(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	db := postgrestest.EventLog(t)
	owner := db.Pool(t, "")
	calm := postgres.NewLog(owner)
	holder := registration()
	_, err := calm.AppendBatch(ctx, []eventlog.Append{holder})
	require.NoError(t, err)

	var arm atomic.Bool
	held, release := make(chan struct{}), make(chan struct{})
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	u, err := url.Parse(db.URL)
	require.NoError(t, err)
	server := u.Host
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			go holdBack(client, server, &arm, held, release)
		}
	}()
	u.Host = listener.Addr().String()
	pool, err := postgres.OpenPool(ctx, postgres.PoolConfig{URL: u.String(), Role: postgres.RoleCommand, MaxConns: 2})
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	log := postgres.NewLog(pool)
	_, err = log.AppendBatch(ctx, []eventlog.Append{registration()}) // prepares the statement
	require.NoError(t, err)

	claimant := registration()
	claimant.Take = holder.Take
	arm.Store(true)
	type answer struct {
		outcomes []eventlog.Outcome
		err      error
	}
	answered := make(chan answer, 1)
	go func() {
		outcomes, err := log.AppendBatch(ctx, []eventlog.Append{claimant})
		answered <- answer{outcomes, err}
	}()
	<-held
	// The second attempt has found the claim taken when it asks who still runs.
	require.Eventually(t, func() bool {
		var asking bool
		err := owner.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_stat_activity
			WHERE datname = current_database() AND query LIKE '%pg_stat_activity WHERE pid = ANY%' AND pid <> pg_backend_pid())`).Scan(&asking)
		return err == nil && asking
	}, time.Minute, 5*time.Millisecond)
	freeing := following(holder)
	freeing.Take = nil
	_, err = calm.AppendBatch(ctx, []eventlog.Append{freeing})
	require.NoError(t, err)
	close(release)

	got := <-answered
	require.NoError(t, got.err)
	require.Equal(t, []eventlog.Outcome{{Version: 1, Earlier: true}}, got.outcomes)
	stream, err := calm.Load(ctx, claimant.CustomerID, 0)
	require.NoError(t, err)
	require.Len(t, stream.Events, 1)
}

// holdBack is a proxy for one connection. When armed it takes the next request,
// hangs up on the client, and delivers the request only when released.
func holdBack(client net.Conn, address string, arm *atomic.Bool, held, release chan struct{}) {
	defer func() { _ = client.Close() }()
	server, err := new(net.Dialer).DialContext(context.Background(), "tcp", address)
	if err != nil {
		return
	}
	defer func() { _ = server.Close() }()
	go func() {
		_, _ = io.Copy(client, server)
		_ = client.Close() // pgx waits for the end of a cancel request
	}()
	buffer := make([]byte, 64<<10)
	for {
		n, err := client.Read(buffer)
		if err != nil {
			return
		}
		if arm.CompareAndSwap(true, false) {
			_ = client.Close()
			close(held)
			<-release
			_, _ = server.Write(buffer[:n])
			return
		}
		if _, err := server.Write(buffer[:n]); err != nil {
			return
		}
	}
}
