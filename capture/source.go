package capture

import (
	"context"

	"github.com/devloop-io/devloop/traffic"
)

// Source delivers the packets of its targets as they pass.
type Source interface {
	// Name is "tap" or "afpacket".
	Name() string
	// Run delivers packets to emit, from one goroutine, until ctx ends; that is no error. Packet.Interface is an index
	// into Interfaces, which knows it before the packet is delivered. The packet and its data are valid only during the call.
	Run(ctx context.Context, emit func(*traffic.Packet)) error
	// Interfaces lists the capture points met so far. The list only grows.
	Interfaces() []traffic.Interface
	// Flush returns when everything that the kernel captured before the call was emitted. It needs Run to be running.
	Flush(ctx context.Context) error
	// Stats says what was received and lost since the source was opened.
	Stats() Stats
	// Close detaches from the kernel. Call it after Run returned.
	Close() error
}

// Target is what a source captures and what it is called.
type Target struct {
	CGroup     uint64 // cgroup v2 id, which is the inode of its folder; 0 when there is none
	CGroupPath string
	NetNS      string // path that can be opened, such as /run/netns/x; empty for the own one
	Name       string // "local/payment"
	Workload   traffic.Workload
}

// Interface is the capture point that stands for the target.
func (t Target) Interface(index int, link traffic.LinkType) traffic.Interface {
	ifc := traffic.Interface{Index: index, Name: t.Name, Link: link, CGroup: t.CGroup}
	if t.Workload.Name() != "" {
		w := t.Workload
		ifc.Workload = &w
	}
	return ifc
}

// Stats counts packets since a source was opened. Counts never shrink.
type Stats struct {
	Received   uint64              // delivered
	Dropped    uint64              // seen and lost, all interfaces and also what belongs to none that is known
	Interfaces []traffic.Interface // as Source.Interfaces, with Packets, Dropped and Lost
}

// Unattributed is how many of the lost packets no interface counts.
func (s Stats) Unattributed() uint64 {
	rest := s.Dropped
	for i := range s.Interfaces {
		rest -= min(rest, s.Interfaces[i].Dropped)
	}
	return rest
}
