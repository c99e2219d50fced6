package websocket

import (
	"encoding/binary"

	"github.com/devloop-io/devloop/dissect/protocol"
)

// Opcodes of frames (RFC 6455 section 11.8).
const (
	opContinuation = 0
	opText         = 1
	opBinary       = 2
	opClose        = 8
	opPing         = 9
	opPong         = 10
)

var opcodes = map[byte]string{opText: "text", opBinary: "binary", opClose: "close", opPing: "ping", opPong: "pong"}

// maxControl is the longest payload of a control frame.
const maxControl = 125

// frame is a frame's header.
//
//	 0               1               2
//	┌─┬───┬────────┬─┬──────────────┬───────────────┬──────┬─────────┐
//	│F│RSV│ opcode │M│ length 7 bit │ 16 or 64 more │ mask │ payload │
//	└─┴───┴────────┴─┴──────────────┴───────────────┴──────┴─────────┘
type frame struct {
	Op         byte
	Fin        bool
	Compressed bool // RSV1, which permessage-deflate gave a meaning
	Masked     bool
	Mask       [4]byte
	Len        int64
}

// readFrame reads a header: n is its size, 0 when bytes are missing, -1 when it breaks the rules.
func readFrame(b []byte, deflate bool) (f frame, n int) {
	if len(b) < 2 {
		return f, 0
	}
	f = frame{Op: b[0] & 15, Fin: b[0]&0x80 != 0, Compressed: b[0]&0x40 != 0, Masked: b[1]&0x80 != 0, Len: int64(b[1] & 127)}
	control := f.Op >= opClose
	switch {
	case b[0]&0x30 != 0, f.Compressed && (!deflate || control || f.Op == opContinuation):
		return f, -1
	case f.Op != opContinuation && opcodes[f.Op] == "":
		return f, -1
	case control && (!f.Fin || f.Len > maxControl):
		return f, -1
	}
	n = 2
	switch f.Len {
	case 126:
		if len(b) < 4 {
			return f, 0
		}
		f.Len, n = int64(binary.BigEndian.Uint16(b[2:])), 4
		if f.Len < 126 {
			return f, -1
		}
	case 127:
		if len(b) < 10 {
			return f, 0
		}
		f.Len, n = int64(binary.BigEndian.Uint64(b[2:])), 10
		if f.Len < 1<<16 { // the highest bit must not be set, either
			return f, -1
		}
	}
	if f.Masked {
		if len(b) < n+4 {
			return f, 0
		}
		n += copy(f.Mask[:], b[n:])
	}
	return f, n
}

// unmask appends b to dst, unmasked; at is how far into the frame's payload b begins.
func (f *frame) unmask(dst, b []byte, at int64) []byte {
	if !f.Masked {
		return append(dst, b...)
	}
	for i, x := range b {
		dst = append(dst, x^f.Mask[(at+int64(i))&3])
	}
	return dst
}

// begins reports whether frames that a side may send begin at b, after a hole: whole ones up to the end of b, or one that
// goes on behind it.
func begins(b []byte, from protocol.Side, deflate bool) bool {
	for first := true; ; first = false {
		f, n := readFrame(b, deflate)
		switch {
		case n < 0, n > 0 && f.Masked != (from == protocol.Client), first && f.Op == opContinuation:
			return false
		case n == 0:
			return !first
		case int64(len(b)) == int64(n)+f.Len:
			return true
		case int64(len(b)) < int64(n)+f.Len:
			return !first || f.Len < 1<<24
		}
		b = b[int64(n)+f.Len:]
	}
}
