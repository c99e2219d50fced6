package dissect

import (
	"github.com/devloop-io/devloop/dissect/protocol"
	"github.com/devloop-io/devloop/traffic"
)

// maxHeld bounds the calls that wait for the other point's copy.
const maxHeld = 64

// host is the connection that a protocol is reading; it implements [protocol.Host].
type host struct {
	d        *Dissector
	c        *connection
	handOver bool
	wake     bool
}

func (h *host) begin(c *connection) { h.c, h.handOver, h.wake = c, false, false }

func (h *host) BodyLimit() int           { return h.d.o.BodyLimit }
func (h *host) Memory() *protocol.Memory { return &h.d.memory }
func (h *host) HandOver()                { h.handOver = true }
func (h *host) Wake()                    { h.wake = true }

// Bequeath implements [protocol.Executor].
func (h *host) Bequeath(call *traffic.Call, request protocol.Span) {
	h.c.Legacy = &legacy{Call: call, Request: request}
}

func (h *host) NextCall() int {
	c := h.c.outermost()
	c.NextIndex++
	return c.NextIndex - 1
}

func (h *host) Transport() string {
	if h.c.Key.Proto == protoUDP {
		return "udp"
	}
	return "tcp"
}

func (h *host) Undecoded(n int64, reason string) {
	h.d.giveUpOn(h.c, n, reason)
}

func (h *host) Encrypted(n int64) { h.c.outermost().Encrypted += uint64(n) }

func (h *host) SNI(name string) { h.c.SNI = name }

func (h *host) Deadline(at int64) {
	if h.c.Deadline == 0 || at < h.c.Deadline {
		h.c.Deadline = at
		h.d.timers.push(timer{at, h.c})
	}
}

// Emit fills in who, where and when, and hands the call out; or holds it until its response has reached the client's
// interface, where both ends are captured.
func (h *host) Emit(call *traffic.Call, request, response *protocol.Span) {
	c, in := h.c.outermost(), h.c
	client, server := h.d.endpoints(c)
	call.ID = h.d.callID(c, call.Index)
	call.ConnID, call.FlowID = c.ID, c.flow
	call.Point = c.point()
	if c.Reversed {
		client, server = server, client
		call.Point = map[string]string{"client": "server", "server": "client"}[call.Point]
	}
	call.Src, call.Dst = *client, *server
	normalise(call)
	if in != c {
		call.CaptureSource = traffic.SourceTLSKeyLog
		if call.TLS == nil && in.In.About != nil {
			about := *in.In.About
			call.TLS = &about
		}
	}
	if call.HTTP != nil {
		h.d.bodies(call)
	}
	if server.IP.IsMulticast() { // questions to everyone: nobody in particular owes an answer
		call.Background = true
	}
	if request.Seen {
		call.Start, call.RequestEnd = request.First.Time, request.Last.Time
		call.RequestPackets = traffic.PacketRange{First: request.First.Packet, Last: request.Last.Packet}
	}
	if response.Seen {
		call.ResponseStart = response.First.Time
		if call.End == 0 {
			call.End = response.Last.Time
		}
		call.ResponsePackets = traffic.PacketRange{First: response.First.Packet, Last: response.Last.Packet}
		if !request.Seen {
			call.Start = call.ResponseStart
		}
	}
	if call.State != traffic.StateOpen {
		c.Calls++
		c.WindowCalls++
		if call.Background {
			c.Background = true
		}
		if call.Error == traffic.ErrorReset || call.Error == traffic.ErrorCancelled && c.ResetBy != 0 {
			c.MidReset = true
		}
		sv := &c.Dir[1-c.Client]
		if call.State == traffic.StateComplete && response.Seen && c.Points[0] && c.Points[1] && sv.OutSeen && !c.Reversed && c.Key.Proto == protoTCP {
			c.Held = append(c.Held, held{Call: call, First: in.outside(response.First.Offset), Last: in.outside(response.Last.Offset)})
			if len(c.Held) > maxHeld {
				h.d.release(c, 1)
			}
			return
		}
	}
	h.d.out(call)
}

// normalise makes lists empty rather than absent, whatever way a call came here.
func normalise(call *traffic.Call) {
	if h := call.HTTP; h != nil {
		if h.RequestHeaders == nil {
			h.RequestHeaders = []traffic.Header{}
		}
		if h.ResponseHeaders == nil {
			h.ResponseHeaders = []traffic.Header{}
		}
	}
	if q := call.DNS; q != nil {
		if q.Questions == nil {
			q.Questions = []traffic.DNSRecord{}
		}
		if q.Answers == nil {
			q.Answers = []traffic.DNSRecord{}
		}
	}
}

func (d *Dissector) out(call *traffic.Call) {
	if d.o.OnCall == nil {
		return
	}
	d.o.OnCall(call)
	if d.o.Returned == nil {
		return
	}
	d.lent = append(d.lent, call)
	if n := min(d.o.Returned(), len(d.lent)); n > 0 {
		for _, c := range d.lent[:n] {
			d.memory.Return(c)
		}
		d.lent = d.lent[:copy(d.lent, d.lent[n:])]
	}
}

// release hands out the first n held calls.
func (d *Dissector) release(c *connection, n int) {
	for _, h := range c.Held[:n] {
		d.out(h.Call)
	}
	c.Held = c.Held[:copy(c.Held, c.Held[n:])]
	if len(c.Held) == 0 {
		c.Held = nil
	}
}

func (d *Dissector) releaseHeld(c *connection) { d.release(c, len(c.Held)) }

// patchHeld looks at a packet for the time at which a held call's response reached the client.
func (d *Dissector) patchHeld(c *connection, dir int, s *segment, p *traffic.Packet) {
	server := &c.Dir[1-c.Client]
	switch {
	case dir != c.Client && p.Direction == traffic.DirectionIn && s.length > 0:
		from := server.Offset + int64(int32(s.seq-server.Next))
		to := from + int64(s.length)
		for i := range c.Held {
			h := &c.Held[i]
			if !h.FirstDone && h.First >= from && h.First < to {
				h.Call.ResponseStart, h.FirstDone = p.Time, true
			}
			if h.Last >= from && h.Last < to {
				h.Call.End = max(p.Time, h.Call.ResponseStart)
				d.release(c, i+1)
				return
			}
		}
	case dir == c.Client && p.Direction == traffic.DirectionOut && s.flags&flagACK != 0:
		acked := server.Offset + int64(int32(s.ack-server.Next))
		n := 0
		for n < len(c.Held) && acked > c.Held[n].Last {
			n++
		}
		d.release(c, n) // its copy was lost: the server's times must do
	}
}
