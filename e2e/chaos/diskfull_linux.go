package chaos

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
)

func (d *SmallDisk) options() string { return fmt.Sprintf("size=%d,mode=711", d.size) }

func (d *SmallDisk) mount() error {
	if err := syscall.Mount(diskName, d.at, "tmpfs", 0, d.options()); err != nil {
		return fmt.Errorf("%w: mount %s: %w", ErrNoSmallDisk, d.at, err)
	}
	return nil
}

// resize makes a disk that a killed run left the size that is wanted now.
func (d *SmallDisk) resize() error {
	if err := d.Free(); err != nil {
		return err
	}
	if err := syscall.Mount(diskName, d.at, "tmpfs", syscall.MS_REMOUNT, d.options()); err != nil {
		return fmt.Errorf("take over the disk at %s: %w", d.at, err)
	}
	return nil
}

// Unmount ends the disk and what is on it, once the stack has stopped. A disk
// that something still uses goes with its last user.
func (d *SmallDisk) Unmount() error {
	err := syscall.Unmount(d.at, 0)
	if errors.Is(err, syscall.EBUSY) {
		err = syscall.Unmount(d.at, syscall.MNT_DETACH)
	}
	if err != nil && !errors.Is(err, syscall.EINVAL) { // EINVAL: it is not mounted
		return fmt.Errorf("unmount %s: %w", d.at, err)
	}
	return nil
}

// ownMounts is set in a process that InOwnMounts started.
const ownMounts = "FAULTS_OWN_MOUNTS"

// InOwnMounts runs this program again where nobody else sees what it mounts, so
// that small disks end with it and with the services that it started, however
// it ends. It returns the exit code, and false when this process is the one
// that runs there, or there is no such thing here, so that it should go on.
func InOwnMounts() (code int, done bool) {
	if os.Getenv(ownMounts) != "" {
		return 0, false
	}
	// The signal below is sent when the thread ends that started the process.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...) //nolint:gosec // this very program
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), ownMounts+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGTERM}
	if err := cmd.Start(); err != nil {
		return 0, false // only the superuser may
	}
	if err := cmd.Wait(); err != nil {
		exit, ok := errors.AsType[*exec.ExitError](err)
		if !ok || exit.ExitCode() < 0 {
			return 1, true
		}
		return exit.ExitCode(), true
	}
	return 0, true
}
