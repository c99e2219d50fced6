package store

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"

	"github.com/devloop-io/devloop/capture/pcapfile"
	"github.com/devloop-io/devloop/traffic"
)

// Packets reads the packets of a snapshot's segments as one capture: numbered from 1 on, the way the exported file and
// so Wireshark number them, with the interfaces of all segments merged. It is not safe for concurrent use.
type Packets struct {
	paths  []string
	r      *pcapfile.Reader
	number uint64
	ifaces []*traffic.Interface
	known  map[string]int // interface by what tells it from others
	here   []int          // interface of the current segment → merged one
	names  []pcapfile.Name
	cut    bool
	nodes  []string // only packets that these captured; all without
	wants  []bool   // by merged interface
}

// Packets begins to read the snapshot's packets. The caller closes them.
func (sn *Snapshot) Packets() *Packets {
	p := &Packets{known: map[string]int{}, nodes: sn.Window.Nodes}
	for _, name := range sn.Window.Segments {
		p.paths = append(p.paths, filepath.Join(sn.dir, name))
	}
	return p
}

// Next fills in the next packet; its data is valid until the next call. It returns io.EOF at the end. A segment that
// a crash cut in the middle of a packet ends there, and Truncated says so.
func (p *Packets) Next(pkt *traffic.Packet) error {
	for {
		if p.r == nil {
			if len(p.paths) == 0 {
				return io.EOF
			}
			r, err := pcapfile.Open(p.paths[0])
			if err != nil {
				return err
			}
			p.r, p.here, p.paths = r, p.here[:0], p.paths[1:]
			r.Finish()
		}
		err := p.r.Next(pkt)
		switch {
		case err == nil:
			p.number++
			pkt.Number = p.number
			if pkt.Interface = p.merged(pkt.Interface); !p.wants[pkt.Interface] {
				continue
			}
			p.ifaces[pkt.Interface].Packets++
			return nil
		case errors.Is(err, io.ErrUnexpectedEOF):
			p.cut = true
		case err != io.EOF:
			return fmt.Errorf("read segment: %w", err)
		}
		p.endSegment()
	}
}

// merged is the number of an interface of the current segment in the whole.
func (p *Packets) merged(i int) int {
	for len(p.here) <= i {
		p.here = append(p.here, p.add(p.r.Interface(len(p.here))))
	}
	return p.here[i]
}

func (p *Packets) add(ifc *traffic.Interface) int {
	key := fmt.Sprintf("%s %d %d %+v", ifc.Name, ifc.Link, ifc.CGroup, ifc.Workload)
	if n, ok := p.known[key]; ok {
		return n
	}
	own := *ifc
	own.Index, own.Packets, own.Dropped, own.Lost = len(p.ifaces), 0, 0, nil
	p.ifaces = append(p.ifaces, &own)
	p.wants = append(p.wants, len(p.nodes) == 0 || slices.Contains(p.nodes, NodeOf(ifc)))
	p.known[key] = own.Index
	return own.Index
}

// LocalNode is the node of what was captured on this machine.
const LocalNode = "local"

// NodeOf is the node that an interface is on.
func NodeOf(ifc *traffic.Interface) string {
	if ifc == nil || ifc.Workload == nil {
		return LocalNode
	}
	return cmp.Or(ifc.Workload.Node, LocalNode)
}

// endSegment takes over what the segment's last blocks say of losses.
func (p *Packets) endSegment() {
	for i, ifc := range p.r.Interfaces() {
		for len(p.here) <= i {
			p.here = append(p.here, p.add(p.r.Interface(len(p.here))))
		}
		if !p.wants[p.here[i]] {
			continue
		}
		own := p.ifaces[p.here[i]]
		own.Dropped += ifc.Dropped
		own.Lost = append(own.Lost, ifc.Lost...)
	}
	p.names = append(p.names, p.r.Names()...)
	p.r.Close()
	p.r = nil
}

// Interface is the i-th interface of the whole, nil for an unknown one.
func (p *Packets) Interface(i int) *traffic.Interface {
	if i < 0 || i >= len(p.ifaces) {
		return nil
	}
	return p.ifaces[i]
}

// Interfaces lists the interfaces met so far, with their packets and losses.
func (p *Packets) Interfaces() []traffic.Interface {
	list := make([]traffic.Interface, len(p.ifaces))
	for i, ifc := range p.ifaces {
		list[i] = *ifc
	}
	return list
}

// Truncated reports whether a segment ended inside a packet.
func (p *Packets) Truncated() bool { return p.cut }

// Close closes the segment being read.
func (p *Packets) Close() error {
	if p.r == nil {
		return nil
	}
	return p.r.Close()
}
