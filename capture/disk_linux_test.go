package capture_test

import (
	"syscall"
	"testing"
)

// tinyDisk mounts a file system of one megabyte.
func tinyDisk(t *testing.T, dir string) (unmount func()) {
	t.Helper()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("needs to mount a tmpfs: %v", err)
	}
	return func() { syscall.Unmount(dir, syscall.MNT_DETACH) }
}
