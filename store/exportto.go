package store

import (
	"context"
	"errors"
	"fmt"
	"os"
)

// ExportTo is [Snapshot.Export] into a file of mode 0600. It is written beside its place and renamed, so that no half
// file stays behind.
func (sn *Snapshot) ExportTo(ctx context.Context, path string, o ExportOptions) error {
	f, err := os.OpenFile(path+".tmp", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("export snapshot %s: %w", sn.ID(), err)
	}
	_, err = sn.Export(ctx, f, o)
	if err := errors.Join(err, f.Close()); err != nil {
		return errors.Join(fmt.Errorf("export snapshot %s: %w", sn.ID(), full(err)), os.Remove(path+".tmp"))
	}
	return os.Rename(path+".tmp", path)
}
