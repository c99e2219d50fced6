package agent

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// chunk is some whole blocks of one segment.
type chunk struct {
	head    *Head  // when the segment begins with them
	data    []byte // owned by the chunk
	after   Position
	packets uint64
}

// The blocks of pcapng that a scan looks at, draft-ietf-opsawg-pcapng. The agent writes little-endian.
const (
	blockSection = 0x0a0d0d0a
	blockPacket  = 6
	sectionMagic = 0x1a2b3c4d

	maxBlock  = 1 << 20  // the largest packet is 64 KiB, lists of lost flows are cut there too
	chunkSize = 64 << 10 // a chunk that is larger is handed out
)

// scan cuts a stream into whole blocks and hands them out as soon as no more are there, until the stream ends or give
// says no. It keeps the position after each of them. A cut block at the end is left out: it comes again.
func scan(r io.Reader, at Position, give func(chunk) bool) error {
	buf := make([]byte, 0, chunkSize)
	for {
		c := chunk{after: at}
		rest := buf
		for {
			size, err := blockSize(rest)
			if err != nil {
				return fmt.Errorf("read the agent's stream after %v: %w", c.after, err)
			}
			if size == 0 || size > len(rest) {
				break
			}
			block := rest[:size]
			switch binary.LittleEndian.Uint32(block) {
			case blockSection:
				head, err := readHead(block)
				if err != nil {
					return fmt.Errorf("read the agent's stream after %v: %w", c.after, err)
				}
				if len(c.data) > 0 && !give(c) {
					return nil
				}
				c = chunk{head: head, after: Position{Ring: head.Ring, Segment: head.Segment}}
			case blockPacket:
				c.packets++
			}
			if c.data == nil {
				c.data = make([]byte, 0, len(rest))
			}
			c.data = append(c.data, block...)
			c.after.Offset += int64(size)
			rest = rest[size:]
		}
		if len(c.data) > 0 && !give(c) {
			return nil
		}
		at = c.after
		buf = append(buf[:0], rest...)
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)] // grows with what came, up to maxBlock
		}
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if err != nil && n == 0 {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return fmt.Errorf("read the agent's stream after %v: %w", at, err)
		}
	}
}

// blockSize is the size of the block that b begins with, 0 when that is not there yet.
func blockSize(b []byte) (int, error) {
	if len(b) < 8 {
		return 0, nil
	}
	size := binary.LittleEndian.Uint32(b[4:])
	if size < 12 || size > maxBlock || size&3 != 0 {
		return 0, fmt.Errorf("a block of type %#x claims %d bytes", binary.LittleEndian.Uint32(b), size)
	}
	return int(size), nil
}

// readHead reads the comment of a section header: type 4 | length 4 | magic 4 | version 4 | section length 8 | options.
func readHead(block []byte) (*Head, error) {
	if len(block) < 28 || binary.LittleEndian.Uint32(block[8:]) != sectionMagic {
		return nil, errors.New("a section header that no agent writes")
	}
	for options := block[24 : len(block)-4]; len(options) >= 4; {
		code, size := binary.LittleEndian.Uint16(options), int(binary.LittleEndian.Uint16(options[2:]))
		if code == 0 || 4+size > len(options) {
			break
		}
		if code == 1 {
			var head Head
			if err := json.Unmarshal(bytes.TrimRight(options[4:4+size], "\x00"), &head); err != nil {
				return nil, fmt.Errorf("a section header's comment: %w", err)
			}
			if head.Ring == "" || head.Run == "" || len(head.Ring) > 64 || len(head.Run) > 64 {
				return nil, errors.New("a section header without ring and run")
			}
			return &head, nil
		}
		options = options[min(4+(size+3)&^3, len(options)):]
	}
	return nil, errors.New("a section header without comment: this is no agent's stream")
}
