//go:build !linux

package chaos

func (*SmallDisk) mount() error { return ErrNoSmallDisk }

func (*SmallDisk) resize() error { return ErrNoSmallDisk }

// Unmount does nothing: there are no small disks here.
func (*SmallDisk) Unmount() error { return nil }

// InOwnMounts does nothing here.
func InOwnMounts() (code int, done bool) { return 0, false }
