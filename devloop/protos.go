package devloop

import (
	"context"
	"path/filepath"

	"github.com/devloop-io/devloop/dissect"
	"github.com/devloop-io/devloop/dissect/protobuf"
)

// dissectOptions adds what the workspace knows of its services' messages. The files are read anew, because an iteration may
// have changed them.
func (s *Session) dissectOptions(ctx context.Context) (dissect.Options, error) {
	o, c := DissectOptions(), s.config()
	if len(c.Protos) == 0 {
		return o, nil
	}
	var paths []string
	for _, p := range c.Protos {
		paths = append(paths, filepath.Join(c.Dir, filepath.FromSlash(p)))
	}
	var err error
	o.Types, err = protobuf.Load(ctx, paths...)
	return o, err
}
