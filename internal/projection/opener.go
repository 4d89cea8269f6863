package projection

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
	"github.com/ebrahem-outlook/customer-service/internal/privacy"
)

// maxKeys bounds the unwrapped keys kept: about 1 KB each with the cipher's
// tables, so 16 MB. A miss costs an unwrapping, 2 µs here, a call with a KMS.
const maxKeys = 16384

// keepKeys bounds how long an erased customer's key may stay in the memory of a
// process whose lanes had nothing of that customer since.
const keepKeys = 10 * time.Minute

// Codec reads events. It fails with one of eventlog's errors for what it can
// never read.
type Codec interface {
	Decode(e eventlog.Envelope, key eventlog.Opener) (eventlog.Entry, error)
}

// Keyring unwraps data keys, failing with privacy.ErrUnreadable for what is not
// one of that customer.
type Keyring interface {
	Unwrap(id customer.ID, key eventlog.WrappedKey) (privacy.SubjectKey, error)
}

// opener turns envelopes into events.
type opener struct {
	log     eventlog.Reader
	codec   Codec
	keyring Keyring
	keys    *otter.Cache[customer.ID, unwrapped]
	proven  atomic.Bool  // the keyring has unwrapped something
	since   atomic.Int64 // when keys was last emptied, in s
}

type unwrapped struct {
	from eventlog.WrappedKey
	key  privacy.SubjectKey
}

func newOpener(log eventlog.Reader, codec Codec, keyring Keyring) (*opener, error) {
	keys, err := otter.New(&otter.Options[customer.ID, unwrapped]{MaximumSize: maxKeys})
	if err != nil {
		return nil, fmt.Errorf("key cache: %w", err)
	}
	o := &opener{log: log, codec: codec, keyring: keyring, keys: keys}
	o.since.Store(time.Now().Unix())
	return o, nil
}

// forget drops the keys once they may have been kept for long. Dropping all of
// them costs an unwrapping for each that is needed again.
func (o *opener) forget() {
	if now := time.Now(); now.Sub(time.Unix(o.since.Load(), 0)) > keepKeys {
		o.keys.InvalidateAll()
		o.since.Store(now.Unix())
	}
}

// open decodes events. Whether a customer's key still exists is asked of the
// log every time, once for all; only the unwrapping is remembered. An event
// that can never be read comes back as poison. The error is for what may work
// the next time.
func (o *opener) open(ctx context.Context, events []eventlog.Sequenced) ([]opened, error) {
	if len(events) == 0 {
		return nil, nil
	}
	wrapped, err := o.log.Keys(ctx, customersOf(events))
	if err != nil {
		return nil, fmt.Errorf("read keys: %w", err)
	}
	if !o.proven.Load() {
		o.prove(wrapped)
	}
	out := make([]opened, len(events))
	for i, e := range events {
		if out[i], err = o.openOne(e, wrapped); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// prove looks for a key that opens, so that one damaged key does not pass for
// the wrong keyring because it happens to be the first.
func (o *opener) prove(wrapped map[customer.ID]eventlog.WrappedKey) {
	for id, w := range wrapped {
		if _, err := o.unwrap(id, w); err == nil {
			return
		}
	}
}

func (o *opener) openOne(e eventlog.Sequenced, wrapped map[customer.ID]eventlog.WrappedKey) (opened, error) {
	out := opened{
		position: e.Position, kind: e.Type, at: e.RecordedAt,
		// For an event that does not decode: it still has its place.
		entry: eventlog.Entry{EventID: e.EventID, CustomerID: e.CustomerID, Version: e.Version, Metadata: e.Metadata},
	}
	// The key is stored with a customer's first event and destroyed with its
	// erasure. An event without a key therefore belongs to a customer that is
	// erased, even if this lane has not come to the erasure yet.
	var key eventlog.Opener
	if w, ok := wrapped[e.CustomerID]; ok {
		k, err := o.unwrap(e.CustomerID, w)
		switch {
		case err == nil:
			key = k
		case errors.Is(err, privacy.ErrUnreadable) && o.proven.Load():
			out.poison = "data key is unreadable"
			return out, nil
		default:
			// A keyring that never opened anything is more likely the wrong one
			// than the first key damaged. Parking everybody would not help.
			return opened{}, err
		}
	} else {
		out.shredded = true
		o.keys.Invalidate(e.CustomerID)
	}
	entry, err := o.codec.Decode(e.Envelope, key)
	switch {
	case err == nil:
		out.entry = entry
	case errors.Is(err, eventlog.ErrUnknownType):
		out.poison = "unknown event type"
	case errors.Is(err, eventlog.ErrUnknownSchema):
		out.poison = fmt.Sprintf("unknown schema version %d", e.SchemaVersion)
	default:
		out.poison = "event is corrupt"
	}
	return out, nil
}

func (o *opener) unwrap(id customer.ID, w eventlog.WrappedKey) (privacy.SubjectKey, error) {
	if known, ok := o.keys.GetIfPresent(id); ok && known.from.KEK == w.KEK && bytes.Equal(known.from.Wrapped, w.Wrapped) {
		return known.key, nil
	}
	key, err := o.keyring.Unwrap(id, w)
	if err != nil {
		return privacy.SubjectKey{}, err
	}
	o.proven.Store(true)
	o.keys.Set(id, unwrapped{from: w, key: key})
	return key, nil
}

func customersOf(events []eventlog.Sequenced) []customer.ID {
	seen := make(map[customer.ID]struct{}, len(events))
	ids := make([]customer.ID, 0, len(events))
	for _, e := range events {
		if _, ok := seen[e.CustomerID]; !ok {
			seen[e.CustomerID] = struct{}{}
			ids = append(ids, e.CustomerID)
		}
	}
	return ids
}
