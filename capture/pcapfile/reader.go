package pcapfile

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/devloop-io/devloop/traffic"
)

// ErrFormat says that the bytes are no capture file of a kind that is read here.
var ErrFormat = errors.New("not a pcap or pcapng file")

// ErrTruncated says that the file ends inside a record. See [Reader.Finish].
var ErrTruncated = fmt.Errorf("capture file ends inside a record: %w", io.ErrUnexpectedEOF)

// CorruptError says which record of a capture file cannot be read. What came before it was delivered.
type CorruptError struct {
	Offset int64 // of the record, in the uncompressed bytes
	What   string
}

// Error names the place and the fault.
func (e *CorruptError) Error() string {
	return fmt.Sprintf("corrupt capture file at byte %d: %s", e.Offset, e.What)
}

const (
	bufferSize = 256 << 10 // stays in the second-level cache: larger buffers read slower
	maxRecord  = 64 << 20  // no record that must be held whole may be larger: bounds memory on hostile input
)

// Name is one entry of a name resolution block.
type Name struct {
	Addr  netip.Addr
	Names []string
}

// Reader reads packets one by one. It is not safe for concurrent use.
type Reader struct {
	src        io.Reader
	closer     io.Closer
	buf        []byte
	start, end int
	offset     int64 // of buf[start] in the stream

	next     func(*Reader, *traffic.Packet) error // by format; nil before the first bytes were seen
	format   string
	big      bool // byte order of the file or section
	record   int  // pcap: size of a record's header
	unit     int64
	skip     int64 // bytes of an unneeded block still to be passed over
	finished bool
	torn     bool // the source itself ended early (cut gzip)
	plain    bool // compression was looked for
	failed   error

	number  uint64
	ifaces  []*iface
	base    int // first interface of the current section
	names   []Name
	secrets []byte
	readErr error
}

// iface is an interface with what is needed to read its packets.
type iface struct {
	traffic.Interface
	snap   uint32
	mul    int64 // nanoseconds per unit, when it is a whole number
	div    uint64
	shift  uint8 // binary resolution: 2^-shift seconds
	offset int64 // nanoseconds
}

// Open opens a capture file. It fails at once when the file is there and begins like no capture file.
func Open(path string) (*Reader, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open capture file: %w", err)
	}
	r := NewReader(f)
	r.closer = f
	if err := r.begin(); err != nil && err != io.EOF {
		f.Close()
		return nil, fmt.Errorf("open capture file %s: %w", path, err)
	}
	return r, nil
}

// NewReader reads a capture from src, which may be compressed with gzip or zstd.
func NewReader(src io.Reader) *Reader {
	return &Reader{src: src, buf: make([]byte, bufferSize)}
}

// Close closes the file that [Open] opened. A Reader over an io.Reader needs no Close.
func (r *Reader) Close() error {
	if z, ok := r.src.(*zstd.Decoder); ok {
		z.Close()
	}
	if r.closer == nil {
		return nil
	}
	return r.closer.Close()
}

// Next fills p with the next packet. p.Data is a view into the Reader's buffer, valid until the next call.
//
// At the end of what is there it returns io.EOF, also inside a record that is not there as a whole yet: call it again
// when the file has grown. After [Reader.Finish] such a cut record is [ErrTruncated].
func (r *Reader) Next(p *traffic.Packet) error {
	if r.failed != nil {
		return r.failed
	}
	if r.next == nil {
		if err := r.begin(); err != nil {
			return err
		}
	}
	return r.next(r, p)
}

// Finish says that the file will not grow any more, so that a cut record at its end is an error.
func (r *Reader) Finish() { r.finished = true }

// Truncated reports whether the bytes seen so far end inside a record. It is meant to be asked after io.EOF.
func (r *Reader) Truncated() bool { return r.torn || r.end > r.start || r.skip > 0 }

// Format is "pcap" or "pcapng", and empty before the first bytes were seen.
func (r *Reader) Format() string { return r.format }

// Offset is where the next record begins in the uncompressed bytes.
func (r *Reader) Offset() int64 { return r.offset }

// Interfaces lists the interfaces met so far, with the packets read from each.
func (r *Reader) Interfaces() []traffic.Interface {
	list := make([]traffic.Interface, len(r.ifaces))
	for i, ifc := range r.ifaces {
		list[i] = ifc.Interface
	}
	return list
}

// Interface is the i-th interface; the pointer stays the same and is the Reader's. It is nil for an unknown i.
func (r *Reader) Interface(i int) *traffic.Interface {
	if i < 0 || i >= len(r.ifaces) {
		return nil
	}
	return &r.ifaces[i].Interface
}

// Names lists the entries of all name resolution blocks met so far.
func (r *Reader) Names() []Name { return r.names }

// Dropped is what the interface statistics met so far say was lost.
func (r *Reader) Dropped() uint64 {
	var sum uint64
	for _, ifc := range r.ifaces {
		sum += ifc.Dropped
	}
	return sum
}

// Magic numbers: draft-ietf-opsawg-pcap section 4, draft-ietf-opsawg-pcapng section 4.1.
const (
	magicMicro    = 0xa1b2c3d4
	magicNano     = 0xa1b23c4d
	magicModified = 0xa1b2cd34
	magicSection  = 0x0a0d0d0a
	magicOrder    = 0x1a2b3c4d
	magicGzip     = 0x1f8b
	magicZstd     = 0x28b52ffd
)

// begin finds out what the stream is. It returns io.EOF while there are too few bytes to tell.
func (r *Reader) begin() error {
	for {
		if !r.fill(4) {
			if r.finished && r.readErr == nil && r.end == r.start && !r.torn {
				return r.fail(fmt.Errorf("%w: it is empty", ErrFormat))
			}
			return r.eof()
		}
		head := r.buf[r.start:]
		magic := binary.BigEndian.Uint32(head)
		if !r.plain && (magic>>16 == magicGzip || magic == magicZstd) {
			if err := r.decompress(magic); err != nil {
				return err
			}
			continue
		}
		r.plain = true
		if magic == magicSection {
			r.format, r.next = "pcapng", (*Reader).nextBlock
			return nil
		}
		r.big = true
		if little := binary.LittleEndian.Uint32(head); known(little) {
			r.big, magic = false, little
		}
		if !known(magic) {
			return r.fail(ErrFormat)
		}
		if !r.fill(24) {
			return r.eof()
		}
		r.beginPcap(magic)
		return nil
	}
}

func known(magic uint32) bool {
	return magic == magicMicro || magic == magicNano || magic == magicModified
}

// decompress puts a decompressor between the source and the buffer.
func (r *Reader) decompress(magic uint32) error {
	rest := append([]byte(nil), r.buf[r.start:r.end]...)
	src := bufio.NewReaderSize(io.MultiReader(&once{rest}, r.src), 64<<10)
	r.start, r.end, r.plain = 0, 0, true
	if magic == magicZstd {
		z, err := zstd.NewReader(src, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxRecord), zstd.WithDecoderMaxWindow(maxRecord))
		if err != nil {
			return r.fail(fmt.Errorf("decompress zstd: %w", err))
		}
		r.src = z
		return nil
	}
	z, err := gzip.NewReader(src)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		r.torn, r.src = true, &once{}
		return nil
	}
	if err != nil {
		return r.fail(fmt.Errorf("decompress gzip: %w", err))
	}
	r.src = z
	return nil
}

// once hands out its bytes and then io.EOF.
type once struct{ b []byte }

func (o *once) Read(p []byte) (int, error) {
	if len(o.b) == 0 {
		return 0, io.EOF
	}
	n := copy(p, o.b)
	o.b = o.b[n:]
	return n, nil
}

// fill makes at least n bytes available from r.start on and reports whether it could. The buffer grows with the bytes
// that really come, never by what a length field claims.
func (r *Reader) fill(n int) bool {
	for r.end-r.start < n {
		if r.readErr != nil {
			return false
		}
		if r.start > 0 {
			r.end = copy(r.buf, r.buf[r.start:r.end])
			r.start = 0
		}
		if r.end == len(r.buf) {
			grown := make([]byte, 2*len(r.buf))
			copy(grown, r.buf)
			r.buf = grown
		}
		m, err := r.src.Read(r.buf[r.end:])
		r.end += m
		switch {
		case m > 0:
			// What came with an error is used first; the error comes again.
		case err == nil:
			return r.end-r.start >= n
		case errors.Is(err, io.ErrUnexpectedEOF):
			r.torn = true
			return false
		case err == io.EOF:
			return false
		default:
			r.readErr = err
			return false
		}
	}
	return true
}

// take consumes n bytes.
func (r *Reader) take(n int) {
	r.start += n
	r.offset += int64(n)
}

// eof says why there is no whole record.
func (r *Reader) eof() error {
	switch {
	case r.readErr != nil:
		return r.fail(fmt.Errorf("read capture file at byte %d: %w", r.offset, r.readErr))
	case r.finished && r.Truncated():
		return ErrTruncated
	}
	return io.EOF
}

func (r *Reader) fail(err error) error {
	r.failed = err
	return err
}

func (r *Reader) corrupt(what string, args ...any) error {
	return r.fail(&CorruptError{Offset: r.offset, What: fmt.Sprintf(what, args...)})
}

func (r *Reader) u32(b []byte) uint32 {
	if r.big {
		return binary.BigEndian.Uint32(b)
	}
	return binary.LittleEndian.Uint32(b)
}

func (r *Reader) u16(b []byte) uint16 {
	if r.big {
		return binary.BigEndian.Uint16(b)
	}
	return binary.LittleEndian.Uint16(b)
}

func (r *Reader) u64(b []byte) uint64 {
	if r.big {
		return binary.BigEndian.Uint64(b)
	}
	return binary.LittleEndian.Uint64(b)
}
