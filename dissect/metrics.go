package dissect

import "github.com/devloop-io/devloop/traffic"

// analysis is what TCP analysis remembers of one direction; the judgements follow Wireshark's
// (its documentation: "TCP Analysis"), seen at the direction's primary point.
type analysis struct {
	Next      uint32 // highest sequence number sent, plus one
	NextSet   bool
	NextTime  int64
	Window    int
	Scale     int // window scale: 0 until known
	ScaleSet  bool
	FirstAck  bool // the window of a SYN is not scaled
	LastAck   uint32
	AckSet    bool
	AckTime   int64
	DupAcks   int
	KeepAlive bool // the last segment was a keep-alive
	Probe     bool // … a zero window probe
	Segments  uint64
	InFlight  [8]flight // for round trip times
	FlightAt  traffic.Direction
	Head, Len int
}

// flight is a segment that waits for its ACK.
type flight struct {
	End  uint32
	Time int64
	Old  bool // sent twice: its ACK says nothing (Karn)
}

// metrics is what a connection counts over its life.
type metrics struct {
	Retransmissions, Fast, ZeroWindow, WindowFull, OutOfOrder, DupACKs, Lost, RST, FIN, KeepAlive int
	DataSegments                                                                                  int
	Completeness                                                                                  int
	SYN, FirstRTT, FirstByte, FirstRequest                                                        int64
	WindowSum, WindowCount                                                                        int64
	RTTMin, RTTMax, RTTSum, RTTLast, JitterSum                                                    int64
	RTTSamples                                                                                    int
	Scale                                                                                         int
}

// analyse judges a segment at its primary point.
func (d *Dissector) analyse(c *connection, dir int, s *segment, t int64, way traffic.Direction) {
	m, f, r := &c.Metrics, &c.Dir[dir].A, &c.Dir[1-dir].A
	syn, fin, rst, ack := s.flags&flagSYN != 0, s.flags&flagFIN != 0, s.flags&flagRST != 0, s.flags&flagACK != 0
	plain := !syn && !fin && !rst
	c.milestones(dir, s, t)
	if s.length > 0 {
		m.DataSegments++
	}
	if syn && s.scale >= 0 {
		f.Scale, f.ScaleSet = s.scale, true
		m.Scale = max(m.Scale, s.scale)
	}
	next := s.seq + uint32(s.length)
	probe := s.length == 1 && f.NextSet && s.seq == f.Next && r.AckSet && r.Window == 0
	keepAlive, repeat := false, false
	if !probe {
		if s.window == 0 && plain {
			m.ZeroWindow++
		}
		if f.NextSet && after(s.seq, f.Next) && !rst {
			m.Lost++
		}
		keepAlive = s.length <= 1 && f.NextSet && s.seq == f.Next-1 && plain
		if keepAlive {
			m.KeepAlive++
		}
		scale := r.Scale
		if !f.ScaleSet || !r.ScaleSet {
			scale = 0
		}
		if s.length > 0 && r.AckSet && r.ScaleSet && plain && next == r.LastAck+uint32(r.Window<<scale) {
			m.WindowFull++
		}
		same := s.length == 0 && plain && f.AckSet && f.NextSet && s.seq == f.Next
		if same && s.window == f.Window && s.ack == f.LastAck && s.window != 0 {
			if !r.KeepAlive {
				f.DupAcks++
				m.DupACKs++
			}
		}
	}
	if s.ack != f.LastAck {
		f.DupAcks = 0
	}
	if (s.length > 0 || syn || fin) && f.NextSet && before(s.seq, f.Next) && !keepAlive && !probe {
		repeat = true
		threshold := int64(3e6)
		if m.FirstRTT > 0 {
			threshold = m.FirstRTT
		}
		end := next
		if syn || fin {
			end++
		}
		switch {
		case s.length > 0 && r.AckSet && !after(next, r.LastAck): // spurious
			m.Retransmissions++
		case r.DupAcks >= 2 && r.LastAck == s.seq && t-r.AckTime < 20e6:
			m.Fast++
			m.Retransmissions++
		case t-f.NextTime < threshold && end != f.Next:
			m.OutOfOrder++
			repeat = true
		default:
			m.Retransmissions++
		}
	}
	if syn || fin {
		next++
	}
	if (!f.NextSet || after(next, f.Next)) && !probe {
		f.Next, f.NextSet, f.NextTime = next, true, t
	}
	if s.length > 0 || syn || fin {
		f.fly(next, t, repeat, way)
	}
	if ack {
		f.LastAck, f.AckSet, f.AckTime = s.ack, true, t
	}
	f.Window = s.window
	f.KeepAlive, f.Probe = keepAlive, probe
	if !syn {
		w := int64(s.window)
		if f.ScaleSet && r.ScaleSet {
			w <<= f.Scale
		}
		m.WindowSum += w
		m.WindowCount++
	}
	c.sampleRTT(dir, s, t, way)
}

// milestones notes the stages of the connection's life.
func (c *connection) milestones(dir int, s *segment, t int64) {
	m := &c.Metrics
	switch s.flags & (flagSYN | flagACK) {
	case flagSYN:
		m.Completeness |= 1
		m.SYN = t
	case flagSYN | flagACK:
		m.Completeness |= 2
	case flagACK:
		if s.flags&flagRST == 0 {
			m.Completeness |= 4
		}
		if m.SYN != 0 && m.FirstRTT == 0 && dir == c.Client && s.flags&flagRST == 0 {
			m.FirstRTT = t - m.SYN
		}
	}
	if s.length > 0 && s.flags&flagRST == 0 {
		m.Completeness |= 8
		if dir == c.Client && m.FirstRequest == 0 {
			m.FirstRequest = t
		}
		if dir != c.Client && m.FirstByte == 0 {
			m.FirstByte = t
		}
	}
	if s.flags&flagFIN != 0 {
		m.Completeness |= 16
		m.FIN++
	}
	if s.flags&flagRST != 0 {
		m.Completeness |= 32
		m.RST++
	}
}

// fly remembers a segment until its ACK.
func (a *analysis) fly(end uint32, t int64, old bool, way traffic.Direction) {
	if old {
		for i := range a.Len {
			a.InFlight[(a.Head+i)%len(a.InFlight)].Old = true
		}
		return
	}
	a.FlightAt = way
	if a.Len == len(a.InFlight) {
		return // the ACKs of the first ones are sample enough
	}
	a.InFlight[(a.Head+a.Len)%len(a.InFlight)] = flight{end, t, false}
	a.Len++
}

// sampleRTT measures from a segment to its ACK, both at the segment's sender (or both on the wire).
func (c *connection) sampleRTT(dir int, s *segment, t int64, way traffic.Direction) {
	a := &c.Dir[1-dir].A
	if a.Len == 0 || s.flags&flagACK == 0 || s.flags&flagRST != 0 {
		return
	}
	if a.FlightAt == traffic.DirectionOut && way != traffic.DirectionIn || a.FlightAt == traffic.DirectionIn && way != traffic.DirectionOut {
		return
	}
	var last flight
	for a.Len > 0 && !after(a.InFlight[a.Head].End, s.ack) {
		last = a.InFlight[a.Head]
		a.Head = (a.Head + 1) % len(a.InFlight)
		a.Len--
	}
	if last.Time == 0 || last.Old || t < last.Time {
		return
	}
	m, rtt := &c.Metrics, t-last.Time
	if m.RTTSamples == 0 || rtt < m.RTTMin {
		m.RTTMin = rtt
	}
	if m.RTTSamples > 0 {
		m.JitterSum += max(rtt-m.RTTLast, m.RTTLast-rtt)
	}
	m.RTTMax = max(m.RTTMax, rtt)
	m.RTTSum += rtt
	m.RTTLast = rtt
	m.RTTSamples++
}

// tcpMetrics is the public form, in microseconds.
func (c *connection) tcpMetrics() *traffic.TCPMetrics {
	m := &c.Metrics
	us := func(ns int64) int64 { return (ns + 500) / 1000 }
	r := &traffic.TCPMetrics{
		Retransmissions: m.Retransmissions, FastRetransmissions: m.Fast, ZeroWindowEvents: m.ZeroWindow,
		WindowFullEvents: m.WindowFull, WindowScale: m.Scale, OutOfOrder: m.OutOfOrder, DupACKs: m.DupACKs,
		MissingSegments: m.Lost, RSTCount: m.RST, FINCount: m.FIN, KeepaliveCount: m.KeepAlive,
		Completeness: m.Completeness, InitialRTT: us(m.FirstRTT), ConnectionTime: us(c.Last - c.Began),
		RTTMin: us(m.RTTMin), RTTMax: us(m.RTTMax), RTTSamples: m.RTTSamples,
		GoodputBytes: int64(c.Dir[0].Bytes+c.Dir[1].Bytes) - int64(c.Missing),
	}
	if m.DataSegments > 0 {
		r.RetransmissionRate = float64(m.Retransmissions) / float64(m.DataSegments)
	}
	if m.WindowCount > 0 {
		r.AvgReceiveWindow = m.WindowSum / m.WindowCount
	}
	if m.RTTSamples > 0 {
		r.RTTAvg = us(m.RTTSum / int64(m.RTTSamples))
	}
	if m.RTTSamples > 1 {
		r.Jitter = us(m.JitterSum / int64(m.RTTSamples-1))
	}
	if h := &c.Handshake; h.FirstSYN != 0 && m.FirstRTT != 0 {
		r.HandshakeTime = us(m.SYN + m.FirstRTT - h.FirstSYN)
	}
	if m.FirstByte != 0 && m.FirstRequest != 0 && m.FirstByte >= m.FirstRequest {
		r.TimeToFirstByte = us(m.FirstByte - m.FirstRequest)
	}
	return r
}
