package projection_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
	"github.com/ebrahem-outlook/customer-service/internal/projection"
)

// interrupted is a log in which something happens between the reading of events
// and that of their keys.
type interrupted struct {
	projection.CustomerLog
	then func()
}

func (l interrupted) Scan(ctx context.Context, first, last customer.ID, each func(eventlog.Sequenced) error) error {
	var all []eventlog.Sequenced
	if err := l.CustomerLog.Scan(ctx, first, last, func(e eventlog.Sequenced) error {
		all = append(all, e)
		return nil
	}); err != nil {
		return err
	}
	l.then()
	for _, e := range all {
		if err := each(e); err != nil {
			return err
		}
	}
	return nil
}

// A customer that is erased after its events were read, and before its key is,
// is no difference: the read model is right, and the erasure is on the way.
func TestVerificationMeetsAnErasure(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.projector()
	ada := w.register("ada@example.com")
	w.append(ada, customer.Renamed{At: w.now(), FirstName: "Augusta"})
	w.feed(p)
	r, err := w.projector().Verify(w.ctx, interrupted{w.log, func() {
		w.append(ada, customer.Erased{At: w.now(), Actor: "dpo", Reason: "asked", KeyID: ada.wrapped.ID()})
	}}, projection.VerifyConfig{})
	require.NoError(t, err)
	require.Empty(t, r.Differences)
	w.feed(p)
	w.verify()
}

// A key that is gone without an erasure is one.
func TestVerificationNamesALostKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ada := w.register("ada@example.com")
	w.feed(w.projector())
	_, err := w.owner.Exec(w.ctx, `DELETE FROM eventlog.subject_keys WHERE customer_id = $1`, ada.id)
	require.NoError(t, err)
	r, err := w.projector().Verify(w.ctx, w.log, projection.VerifyConfig{})
	require.NoError(t, err)
	require.NotEmpty(t, r.Differences)
}
