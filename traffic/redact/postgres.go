package redact

import (
	"bytes"
	"encoding/binary"
)

// postgres follows a client's PostgreSQL stream up to its first query and finds what authenticates it: the bodies of
// messages of type 'p' (PasswordMessage, SASLInitialResponse, SASLResponse, GSSResponse). A password there has no name
// next to it and a proof looks like any text, so that only the place tells. It takes bytes as they come and keeps no
// more than the front of one message.
type postgres struct {
	phase    postgresPhase
	head     []byte // front of the message that is being read
	from     int64  // offset of the message,
	to       int64  // and of what follows it; 0 until its header is whole
	cut      bool   // the capture lacks a part of the message
	found    bool   // the message's range was added before its end
	messages int    // authentication messages so far
	blind    int64  // bytes still to mask when no message can be told from another
}

type postgresPhase uint8

const (
	postgresGreeting postgresPhase = iota // requests for encryption, StartupMessage
	postgresMessages                      // authentication
	postgresLost                          // authentication, but where a message begins is a guess
	postgresBlind                         // authentication, and the guess was wrong
	postgresOver                          // not PostgreSQL, encrypted, or queries have begun
)

// Bounds of the greeting and of authentication; the server's are no larger.
const (
	maxPostgresStartup  = 10000
	maxPostgresGuess    = 1 << 16 // longest message that is believed where its beginning is a guess
	maxPostgresMessages = 1024
	maxPostgresBlind    = 4096
	maxMechanism        = 20                   // RFC 4422 section 3.1
	postgresFront       = 5 + maxMechanism + 5 // header, mechanism, NUL and length of what follows
)

// Codes in the place of a protocol version.
const (
	postgresSSL    = 80877103
	postgresGSSEnc = 80877104
)

// write reads the bytes at offset at, which follow those of the last call unless gap lies between.
func (p *postgres) write(data []byte, at int64, d *direction) {
	for len(data) > 0 && p.phase != postgresOver {
		if p.phase == postgresBlind {
			n := min(int64(len(data)), p.blind)
			d.ranges = append(d.ranges, rng{at, at + n})
			if p.blind -= n; p.blind == 0 {
				p.over()
			}
			return
		}
		if p.to == 0 {
			if len(p.head) == 0 {
				p.from = at
			}
			n := min(len(data), p.header()-len(p.head))
			p.head = append(p.head, data[:n]...)
			data, at = data[n:], at+int64(n)
			if len(p.head) < p.header() {
				return
			}
			p.begin(d)
			if p.to == 0 {
				continue
			}
		}
		n := int(min(int64(len(data)), p.to-at))
		p.head = append(p.head, data[:min(n, max(0, postgresFront-len(p.head)))]...)
		at += int64(n)
		if at == p.to {
			p.end(d, n > 0 && data[n-1] == 0)
		}
		data = data[n:]
	}
}

func (p *postgres) header() int {
	if p.phase == postgresGreeting {
		return 8
	}
	return 5
}

func (p *postgres) over() { *p = postgres{phase: postgresOver} }

// begin reads a message's header.
func (p *postgres) begin(d *direction) {
	if p.phase == postgresGreeting {
		size, code := binary.BigEndian.Uint32(p.head), binary.BigEndian.Uint32(p.head[4:])
		switch {
		case size == 8 && (code == postgresSSL || code == postgresGSSEnc), code>>16 == 3 && size >= 8 && size <= maxPostgresStartup:
			p.to = p.from + int64(size)
		default:
			p.over()
		}
		return
	}
	kind, size := p.head[0], int64(binary.BigEndian.Uint32(p.head[1:]))
	known := size >= 4 && bytes.IndexByte([]byte("pQPFBCDEHSXdcf"), kind) >= 0
	switch {
	case p.phase == postgresLost && (!known || size > maxPostgresGuess):
		// It may be the rest of a password: better too much is hidden than that.
		d.ranges = append(d.ranges, rng{p.from, p.from + int64(len(p.head))})
		*p = postgres{phase: postgresBlind, blind: maxPostgresBlind}
	case !known, kind == 'Q', kind == 'P', kind == 'F':
		p.over()
	default:
		p.phase, p.to = postgresMessages, p.from+1+size
	}
}

// end takes the message that was read to its end, and whether its last byte is a NUL.
func (p *postgres) end(d *direction, nul bool) {
	next := postgres{phase: p.phase, head: p.head[:0], messages: p.messages}
	switch {
	case p.phase == postgresGreeting:
		if binary.BigEndian.Uint32(p.head[4:])>>16 == 3 {
			next.phase = postgresMessages
		}
	case p.head[0] == 'p':
		p.secret(d, nul)
		if next.messages++; next.messages == maxPostgresMessages {
			next = postgres{phase: postgresOver}
		}
	}
	*p = next
}

// secret adds the range of an authentication message. What a reader needs to find its way stays: the mechanism's name and the
// length of a SASLInitialResponse, the NUL that ends a password.
func (p *postgres) secret(d *direction, nul bool) {
	from, to := p.from+5, p.to
	if p.found || from >= to {
		return
	}
	if !p.cut {
		if n := saslFront(p.head[5:], to-from); n > 0 {
			from += n
		} else if nul {
			to--
		}
	}
	if from < to {
		d.ranges = append(d.ranges, rng{from, to})
	}
}

// saslFront is the size of `mechanism NUL int32` at the front of a SASLInitialResponse of size bytes, 0 for other messages. No
// password is taken for one: it has no NUL but its last byte.
func saslFront(b []byte, size int64) int64 {
	n := 0
	for n < len(b) && n < maxMechanism && (b[n] >= 'A' && b[n] <= 'Z' || isDigit(b[n]) || b[n] == '-' || b[n] == '_') {
		n++
	}
	if n == 0 || n+5 > len(b) || b[n] != 0 {
		return 0
	}
	rest := size - int64(n+5)
	if have := int64(int32(binary.BigEndian.Uint32(b[n+1:]))); have != rest && (have != -1 || rest != 0) {
		return 0
	}
	return int64(n + 5)
}

// gap says that the bytes up to offset next are missing.
func (p *postgres) gap(next int64, d *direction) {
	switch {
	case p.phase == postgresOver || p.phase == postgresBlind:
		return
	case p.to == 0:
		p.flush(d)
	default:
		p.cut = true
		if next < p.to {
			return
		}
		whole := next == p.to
		p.end(d, false)
		if whole {
			return
		}
	}
	if p.phase == postgresGreeting {
		p.over()
	}
	if p.phase == postgresMessages {
		p.phase = postgresLost
	}
	p.head = p.head[:0]
}

// flush adds the range of a message whose end may never come.
func (p *postgres) flush(d *direction) {
	if p.phase == postgresLost && len(p.head) > 0 { // too little to tell what it is
		d.ranges = append(d.ranges, rng{p.from, p.from + int64(len(p.head))})
	}
	if p.to != 0 && p.phase == postgresMessages && p.head[0] == 'p' {
		p.cut = true
		p.secret(d, false)
		p.found = true
	}
}
