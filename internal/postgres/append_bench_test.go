package postgres_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
	"github.com/ebrahem-outlook/customer-service/internal/postgres"
	"github.com/ebrahem-outlook/customer-service/internal/postgres/postgrestest"
)

// registration is what the command side appends for a new customer.
func registration() eventlog.Append {
	id, command := uuid.Must(uuid.NewV7()), uuid.Must(uuid.NewV7())
	return eventlog.Append{
		CustomerID: id,
		Events: []eventlog.Envelope{{
			EventID: uuid.Must(uuid.NewV7()), CustomerID: id, Version: 1, Type: "customer.registered", SchemaVersion: 1,
			Data:       json.RawMessage(`{"changed":["email","first_name","last_name","status"]}`),
			Personal:   random(380),
			Metadata:   eventlog.Metadata{Actor: "bench", CorrelationID: command.String(), CommandID: command},
			RecordedAt: time.Now().UTC().Truncate(time.Microsecond),
		}},
		Take:   []eventlog.Claim{{Kind: eventlog.ClaimEmail, Digest: [32]byte(random(32))}},
		NewKey: &eventlog.WrappedKey{Wrapped: random(65), KEK: "bench"},
		Idempotency: &eventlog.Idempotency{
			Principal: "bench", Key: command.String(), RequestDigest: [32]byte(random(32)),
			CustomerID: id, Version: 1, Status: 201, CommandID: command,
		},
	}
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return b
}

// BenchmarkAppendBatch appends registrations from 64 goroutines, one a call
// over many connections against many a call over few. An operation is one
// registration.
func BenchmarkAppendBatch(b *testing.B) {
	const waiting = 64
	for _, c := range []struct{ items, callers, conns int }{{1, 1, 1}, {1, waiting, 16}, {1, waiting, waiting}, {32, 2, 2}, {64, 1, 1}} {
		b.Run(fmt.Sprintf("items=%d/callers=%d/conns=%d", c.items, c.callers, c.conns), func(b *testing.B) {
			pool := postgrestest.EventLog(b).PoolWith(b, postgres.PoolConfig{Role: postgres.RoleCommand, MaxConns: c.conns})
			log := postgres.NewLog(pool)
			var left atomic.Int64
			left.Store(int64(b.N))
			b.ResetTimer()
			var callers errgroup.Group
			for range c.callers {
				callers.Go(func() error {
					for {
						n := min(int64(c.items), left.Add(-int64(c.items))+int64(c.items))
						if n <= 0 {
							return nil
						}
						batch := make([]eventlog.Append, n)
						for i := range batch {
							batch[i] = registration()
						}
						outcomes, err := log.AppendBatch(context.Background(), batch)
						if err != nil {
							return err
						}
						for _, o := range outcomes {
							if o.Verdict != eventlog.Appended {
								return fmt.Errorf("%s", o.Verdict)
							}
						}
					}
				})
			}
			require.NoError(b, callers.Wait())
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "registrations/s")
		})
	}
}
