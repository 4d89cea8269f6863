package privacy

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/keyset"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
)

// KEK is one key-encryption key of a keyring file.
type KEK struct {
	Name    string // as the log names what is wrapped under it
	Primary bool   // wraps what is new; the others only unwrap
}

// ErrKEK tells that a keyring file has no such key, or that it is the primary.
var ErrKEK = errors.New("no such key-encryption key, or the primary")

// ListKEKs reads the keys of a keyring file, the oldest first.
func ListKEKs(path string) (keys []KEK, err error) {
	content, _, err := readFile(path)
	if err != nil {
		return nil, fmt.Errorf("list keys of %s: %w", path, err)
	}
	defer clear(content)
	_, kek, _, err := parseFile(content)
	if err != nil {
		return nil, fmt.Errorf("list keys of %s: %w", path, err)
	}
	return keksOf(kek), nil
}

func keksOf(kek *keyset.Handle) (keys []KEK) {
	info := kek.KeysetInfo()
	for _, k := range info.GetKeyInfo() {
		keys = append(keys, KEK{Name: kekName(k.GetKeyId()), Primary: k.GetKeyId() == info.GetPrimaryKeyId()})
	}
	return keys
}

// AddKEK adds a key that is not used yet to a keyring file and names it. Once
// every process has the file, PromoteKEK makes it the one that wraps.
func AddKEK(path string) (name string, err error) {
	err = editFile(path, func(m *keyset.Manager, _ map[string]uint32) error {
		id, err := m.Add(aead.AES256GCMKeyTemplate())
		name = kekName(id)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("add a key to %s: %w", path, err)
	}
	return name, nil
}

// PromoteKEK makes a key of a keyring file its primary.
func PromoteKEK(path, name string) error {
	err := editFile(path, func(m *keyset.Manager, ids map[string]uint32) error {
		id, ok := ids[name]
		if !ok {
			return ErrKEK
		}
		return m.SetPrimary(id)
	})
	if err != nil {
		return fmt.Errorf("make %s the primary key of %s: %w", name, path, err)
	}
	return nil
}

// DropKEKs takes keys out of a keyring file. What is still wrapped under one is
// lost with it, so whoever calls this has made sure that nothing is or will be.
// The primary stays: ErrKEK.
func DropKEKs(path string, names ...string) error {
	err := editFile(path, func(m *keyset.Manager, ids map[string]uint32) error {
		for _, name := range names {
			id, ok := ids[name]
			if !ok {
				return ErrKEK
			}
			if err := m.Delete(id); err != nil {
				return ErrKEK
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("drop keys from %s: %w", path, err)
	}
	return nil
}

// editFile replaces a keyring file by what edit makes of it: in one step, with
// the same mode and owner, and one editor at a time.
func editFile(path string, edit func(m *keyset.Manager, ids map[string]uint32) error) error {
	// A link stays a link: what it leads to is replaced.
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return err
	}
	unlock, err := lockFile(path)
	if err != nil {
		return err
	}
	defer unlock()
	content, info, err := readFile(path)
	if err != nil {
		return err
	}
	defer clear(content)
	f, kek, _, err := parseFile(content)
	if err != nil {
		return err
	}
	ids := make(map[string]uint32)
	for _, k := range kek.KeysetInfo().GetKeyInfo() {
		ids[kekName(k.GetKeyId())] = k.GetKeyId()
	}
	m := keyset.NewManagerFromHandle(kek)
	if err := edit(m, ids); err != nil {
		return err
	}
	if kek, err = m.Handle(); err != nil {
		return err
	}
	if f.KEK, err = writeKeyset(kek); err != nil {
		return err
	}
	next, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return err
	}
	defer clear(next)
	return replaceFile(path, append(next, '\n'), info)
}

// lockFile excludes other editors. The lock is on the file and not beside it,
// so whoever waited for one that was replaced meanwhile waits for the next.
func lockFile(path string) (unlock func(), err error) {
	for {
		handle, err := os.Open(path) //nolint:gosec // the operator's own configuration
		if err != nil {
			return nil, err
		}
		if err := syscall.Flock(int(handle.Fd()), syscall.LOCK_EX); err != nil { //nolint:gosec // a descriptor
			_ = handle.Close()
			return nil, fmt.Errorf("lock: %w", err)
		}
		locked, lockedErr := handle.Stat()
		now, nowErr := os.Stat(path)
		if err := errors.Join(lockedErr, nowErr); err != nil {
			_ = handle.Close()
			return nil, err
		}
		if os.SameFile(locked, now) {
			return func() { _ = handle.Close() }, nil
		}
		_ = handle.Close()
	}
}

// replaceFile puts content in the place of a file: readers meet the old one or
// the new one, whole, and after a crash too.
func replaceFile(path string, content []byte, was os.FileInfo) error {
	dir := filepath.Dir(path)
	temporary, err := os.CreateTemp(dir, ".keyring-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(temporary.Name()) }()
	_, err = temporary.Write(content)
	if owner, ok := was.Sys().(*syscall.Stat_t); ok && err == nil {
		// Another owner could not read it any more, so it is not put in place then.
		err = temporary.Chown(int(owner.Uid), int(owner.Gid))
	}
	if err = errors.Join(err, temporary.Chmod(was.Mode().Perm()), temporary.Sync(), temporary.Close()); err != nil {
		return err
	}
	if err := os.Rename(temporary.Name(), path); err != nil {
		return err
	}
	return syncDirectory(dir)
}

// Primary names the key-encryption key that new data keys are wrapped under.
func (r *Keyring) Primary() (string, error) {
	_, name, err := r.wrapper.Wrap(nil, nil)
	if err != nil {
		return "", fmt.Errorf("ask for the primary key: %w", err)
	}
	return name, nil
}

// Rewrap wraps a customer's data key under the primary key. The data key stays
// the same, and so does everything sealed under it. It fails as Unwrap does.
func (r *Keyring) Rewrap(id customer.ID, w eventlog.WrappedKey) (eventlog.WrappedKey, error) {
	associated := wrapAssociated(id)
	key, err := r.wrapper.Unwrap(w.Wrapped, w.KEK, associated)
	if err != nil {
		return eventlog.WrappedKey{}, fmt.Errorf("rewrap data key of %s: %w", id, err)
	}
	defer clear(key)
	wrapped, kek, err := r.wrapper.Wrap(key, associated)
	if err != nil {
		return eventlog.WrappedKey{}, fmt.Errorf("rewrap data key of %s: %w", id, err)
	}
	return eventlog.WrappedKey{Wrapped: wrapped, KEK: kek}, nil
}

// Standby is the newest key that is not the primary yet and follows it in the
// file: what PromoteKEK is for. Keys before the primary are its predecessors.
func Standby(keys []KEK) (name string, ok bool) {
	primary := slices.IndexFunc(keys, func(k KEK) bool { return k.Primary })
	if primary < 0 || primary == len(keys)-1 {
		return "", false
	}
	return keys[len(keys)-1].Name, true
}
