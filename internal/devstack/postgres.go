package devstack

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// postgresSettings are rewritten at every start; ALTER SYSTEM overrides them.
// Durability stays as in production: what a test shows about a crash must hold
// there. There is no Unix socket: a checkout's path is easily longer than the
// 107 bytes a socket's may have, and nothing here needs one.
const postgresSettings = `# Written at every start.
listen_addresses = '127.0.0.1'
port = %d
unix_socket_directories = ''
max_connections = 200
shared_buffers = 256MB
max_wal_size = 2GB
fsync = on
synchronous_commit = on
full_page_writes = on
timezone = 'UTC'
log_timezone = 'UTC'
log_line_prefix = '%%m [%%p] %%q%%a '
`

type postgres struct {
	bin  string // directory of initdb and postgres
	data string
	home string
	who  *account
	say  func(string, ...any)
	port int
}

func newPostgres(l layout, found binaries, who *account, say func(string, ...any)) (*postgres, error) {
	p := &postgres{bin: found.postgres, data: l.pgdata(), home: l.serviceDir(Postgres), who: who, say: say}
	return p, p.move()
}

func (p *postgres) move() (err error) {
	p.port, err = FreePort()
	return err
}

func (p *postgres) profile() profile {
	return profile{
		port:     p.port,
		stop:     syscall.SIGINT,  // "fast": end sessions, write a checkpoint
		crash:    syscall.SIGQUIT, // "immediate"
		patience: 2 * time.Minute,
		abandon:  "QUIT", // the postmaster ends its backends itself
	}
}

func (p *postgres) prepare(ctx context.Context) error {
	if err := p.who.mkdir(p.home); err != nil {
		return err
	}
	// The last file that initdb's caller writes tells a whole cluster from one
	// that an interrupted start left.
	done := filepath.Join(p.home, "initialised")
	if _, err := os.Stat(done); errors.Is(err, fs.ErrNotExist) {
		if err := p.initdb(ctx); err != nil {
			return err
		}
		if err := p.who.write(done, ""); err != nil {
			return err
		}
	}
	return p.who.write(filepath.Join(p.data, "devstack.conf"), fmt.Sprintf(postgresSettings, p.port))
}

func (p *postgres) initdb(ctx context.Context) error {
	p.say("postgres: initdb…")
	if err := os.RemoveAll(p.data); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, filepath.Join(p.bin, "initdb"),
		"--pgdata", p.data, "--username", "postgres", "--auth", "trust", "--no-sync",
		"--encoding", "UTF8", "--locale", "C", "--lc-ctype", utf8Locale())
	cmd.Dir, cmd.Env, cmd.SysProcAttr = p.home, p.environ(), p.who.attributes()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	config := filepath.Join(p.data, "postgresql.conf")
	before, err := os.ReadFile(config)
	if err != nil {
		return err
	}
	return p.who.write(config, string(before)+"\ninclude 'devstack.conf'\n")
}

// environ is as little of ours as will do: PGPORT, PGDATA and their like in the
// caller's environment must not reach the server.
func (p *postgres) environ() []string {
	return []string{"PATH=" + p.bin + ":" + os.Getenv("PATH"), "HOME=" + p.home, "LC_ALL=" + utf8Locale()}
}

func (p *postgres) commands() []*exec.Cmd {
	cmd := exec.Command(filepath.Join(p.bin, "postgres"), "-D", p.data)
	cmd.Dir, cmd.Env = p.data, p.environ()
	return []*exec.Cmd{cmd}
}

func (p *postgres) ready(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, URLs{postgres: loopback(p.port)}.Postgres("postgres"))
	if err != nil {
		return err
	}
	return conn.Close(ctx)
}

// createDatabases makes the databases that are not there yet.
func createDatabases(ctx context.Context, urls URLs, names []string) (err error) {
	if len(names) == 0 {
		return nil
	}
	conn, err := pgx.Connect(ctx, urls.Postgres("postgres"))
	if err != nil {
		return fmt.Errorf("create databases: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close(ctx)) }()
	for _, name := range names {
		var there bool
		const find = `SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)`
		if err := conn.QueryRow(ctx, find, name).Scan(&there); err != nil {
			return fmt.Errorf("look for database %s: %w", name, err)
		}
		if there {
			continue
		}
		if _, err := conn.Exec(ctx, `CREATE DATABASE `+pgx.Identifier{name}.Sanitize()); err != nil {
			return fmt.Errorf("create database %s: %w", name, err)
		}
	}
	return nil
}

// utf8Locale is a UTF-8 locale that every machine of its kind has, whatever
// the caller's is.
func utf8Locale() string {
	if runtime.GOOS == "linux" {
		return "C.UTF-8"
	}
	return "en_US.UTF-8"
}

// postgresVersion reads "postgres (PostgreSQL) 15.18 (Debian …)".
func postgresVersion(ctx context.Context, bin string) (string, error) {
	out, err := exec.CommandContext(ctx, filepath.Join(bin, "postgres"), "--version").Output()
	if err != nil {
		return "", err
	}
	fields := strings.Fields(string(out))
	if len(fields) < 3 {
		return "", fmt.Errorf("no version in %q", out)
	}
	return fields[2], nil
}
