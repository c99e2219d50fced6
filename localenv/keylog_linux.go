package localenv

import (
	"fmt"
	"os"
	"path/filepath"
)

// keyLogVariable is what curl, programs with OpenSSL and Go programs with devloop's package keylog look at.
const keyLogVariable = "SSLKEYLOGFILE"

const keyLogFile = "keys.log"

// KeyLog is the file that services and exercises write the secrets of their TLS connections to. Only the owner can read it.
func (e *Env) KeyLog() string { return filepath.Join(e.stateDir, "local", keyLogFile) }

// beginKeyLog makes the file empty.
func (e *Env) beginKeyLog() error {
	if err := os.MkdirAll(filepath.Dir(e.KeyLog()), 0o700); err != nil {
		return fmt.Errorf("make the key log: %w", err)
	}
	if err := e.endKeyLog(); err != nil {
		return err
	}
	f, err := os.OpenFile(e.KeyLog(), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("make the key log: %w", err)
	}
	return f.Close()
}

// endKeyLog removes the file: what snapshots need of it they have.
func (e *Env) endKeyLog() error {
	if err := os.Remove(e.KeyLog()); err != nil && !os.IsNotExist(err) {
		return fmt.Errorf("remove the key log: %w", err)
	}
	return nil
}
