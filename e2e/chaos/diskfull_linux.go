package chaos

import (
	"errors"
	"fmt"
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
