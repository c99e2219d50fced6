//go:build !linux

package capture_test

import "testing"

func tinyDisk(t *testing.T, _ string) (unmount func()) {
	t.Helper()
	t.Skip("needs Linux")
	return nil
}
