package traffic

import "net/netip"

// LinkType says what the first byte of a packet's data is. The values are those of the LINKTYPE_ registry that pcap
// and pcapng use.
type LinkType uint16

// The link types that captures name most often.
const (
	LinkNull     LinkType = 0
	LinkEthernet LinkType = 1
	LinkRaw      LinkType = 101
	LinkLoop     LinkType = 108
	LinkSLL      LinkType = 113
	LinkIPv4     LinkType = 228
	LinkIPv6     LinkType = 229
	LinkSLL2     LinkType = 276
)

// Direction is which way a packet went, seen from the workload that owns the interface it was captured on.
type Direction uint8

// The directions, with the values that pcapng's epb_flags use in bits 0 and 1.
const (
	DirectionUnknown Direction = 0
	DirectionIn      Direction = 1
	DirectionOut     Direction = 2
)

// Packet is one captured packet. Data is owned by whoever delivered it and is valid only until the next packet is
// asked for; whoever keeps it copies it.
type Packet struct {
	Number    uint64    // place in the capture, from 1; Wireshark's frame.number
	Time      int64     // Unix nanoseconds
	Data      []byte    // captured bytes, from the link layer on
	Length    int       // bytes on the wire; more than len(Data) when the packet was cut
	Interface int       // index into the capture's interfaces
	Link      LinkType  // of the interface
	Direction Direction // in or out of the interface's workload
	Cookie    uint64    // socket cookie, 0 when unknown
	PID       uint32    // process that owns the socket, 0 when unknown
}

// Interface is one capture point: in live captures the sockets of one process group (cgroup), in a file whatever its
// interface block says.
type Interface struct {
	Index    int        `json:"index"`
	Name     string     `json:"name"`               // "local/payment", "eth0", …
	Link     LinkType   `json:"link"`               //
	CGroup   uint64     `json:"cgroup,omitempty"`   // cgroup v2 id (inode), 0 when there is none
	Workload *Workload  `json:"workload,omitempty"` // who spoke there, when known
	Packets  uint64     `json:"packets"`            // recorded
	Dropped  uint64     `json:"dropped"`            // seen by the source and lost before they were recorded
	Lost     []FlowLoss `json:"lost,omitempty"`     // the same losses by flow, as far as the source could tell
}

// FlowLoss counts packets of one flow that a capture source saw and lost.
type FlowLoss struct {
	Src     netip.AddrPort `json:"src"`
	Dst     netip.AddrPort `json:"dst"`
	Proto   string         `json:"proto"` // tcp or udp
	Packets uint64         `json:"packets"`
}
