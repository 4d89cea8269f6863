package devstack

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

type redis struct {
	server string
	dir    string
	who    *account
	port   int
}

func newRedis(l layout, found binaries, who *account) (*redis, error) {
	r := &redis{server: found.redis, dir: l.serviceDir(Redis), who: who}
	return r, r.move()
}

func (r *redis) move() (err error) {
	r.port, err = FreePort()
	return err
}

func (r *redis) profile() profile {
	return profile{port: r.port, stop: syscall.SIGTERM, patience: 30 * time.Second}
}

func (r *redis) prepare(context.Context) error { return r.who.mkdir(r.dir) }

// commands keep nothing on disk: the product must do without whatever Redis
// forgets, so here it forgets everything whenever it ends.
func (r *redis) commands() []*exec.Cmd {
	cmd := exec.Command(r.server,
		"--port", strconv.Itoa(r.port), "--bind", "127.0.0.1", "--dir", r.dir,
		"--save", "", "--appendonly", "no", "--daemonize", "no")
	cmd.Dir = r.dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + r.dir, "LC_ALL=" + utf8Locale()}
	return []*exec.Cmd{cmd}
}

func (r *redis) ready(ctx context.Context) error {
	reply, err := exchange(ctx, r.port, "PING\r\n", len("+PONG\r\n"))
	if err != nil {
		return err
	}
	if reply != "+PONG\r\n" {
		return fmt.Errorf("redis answers %q", reply)
	}
	return nil
}

// exchange sends a greeting and reads the first size bytes of the answer.
func exchange(ctx context.Context, port int, greeting string, size int) (_ string, err error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", loopback(port))
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return "", err
		}
	}
	if _, err := conn.Write([]byte(greeting)); err != nil {
		return "", err
	}
	answer, err := bufio.NewReader(conn).Peek(size)
	return string(answer), err
}

// redisVersion reads "Redis server v=7.0.15 sha=…".
func redisVersion(ctx context.Context, server string) (string, error) {
	out, err := exec.CommandContext(ctx, server, "--version").Output()
	if err != nil {
		return "", err
	}
	for field := range strings.FieldsSeq(string(out)) {
		if version, ok := strings.CutPrefix(field, "v="); ok {
			return version, nil
		}
	}
	return "", fmt.Errorf("no version in %q", filepath.Base(string(out)))
}
