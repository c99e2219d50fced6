//go:build unix

package control

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// private refuses a folder that somebody else made under a name that everybody can guess: whoever owns it could answer
// in the daemon's place.
func private(dir string) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !info.IsDir():
		return errors.New("it is no folder")
	case ok && int(owner.Uid) != os.Geteuid():
		return fmt.Errorf("it belongs to user %d", owner.Uid)
	case info.Mode().Perm()&0o022 != 0:
		return errors.New("others may write to it")
	}
	return nil
}
