package devstack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// provide finds the programs that a stack needs and installs those that are
// missing, if it may.
func provide(ctx context.Context, cfg Config, say func(string, ...any)) (binaries, error) {
	found, err := find(ctx, cfg.Services)
	var missing *missingError
	if !errors.As(err, &missing) {
		return found, err
	}
	if !cfg.Install {
		return found, fmt.Errorf("%w\n%s", err, advice(missing.kinds))
	}
	began := time.Now()
	if err := install(ctx, missing.kinds, say); err != nil {
		return found, fmt.Errorf("%w\n%s", errors.Join(missing, err), advice(missing.kinds))
	}
	if found, err = find(ctx, cfg.Services); err != nil {
		return found, fmt.Errorf("after installing: %w\n%s", err, advice(missing.kinds))
	}
	say("install: done in %.0fs", time.Since(began).Seconds())
	return found, nil
}

func install(ctx context.Context, kinds []Kind, say func(string, ...any)) error {
	if _, err := exec.LookPath("apt-get"); err == nil {
		return aptInstall(ctx, kinds, say)
	}
	if brew, err := exec.LookPath("brew"); err == nil {
		packages := packageNames(kinds, homebrewPackages)
		say("install: brew install %s", strings.Join(packages, " "))
		return run(exec.CommandContext(ctx, brew, append([]string{"install", "--quiet"}, packages...)...))
	}
	return errors.New("this machine has neither apt-get nor brew to install it with")
}

// What the services are called in Debian and in Homebrew.
var (
	debianPackages   = map[Kind]string{Postgres: "postgresql", RabbitMQ: "rabbitmq-server", Redis: "redis-server"}
	homebrewPackages = map[Kind]string{Postgres: "postgresql@17", RabbitMQ: "rabbitmq", Redis: "redis"}
)

// aptInstall installs packages without the system-wide servers that they bring:
// those are neither started nor enabled.
func aptInstall(ctx context.Context, kinds []Kind, say func(string, ...any)) error {
	asRoot, err := rootCommand(ctx)
	if err != nil {
		return err
	}
	restore, err := denyServiceStart(ctx, asRoot)
	if err != nil {
		return err
	}
	packages := packageNames(kinds, debianPackages)
	services := slices.Concat(packages, companions(kinds))
	say("install: apt-get update…")
	// An update that fails in part is no reason to stop: what counts is whether
	// the packages can be had.
	updated := run(asRoot("apt-get", "-qq", "update"))
	say("install: apt-get install %s… (about a minute)", strings.Join(packages, " "))
	err = run(asRoot("apt-get", append([]string{
		"-qq", "-y", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=300", "install",
	}, packages...)...))
	if err != nil {
		err = errors.Join(updated, err)
	} else {
		disable(asRoot, services, say)
	}
	return errors.Join(err, restore())
}

// companions are further services that installing the packages will bring.
func companions(kinds []Kind) []string {
	if _, err := exec.LookPath("epmd"); err == nil || !slices.Contains(kinds, RabbitMQ) {
		return nil
	}
	return []string{"epmd.service", "epmd.socket"}
}

// rootCommand makes commands that run as root: we are root, or may become root
// without being asked for a password.
func rootCommand(ctx context.Context) (func(name string, args ...string) *exec.Cmd, error) {
	var sudo []string
	if os.Geteuid() != 0 {
		if err := exec.CommandContext(ctx, "sudo", "-n", "true").Run(); err != nil {
			return nil, errors.New("installing needs root, and sudo without a password does not work here")
		}
		sudo = []string{"sudo", "-n"}
	}
	return func(name string, args ...string) *exec.Cmd {
		// apt asks nothing, whatever is configured.
		argv := slices.Concat(sudo, []string{"env", "DEBIAN_FRONTEND=noninteractive", name}, args)
		return exec.CommandContext(ctx, argv[0], argv[1:]...)
	}, nil
}

// policyFile is what Debian's packages ask whether they may start services.
const policyFile = "/usr/sbin/policy-rc.d"

// denyServiceStart keeps packages from starting services while they are
// installed. A policy that is there already is left alone: it is the machine's.
func denyServiceStart(ctx context.Context, asRoot func(string, ...string) *exec.Cmd) (restore func() error, err error) {
	if _, err := os.Lstat(policyFile); err == nil {
		return func() error { return nil }, nil
	}
	write := asRoot("sh", "-c", `printf '#!/bin/sh\nexit 101\n' >"$1" && chmod 755 "$1"`, "sh", policyFile)
	if err := run(write); err != nil {
		return nil, fmt.Errorf("keep services from starting: %w", err)
	}
	cleanup := context.WithoutCancel(ctx)
	return func() error {
		remove := asRoot("rm", "-f", policyFile)
		again := exec.CommandContext(cleanup, remove.Path, remove.Args[1:]...)
		return run(again)
	}, nil
}

// disable keeps what we installed from starting with the machine. That it does
// not work on some machine is worth a word and no more.
func disable(asRoot func(string, ...string) *exec.Cmd, services []string, say func(string, ...any)) {
	for _, service := range services {
		// systemctl changes what is enabled whether or not systemd runs.
		command := asRoot("systemctl", "--quiet", "disable", service)
		if _, err := exec.LookPath("systemctl"); err != nil {
			command = asRoot("update-rc.d", service, "disable")
		}
		if err := run(command); err != nil {
			say("install: the service %s may start with the machine: %v", service, err)
		}
	}
}

// run runs a command and keeps what it prints for the error.
func run(cmd *exec.Cmd) error {
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w\n%s", cmd, err, bytes.TrimSpace(out.Bytes()))
	}
	return nil
}

func packageNames(kinds []Kind, names map[Kind]string) []string {
	var packages []string
	for _, kind := range kinds {
		packages = append(packages, names[kind])
	}
	return packages
}

// advice says what to do by hand.
func advice(kinds []Kind) string {
	var b strings.Builder
	b.WriteString("Install it yourself, then try again:\n")
	fmt.Fprintf(&b, "  Debian, Ubuntu: sudo apt-get install %s\n", strings.Join(packageNames(kinds, debianPackages), " "))
	fmt.Fprintf(&b, "  macOS:          brew install %s\n",
		strings.Join(packageNames(kinds, homebrewPackages), " "))
	b.WriteString("Needed: ")
	for i, kind := range kinds {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%s %s or later", kind.title(), oldest[kind])
	}
	b.WriteString(".")
	return b.String()
}
