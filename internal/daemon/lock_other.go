//go:build !unix

package daemon

import (
	"fmt"
	"os"
)

// lock takes a file that cannot be opened twice. A file that a killed daemon left can be removed: on this system an open
// one cannot.
func lock(path string) (unlock func(), err error) {
	_ = os.Remove(path)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if os.IsExist(err) {
		return nil, ErrRunning
	}
	if err != nil {
		return nil, fmt.Errorf("open the daemon's lock: %w", err)
	}
	return func() { f.Close(); _ = os.Remove(path) }, nil
}
