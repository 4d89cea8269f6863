package privacy

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
)

// dataKeySize is AES-256's.
const dataKeySize = 32

var (
	// ErrUnreadable tells that sealed data or a wrapped key does not open: the
	// key is another one, the data was changed, or it was sealed for another place.
	ErrUnreadable = errors.New("sealed data cannot be opened")
	// ErrNoKey tells that the zero SubjectKey was used.
	ErrNoKey = errors.New("no subject key")
)

// SubjectKey seals and opens one customer's personal data with AES-256-GCM
// under a random nonce. It may be copied, compared to nothing and used by many
// goroutines; it prints as a placeholder. The caller caches it, and forgets it
// when the customer is erased.
//
// Random nonces are safe for 2³² messages under a key; a customer has as many
// messages as events.
type SubjectKey struct{ aead cipher.AEAD }

func newSubjectKey(key []byte) (SubjectKey, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return SubjectKey{}, fmt.Errorf("data key: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return SubjectKey{}, fmt.Errorf("data key: %w", err)
	}
	return SubjectKey{aead: aead}, nil
}

// IsZero tells that k is no key at all.
func (k SubjectKey) IsZero() bool { return k.aead == nil }

// Seal encrypts plaintext and binds it to associated, which must be given
// again to open it. It fails only on the zero key.
func (k SubjectKey) Seal(plaintext, associated []byte) ([]byte, error) {
	if k.IsZero() {
		return nil, ErrNoKey
	}
	return k.aead.Seal(nil, nil, plaintext, associated), nil
}

// Open decrypts what Seal returned, or fails with ErrUnreadable.
func (k SubjectKey) Open(sealed, associated []byte) ([]byte, error) {
	if k.IsZero() {
		return nil, ErrNoKey
	}
	plaintext, err := k.aead.Open(nil, nil, sealed, associated)
	if err != nil {
		return nil, ErrUnreadable // the cause says no more
	}
	return plaintext, nil
}

const redacted = "[subject key]"

// Format prints a placeholder whatever the verb, so that no accident prints a key.
func (k SubjectKey) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// LogValue logs a placeholder.
func (k SubjectKey) LogValue() slog.Value { return slog.StringValue(redacted) }

// NewSubjectKey makes a customer's data key, and the wrapped form to store.
func (r *Keyring) NewSubjectKey(id customer.ID) (SubjectKey, eventlog.WrappedKey, error) {
	key := make([]byte, dataKeySize)
	_, _ = rand.Read(key) // never fails
	defer clear(key)
	wrapped, kek, err := r.wrapper.Wrap(key, wrapAssociated(id))
	if err != nil {
		return SubjectKey{}, eventlog.WrappedKey{}, fmt.Errorf("wrap data key of %s: %w", id, err)
	}
	subject, err := newSubjectKey(key)
	if err != nil {
		return SubjectKey{}, eventlog.WrappedKey{}, err
	}
	return subject, eventlog.WrappedKey{Wrapped: wrapped, KEK: kek}, nil
}

// Unwrap returns the data key that was wrapped for this very customer. A key
// wrapped for another one fails with ErrUnreadable.
func (r *Keyring) Unwrap(id customer.ID, w eventlog.WrappedKey) (SubjectKey, error) {
	key, err := r.wrapper.Unwrap(w.Wrapped, w.KEK, wrapAssociated(id))
	if err != nil {
		return SubjectKey{}, fmt.Errorf("unwrap data key of %s: %w", id, err)
	}
	defer clear(key)
	if len(key) != dataKeySize {
		return SubjectKey{}, fmt.Errorf("unwrap data key of %s: %w", id, ErrUnreadable)
	}
	return newSubjectKey(key)
}

// wrapAssociated binds a wrapped key to its customer, so that swapping two
// rows of the key table shows.
func wrapAssociated(id customer.ID) []byte {
	return append([]byte("customer data key\x00"), id[:]...)
}
