package dissect

import "github.com/devloop-io/devloop/traffic"

// analysis is what TCP analysis remembers of one direction, seen at the direction's primary point. The judgements are those
// of Wireshark, whose fields are named beside them (its User's Guide, "TCP Analysis"; checked against what tshark prints).
type analysis struct {
	Next      uint32 // sequence number behind the highest one sent
	NextSet   bool
	NextTime  int64
	Ackable   uint32 // sequence number up to which nothing is missing: what an ACK may say
	Window    int    // as written, not scaled
	Scale     int    // window scale: 0 until known
	ScaleSet  bool   // known, be it that there is none
	SYNWindow bool   // the last window was a SYN's, which is not scaled
	LastAck   uint32
	AckSet    bool
	AckTime   int64
	DupAcks   int
	KeepAlive bool      // the last segment was a keep-alive
	Probe     bool      // … a zero window probe
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
	SYNDir                                                                                        int
	SYNAt                                                                                         traffic.Direction
	WindowSum, WindowCount                                                                        int64
	RTTMin, RTTMax, RTTSum, RTTLast, JitterSum                                                    int64
	RTTSamples                                                                                    int
	Scale                                                                                         int
}

// judgement is what TCP analysis says of one segment.
type judgement uint16

const (
	isProbe judgement = 1 << iota
	isKeepAlive
	isRepeat // retransmitted or out of order: its ACK measures nothing
)

// analyse judges a segment at its primary point.
func (d *Dissector) analyse(c *connection, dir int, s *segment, t int64, way traffic.Direction) {
	m, f, r := &c.Metrics, &c.Dir[dir].A, &c.Dir[1-dir].A
	if s.length > 0 {
		m.DataSegments++
	}
	if s.flags&flagSYN != 0 {
		f.opens(r, s)
		m.Scale = max(m.Scale, s.scale)
	}
	j := m.judgeWindow(f, r, s)
	if s.ack != f.LastAck {
		f.DupAcks = 0
	}
	if s.flags&flagACK != 0 && j&isProbe == 0 {
		r.acked(s.ack)
	}
	sends := s.length > 0 || s.flags&(flagSYN|flagFIN) != 0
	if sends && j&isKeepAlive == 0 {
		j |= m.judgeRepeat(f, r, s, t)
	}
	next := s.end()
	if sends {
		f.fly(next, t, j&isRepeat != 0, way)
	}
	if j&isProbe == 0 {
		whole := !f.NextSet || s.seq == f.Ackable
		if s.flags&flagRST == 0 && (!f.NextSet || after(next, f.Next)) {
			f.Next, f.NextSet, f.NextTime = next, next != 0, t
		}
		if whole {
			f.Ackable = f.Next
		}
	}
	f.LastAck, f.AckSet, f.AckTime = s.ack, s.ack != 0, t
	f.Window, f.SYNWindow = s.window, s.flags&flagSYN != 0
	f.KeepAlive, f.Probe = j&isKeepAlive != 0, j&isProbe != 0
	if s.flags&flagSYN == 0 {
		w := int64(s.window)
		if f.ScaleSet && r.ScaleSet {
			w <<= f.Scale
		}
		m.WindowSum += w
		m.WindowCount++
	}
	c.milestones(dir, s, t, way)
	c.sampleRTT(dir, s, t, way)
}

// acked takes an ACK of what r sent. One of more than was captured (tcp.analysis.ack_lost_segment) tells that the capture
// lacks segments of r; duplicate ACKs may have been among them, and Wireshark takes them for granted.
func (r *analysis) acked(ack uint32) {
	if !r.NextSet || !after(ack, r.Ackable) {
		return
	}
	if r.Ackable == r.Next { // else what is missing was known before
		r.DupAcks = max(r.DupAcks, fastDupAcks)
	}
	r.Ackable = r.Next
}

// end is the sequence number behind a segment: SYN and FIN count as one each, and as one together.
func (s *segment) end() uint32 {
	end := s.seq + uint32(s.length)
	if s.flags&(flagSYN|flagFIN) != 0 {
		end++
	}
	return end
}

// opens notes the window scales that two SYNs agree on: it takes both sides (RFC 7323 section 2.2). Before the SYN-ACK,
// what one side announced counts, as in tcp.window_size_scalefactor.
func (f *analysis) opens(r *analysis, s *segment) {
	f.Scale, f.ScaleSet = max(0, s.scale), s.scale >= 0
	if s.flags&flagACK != 0 && (s.scale < 0 || !r.ScaleSet && r.NextSet) { // a SYN that was not seen may have announced one
		f.Scale, f.ScaleSet = 0, true
		r.Scale, r.ScaleSet = 0, true
	}
}

// judgeWindow counts what concerns windows, holes and idle segments.
func (m *metrics) judgeWindow(f, r *analysis, s *segment) judgement {
	plain := s.flags&(flagSYN|flagFIN|flagRST) == 0
	if s.length == 1 && f.NextSet && s.seq == f.Next && r.AckSet && r.Window == 0 {
		return isProbe // tcp.analysis.zero_window_probe
	}
	var j judgement
	if s.window == 0 && plain {
		m.ZeroWindow++ // tcp.analysis.zero_window
	}
	if f.NextSet && before(f.Next, s.seq) && s.flags&flagRST == 0 { // half the number space away is ahead
		m.Lost++ // tcp.analysis.lost_segment
	}
	if s.length <= 1 && f.NextSet && s.seq == f.Next-1 && plain {
		m.KeepAlive++ // tcp.analysis.keep_alive
		j |= isKeepAlive
	}
	if s.length > 0 && plain && r.AckSet && r.ScaleSet && r.windowEnd() == s.seq+uint32(s.length) {
		m.WindowFull++ // tcp.analysis.window_full
	}
	if s.length > 0 || !plain || s.window != f.Window || !f.AckSet || !f.NextSet || s.seq != f.Next {
		return j
	}
	switch {
	case s.window != 0 && s.ack == f.LastAck && r.KeepAlive: // tcp.analysis.keep_alive_ack
	case s.window == 0 && r.Probe: // tcp.analysis.zero_window_probe_ack
	case s.window != 0 && s.ack == f.LastAck:
		f.DupAcks++
		m.DupACKs++ // tcp.analysis.duplicate_ack
	}
	return j
}

// windowEnd is the sequence number at which the window that r announced last is full.
func (r *analysis) windowEnd() uint32 {
	scale := r.Scale
	if r.SYNWindow {
		scale = 0
	}
	return r.LastAck + uint32(r.Window)<<scale
}

// What explains a segment below the highest one.
const (
	fastDupAcks    = 2
	fastWithin     = int64(20e6) // after the last of these ACKs: a fast retransmission
	reorderDefault = int64(3e6)  // after the highest segment: out of order, as long as no round trip time is known
)

// judgeRepeat tells the kinds of segments that bring no new sequence numbers.
func (m *metrics) judgeRepeat(f, r *analysis, s *segment, t int64) judgement {
	end := s.seq + uint32(s.length)
	if s.length > 0 && r.AckSet && !after(end, r.LastAck) {
		m.Retransmissions++ // tcp.analysis.spurious_retransmission, which is a tcp.analysis.retransmission as well
		return isRepeat
	}
	if !f.NextSet || !before(s.seq, f.Next) || s.length > 1 && s.seq == f.Next-1 { // the last: behind a probe of one byte
		return 0
	}
	if r.DupAcks >= fastDupAcks && t-r.AckTime < fastWithin && r.LastAck == s.seq {
		m.Fast++
		m.Retransmissions++ // tcp.analysis.fast_retransmission, which is a tcp.analysis.retransmission as well
		return isRepeat
	}
	within := reorderDefault
	if m.FirstRTT > 0 {
		within = m.FirstRTT
	}
	if t-f.NextTime < within && s.end() != f.Next {
		m.OutOfOrder++ // tcp.analysis.out_of_order
	} else {
		m.Retransmissions++ // tcp.analysis.retransmission
	}
	return isRepeat
}

// Bits of connection_completeness (tcp.completeness).
const (
	sawSYN = 1 << iota
	sawSYNACK
	sawACK
	sawData
	sawFIN
	sawRST
)

// milestones notes the stages of the connection's life. As in tcp.completeness, a segment with data is no ACK, a SYN-ACK is
// nothing else besides, and a FIN belongs to a connection only with an ACK. One thing is told apart from it: the RST that
// refuses a connection carries an ACK flag, and is no ACK of a handshake.
func (c *connection) milestones(dir int, s *segment, t int64, way traffic.Direction) {
	m := &c.Metrics
	syn, ack, rst := s.flags&flagSYN != 0, s.flags&flagACK != 0, s.flags&flagRST != 0
	switch {
	case syn && ack:
		m.Completeness |= sawSYNACK
	case s.length > 0:
		m.Completeness |= sawData
	case ack && !(rst && m.Completeness&(sawSYN|sawSYNACK) == sawSYN):
		m.Completeness |= sawACK
	}
	if syn && !ack {
		m.Completeness |= sawSYN
		m.SYN, m.SYNDir, m.SYNAt = t, dir, way
	}
	if ack && !syn && m.SYN != 0 && m.FirstRTT == 0 && t > m.SYN && m.atSYN(dir, way) {
		m.FirstRTT = t - m.SYN // tcp.analysis.initial_rtt
	}
	if s.length > 0 && !rst {
		if dir == c.Client && m.FirstRequest == 0 {
			m.FirstRequest = t
		}
		if dir != c.Client && m.FirstByte == 0 {
			m.FirstByte = t
		}
	}
	if s.flags&flagFIN != 0 {
		m.FIN++
		if ack {
			m.Completeness |= sawFIN
		}
	}
	if rst {
		m.Completeness |= sawRST
		m.RST++
	}
}

// atSYN reports whether a segment was captured where the SYN was: times of two points are not subtracted.
func (m *metrics) atSYN(dir int, way traffic.Direction) bool {
	if dir == m.SYNDir || way == traffic.DirectionUnknown {
		return way == m.SYNAt
	}
	return way != m.SYNAt && m.SYNAt != traffic.DirectionUnknown
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
	if h := &c.Handshake; h.FirstSYN != 0 && h.SYNACKs > 0 && m.FirstRTT != 0 {
		r.HandshakeTime = us(m.SYN + m.FirstRTT - h.FirstSYN)
	}
	if m.FirstByte != 0 && m.FirstRequest != 0 && m.FirstByte >= m.FirstRequest {
		r.TimeToFirstByte = us(m.FirstByte - m.FirstRequest)
	}
	return r
}
