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

// TestForgottenAttemptIsEnded holds an append back on its way to the server,
// which does not learn that its client has lost the connection and asks again.
// The second attempt finds a claim taken, and says so at once; then the claim is
// freed and the first one arrives. Whatever is reported must be what happened.
func TestForgottenAttemptIsEnded(t *testing.T) {
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
	held, release, delivered := make(chan struct{}), make(chan struct{}), make(chan struct{})
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
			go holdBack(client, server, &arm, held, release, delivered)
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
	began := time.Now()
	outcomes, err := log.AppendBatch(ctx, []eventlog.Append{claimant})
	require.NoError(t, err)
	require.Equal(t, []eventlog.Outcome{{Verdict: eventlog.ClaimTaken, Claim: claimant.Take[0].Kind}}, outcomes)
	require.Less(t, time.Since(began), 4*time.Second, "it was waited for") // five seconds and an error before it was ended
	<-held

	freeing := following(holder)
	freeing.Take = nil
	_, err = calm.AppendBatch(ctx, []eventlog.Append{freeing})
	require.NoError(t, err)
	close(release)
	<-delivered
	stream, err := calm.Load(ctx, claimant.CustomerID, 0)
	require.NoError(t, err)
	require.Zero(t, stream.Version)
}

// holdBack is a proxy for one connection. When armed it takes the next request,
// hangs up on the client, and delivers the request only when released.
func holdBack(client net.Conn, address string, arm *atomic.Bool, held, release, delivered chan struct{}) {
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
			_, _ = io.Copy(io.Discard, server) // until whoever got it has ended
			close(delivered)
			return
		}
		if _, err := server.Write(buffer[:n]); err != nil {
			return
		}
	}
}
