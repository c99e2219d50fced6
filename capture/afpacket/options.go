package afpacket

import (
	"time"

	"github.com/devloop-io/devloop/capture"
)

// Options are the settings of a source. Zero values mean the defaults.
type Options struct {
	Targets   []capture.Target // to begin with; Add adds more
	BlockSize int              // bytes, a power of two and at least 128 KiB, so that the largest packet fits: 512 KiB
	Blocks    int              // of each namespace's ring: 16
}

// retire is how long the kernel holds a block back that is not full.
const retire = 10 * time.Millisecond

func (o *Options) defaults() {
	if o.BlockSize == 0 {
		o.BlockSize = 512 << 10
	}
	if o.Blocks == 0 {
		o.Blocks = 16
	}
}

var _ capture.Source = (*Source)(nil)
