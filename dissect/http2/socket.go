package http2

import (
	"math"
	"strings"

	"github.com/devloop-io/devloop/dissect/protocol"
	"github.com/devloop-io/devloop/dissect/websocket"
)

// socket is a stream that carries WebSocket, after an extended CONNECT (RFC 8441).
type socket struct {
	ID    uint32
	WS    *websocket.Parser
	Sides [2]socketSide
}

// socketSide is one direction of a socket.
type socketSide struct {
	Held   []byte // the beginning of a frame's header, whose rest is still to come
	At     protocol.Mark
	Gapped bool // bytes are missing before those that come next
	Ended  bool
}

// switched reports whether a response turns the stream into a WebSocket. What was refused stays an HTTP call.
func (x *stream) switched(b *block) bool {
	c := x.Call
	if c.Method != "CONNECT" || c.HTTP.Upgrade == "" || c.Status == 0 {
		return false
	}
	if c.Status < 200 || c.Status > 299 {
		c.HTTP.Upgrade = ""
	}
	return strings.EqualFold(c.HTTP.Upgrade, websocket.Protocol.Upgrade) && b.Flags&flagEndStream == 0
}

// toSocket hands out the call that asked for it, and reads the stream's data as WebSocket from here on. Where a header of the answer is not
// known it may have been the one that says whether messages are compressed.
func (p *Parser) toSocket(h protocol.Host, x *stream, missing int) {
	if len(p.Sockets) >= maxOpen { // their ends are not captured, it seems
		p.endSocket(h, p.Sockets[0], protocol.End{Dropped: true})
	}
	k := &socket{ID: x.ID, WS: &websocket.Parser{}}
	c, web := *x.Call, *x.Call.HTTP
	c.HTTP = &web
	web.ResponseHeadersCut = missing > 0
	k.WS.Inherit(h, &c, x.Request)
	k.Sides[protocol.Client].Ended = x.RequestDone
	x.RequestDone = true
	p.Sockets = append(p.Sockets, k)
	p.complete(h, x)
}

// socket is the WebSocket of that stream; nil when it is none.
func (p *Parser) socket(id uint32) *socket {
	for _, k := range p.Sockets {
		if k.ID == id {
			return k
		}
	}
	return nil
}

// data reads v.Data[at:at+n]. A frame of WebSocket need not end where one of HTTP/2 does: the few bytes of a header that was cut are
// kept, and their offset is then told as if they stood right before the rest.
func (k *socket) data(h protocol.Host, from protocol.Side, v *protocol.View, at, n int) {
	s := &k.Sides[from]
	k.gap(h, from, 0)
	w := protocol.View{Data: v.Data[at : at+n], Base: v.Base + int64(at), Marks: []protocol.Mark{v.At(at)}}
	for _, m := range v.Marks {
		if m.Offset > w.Base && m.Offset < w.Base+int64(n) {
			w.Marks = append(w.Marks, m)
		}
	}
	if len(s.Held) > 0 {
		w.Data = append(s.Held, w.Data...)
		w.Base -= int64(len(s.Held))
		s.At.Offset = w.Base
		w.Marks = append([]protocol.Mark{s.At}, w.Marks...)
	}
	used := k.WS.Data(h, from, &w)
	s.Held = append([]byte(nil), w.Data[used:]...)
	if len(s.Held) > 0 {
		s.At = w.At(used)
	}
}

// gap tells of n bytes that are missing; of an unknown number where frames of HTTP/2 were lost.
func (k *socket) gap(h protocol.Host, from protocol.Side, n int64) {
	s := &k.Sides[from]
	if s.Gapped {
		n = math.MaxInt64
	}
	if n == 0 {
		return
	}
	if len(s.Held) > 0 {
		h.Undecoded(int64(len(s.Held)), "no_sync")
	}
	s.Gapped, s.Held = false, nil
	k.WS.Gap(h, from, n, protocol.Mark{})
}

// closeSocket notes that a side of a stream says no more, if the stream is a WebSocket.
func (p *Parser) closeSocket(h protocol.Host, from protocol.Side, id uint32) {
	k := p.socket(id)
	if k == nil {
		return
	}
	k.gap(h, from, 0)
	k.WS.Closed(h, from, protocol.Mark{})
	k.Sides[from].Ended = true
	if k.Sides[from.Other()].Ended {
		p.endSocket(h, k, protocol.End{By: from})
	}
}

// endSocket ends both sides and forgets the stream.
func (p *Parser) endSocket(h protocol.Host, k *socket, e protocol.End) {
	k.gap(h, protocol.Client, 0)
	k.gap(h, protocol.Server, 0)
	k.WS.End(h, e)
	for i, y := range p.Sockets {
		if y == k {
			p.Sockets = append(p.Sockets[:i], p.Sockets[i+1:]...)
			break
		}
	}
	p.ended(k.ID)
}

// window ends a window for the sockets.
func (k *socket) window(h protocol.Host) {
	k.WS.Window(h)
	for i := range k.Sides {
		k.Sides[i].At.Packet = 0
	}
}
