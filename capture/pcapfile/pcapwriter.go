package pcapfile

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/devloop-io/devloop/traffic"
)

// PCAPWriter writes a classic pcap file of IP packets, little-endian, with nanosecond times (draft-ietf-opsawg-pcap). For
// all that pcap has no place for there is [Writer].
type PCAPWriter struct {
	w     io.Writer
	begun bool
	buf   []byte
}

// NewPCAPWriter makes a writer. The file's header is written with the first packet, or by Close.
func NewPCAPWriter(w io.Writer) *PCAPWriter { return &PCAPWriter{w: w} }

// Write adds a packet that begins with its IP header; length is what it had on the wire.
func (w *PCAPWriter) Write(at int64, data []byte, length int) error {
	if err := w.Close(); err != nil {
		return err
	}
	le := binary.LittleEndian
	w.buf = le.AppendUint32(w.buf[:0], uint32(at/1e9))
	w.buf = le.AppendUint32(w.buf, uint32(at%1e9))
	w.buf = le.AppendUint32(w.buf, uint32(len(data)))
	w.buf = le.AppendUint32(w.buf, uint32(max(length, len(data))))
	w.buf = append(w.buf, data...)
	return w.write()
}

// Close makes sure that the file has a header. The underlying writer stays open.
func (w *PCAPWriter) Close() error {
	if w.begun {
		return nil
	}
	w.begun = true
	le := binary.LittleEndian
	w.buf = le.AppendUint32(w.buf[:0], magicNano)
	w.buf = le.AppendUint16(w.buf, 2) // version 2.4
	w.buf = le.AppendUint16(w.buf, 4)
	w.buf = append(w.buf, 0, 0, 0, 0, 0, 0, 0, 0)
	w.buf = le.AppendUint32(w.buf, 256<<10) // what readers take
	w.buf = le.AppendUint32(w.buf, uint32(traffic.LinkRaw))
	return w.write()
}

func (w *PCAPWriter) write() error {
	if _, err := w.w.Write(w.buf); err != nil {
		return fmt.Errorf("write capture file: %w", err)
	}
	return nil
}
