package devstack

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// layout says where a stack keeps what.
type layout struct {
	// dir belongs to us: lock, record, logs.
	dir string
	// data belongs to the services. It is dir/data, or a directory below the
	// system's temporary one when the services' users cannot get to that.
	data string
}

func newLayout(dir string) (layout, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return layout{}, fmt.Errorf("find the stack's directory: %w", err)
	}
	if err := os.MkdirAll(filepath.Join(abs, "log"), 0o755); err != nil {
		return layout{}, fmt.Errorf("make the stack's directory: %w", err)
	}
	// Symbolic links are resolved because /proc names directories without them.
	if abs, err = filepath.EvalSymlinks(abs); err != nil {
		return layout{}, fmt.Errorf("find the stack's directory: %w", err)
	}
	return layout{dir: abs}, nil
}

func (l layout) lockFile() string         { return filepath.Join(l.dir, "lock") }
func (l layout) recordFile() string       { return filepath.Join(l.dir, "processes.json") }
func (l layout) logFile(k Kind) string    { return filepath.Join(l.dir, "log", string(k)+".log") }
func (l layout) serviceDir(k Kind) string { return filepath.Join(l.data, string(k)) }
func (l layout) pgdata() string           { return filepath.Join(l.serviceDir(Postgres), "data") }

// id tells this stack from others on the machine, in few characters.
func (l layout) id() string {
	sum := sha256.Sum256([]byte(l.dir))
	return hex.EncodeToString(sum[:4])
}

// locate chooses where the data goes. A checkout below a private home directory
// is out of reach for the users that PostgreSQL and RabbitMQ run as.
func (l *layout) locate(accounts map[Kind]*account) error {
	near := filepath.Join(l.dir, "data")
	far := filepath.Join(os.TempDir(), "devstack-"+l.id())
	var reasons []error
	for _, candidate := range []string{near, far} {
		err := reachable(candidate, accounts)
		if err == nil {
			l.data = candidate
			if candidate == near {
				return nil
			}
			note := filepath.Join(l.dir, "data-is-at")
			if err := os.WriteFile(note, []byte(candidate+"\n"), 0o644); err != nil {
				return fmt.Errorf("note where the data is: %w", err)
			}
			return nil
		}
		reasons = append(reasons, err)
	}
	return fmt.Errorf("find a directory for the services' data: %w", errors.Join(reasons...))
}

// reachable makes root and tries it as each of the users.
func reachable(root string, accounts map[Kind]*account) error {
	if err := os.MkdirAll(root, 0o711); err != nil {
		return err
	}
	info, err := os.Lstat(root)
	if err != nil {
		return err
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); !info.IsDir() || ok && int(stat.Uid) != os.Geteuid() {
		return fmt.Errorf("%s is not a directory of ours", root)
	}
	for kind, who := range accounts {
		dir := filepath.Join(root, string(kind))
		if err := who.mkdir(dir); err != nil {
			return err
		}
		try := exec.Command("/bin/sh", "-c", `cd "$1" && test -w .`, "sh", dir)
		try.Dir = "/"
		try.SysProcAttr = who.attributes()
		if err := try.Run(); err != nil {
			return fmt.Errorf("user %s cannot use %s", who.name, dir)
		}
	}
	return nil
}

// account is the user that a service runs as: our own, unless that is root,
// which PostgreSQL refuses and the others do not need.
type account struct {
	name       string
	credential *syscall.Credential
}

// accountFor picks the user for a service. Root hands over to the user that
// the service's package made.
func accountFor(kind Kind) (*account, error) {
	if os.Geteuid() != 0 {
		return &account{name: "uid " + strconv.Itoa(os.Geteuid())}, nil
	}
	name := string(kind)
	u, err := user.Lookup(name)
	if err != nil {
		if kind == Postgres {
			return nil, fmt.Errorf("PostgreSQL does not run as root and there is no user %q: %w", name, err)
		}
		return &account{name: "root"}, nil
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("read the uid of %s: %w", name, err)
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("read the gid of %s: %w", name, err)
	}
	return &account{
		name:       name,
		credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)},
	}, nil
}

// attributes start a process as the account, in a session of its own, so that
// the terminal's Ctrl-C reaches us alone and services stop in order.
func (a *account) attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setsid: true, Credential: a.credential}
}

// mkdir makes a private directory of the account's.
func (a *account) mkdir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return a.own(dir)
}

// write makes a file that the account may read and change.
func (a *account) write(path, content string) error {
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		return err
	}
	return a.own(path)
}

func (a *account) own(path string) error {
	if a.credential == nil {
		return nil
	}
	return os.Chown(path, int(a.credential.Uid), int(a.credential.Gid))
}
