package eventlog

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
)

// FoldHash names one way of making a state of events. Code that folds
// otherwise has another one and so never meets what this code folded.
type FoldHash [32]byte

// Snapshot is what a stream's events up to Version fold to, sealed under the
// customer's key. It saves reading them again and nothing else: the log is the
// truth, and any snapshot may go at any time.
type Snapshot struct {
	CustomerID customer.ID
	Version    customer.Version
	Fold       FoldHash
	State      []byte
}

// SnapshotStore keeps at most one snapshot for each customer.
//
// LoadFolded is Load for whoever knows nothing of the customer yet: it returns
// its snapshot of that fold, nil if there is none, and the stream with the
// events after it, all of one moment. A snapshot beyond the stream's end, or of
// a customer whose key is gone, does not count.
//
// SaveSnapshot replaces the customer's snapshot, unless that is of the same
// fold and a later version. A customer whose key is gone gets none, however
// late the call: an erasure leaves no snapshot behind. It may wait for a command
// on the same customer, and keeps none waiting for longer than its own writing.
type SnapshotStore interface {
	LoadFolded(ctx context.Context, id customer.ID, fold FoldHash) (*Snapshot, Stream, error)
	SaveSnapshot(ctx context.Context, s Snapshot) error
}

// SnapshotCodec turns states into snapshots and back. Their form is the
// domain's own, without schema versions: whatever changes it, or what events
// fold to, changes Fold, and with it all snapshots there are become unknown.
type SnapshotCodec struct{ fold FoldHash }

// NewSnapshotCodec returns the codec of this code's fold.
func NewSnapshotCodec() *SnapshotCodec {
	return &SnapshotCodec{fold: foldHash(NewCodec(), customer.State.Evolve)}
}

// Fold is which snapshots the codec makes and can read.
func (c *SnapshotCodec) Fold() FoldHash { return c.fold }

// Encode seals s.
func (c *SnapshotCodec) Encode(s customer.State, key Sealer) (Snapshot, error) {
	text, err := json.Marshal(s.Data())
	if err != nil {
		return Snapshot{}, fmt.Errorf("encode snapshot: %w", err)
	}
	snapshot := Snapshot{CustomerID: s.ID(), Version: s.Version(), Fold: c.fold}
	if snapshot.State, err = key.Seal(text, snapshot.associated()); err != nil {
		return Snapshot{}, fmt.Errorf("encode snapshot: %w", err)
	}
	return snapshot, nil
}

// Decode opens s. It fails with ErrCorrupt when s is not what Encode made for
// its customer, version and fold, or is of another fold than the codec's.
func (c *SnapshotCodec) Decode(s Snapshot, key Opener) (customer.State, error) {
	if s.Fold != c.fold {
		return customer.State{}, fmt.Errorf("%w: snapshot of another fold", ErrCorrupt)
	}
	text, err := key.Open(s.State, s.associated())
	if err != nil {
		return customer.State{}, fmt.Errorf("%w: snapshot: %w", ErrCorrupt, err)
	}
	var d customer.Data
	if json.Unmarshal(text, &d) != nil || d.ID != s.CustomerID || d.Version != s.Version { // the cause would quote it
		return customer.State{}, fmt.Errorf("%w: snapshot is not what its place says", ErrCorrupt)
	}
	return customer.FromData(d), nil
}

// associated binds the sealed state to its place, apart from all events.
func (s Snapshot) associated() []byte {
	b := make([]byte, 0, 96)
	b = append(b, "customer snapshot\x00"...)
	b = append(b, s.CustomerID[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(s.Version)) //nolint:gosec // never negative
	return append(b, s.Fold[:]...)
}
