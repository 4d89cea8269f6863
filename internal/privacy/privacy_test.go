package privacy_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
	"github.com/ebrahem-outlook/customer-service/internal/privacy"
)

func newKeyring(t testing.TB) (*privacy.Keyring, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keyring.json")
	require.NoError(t, privacy.InitKeyring(path))
	r, err := privacy.LoadKeyring(path)
	require.NoError(t, err)
	return r, path
}

func TestSealedDataOpensOnlyWithItsKeyAndPlace(t *testing.T) {
	t.Parallel()
	ring, path := newKeyring(t)
	id := uuid.Must(uuid.NewV7())
	key, wrapped, err := ring.NewSubjectKey(id)
	require.NoError(t, err)
	sealed, err := key.Seal([]byte("ada"), []byte("place"))
	require.NoError(t, err)
	require.NotContains(t, string(sealed), "ada")

	again, err := privacy.LoadKeyring(path)
	require.NoError(t, err)
	unwrapped, err := again.Unwrap(id, wrapped)
	require.NoError(t, err)
	plain, err := unwrapped.Open(sealed, []byte("place"))
	require.NoError(t, err)
	require.Equal(t, "ada", string(plain))

	_, err = unwrapped.Open(sealed, []byte("elsewhere"))
	require.ErrorIs(t, err, privacy.ErrUnreadable)
	for i := range sealed {
		changed := bytes.Clone(sealed)
		changed[i] ^= 1
		_, err = unwrapped.Open(changed, []byte("place"))
		require.ErrorIs(t, err, privacy.ErrUnreadable, "byte %d", i)
		_, err = unwrapped.Open(sealed[:i], []byte("place"))
		require.ErrorIs(t, err, privacy.ErrUnreadable, "cut at %d", i)
	}
	other, _, err := ring.NewSubjectKey(id)
	require.NoError(t, err)
	_, err = other.Open(sealed, []byte("place"))
	require.ErrorIs(t, err, privacy.ErrUnreadable)
}

func TestWrappedKeyBelongsToItsCustomerAndKeyring(t *testing.T) {
	t.Parallel()
	ring, _ := newKeyring(t)
	stranger, _ := newKeyring(t)
	id := uuid.Must(uuid.NewV7())
	_, wrapped, err := ring.NewSubjectKey(id)
	require.NoError(t, err)

	_, err = ring.Unwrap(uuid.Must(uuid.NewV7()), wrapped)
	require.ErrorIs(t, err, privacy.ErrUnreadable)
	_, err = stranger.Unwrap(id, wrapped)
	require.ErrorIs(t, err, privacy.ErrUnknownKey)
	wrapped.KEK = "file:1"
	_, err = ring.Unwrap(id, wrapped)
	require.ErrorIs(t, err, privacy.ErrUnreadable, "the row contradicts itself")
	_, err = ring.Unwrap(id, eventlog.WrappedKey{})
	require.ErrorIs(t, err, privacy.ErrUnreadable)
}

func TestZeroKeyRefuses(t *testing.T) {
	t.Parallel()
	var none privacy.SubjectKey
	_, err := none.Seal(nil, nil)
	require.ErrorIs(t, err, privacy.ErrNoKey)
	_, err = none.Open(nil, nil)
	require.ErrorIs(t, err, privacy.ErrNoKey)
	require.True(t, none.IsZero())
}

func TestDigest(t *testing.T) {
	t.Parallel()
	ring, path := newKeyring(t)
	stranger, _ := newKeyring(t)
	again, err := privacy.LoadKeyring(path)
	require.NoError(t, err)
	d := ring.Digest("email", []byte("ab"), []byte("c"))

	require.Equal(t, d, again.Digest("email", []byte("ab"), []byte("c")), "a restart must find what was claimed")
	require.NotEqual(t, d, ring.Digest("email", []byte("a"), []byte("bc")))
	require.NotEqual(t, d, ring.Digest("email", []byte("abc")))
	require.NotEqual(t, d, ring.Digest("external id", []byte("ab"), []byte("c")))
	require.NotEqual(t, d, stranger.Digest("email", []byte("ab"), []byte("c")))
}

func TestKeyringFile(t *testing.T) {
	t.Parallel()
	_, path := newKeyring(t)
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o600), info.Mode())
	before, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Contains(t, string(before), "Cleartext keys, for development")

	require.ErrorIs(t, privacy.InitKeyring(path), fs.ErrExist)
	after, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, before, after)
	entries, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, entries, 1, "no temporary file stays")

	for mode, fine := range map[fs.FileMode]bool{0o400: true, 0o440: true, 0o640: true, 0o644: false, 0o660: false, 0o604: false} {
		require.NoError(t, os.Chmod(path, mode))
		_, err := privacy.LoadKeyring(path)
		if fine {
			require.NoError(t, err, "%o", mode)
		} else {
			require.ErrorIs(t, err, privacy.ErrExposed, "%o", mode)
		}
	}
}

func TestBadKeyringFileIsRefusedWithoutQuotingIt(t *testing.T) {
	t.Parallel()
	_, err := privacy.LoadKeyring(filepath.Join(t.TempDir(), "none.json"))
	require.ErrorIs(t, err, fs.ErrNotExist)
	for _, content := range []string{"", "canary", "{}", `{"key_encryption":"canary","digests":{}}`, `{"key_encryption":{"canary":1}}`} {
		path := filepath.Join(t.TempDir(), "keyring.json")
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		_, err := privacy.LoadKeyring(path)
		require.Error(t, err, content)
		require.NotContains(t, err.Error(), "canary")
	}
}

func TestKeysNeverPrint(t *testing.T) {
	t.Parallel()
	ring, _ := newKeyring(t)
	key, _, err := ring.NewSubjectKey(uuid.Must(uuid.NewV7()))
	require.NoError(t, err)
	var logged bytes.Buffer
	slog.New(slog.NewJSONHandler(&logged, nil)).InfoContext(t.Context(), "x", "key", key, "ring", ring, "struct", struct{ K privacy.SubjectKey }{key})
	slog.New(slog.NewTextHandler(&logged, nil)).InfoContext(t.Context(), "x", "key", key, "ring", ring, "struct", struct{ K privacy.SubjectKey }{key})
	require.NotContains(t, logged.String(), "aead")
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x"} {
		require.Equal(t, "[subject key]", fmt.Sprintf(verb, key), verb)
		require.Equal(t, "[keyring]", fmt.Sprintf(verb, ring), verb)
	}
	marshalled, err := json.Marshal(struct{ K any }{key})
	require.NoError(t, err)
	require.JSONEq(t, `{"K":{}}`, string(marshalled))
}

func BenchmarkUnwrapSealOpen(b *testing.B) {
	ring, _ := newKeyring(b)
	id := uuid.Must(uuid.NewV7())
	_, wrapped, err := ring.NewSubjectKey(id)
	require.NoError(b, err)
	payload, place := make([]byte, 380), make([]byte, 50)
	b.ReportAllocs()
	for b.Loop() {
		key, err := ring.Unwrap(id, wrapped)
		require.NoError(b, err)
		sealed, err := key.Seal(payload, place)
		require.NoError(b, err)
		_, err = key.Open(sealed, place)
		require.NoError(b, err)
	}
}
