package privacy_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/internal/privacy"
)

// A process that runs meets a key it has never seen, and one that wraps moves
// to the new key by itself; nobody restarts.
func TestAProcessThatRunsFollowsARotation(t *testing.T) {
	t.Parallel()
	running, path := newKeyring(t)
	id := uuid.Must(uuid.NewV7())
	key, before, err := running.NewSubjectKey(id)
	require.NoError(t, err)
	sealed, err := key.Seal([]byte("ada"), nil)
	require.NoError(t, err)

	added, err := privacy.AddKEK(path)
	require.NoError(t, err)
	keys, err := privacy.ListKEKs(path)
	require.NoError(t, err)
	require.Equal(t, []privacy.KEK{{Name: before.KEK, Primary: true}, {Name: added}}, keys)
	standby, ok := privacy.Standby(keys)
	require.True(t, ok)
	require.Equal(t, added, standby)
	require.NoError(t, privacy.PromoteKEK(path, added))

	operator, err := privacy.LoadKeyring(path)
	require.NoError(t, err)
	primary, err := operator.Primary()
	require.NoError(t, err)
	require.Equal(t, added, primary)
	after, err := operator.Rewrap(id, before)
	require.NoError(t, err)
	require.Equal(t, added, after.KEK)
	require.NotEqual(t, before.ID(), after.ID())

	for _, w := range []string{before.KEK, after.KEK} {
		wrapped := before
		if w == after.KEK {
			wrapped = after
		}
		again, err := running.Unwrap(id, wrapped)
		require.NoError(t, err, w)
		plain, err := again.Open(sealed, nil)
		require.NoError(t, err)
		require.Equal(t, "ada", string(plain))
	}
	_, wrapped, err := running.NewSubjectKey(id)
	require.NoError(t, err)
	require.Equal(t, added, wrapped.KEK, "having read the file again, it wraps under the new key")

	require.ErrorIs(t, privacy.DropKEKs(path, added), privacy.ErrKEK, "the primary stays")
	require.ErrorIs(t, privacy.DropKEKs(path, "file:1"), privacy.ErrKEK)
	require.NoError(t, privacy.DropKEKs(path, before.KEK))
	late, err := privacy.LoadKeyring(path)
	require.NoError(t, err)
	_, err = late.Unwrap(id, before)
	require.ErrorIs(t, err, privacy.ErrUnknownKey)
	require.NotErrorIs(t, err, privacy.ErrUnreadable, "it may be a matter of time")
	_, err = late.Unwrap(id, after)
	require.NoError(t, err)
	require.Equal(t, late.Digest("email", []byte("x")), running.Digest("email", []byte("x")), "digests are no part of it")
}

func TestAProcessKeepsItsKeysWhenTheFileIsBad(t *testing.T) {
	t.Parallel()
	ring, path := newKeyring(t)
	_, foreign := newKeyring(t)
	id := uuid.Must(uuid.NewV7())
	_, wrapped, err := ring.NewSubjectKey(id)
	require.NoError(t, err)
	stranger, err := privacy.LoadKeyring(foreign)
	require.NoError(t, err)
	_, unknown, err := stranger.NewSubjectKey(id)
	require.NoError(t, err)
	other, err := os.ReadFile(foreign)
	require.NoError(t, err)
	for name, content := range map[string]string{"empty": "", "half": `{"key_encryption":`, "another deployment's": string(other)} {
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		_, err = ring.Unwrap(id, unknown)
		require.ErrorIs(t, err, privacy.ErrUnknownKey, name)
		_, err = ring.Unwrap(id, wrapped)
		require.NoError(t, err, name)
	}
	require.NoError(t, os.Remove(path))
	_, err = ring.Unwrap(id, unknown)
	require.ErrorIs(t, err, fs.ErrNotExist)
	_, _, err = ring.NewSubjectKey(id)
	require.NoError(t, err)
}

func TestReplacingAKeyringFile(t *testing.T) {
	t.Parallel()
	_, path := newKeyring(t)
	require.NoError(t, os.Chmod(path, 0o640))
	link := filepath.Join(t.TempDir(), "keys.json")
	require.NoError(t, os.Symlink(path, link))
	var editors sync.WaitGroup
	for range 8 {
		editors.Go(func() {
			_, err := privacy.AddKEK(link)
			if err != nil {
				t.Error(err)
			}
		})
	}
	editors.Wait()
	keys, err := privacy.ListKEKs(path)
	require.NoError(t, err)
	require.Len(t, keys, 9, "no edit is lost")
	info, err := os.Lstat(path)
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o640), info.Mode())
	entries, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, entries, 1)
	info, err = os.Lstat(link)
	require.NoError(t, err)
	require.NotZero(t, info.Mode()&fs.ModeSymlink, "a link stays one")
}
