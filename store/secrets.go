package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/devloop-io/devloop/capture/pcapfile"
	"github.com/devloop-io/devloop/dissect/tls"
)

// KeyLog is the lines of TLS key logs that were sealed with the snapshot, nil without.
func (sn *Snapshot) KeyLog() ([]byte, error) {
	b, err := os.ReadFile(filepath.Join(sn.dir, secretsName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read secrets of snapshot %s: %w", sn.ID(), err)
	}
	return b, nil
}

// secrets opens the TLS of the snapshot's packets.
func (sn *Snapshot) secrets() (*tls.Secrets, error) {
	lines, err := sn.KeyLog()
	if err != nil {
		return nil, err
	}
	secrets := new(tls.Secrets)
	secrets.Add(lines)
	return secrets, nil
}

// learn adds the secrets of a whole capture file, before its packets are read.
func (o *FileOptions) learn(path string) error {
	lines, err := pcapfile.Secrets(path)
	if err != nil {
		return err
	}
	if len(lines) > 0 {
		o.KeyLog = append(append([]byte(nil), o.KeyLog...), '\n')
		o.KeyLog = append(o.KeyLog, lines...)
	}
	return nil
}
