package privacy

import (
	"fmt"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"
)

// fileWrapper wraps under the primary key of a Tink keyset and unwraps under
// any of its keys, so that adding a new primary rotates without a rewrite.
type fileWrapper struct {
	aead tink.AEAD
	name string // of the primary
}

func newFileWrapper(handle *keyset.Handle) (*fileWrapper, error) {
	a, err := aead.New(handle)
	if err != nil {
		return nil, err
	}
	return &fileWrapper{aead: a, name: fmt.Sprintf("file:%d", handle.KeysetInfo().GetPrimaryKeyId())}, nil
}

func (w *fileWrapper) Wrap(key, associated []byte) ([]byte, string, error) {
	wrapped, err := w.aead.Encrypt(key, associated)
	return wrapped, w.name, err
}

// Unwrap needs no name: a Tink ciphertext begins with its key's id.
func (w *fileWrapper) Unwrap(wrapped []byte, _ string, associated []byte) ([]byte, error) {
	key, err := w.aead.Decrypt(wrapped, associated)
	if err != nil {
		return nil, ErrUnreadable // the cause says no more
	}
	return key, nil
}
