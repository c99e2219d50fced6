package store

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"path/filepath"
	"slices"

	"github.com/devloop-io/devloop/capture/pcapfile"
	"github.com/devloop-io/devloop/traffic"
	"github.com/devloop-io/devloop/traffic/redact"
)

// Tuple names a connection by its ends, whichever of them comes first.
type Tuple struct {
	Proto string // tcp or udp
	A, B  netip.AddrPort
}

// normal puts the ends into a fixed order.
func (t Tuple) normal() Tuple {
	t.A = netip.AddrPortFrom(t.A.Addr().Unmap(), t.A.Port())
	t.B = netip.AddrPortFrom(t.B.Addr().Unmap(), t.B.Port())
	if t.A.Compare(t.B) > 0 {
		t.A, t.B = t.B, t.A
	}
	return t
}

// TupleOf names a connection.
func TupleOf(c *traffic.Connection) Tuple {
	return Tuple{cmp.Or(c.Proto, "tcp"), c.Src.Addr(), c.Dst.Addr()}.normal()
}

// Selection is a connection, or the packets of a range on it.
type Selection struct {
	Tuple Tuple
	Range traffic.PacketRange // zero is all
}

// SelectConnection selects all packets of a connection.
func SelectConnection(c *traffic.Connection) Selection {
	return Selection{Tuple: TupleOf(c), Range: c.Packets}
}

// SelectCall selects the packets on a call's connection from its request's first to its response's last.
func SelectCall(c *traffic.Call) Selection {
	proto := "tcp"
	if c.DNS != nil && c.DNS.Transport == "udp" {
		proto = "udp"
	}
	s := Selection{Tuple: Tuple{proto, c.Src.Addr(), c.Dst.Addr()}.normal()}
	for _, r := range []traffic.PacketRange{c.RequestPackets, c.ResponsePackets} {
		if r.First > 0 && (s.Range.First == 0 || r.First < s.Range.First) {
			s.Range.First = r.First
		}
		s.Range.Last = max(s.Range.Last, r.Last)
	}
	return s
}

// Select selects the calls and connections of a dissection by their ids, as evidence names them. It fails on one that
// the dissection does not have.
func Select(d *traffic.Dissection, calls []string, connections []uint64) ([]Selection, error) {
	var list []Selection
	for _, id := range calls {
		i := slices.IndexFunc(d.Calls, func(c *traffic.Call) bool { return c.ID == id })
		if i < 0 {
			return nil, fmt.Errorf("select packets: there is no call %s", id)
		}
		list = append(list, SelectCall(d.Calls[i]))
	}
	for _, id := range connections {
		i := slices.IndexFunc(d.Connections, func(c *traffic.Connection) bool { return c.ID == id })
		if i < 0 {
			return nil, fmt.Errorf("select packets: there is no connection %d", id)
		}
		list = append(list, SelectConnection(d.Connections[i]))
	}
	return list, nil
}

// ExportOptions say what to export. The zero value is everything, masked.
type ExportOptions struct {
	From, To uint64      // packet numbers, both included; 0 is open
	Start    int64       // Unix nanoseconds, included; 0 is open
	End      int64       // Unix nanoseconds, not included; 0 is open
	Select   []Selection // when not empty, only packets that one of them selects
	Raw      bool        // leave secrets as they are, and put those of TLS before the packets

	Nodes  []string                   // when not empty, only what was captured on these
	Match  func(*traffic.Packet) bool // when not nil, only packets for which it is true
	Format string                     // FormatPCAPNG by default
}

// The formats of exports. Plain pcap has neither names nor directions nor anything that is not IP.
const (
	FormatPCAPNG = "pcapng"
	FormatPCAP   = "pcap"
)

// sliced reports whether packets may be left out, so that those that stay get other numbers.
func (o *ExportOptions) sliced() bool {
	return o.From > 1 || o.To > 0 || o.Start > 0 || o.End > 0 || len(o.Select) > 0 || len(o.Nodes) > 0 || o.Match != nil
}

func (o *ExportOptions) wants(p *traffic.Packet, ifc *traffic.Interface) bool {
	if len(o.Nodes) > 0 && !slices.Contains(o.Nodes, NodeOf(ifc)) || o.Match != nil && !o.Match(p) {
		return false
	}
	if p.Number < o.From || o.To > 0 && p.Number > o.To || p.Time < o.Start || o.End > 0 && p.Time >= o.End {
		return false
	}
	if len(o.Select) == 0 {
		return true
	}
	t, ok := tupleIn(p)
	return ok && slices.ContainsFunc(o.Select, func(s Selection) bool {
		return s.Tuple == t && p.Number >= s.Range.First && (s.Range.Last == 0 || p.Number <= s.Range.Last)
	})
}

func tupleIn(p *traffic.Packet) (Tuple, bool) {
	l, ok := redact.Parse(p.Data, p.Link)
	if !ok || l.Proto != 6 && l.Proto != 17 || l.L4+4 > l.End {
		return Tuple{}, false
	}
	var src, dst netip.Addr
	if l.Version == 4 {
		src, dst = netip.AddrFrom4([4]byte(p.Data[l.IP+12:])), netip.AddrFrom4([4]byte(p.Data[l.IP+16:]))
	} else {
		src, dst = netip.AddrFrom16([16]byte(p.Data[l.IP+8:])), netip.AddrFrom16([16]byte(p.Data[l.IP+24:]))
	}
	ports := p.Data[l.L4:]
	t := Tuple{"tcp", netip.AddrPortFrom(src, binary.BigEndian.Uint16(ports)), netip.AddrPortFrom(dst, binary.BigEndian.Uint16(ports[2:]))}
	if l.Proto == 17 {
		t.Proto = "udp"
	}
	return t.normal(), true
}

// Export writes the snapshot's packets, or a slice of them, as one pcapng file: all segments merged, a name resolution
// block, an interface block per workload, directions. In a slice each packet's comment says which packet of the snapshot
// it is. Secrets are masked at equal length and checksums repaired unless o.Raw. It returns how many packets it wrote.
func (sn *Snapshot) Export(ctx context.Context, w io.Writer, o ExportOptions) (uint64, error) {
	if sn.Window.Cut {
		o.Start = max(o.Start, sn.Window.Start)
		if o.End == 0 || o.End > sn.Window.End {
			o.End = sn.Window.End
		}
	}
	n, err := export(ctx, w, o, exported{
		title: "snapshot " + sn.ID(), names: sn.names(), redactor: sn.s.redactor, keyLog: sn.KeyLog,
		open: func() (packetSource, error) { return sn.Packets(), nil },
	})
	if err != nil {
		return n, fmt.Errorf("export snapshot %s: %w", sn.ID(), full(err))
	}
	return n, nil
}

// ExportFile is [Snapshot.Export] for a capture file.
func ExportFile(ctx context.Context, path string, w io.Writer, r *redact.Redactor, o ExportOptions) (uint64, error) {
	n, err := export(ctx, w, o, exported{
		title: filepath.Base(path), redactor: r, keyLog: func() ([]byte, error) { return pcapfile.Secrets(path) },
		open: func() (packetSource, error) {
			r, err := pcapfile.Open(path)
			if err == nil {
				r.Finish()
			}
			return r, err
		},
	})
	if err != nil {
		return n, fmt.Errorf("export %s: %w", path, full(err))
	}
	return n, nil
}

// packetSource is what both snapshots and capture files are read through.
type packetSource interface {
	Next(*traffic.Packet) error
	Interface(int) *traffic.Interface
	Interfaces() []traffic.Interface
	Close() error
}

type exported struct {
	title    string
	names    []pcapfile.Name
	redactor *redact.Redactor
	keyLog   func() ([]byte, error)
	open     func() (packetSource, error)
}

func export(ctx context.Context, w io.Writer, o ExportOptions, x exported) (uint64, error) {
	var streams *redact.Streams
	if !o.Raw {
		streams = x.redactor.Streams()
		if err := each(ctx, x.open, func(p *traffic.Packet, _ packetSource) error {
			streams.Learn(p.Data, p.Link)
			return nil
		}, nil); err != nil {
			return 0, err
		}
		streams.Done()
	}
	if o.Format == FormatPCAP {
		return exportPCAP(ctx, w, o, x, streams)
	}
	header := pcapfile.Header{Application: "devloop", Comment: x.comment(&o), Names: x.names}
	if o.Raw { // masking what is behind TLS is not possible, so nothing else may open it
		var err error
		if header.Secrets, err = x.keyLog(); err != nil {
			return 0, err
		}
	}
	out := bufio.NewWriterSize(w, 256<<10)
	var block bytes.Buffer
	pw := pcapfile.NewWriter(&block, header)
	index := map[int]int{}
	var n uint64
	var last int64
	write := func(p *traffic.Packet, src packetSource) error {
		if o.To > 0 && p.Number > o.To {
			return io.EOF
		}
		wanted := o.wants(p, src.Interface(p.Interface))
		if streams != nil {
			streams.Mask(p.Data, p.Link)
		}
		if !wanted {
			return nil
		}
		i, ok := index[p.Interface]
		if !ok {
			i = pw.AddInterface(src.Interface(p.Interface))
			index[p.Interface] = i
		}
		if err := flushTo(out, pw, &block); err != nil {
			return err
		}
		if err := pw.Write(p, i); err != nil {
			return err
		}
		n, last = n+1, max(last, p.Time)
		if o.sliced() {
			if err := pw.Flush(); err != nil {
				return err
			}
			comment(&block, fmt.Sprintf("packet %d of %s", p.Number, x.title))
		}
		return flushTo(out, pw, &block)
	}
	end := func(src packetSource) error {
		if !o.sliced() {
			for i, ifc := range src.Interfaces() {
				if at, ok := index[i]; ok && (ifc.Dropped > 0 || len(ifc.Lost) > 0) {
					pw.Statistics(at, last, ifc.Packets+ifc.Dropped, ifc.Dropped, ifc.Lost)
				}
			}
		}
		return nil
	}
	if err := each(ctx, x.open, write, end); err != nil {
		return n, err
	}
	if err := flushTo(out, pw, &block); err != nil {
		return n, err
	}
	return n, out.Flush()
}

// exportPCAP writes IP packets as a classic pcap file.
func exportPCAP(ctx context.Context, w io.Writer, o ExportOptions, x exported, streams *redact.Streams) (n uint64, err error) {
	out := bufio.NewWriterSize(w, 256<<10)
	pw := pcapfile.NewPCAPWriter(out)
	err = each(ctx, x.open, func(p *traffic.Packet, src packetSource) error {
		if o.To > 0 && p.Number > o.To {
			return io.EOF
		}
		wanted := o.wants(p, src.Interface(p.Interface))
		if streams != nil {
			streams.Mask(p.Data, p.Link)
		}
		l, ok := redact.Parse(p.Data, p.Link)
		if !wanted || !ok && l.IP < 0 {
			return nil
		}
		n++
		return pw.Write(p.Time, p.Data[l.IP:], p.Length-l.IP)
	}, nil)
	if err = errors.Join(err, pw.Close()); err != nil {
		return n, err
	}
	return n, out.Flush()
}

// each reads a source from its first packet to its last. A capture that ends inside a record ends there; f ends it
// early with io.EOF.
func each(ctx context.Context, open func() (packetSource, error), f func(*traffic.Packet, packetSource) error, end func(packetSource) error) error {
	src, err := open()
	if err != nil {
		return err
	}
	defer src.Close()
	var p traffic.Packet
	for n := 0; ; n++ {
		if n%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		err := src.Next(&p)
		if err == nil {
			err = f(&p, src)
		}
		switch {
		case err == nil:
		case err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF):
			if end != nil {
				return end(src)
			}
			return nil
		default:
			return err
		}
	}
}

// flushTo hands what the packet writer holds to out.
func flushTo(out *bufio.Writer, pw *pcapfile.Writer, block *bytes.Buffer) error {
	if err := pw.Flush(); err != nil {
		return err
	}
	_, err := out.Write(block.Bytes())
	block.Reset()
	return err
}

// comment adds a comment option to the enhanced packet block that block holds alone. Its last eight bytes are the end
// of its options and its length (draft-ietf-opsawg-pcapng section 4.3).
func comment(block *bytes.Buffer, text string) {
	b := block.Bytes()
	tail := len(b) - 8
	option := binary.LittleEndian.AppendUint16(nil, 1) // opt_comment
	option = binary.LittleEndian.AppendUint16(option, uint16(len(text)))
	option = append(option, text...)
	for len(option)%4 != 0 {
		option = append(option, 0)
	}
	out := slices.Concat(b[:tail], option, b[tail:])
	binary.LittleEndian.PutUint32(out[4:], uint32(len(out)))
	binary.LittleEndian.PutUint32(out[len(out)-4:], uint32(len(out)))
	block.Reset()
	block.Write(out)
}

func (x *exported) comment(o *ExportOptions) string {
	text := "Exported by devloop from " + x.title
	if o.sliced() {
		text += ": a slice; each packet's comment says which packet it is there"
	}
	if o.Raw {
		return text + ". Secrets are in it as they were sent."
	}
	return text + ". Secrets are masked with * at equal length."
}

// names of addresses: from the identities, then from the segments themselves.
func (sn *Snapshot) names() []pcapfile.Name {
	var list []pcapfile.Name
	at := map[netip.Addr]int{}
	add := func(ip netip.Addr, name string) {
		if !ip.IsValid() || name == "" {
			return
		}
		ip = ip.Unmap().WithZone("")
		i, ok := at[ip]
		if !ok {
			i = len(list)
			at[ip] = i
			list = append(list, pcapfile.Name{Addr: ip})
		}
		if !slices.Contains(list[i].Names, name) {
			list[i].Names = append(list[i].Names, name)
		}
	}
	for _, id := range sn.Identities {
		add(id.IP, id.Workload.Name())
	}
	for _, name := range sn.Window.Segments {
		r, err := pcapfile.Open(filepath.Join(sn.dir, name))
		if err != nil {
			continue
		}
		var p traffic.Packet
		_ = r.Next(&p) // the names stand before the first packet
		for _, n := range r.Names() {
			for _, text := range n.Names {
				add(n.Addr, text)
			}
		}
		r.Close()
	}
	return list
}
