package protocol

import "github.com/devloop-io/devloop/traffic"

// Side is one end of a connection.
type Side uint8

// The two ends. Bytes "from Client" were sent by the client.
const (
	Client Side = 0
	Server Side = 1
)

// Other is the opposite end.
func (s Side) Other() Side { return s ^ 1 }

// Verdict is what a protocol says of the first bytes of one direction.
type Verdict uint8

// The verdicts. A yes also tells who sent the bytes.
const (
	Undecided  Verdict = iota // too few bytes
	No                        // not this protocol
	FromClient                // this protocol, and a client sent it
	FromServer                // this protocol, and a server sent it
)

// Protocol is one row of dissect's table.
type Protocol struct {
	Name    string                     // a traffic.Proto… constant
	Network string                     // "tcp" or "udp"
	Upgrade string                     // name in HTTP's Upgrade header that leads here, whatever the bytes look like; mostly empty
	Detect  func(first []byte) Verdict // must be cheap: it may be asked again as bytes arrive
	Cut     func(first []byte) Verdict // the same of bytes behind which a gap lies; may be nil
	New     func() Parser
}

// Parser reads one connection. All methods are called from one goroutine.
type Parser interface {
	// Data is handed all bytes of one direction that were not consumed yet and returns how many it consumed. Bytes left
	// are handed over again, longer, when more arrive or after [Host.Wake]. On UDP each datagram comes alone and is
	// consumed whole.
	Data(h Host, from Side, v *View) int
	// Gap says that n bytes that follow the consumed ones are missing. Bytes left unconsumed before were dropped.
	Gap(h Host, from Side, n int64, at Mark)
	// Closed says that one side will send no more; everything it sent was handed over.
	Closed(h Host, from Side, at Mark)
	// End says that the connection is over. It is the last call.
	End(h Host, e End)
	// Tick comes when the time of a [Host.Deadline] has passed.
	Tick(h Host, now int64)
	// Window ends a window: copies of calls that still wait are emitted as open, and packet numbers are forgotten,
	// because the next window counts from 1 again.
	Window(h Host)
}

// Salvager is a parser that can make something of bytes that it had left for later and that a gap now cuts off.
type Salvager interface {
	// Salvage is handed them before [Parser.Gap] and returns how many it could use.
	Salvage(h Host, from Side, v *View) int
}

// Heir is a parser that answers a request which an earlier protocol of the connection was sent: HTTP/2 after an upgrade.
type Heir interface {
	// Inherit comes before all bytes, with a copy of the request's call.
	Inherit(h Host, c *traffic.Call, request Span)
}

// Executor is a host that keeps a request for the protocol that is handed over to.
type Executor interface {
	Bequeath(c *traffic.Call, request Span)
}

// End says how a connection ended.
type End struct {
	Mark
	Reset   bool // by RST
	Dropped bool // given up by limits or idle time, not by its ends: nothing can be said of what waits
	By      Side // who ended it first
}

// Opener is a host that knows secrets, and that reads what lies inside of encryption as a stream of its own.
type Opener interface {
	// Secret is what a key log says under a label of the handshake that began with a client random; nil without.
	Secret(label string, random []byte) []byte
	// Plain is handed decrypted bytes; v says where in the encrypted stream they lay. about describes the encryption and is
	// the caller's.
	Plain(from Side, v *View, about *traffic.TLS)
	// PlainLost says that about n decrypted bytes are missing before those that come next. They are counted already.
	PlainLost(from Side, n int64, at Mark)
}

// Host is the connection that a parser reads, as far as it may touch it.
type Host interface {
	// BodyLimit is how many bytes of a decoded body are kept.
	BodyLimit() int
	// NextCall numbers the calls of the connection from 0, in order of their requests.
	NextCall() int
	// Memory is what calls are made of.
	Memory() *Memory
	// Emit hands over a finished call; the host fills in who, when and where from the spans. The spans are copied, the
	// call belongs to the receiver.
	Emit(c *traffic.Call, request, response *Span)
	// HandOver ends the parser's part after what it consumed: the rest belongs to another protocol, found by content. The
	// parser's End is not called.
	HandOver()
	// Wake asks that the bytes left of the other side be handed over again.
	Wake()
	// Undecoded counts bytes consumed but not understood, by reason.
	Undecoded(n int64, reason string)
	// Encrypted counts bytes that only the ends can read.
	Encrypted(n int64)
	// SNI names the server that the client asked for.
	SNI(name string)
	// Deadline asks for a Tick once packets are later than at.
	Deadline(at int64)
	// Transport is tcp or udp.
	Transport() string
}

// Mark is a place in a stream: the packet that carried a byte, its time, and the byte's offset from the first byte seen.
type Mark struct {
	Packet uint64 // 0 when it came in an earlier window
	Time   int64
	Offset int64
}

// Span is where a message began and ended.
type Span struct {
	First, Last Mark
	Seen        bool
}

// Add widens the span to a mark.
func (s *Span) Add(m Mark) {
	if !s.Seen {
		s.First, s.Seen = m, true
	}
	if s.First.Packet == 0 {
		s.First.Packet = m.Packet
	}
	s.Last = m
}

// Forget drops the packet numbers, at the end of a window.
func (s *Span) Forget() { s.First.Packet, s.Last.Packet = 0, 0 }

// View is a run of contiguous bytes of one direction.
type View struct {
	Data  []byte
	Base  int64  // stream offset of Data[0]
	Marks []Mark // where packets begin, ascending; the first covers Data[0]
}

// At says which packet carried Data[i].
func (v *View) At(i int) Mark {
	offset := v.Base + int64(i)
	k := len(v.Marks) - 1
	for k > 0 && v.Marks[k].Offset > offset {
		k--
	}
	m := v.Marks[k]
	m.Offset = offset
	return m
}
