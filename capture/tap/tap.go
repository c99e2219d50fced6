package tap

import (
	"log/slog"

	"github.com/devloop-io/devloop/capture"
)

// Options are the settings of a tap. Zero values mean the defaults.
type Options struct {
	CGroup       string                                     // folder of a cgroup v2; its sockets and those of the groups below are captured
	Resolve      func(cgroup uint64) (capture.Target, bool) // asked at a cgroup's first packet; false names it by its number
	RingSize     int                                        // bytes, a power of two: 16 MiB
	Snap         int                                        // bytes of each packet: all
	WholeIngress bool                                       // record payload at the receiver even where the sender's record has it
	EgressOnly   bool                                       // record nothing at the receiver
	Log          *slog.Logger

	without map[string]bool // programs that are left out, for tests of older kernels
	wake    int             // bytes that wake the reader
}

func (o *Options) defaults() {
	if o.RingSize == 0 {
		o.RingSize = 16 << 20
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.wake == 0 {
		o.wake = max(o.RingSize/16, min(64<<10, o.RingSize/4))
	}
	if o.Resolve == nil {
		o.Resolve = func(uint64) (capture.Target, bool) { return capture.Target{}, false }
	}
}

var _ capture.Source = (*Tap)(nil)
