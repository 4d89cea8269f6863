package privacy

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/prf"
)

// Wrapper seals data keys under a key-encryption key which it alone holds: a
// keyset in a file, or a key management service.
//
// Wrap names the key it used; Unwrap is given that name back. Both bind the
// result to associated. Unwrap fails with ErrUnreadable when the data is not
// what Wrap returned, and with another error, ErrUnknownKey among them, when it
// cannot tell.
type Wrapper interface {
	Wrap(key, associated []byte) (wrapped []byte, kek string, err error)
	Unwrap(wrapped []byte, kek string, associated []byte) (key []byte, err error)
}

// Keyring holds the secrets of a deployment: the key-encryption keys and the
// keys of digests. Losing it loses every customer; it needs its own backup,
// apart from the log's. It prints as a placeholder.
type Keyring struct {
	wrapper Wrapper
	digests *prf.Set
}

const redactedKeyring = "[keyring]"

// Format prints a placeholder whatever the verb.
func (r *Keyring) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redactedKeyring) }

// LogValue logs a placeholder.
func (r *Keyring) LogValue() slog.Value { return slog.StringValue(redactedKeyring) }

// DigestSize is how long a digest is, in bytes.
const DigestSize = 32

// Digest is a keyed hash (HMAC-SHA-256) of the parts, for finding equal values
// without keeping them. The domain keeps digests made for different ends
// apart, and lengths are hashed along, so that ("ab", "c") is not ("a", "bc").
func (r *Keyring) Digest(domain string, parts ...[]byte) [DigestSize]byte {
	size := binary.MaxVarintLen64 + len(domain)
	for _, p := range parts {
		size += binary.MaxVarintLen64 + len(p)
	}
	input := make([]byte, 0, size)
	input = appendSized(input, []byte(domain))
	for _, p := range parts {
		input = appendSized(input, p)
	}
	sum, err := r.digests.ComputePrimaryPRF(input, DigestSize)
	if err != nil { // only for a longer output than the function has, which loading has tried
		panic(fmt.Sprintf("digest: %v", err))
	}
	return [DigestSize]byte(sum)
}

func appendSized(b, part []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(part)))
	return append(b, part...)
}

// file is the keyring as it is kept on disk.
type file struct {
	Warning string          `json:"warning"`
	KEK     json.RawMessage `json:"key_encryption"` // a Tink AEAD keyset
	Digests json.RawMessage `json:"digests"`        // a Tink PRF keyset
}

const cleartextWarning = "Cleartext keys, for development and tests. Whoever reads this file reads all personal data."

// ErrExposed tells that a key file may be read or written by others.
var ErrExposed = errors.New("key file is open to others, want mode 0600")

// maxFileSize is far above any keyring: a wrong path must not fill memory.
const maxFileSize = 1 << 20

// LoadKeyring reads a file made by InitKeyring. It refuses a file that others
// than its owner, and its group for reading, may touch.
func LoadKeyring(path string) (*Keyring, error) {
	r, err := loadKeyring(path)
	if err != nil {
		return nil, fmt.Errorf("load keyring %s: %w", path, err)
	}
	return r, nil
}

func loadKeyring(path string) (*Keyring, error) {
	keys, digests, err := readKeyring(path)
	if err != nil {
		return nil, err
	}
	w := &fileWrapper{path: path}
	w.keys.Store(keys)
	w.looked.Store(time.Now().UnixNano())
	r, err := NewKeyring(w, digests)
	if err != nil {
		return nil, err
	}
	mark := r.Digest("keyring file")
	w.read = func() (*keySet, error) {
		keys, digests, err := readKeyring(path)
		if err != nil {
			return nil, err
		}
		other, err := NewKeyring(w, digests)
		if err != nil {
			return nil, err
		}
		// With other digests it is another deployment's, and every claim is unknown to it.
		if other.Digest("keyring file") != mark {
			return nil, errors.New("the file was replaced by another keyring")
		}
		return keys, nil
	}
	return r, nil
}

// readKeyring reads both keysets of a file, and what the file is.
func readKeyring(path string) (*keySet, *keyset.Handle, error) {
	content, info, err := readFile(path)
	if err != nil {
		return nil, nil, err
	}
	defer clear(content)
	_, kek, digests, err := parseFile(content)
	if err != nil {
		return nil, nil, err
	}
	keys, err := newKeySet(kek, info)
	if err != nil {
		return nil, nil, fmt.Errorf("key_encryption: %w", err)
	}
	return keys, digests, nil
}

func readFile(path string) ([]byte, os.FileInfo, error) {
	handle, err := os.Open(path) //nolint:gosec // the operator's own configuration
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = handle.Close() }()
	info, err := handle.Stat()
	if err != nil {
		return nil, nil, err
	}
	// A group may read: that is how an orchestrator mounts secrets for a non-root user.
	if info.Mode().Perm()&0o037 != 0 {
		return nil, nil, ErrExposed
	}
	content, err := io.ReadAll(io.LimitReader(handle, maxFileSize))
	return content, info, err
}

func parseFile(content []byte) (f file, kek, digests *keyset.Handle, err error) {
	if err := json.Unmarshal(content, &f); err != nil {
		return f, nil, nil, errors.New("not a keyring") // the cause may quote it
	}
	if kek, err = readKeyset(f.KEK); err != nil {
		return f, nil, nil, fmt.Errorf("key_encryption: %w", err)
	}
	if digests, err = readKeyset(f.Digests); err != nil {
		return f, nil, nil, fmt.Errorf("digests: %w", err)
	}
	return f, kek, digests, nil
}

// NewKeyring puts a keyring together from any wrapper and a Tink PRF keyset
// for digests, which must give the same answers for ever.
func NewKeyring(w Wrapper, digests *keyset.Handle) (*Keyring, error) {
	set, err := prf.NewPRFSet(digests)
	if err != nil {
		return nil, fmt.Errorf("digests: %w", err)
	}
	if _, err := set.ComputePrimaryPRF(nil, DigestSize); err != nil {
		return nil, fmt.Errorf("digests: %w", err)
	}
	return &Keyring{wrapper: w, digests: set}, nil
}

// InitKeyring makes a new keyring file, mode 0600. It never replaces one: that
// would lose every customer, so an existing file is fs.ErrExist.
func InitKeyring(path string) error {
	if err := initKeyring(path); err != nil {
		return fmt.Errorf("init keyring %s: %w", path, err)
	}
	return nil
}

func initKeyring(path string) error {
	var f file
	f.Warning = cleartextWarning
	kek, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	if err != nil {
		return err
	}
	digests, err := keyset.NewHandle(prf.HMACSHA256PRFKeyTemplate())
	if err != nil {
		return err
	}
	if f.KEK, err = writeKeyset(kek); err != nil {
		return err
	}
	if f.Digests, err = writeKeyset(digests); err != nil {
		return err
	}
	content, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return err
	}
	// A link appears whole or not at all, and only where there is nothing yet.
	temporary, err := os.CreateTemp(filepath.Dir(path), ".keyring-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(temporary.Name()) }()
	_, err = temporary.Write(append(content, '\n'))
	if err = errors.Join(err, temporary.Sync(), temporary.Close()); err != nil {
		return err
	}
	if err := os.Link(temporary.Name(), path); err != nil {
		return err
	}
	return syncDirectory(filepath.Dir(path))
}

// syncDirectory makes the names in a directory outlive a loss of power: a
// keyring that was used and then is gone has lost those it was used for.
func syncDirectory(path string) error {
	directory, err := os.Open(path) //nolint:gosec // the operator's own configuration
	if err != nil {
		return err
	}
	return errors.Join(directory.Sync(), directory.Close())
}

func readKeyset(raw json.RawMessage) (*keyset.Handle, error) {
	handle, err := insecurecleartextkeyset.Read(keyset.NewJSONReader(bytes.NewReader(raw)))
	if err != nil {
		return nil, errors.New("not a keyset") // the cause may quote it
	}
	return handle, nil
}

func writeKeyset(handle *keyset.Handle) (json.RawMessage, error) {
	var out bytes.Buffer
	if err := insecurecleartextkeyset.Write(handle, keyset.NewJSONWriter(&out)); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}
