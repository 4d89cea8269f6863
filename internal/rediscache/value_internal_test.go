package rediscache

import (
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/query"
)

// A customer whose registration was passed over has no status. Its entry has to
// be kept and announced like any other: what cannot be written is never
// announced, and takes what is written with it along.
func TestEveryStatusIsKept(t *testing.T) {
	t.Parallel()
	id := uuid.Must(uuid.NewV7())
	for _, status := range []customer.Status{
		customer.StatusNone, customer.StatusActive, customer.StatusSuspended, customer.StatusDeleted, customer.StatusErased,
	} {
		e := query.Entry{Version: 7, Status: status}
		if e.Live() {
			e.Body = []byte(`{}`)
		}
		b, err := encode(id, e)
		require.NoError(t, err, status)
		got, err := decode(id, b)
		require.NoError(t, err, status)
		require.Equal(t, e, got)
	}
	_, err := encode(id, query.Entry{Version: 7, Status: "merged"})
	require.Error(t, err)
	_, err = decode(id, []byte("1:7:x:00000000:"))
	require.ErrorIs(t, err, errForeignValue)
}
