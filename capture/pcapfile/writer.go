package pcapfile

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"

	"github.com/devloop-io/devloop/traffic"
)

// Header is what stands at the head of a section.
type Header struct {
	Hardware    string
	OS          string
	Application string
	Comment     string
	Names       []Name // written as a name resolution block, when there are any
	Secrets     []byte // lines of a TLS key log, written as a decryption secrets block, when there are any
}

// Writer writes one pcapng section, little-endian, with nanosecond times. It buffers: what was written is in the
// underlying writer after [Writer.Flush]. It is not safe for concurrent use.
type Writer struct {
	w       io.Writer
	buf     []byte
	limit   int
	written int64 // bytes handed to w
	ifaces  []traffic.LinkType
}

const writerBuffer = 256 << 10

// NewWriter begins a section with its header and names.
func NewWriter(w io.Writer, h Header) *Writer {
	// One packet may be put on top of a nearly full buffer: room for it avoids growing.
	wr := &Writer{w: w, buf: make([]byte, 0, writerBuffer+80<<10), limit: writerBuffer}
	wr.section(h)
	wr.Names(h.Names)
	wr.Secrets(h.Secrets)
	return wr
}

// Written is how many bytes the section has, buffered ones included.
func (w *Writer) Written() int64 { return w.written + int64(len(w.buf)) }

// Buffered is how many bytes wait for Flush. They are whole blocks.
func (w *Writer) Buffered() int { return len(w.buf) }

// Pending is a view of what waits for Flush, valid until the next call.
func (w *Writer) Pending() []byte { return w.buf }

// Discard forgets what waits for Flush, after it failed.
func (w *Writer) Discard() { w.buf = w.buf[:0] }

// Flush hands all buffered blocks to the underlying writer. When that fails the blocks stay buffered.
func (w *Writer) Flush() error {
	if len(w.buf) == 0 {
		return nil
	}
	n, err := w.w.Write(w.buf)
	if err == nil && n < len(w.buf) {
		err = io.ErrShortWrite
	}
	if err != nil {
		return fmt.Errorf("write capture file: %w", err)
	}
	w.written += int64(n)
	w.buf = w.buf[:0]
	return nil
}

// AddInterface describes an interface and returns the index to write its packets with.
func (w *Writer) AddInterface(ifc *traffic.Interface) int {
	d := Description{CGroup: ifc.CGroup}
	if ifc.Workload != nil {
		d.Workload = *ifc.Workload
	}
	description, err := json.Marshal(d)
	if err != nil || string(description) == "{}" {
		description = nil
	}
	at := w.open(blockInterface)
	w.buf = binary.LittleEndian.AppendUint16(w.buf, uint16(ifc.Link))
	w.buf = append(w.buf, 0, 0, 0, 0, 0, 0) // reserved; snaplen 0: no limit
	w.text(ifName, ifc.Name)
	w.text(ifDescription, string(description))
	w.option(ifTSResolution, []byte{9})
	w.end()
	w.shut(at)
	w.ifaces = append(w.ifaces, ifc.Link)
	return len(w.ifaces) - 1
}

// Write adds a packet on the interface with the given index. The packet's data is copied once, into the buffer.
func (w *Writer) Write(p *traffic.Packet, index int) error {
	if index < 0 || index >= len(w.ifaces) {
		return fmt.Errorf("write packet: no interface %d", index)
	}
	if len(p.Data) > maxRecord-256 {
		return fmt.Errorf("write packet: %d bytes are too many", len(p.Data))
	}
	le := binary.LittleEndian
	size := len(p.Data)
	padded := (size + 3) &^ 3
	options := 8 + 4 // flags, end
	if p.Cookie != 0 || p.PID != 0 {
		options += 4 + customSize
	}
	total := 28 + padded + options + 4
	start := len(w.buf)
	w.reserve(total)
	b := w.buf[start : start+total]
	le.PutUint32(b, blockPacket)
	le.PutUint32(b[4:], uint32(total))
	le.PutUint32(b[8:], uint32(index))
	le.PutUint32(b[12:], uint32(uint64(p.Time)>>32))
	le.PutUint32(b[16:], uint32(p.Time))
	le.PutUint32(b[20:], uint32(size))
	le.PutUint32(b[24:], uint32(min(max(p.Length, size), math.MaxUint32)))
	copy(b[28:], p.Data)
	clear(b[28+size : 28+padded])
	o := b[28+padded:]
	le.PutUint32(o, epbFlags|4<<16)
	le.PutUint32(o[4:], uint32(p.Direction&3))
	o = o[8:]
	if p.Cookie != 0 || p.PID != 0 {
		le.PutUint32(o, optCustom|customSize<<16)
		le.PutUint32(o[4:], customPEN)
		le.PutUint32(o[8:], customMagic)
		le.PutUint64(o[12:], p.Cookie)
		le.PutUint32(o[20:], p.PID)
		o = o[24:]
	}
	le.PutUint32(o, optEnd)
	le.PutUint32(o[4:], uint32(total))
	if len(w.buf) >= w.limit {
		return w.Flush()
	}
	return nil
}

// reserve lengthens the buffer by n bytes of any content.
func (w *Writer) reserve(n int) {
	if free := cap(w.buf) - len(w.buf); free < n {
		grown := make([]byte, len(w.buf), 2*cap(w.buf)+n)
		copy(grown, w.buf)
		w.buf = grown
	}
	w.buf = w.buf[:len(w.buf)+n]
}

// Statistics says how many packets of an interface were received and lost in this section, and which flows the losses
// belong to. at is Unix nanoseconds.
func (w *Writer) Statistics(index int, at int64, received, dropped uint64, lost []traffic.FlowLoss) {
	le := binary.LittleEndian
	b := w.open(blockStatistics)
	w.buf = le.AppendUint32(w.buf, uint32(index))
	w.buf = le.AppendUint32(w.buf, uint32(uint64(at)>>32))
	w.buf = le.AppendUint32(w.buf, uint32(at))
	if comment := lossComment(lost); comment != "" {
		w.text(optComment, comment)
	}
	w.option(isbReceived, le.AppendUint64(nil, received))
	w.option(isbDropped, le.AppendUint64(nil, dropped))
	w.end()
	w.shut(b)
}

// lossComment is the list as JSON, cut to what fits into an option; the drop count still has the rest.
func lossComment(lost []traffic.FlowLoss) string {
	for len(lost) > 0 {
		text, err := json.Marshal(lost)
		if err == nil && len(text) <= math.MaxUint16 {
			return string(text)
		}
		lost = lost[:len(lost)/2]
	}
	return ""
}

// Names writes a name resolution block, or nothing without names.
func (w *Writer) Names(names []Name) {
	if len(names) == 0 {
		return
	}
	b := w.open(blockNames)
	for _, n := range names {
		kind := uint16(2)
		if n.Addr.Is4() {
			kind = 1
		}
		value := n.Addr.WithZone("").AsSlice()
		for _, s := range n.Names {
			if len(value)+len(s)+1 <= math.MaxUint16 {
				value = append(append(value, s...), 0)
			}
		}
		if n.Addr.IsValid() && len(n.Names) > 0 {
			w.option(kind, value)
		}
	}
	w.end()
	w.shut(b)
}

// section writes the Section Header Block: order magic 4 | major 2 | minor 2 | section length 8, unknown | options.
func (w *Writer) section(h Header) {
	b := w.open(blockSection)
	w.buf = binary.LittleEndian.AppendUint32(w.buf, magicOrder)
	w.buf = append(w.buf, 1, 0, 0, 0)
	w.buf = binary.LittleEndian.AppendUint64(w.buf, math.MaxUint64)
	w.text(optComment, h.Comment)
	w.text(2, h.Hardware)
	w.text(3, h.OS)
	w.text(4, h.Application)
	w.end()
	w.shut(b)
}

// open begins a block and returns where it began.
func (w *Writer) open(kind uint32) int {
	at := len(w.buf)
	w.buf = binary.LittleEndian.AppendUint32(w.buf, kind)
	w.buf = append(w.buf, 0, 0, 0, 0)
	return at
}

// shut ends a block and writes its length at both ends.
func (w *Writer) shut(at int) {
	n := uint32(len(w.buf) - at + 4)
	w.buf = binary.LittleEndian.AppendUint32(w.buf, n)
	binary.LittleEndian.PutUint32(w.buf[at+4:], n)
}

func (w *Writer) text(code uint16, s string) {
	if s != "" {
		w.option(code, []byte(s[:min(len(s), math.MaxUint16)]))
	}
}

func (w *Writer) option(code uint16, value []byte) {
	w.buf = binary.LittleEndian.AppendUint16(w.buf, code)
	w.buf = binary.LittleEndian.AppendUint16(w.buf, uint16(len(value)))
	w.buf = append(w.buf, value...)
	for len(w.buf)&3 != 0 { // blocks are multiples of four, so the buffer's length is the place
		w.buf = append(w.buf, 0)
	}
}

func (w *Writer) end() { w.buf = append(w.buf, 0, 0, 0, 0) }
