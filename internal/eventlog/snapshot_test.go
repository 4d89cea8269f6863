package eventlog

import (
	"reflect"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
)

func folded() customer.State {
	history := foldHistory()
	return customer.Fold(uuid.UUID{15: 1}, history[:len(history)-3]...)
}

func TestSnapshotRoundTrip(t *testing.T) {
	t.Parallel()
	codec, key := NewSnapshotCodec(), bound{}
	for n := 1; n <= len(foldHistory()); n++ {
		want := customer.Fold(uuid.UUID{15: 1}, foldHistory()[:n]...)
		s, err := codec.Encode(want, key)
		require.NoError(t, err)
		got, err := codec.Decode(s, key)
		require.NoError(t, err)
		require.Equal(t, want.Data(), got.Data(), "after %d events", n)
	}
}

func TestSnapshotOpensNowhereElse(t *testing.T) {
	t.Parallel()
	codec, key := NewSnapshotCodec(), bound{}
	s, err := codec.Encode(folded(), key)
	require.NoError(t, err)
	for name, change := range map[string]func(*Snapshot){
		"another customer": func(s *Snapshot) { s.CustomerID[0]++ },
		"another version":  func(s *Snapshot) { s.Version++ },
		"another fold":     func(s *Snapshot) { s.Fold[0]++ },
		"another state":    func(s *Snapshot) { s.State = s.State[1:] },
		"no state":         func(s *Snapshot) { s.State = nil },
	} {
		moved := s
		change(&moved)
		_, err := codec.Decode(moved, key)
		require.ErrorIs(t, err, ErrCorrupt, name)
	}
	// What opens is still held to its place.
	s.State = []byte(`{"Version":7}`)
	_, err = codec.Decode(s, plain{})
	require.ErrorIs(t, err, ErrCorrupt)
}

// The history has every event, and ignoring any one of them shows.
func TestFoldHashSeesEveryEvent(t *testing.T) {
	t.Parallel()
	codec := NewCodec()
	now := foldHash(codec, customer.State.Evolve)
	require.Equal(t, now, NewSnapshotCodec().Fold())
	require.Equal(t, now, foldHash(NewCodec(), customer.State.Evolve), "the same code folds the same")
	for event := range codec.byEvent {
		without := foldHash(codec, func(s customer.State, e customer.Event) customer.State {
			if reflect.TypeOf(e) == event {
				return s
			}
			return s.Evolve(e)
		})
		require.NotEqual(t, now, without, "%s", event)
	}
}

// Forgetting any field shows, new ones too.
func TestFoldHashSeesEveryField(t *testing.T) {
	t.Parallel()
	now := NewSnapshotCodec().Fold()
	for field := range reflect.TypeFor[customer.Data]().Fields() {
		without := foldHash(NewCodec(), func(s customer.State, e customer.Event) customer.State {
			d := s.Evolve(e).Data()
			reflect.ValueOf(&d).Elem().FieldByIndex(field.Index).SetZero()
			return customer.FromData(d)
		})
		require.NotEqual(t, now, without, "%s", field.Name)
	}
}

func TestFoldHashSeesNewSchemas(t *testing.T) {
	t.Parallel()
	all := schemas()
	all[0].version++
	name := all[0].name
	codec, err := newCodec(all, map[step]Upcaster{{name, 1}: func(data, personal []byte) ([]byte, []byte, error) {
		return data, personal, nil
	}})
	require.NoError(t, err)
	require.NotEqual(t, NewSnapshotCodec().Fold(), foldHash(codec, customer.State.Evolve))
}
