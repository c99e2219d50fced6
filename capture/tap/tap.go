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
	Choices      *Choices                                   // what to record to begin with; nil records all, and Choose cannot change it
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

// Choice says whether the packets of a cgroup's sockets are recorded.
type Choice uint32

// The choices, with the values of bpf/tap.bpf.c.
const (
	Ignore  Choice = 1
	Capture Choice = 2
)

// Choices say what is recorded. They are kept in the kernel, so that what is ignored costs next to nothing.
type Choices struct {
	CGroups map[uint64]Choice // by id; groups below go by their nearest ancestor, and those without any are recorded
	Ports   []uint16          // when there are any: TCP and UDP from or to one of these only
}

// The bounds of [Choices].
const (
	MaxChoices = 16384
	MaxPorts   = 1024
)

var _ capture.Source = (*Tap)(nil)
