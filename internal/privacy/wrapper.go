package privacy

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"
)

// ErrUnknownKey tells that a data key is wrapped under a key-encryption key
// that this keyring does not have. It may have it later: the file that it was
// loaded from is looked at again whenever this would be the answer.
var ErrUnknownKey = errors.New("key-encryption key is not in the keyring")

// fileStale is how long a changed file may go unnoticed by who wraps new keys.
const fileStale = time.Second

// fileWrapper wraps under the primary key of a Tink keyset and unwraps under
// any of its keys. Loaded from a file, it notices when the file is replaced, so
// that rotating its keys restarts nothing.
type fileWrapper struct {
	keys atomic.Pointer[keySet]

	read   func() (*keySet, error) // nil: there is no file to look at
	path   string
	looked atomic.Int64 // when the file was last looked at, in ns
	mu     sync.Mutex   // one look at a time
}

// keySet is the keys of a file as it was at one moment.
type keySet struct {
	aead    tink.AEAD
	primary string
	has     map[uint32]struct{}
	file    os.FileInfo // nil without a file
}

func newKeySet(handle *keyset.Handle, file os.FileInfo) (*keySet, error) {
	a, err := aead.New(handle)
	if err != nil {
		return nil, err
	}
	info := handle.KeysetInfo()
	s := &keySet{aead: a, primary: kekName(info.GetPrimaryKeyId()), has: make(map[uint32]struct{}), file: file}
	for _, k := range info.GetKeyInfo() {
		s.has[k.GetKeyId()] = struct{}{}
	}
	return s, nil
}

// kekName is what a key of a keyring file is called in the log.
func kekName(id uint32) string { return fmt.Sprintf("file:%d", id) }

// tinkPrefix is how a ciphertext of Tink begins, before its key's id.
const tinkPrefix = 0x01

// keyOf reads which key made a ciphertext.
func keyOf(wrapped []byte) (uint32, bool) {
	if len(wrapped) < 5 || wrapped[0] != tinkPrefix {
		return 0, false
	}
	return binary.BigEndian.Uint32(wrapped[1:5]), true
}

func (w *fileWrapper) Wrap(key, associated []byte) ([]byte, string, error) {
	if time.Now().UnixNano()-w.looked.Load() > int64(fileStale) {
		// A file that cannot be read takes nothing away: the keys known still hold,
		// and the log refuses one that was retired meanwhile.
		_ = w.look()
	}
	keys := w.keys.Load()
	wrapped, err := keys.aead.Encrypt(key, associated)
	return wrapped, keys.primary, err
}

// Unwrap takes the key's name from the ciphertext. That the log names the same
// one tells a key that is not known yet from a damaged row.
func (w *fileWrapper) Unwrap(wrapped []byte, kek string, associated []byte) ([]byte, error) {
	id, ok := keyOf(wrapped)
	if !ok || kekName(id) != kek {
		return nil, ErrUnreadable
	}
	if _, known := w.keys.Load().has[id]; !known {
		if err := w.look(); err != nil {
			return nil, fmt.Errorf("%w: %s; looking for it: %w", ErrUnknownKey, kek, err)
		}
		if _, known := w.keys.Load().has[id]; !known {
			return nil, fmt.Errorf("%w: %s", ErrUnknownKey, kek)
		}
	}
	key, err := w.keys.Load().aead.Decrypt(wrapped, associated)
	if err != nil {
		return nil, ErrUnreadable // the cause says no more
	}
	return key, nil
}

// look reads the file again if it is another one than was read last.
func (w *fileWrapper) look() error {
	if w.read == nil {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	defer func() { w.looked.Store(time.Now().UnixNano()) }()
	now, err := os.Stat(w.path)
	if err != nil {
		return err
	}
	if was := w.keys.Load().file; os.SameFile(was, now) && was.ModTime().Equal(now.ModTime()) && was.Size() == now.Size() {
		return nil
	}
	keys, err := w.read()
	if err != nil {
		return err
	}
	w.keys.Store(keys)
	return nil
}
