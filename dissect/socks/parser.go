package socks

import (
	"bytes"

	"github.com/devloop-io/devloop/dissect/protocol"
)

// Protocol is this package's row in dissect's table. It has no name: the connection is named by what it carries.
var Protocol = protocol.Protocol{Network: "tcp", Detect: detect, New: func() protocol.Parser { return &Parser{} }}

const (
	version4 = 4
	version5 = 5

	noAuthentication = 0
	userAndPassword  = 2
)

// Where the handshake is. Client and server take turns.
const (
	atGreeting = iota
	atMethod   // of authentication: the server chooses
	atUser
	atAdmission
	atRequest
	atReply
	atReply4
)

// Parser is the state of one connection. Exported for checkpoints.
type Parser struct{ At int }

// detect wants a first message that is whole and ends where the client has to wait.
func detect(b []byte) protocol.Verdict {
	switch {
	case b[0] == version5 && len(b) == 1:
		return protocol.Undecided
	case b[0] == version5 && b[1] > 0 && len(b) <= 2+int(b[1]):
		for _, method := range b[2:] {
			if method > 9 && method < 0x80 || method == 0xff { // not assigned
				return protocol.No
			}
		}
		if len(b) == 2+int(b[1]) {
			return protocol.FromClient
		}
		return protocol.Undecided
	case b[0] == version4 && len(b) < 9:
		if len(b) > 1 && b[1] != 1 && b[1] != 2 {
			return protocol.No
		}
		return protocol.Undecided
	case b[0] == version4 && (b[1] == 1 || b[1] == 2) && request4(b) == len(b):
		return protocol.FromClient
	}
	return protocol.No
}

// request4 is the length of a request of version 4; 0 when it is not whole.
func request4(b []byte) int {
	n := bytes.IndexByte(b[8:], 0) + 9 // behind the user
	if n == 8 {
		return 0
	}
	if b[4]|b[5]|b[6] == 0 && b[7] != 0 { // 4a: a name follows
		k := bytes.IndexByte(b[n:], 0)
		if k < 0 {
			return 0
		}
		n += k + 1
	}
	return n
}

// address5 is the length of a request or reply of version 5; 0 when it is not whole, -1 when it makes no sense.
func address5(b []byte) int {
	if len(b) < 5 {
		return 0
	}
	n := 0
	switch b[3] {
	case 1:
		n = 4 + 4 + 2
	case 3:
		n = 4 + 1 + int(b[4]) + 2
	case 4:
		n = 4 + 16 + 2
	}
	switch {
	case n == 0 || b[0] != version5:
		return -1
	case n > len(b):
		return 0
	}
	return n
}

// Data implements [protocol.Parser].
func (p *Parser) Data(h protocol.Host, from protocol.Side, v *protocol.View) int {
	turn := protocol.Client
	switch p.At {
	case atMethod, atAdmission, atReply, atReply4:
		turn = protocol.Server
	}
	if from != turn {
		return 0
	}
	n := p.step(v.Data)
	switch {
	case n == 0:
		return 0
	case n < 0, p.At == atReply, p.At == atReply4: // the rest is the business of others
		h.HandOver()
		return max(0, n)
	}
	p.At = p.next(v.Data)
	h.Wake()
	return n
}

// step is the length of the message that is due; 0 when it is not whole, -1 when it is something else.
func (p *Parser) step(b []byte) int {
	n := 2
	switch p.At {
	case atGreeting:
		if b[0] == version4 {
			return request4(b)
		}
		if len(b) > 1 {
			n += int(b[1])
		}
	case atMethod:
		if b[0] != version5 || len(b) > 1 && b[1] != noAuthentication && b[1] != userAndPassword {
			return -1
		}
	case atUser:
		if b[0] != 1 {
			return -1
		}
		if len(b) > 1 {
			n += int(b[1]) + 1
		}
		if len(b) >= n {
			n += int(b[n-1])
		}
	case atAdmission:
		if b[0] != 1 {
			return -1
		}
	case atRequest, atReply:
		return address5(b)
	case atReply4:
		if n = 8; b[0] != 0 {
			return -1
		}
	}
	if len(b) < n {
		return 0
	}
	return n
}

// next says what follows the message b.
func (p *Parser) next(b []byte) int {
	switch {
	case p.At == atGreeting && b[0] == version4:
		return atReply4
	case p.At == atMethod && b[1] == noAuthentication, p.At == atAdmission:
		return atRequest
	case p.At == atRequest:
		return atReply
	}
	return p.At + 1
}

// Gap implements [protocol.Parser].
func (p *Parser) Gap(h protocol.Host, _ protocol.Side, _ int64, _ protocol.Mark) { h.HandOver() }

// Closed implements [protocol.Parser].
func (p *Parser) Closed(protocol.Host, protocol.Side, protocol.Mark) {}

// End implements [protocol.Parser].
func (p *Parser) End(protocol.Host, protocol.End) {}

// Tick implements [protocol.Parser].
func (p *Parser) Tick(protocol.Host, int64) {}

// Window implements [protocol.Parser].
func (p *Parser) Window(protocol.Host) {}
