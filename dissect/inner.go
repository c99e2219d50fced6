package dissect

import (
	"github.com/devloop-io/devloop/dissect/protocol"
	"github.com/devloop-io/devloop/traffic"
)

const (
	maxInner  = 2    // encryption inside of encryption
	maxMapped = 1024 // runs of plaintext whose place is remembered
)

// inner is what a connection has that lies inside of another: the plaintext of its encryption.
type inner struct {
	About  *traffic.TLS
	Places []place // of what the server sent, oldest first

	outer *connection
}

// place says where in the outer stream a run of plaintext lay.
type place struct{ Inner, Outer int64 }

// outermost is the connection on the wire.
func (c *connection) outermost() *connection {
	for c.In.outer != nil {
		c = c.In.outer
	}
	return c
}

// openInner makes the stream inside of a connection, which speaks some protocol of its own.
func (d *Dissector) openInner(c *connection, late bool) *connection {
	depth := 0
	for o := c; o != nil; o = o.In.outer {
		depth++
	}
	if depth > maxInner {
		return nil
	}
	in := &connection{Key: c.Key, Serial: c.Serial, Client: c.Client, Began: c.Began, FromStart: !late, In: inner{outer: c}}
	if late {
		in.Stage = stageHunt
	}
	c.Inner = in
	return in
}

// Secret implements [protocol.Opener].
func (h *host) Secret(label string, random []byte) []byte { return h.d.o.Secrets.Find(label, random) }

// Plain implements [protocol.Opener].
func (h *host) Plain(from protocol.Side, v *protocol.View, about *traffic.TLS) {
	d, c := h.d, h.c
	in := c.Inner
	if in == nil {
		if in = d.openInner(c, false); in == nil {
			h.Undecoded(int64(len(v.Data)), "tls_nested")
			return
		}
	}
	in.In.About = about
	dir := c.Client
	if from == protocol.Server {
		dir = 1 - dir
	}
	defer d.aside()()
	base, data := v.Base, v.Data
	for i, m := range v.Marks {
		end := len(data)
		if i+1 < len(v.Marks) {
			end = int(v.Marks[i+1].Offset - base)
		}
		at := int(m.Offset - base)
		if from == protocol.Server {
			in.In.remember(in.Dir[dir].Offset, m.Offset)
		}
		d.deliver(in, dir, data[at:end], protocol.Mark{Packet: m.Packet, Time: m.Time})
	}
}

// PlainLost implements [protocol.Opener].
func (h *host) PlainLost(from protocol.Side, n int64, at protocol.Mark) {
	d, c := h.d, h.c
	in := c.Inner
	if in == nil {
		d.openInner(c, true)
		return
	}
	dir := c.Client
	if from == protocol.Server {
		dir = 1 - dir
	}
	defer d.aside()()
	d.gap(in, dir, n, at)
}

// aside keeps what the outer protocol is in the middle of, until the inner one has read.
func (d *Dissector) aside() func() {
	h, view, mark := d.host, d.view, d.mark
	return func() { d.host, d.view, d.mark = h, view, mark }
}

// remember notes where plaintext lay.
func (x *inner) remember(at, outer int64) {
	if len(x.Places) >= maxMapped {
		x.Places = x.Places[:copy(x.Places, x.Places[maxMapped/2:])]
	}
	x.Places = append(x.Places, place{at, outer})
}

// outside translates a place in the server's plaintext to the stream on the wire.
func (c *connection) outside(offset int64) int64 {
	for c.In.outer != nil {
		list := c.In.Places
		k := len(list) - 1
		for k > 0 && list[k].Inner > offset {
			k--
		}
		if k < 0 {
			return offset
		}
		offset += list[k].Outer - list[k].Inner
		c = c.In.outer
	}
	return offset
}

// eachInner calls f for the streams inside of a connection, from the outside in.
func (c *connection) eachInner(f func(in *connection)) {
	for in := c.Inner; in != nil; in = in.Inner {
		f(in)
	}
}

// adopt sets what a checkpoint does not carry of the streams inside of a connection.
func (d *Dissector) adopt(c *connection) {
	outer := c
	c.eachInner(func(in *connection) {
		in.In.outer, outer = outer, in
		for i := range in.Dir {
			d.total += len(in.Dir[i].Buf)
		}
		if in.Deadline != 0 {
			d.timers.push(timer{in.Deadline, in})
		}
	})
}

// closeInner passes on that one side will send no more.
func (d *Dissector) closeInner(c *connection, dir int, m protocol.Mark) {
	c.eachInner(func(in *connection) {
		if in.Parser != nil {
			d.host.c = in
			m.Offset = in.Dir[dir].Offset
			in.Parser.Closed(&d.host, in.side(dir), m)
		}
	})
}

// endInner passes on that the connection is over.
func (d *Dissector) endInner(c *connection, e protocol.End) {
	c.eachInner(func(in *connection) {
		if in.Parser != nil && !in.Ended {
			d.host.c = in
			in.Parser.End(&d.host, e)
		}
		in.Ended, in.gone = true, true
		for i := range in.Dir {
			d.dropBuffer(in, i, "tls_end")
		}
	})
}

// windowInner ends a window for the streams inside of a connection.
func (d *Dissector) windowInner(c *connection) {
	c.eachInner(func(in *connection) {
		if in.Parser != nil {
			d.host.c = in
			in.Parser.Window(&d.host)
		}
		if in.Legacy != nil {
			in.Legacy.Request.Forget()
		}
		for i := range in.Dir {
			in.Dir[i].forgetNumbers()
		}
	})
}
