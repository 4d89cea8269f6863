package devstack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// rabbitmqSettings keep the node to loopback and to itself. A smaller log of
// the quorum queues saves half a gigabyte of memory and disk a node.
const rabbitmqSettings = `listeners.tcp.local = 127.0.0.1:%d
loopback_users = none
log.console = true
log.console.level = info
log.file = false
raft.wal_max_size_bytes = 67108864
`

// rabbitmq is a node with everything of its own: name, Erlang port mapper,
// distribution port, cookie, and no plugins.
type rabbitmq struct {
	sbin string // directory of rabbitmq-server and rabbitmqctl
	epmd string
	dir  string
	node string
	who  *account

	port, distPort, epmdPort int
}

func newRabbitMQ(l layout, found binaries, who *account) (*rabbitmq, error) {
	r := &rabbitmq{
		sbin: found.rabbitmq,
		epmd: found.epmd,
		dir:  l.serviceDir(RabbitMQ),
		node: "devstack-" + l.id() + "@localhost",
		who:  who,
	}
	return r, r.move()
}

func (r *rabbitmq) move() error {
	var errs [3]error
	r.port, errs[0] = FreePort()
	r.distPort, errs[1] = FreePort()
	r.epmdPort, errs[2] = FreePort()
	return errors.Join(errs[:]...)
}

func (r *rabbitmq) profile() profile {
	return profile{port: r.port, stop: syscall.SIGTERM, patience: 2 * time.Minute}
}

func (r *rabbitmq) prepare(context.Context) error {
	if err := r.who.mkdir(r.dir); err != nil {
		return err
	}
	files := map[string]string{
		"rabbitmq.conf":   fmt.Sprintf(rabbitmqSettings, r.port),
		"enabled_plugins": "[].\n",
		"env.conf":        "", // in place of the system's /etc/rabbitmq/rabbitmq-env.conf
	}
	for name, content := range files {
		if err := r.who.write(filepath.Join(r.dir, name), content); err != nil {
			return err
		}
	}
	return nil
}

// commands run the port mapper as a process of ours: one that the node starts
// by itself is a daemon that outlives it.
func (r *rabbitmq) commands() []*exec.Cmd {
	epmd := exec.Command(r.epmd, "-port", strconv.Itoa(r.epmdPort), "-address", "127.0.0.1")
	server := exec.Command(filepath.Join(r.sbin, "rabbitmq-server"))
	for _, cmd := range []*exec.Cmd{epmd, server} {
		cmd.Dir, cmd.Env = r.dir, r.environ()
	}
	return []*exec.Cmd{epmd, server}
}

// environ leaves out the caller's RABBITMQ_… and ERL_… variables.
func (r *rabbitmq) environ() []string {
	path := strings.Join([]string{r.sbin, filepath.Dir(r.epmd), os.Getenv("PATH"), "/usr/sbin:/usr/bin:/sbin:/bin"}, ":")
	return []string{
		"PATH=" + path,
		"HOME=" + r.dir, // for the cookie
		"LC_ALL=" + utf8Locale(),
		"ERL_EPMD_PORT=" + strconv.Itoa(r.epmdPort),
		"ERL_EPMD_ADDRESS=127.0.0.1",
		"ERL_CRASH_DUMP_BYTES=0",
		"RABBITMQ_NODENAME=" + r.node,
		"RABBITMQ_DIST_PORT=" + strconv.Itoa(r.distPort),
		"RABBITMQ_MNESIA_BASE=" + filepath.Join(r.dir, "mnesia"),
		"RABBITMQ_LOG_BASE=" + filepath.Join(r.dir, "log"),
		"RABBITMQ_CONFIG_FILE=" + filepath.Join(r.dir, "rabbitmq.conf"),
		"RABBITMQ_CONF_ENV_FILE=" + filepath.Join(r.dir, "env.conf"),
		"RABBITMQ_ENABLED_PLUGINS_FILE=" + filepath.Join(r.dir, "enabled_plugins"),
		"RABBITMQ_PID_FILE=" + filepath.Join(r.dir, "pid"),
		// An idle node must not spin on one of a developer's cores.
		"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=-kernel inet_dist_use_interface {127,0,0,1} +sbwt none +sbwtdcpu none +sbwtdio none",
	}
}

// ready greets the node as AMQP 0-9-1 has it and waits for the first byte of
// its connection.start, a method frame. The listener opens last of all.
func (r *rabbitmq) ready(ctx context.Context) error {
	reply, err := exchange(ctx, r.port, "AMQP\x00\x00\x09\x01", 1)
	if err != nil {
		return err
	}
	if reply != "\x01" {
		return fmt.Errorf("rabbitmq answers %q", reply)
	}
	return nil
}

// Rabbitmqctl runs rabbitmqctl against the stack's node and returns what it
// prints. It takes a second or two.
func (s *Stack) Rabbitmqctl(ctx context.Context, args ...string) (string, error) {
	service := s.RabbitMQ()
	if service == nil {
		return "", errors.New("rabbitmqctl: the stack has no RabbitMQ")
	}
	r, ok := service.driver.(*rabbitmq)
	if !ok {
		return "", errors.New("rabbitmqctl: not a RabbitMQ")
	}
	cmd := exec.CommandContext(ctx, filepath.Join(r.sbin, "rabbitmqctl"), append([]string{"--quiet"}, args...)...)
	cmd.Dir, cmd.Env, cmd.SysProcAttr = r.dir, append(r.environ(), s.markEntry()), r.who.attributes()
	out, err := cmd.CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("rabbitmqctl %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return string(out), nil
}

// rabbitmqVersion reads the version from the name of a directory or of a
// plugin beside the scripts, because asking rabbitmqctl starts an Erlang VM.
func rabbitmqVersion(ctx context.Context, sbin string) (string, error) {
	for _, pattern := range []string{"../lib/rabbitmq_server-*", "../plugins/rabbit-*"} {
		matches, err := filepath.Glob(filepath.Join(sbin, pattern))
		if err != nil || len(matches) == 0 {
			continue
		}
		_, version, _ := strings.Cut(filepath.Base(matches[len(matches)-1]), "-")
		return strings.TrimSuffix(version, ".ez"), nil
	}
	out, err := exec.CommandContext(ctx, filepath.Join(sbin, "rabbitmqctl"), "version").Output()
	if err != nil {
		return "", err
	}
	return strings.TrimSpace(string(out)), nil
}
