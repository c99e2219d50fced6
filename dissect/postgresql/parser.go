package postgresql

import (
	"bytes"
	"encoding/binary"

	"github.com/devloop-io/devloop/dissect/protocol"
	"github.com/devloop-io/devloop/traffic"
)

// Parser is the state of one connection. Exported for checkpoints.
type Parser struct {
	Sides    [2]half
	Queue    []item // what the client sent and the server has not settled with a ReadyForQuery
	At       int    // the first of them that is not answered
	Serial   int
	Asked    uint32 // an SSLRequest or GSSENCRequest waits for its byte
	Dark     bool   // the rest is encrypted by GSSAPI
	Skipping bool   // the server ignores everything up to a Sync that was not sent yet
	Lost     bool   // the capture lacks answers
	Leave    bool   // the client has closed its half
	Begun    bool

	Statements map[string]statement
	Order      []string // of their names, oldest first
	Portals    map[string]portal
	Kept       int // bytes of SQL in Statements
	Database   string
	User       string
}

// half is one direction.
type half struct {
	Skip int64 // rest of a message whose content does not matter
	Item int   // serial of the item that the message belongs to
	Hunt bool  // message borders are lost
}

// statement is a prepared SQL text.
type statement struct {
	SQL, Fingerprint, Command string
	Cut, Unknown              bool
}

// portal is a statement with its parameters.
type portal struct {
	Name       string // of the statement
	Statement  statement
	Parameters int
	Arguments  []string
}

// Kinds of items that have no letter of their own in the protocol.
const (
	kindStartup = '0'
	kindCancel  = 'x'
	kindHalf    = '?' // an answer whose request was not seen
)

// item is a message of the client that the server answers.
type item struct {
	Serial   int
	Kind     byte
	Sub      byte // of Describe and Close: S or P
	Owner    int  // serial of the Execute that this message prepares, 0 for none
	Call     *traffic.Call
	Request  protocol.Span
	Answer   protocol.Span
	Size     int64 // where there is no call to count it
	Answered bool
	Failed   bool // its error was seen
	Tagged   bool // it has an outcome
	Copy     bool // the client sends rows
	Noticed  int
	Text     statement // of a Parse: what it prepares
	Name     string
}

// Limits of one connection.
const (
	maxWaiting    = 8192
	maxHeldSQL    = 1 << 20 // bytes of SQL that wait
	maxStatements = 2048
	maxPortals    = 256
	maxKept       = 1 << 20 // bytes of SQL of prepared statements
)

// Data implements [protocol.Parser].
func (p *Parser) Data(h protocol.Host, from protocol.Side, v *protocol.View) int {
	if !p.Begun { // without the beginning, messages may begin anywhere
		p.Begun = true
		late := from == protocol.Server || len(v.Data) > 0 && v.Data[0] != 0
		p.Sides[0].Hunt, p.Sides[1].Hunt = late, late
	}
	used := 0
	for used < len(v.Data) {
		n, more := p.step(h, from, v, used, false)
		used += n
		if !more {
			break
		}
	}
	return used
}

// step reads one message at v.Data[at:], or a part of one, and reports whether to go on. Salvaged bytes end at a gap:
// nothing will follow them.
func (p *Parser) step(h protocol.Host, from protocol.Side, v *protocol.View, at int, salvage bool) (n int, more bool) {
	s, b := &p.Sides[from], v.Data[at:]
	switch {
	case p.Dark:
		h.Encrypted(int64(len(b)))
		return len(b), true
	case s.Skip > 0:
		n := int(min(s.Skip, int64(len(b))))
		s.Skip -= int64(n)
		if s.Skip == 0 {
			p.extend(s.Item, from, v.At(at+n-1))
		}
		return n, true
	case s.Hunt:
		return p.hunt(h, from, b)
	case p.Asked != 0 && from == protocol.Client:
		if !goesOn(b) {
			return 0, false
		}
		p.Asked = 0
		return 0, true
	case p.Asked != 0 && b[0] != 'E':
		return p.negotiated(h, b[0])
	case b[0] == 0 && from == protocol.Client:
		return p.opening(h, v, at)
	}
	return p.message(h, from, v, at, salvage)
}

// message reads a message with a type byte.
func (p *Parser) message(h protocol.Host, from protocol.Side, v *protocol.View, at int, salvage bool) (int, bool) {
	s, b := &p.Sides[from], v.Data[at:]
	if !types(from, b[0]) {
		p.lose(from, v.At(at))
		return 0, true
	}
	if len(b) < 5 {
		return 0, false
	}
	size := int(binary.BigEndian.Uint32(b[1:]))
	if !fits(from, b[0], size) {
		p.lose(from, v.At(at))
		return 0, true
	}
	whole := len(b) >= 1+size
	if !whole && !salvage && len(b) < 5+wanted(from, b[0]) && len(b) < 1+size {
		return 0, false
	}
	end := min(len(b), 1+size)
	m := message{kind: b[0], body: b[5:end], whole: whole, size: int64(1 + size), first: v.At(at), last: v.At(at + end - 1)}
	s.Item = 0
	if from == protocol.Client {
		s.Item = p.client(h, &m)
	} else {
		s.Item = p.server(h, &m)
	}
	s.Skip = int64(1 + size - end)
	return end, true
}

// message is what is there of one.
type message struct {
	kind        byte
	body        []byte
	whole       bool
	size        int64 // on the wire
	first, last protocol.Mark
}

// wanted is how many bytes of a message's content are worth waiting for.
func wanted(from protocol.Side, kind byte) int {
	if from == protocol.Client {
		switch kind {
		case 'Q', 'P', 'B':
			return maxSQL + 1024
		case 'D', 'C', 'E':
			return 1 << 16
		}
		return 0
	}
	switch kind {
	case 'E', 'N':
		return 1 << 16
	case 'C', 'Z', 'A':
		return 1 << 14
	case 'R':
		return 4
	}
	return 0
}

// extend notes that a message went on to a later packet.
func (p *Parser) extend(serial int, from protocol.Side, m protocol.Mark) {
	if x := p.find(serial); x != nil {
		if from == protocol.Client {
			x.Request.Add(m)
		} else {
			x.Answer.Add(m)
		}
	}
}

func (p *Parser) find(serial int) *item {
	if serial == 0 {
		return nil
	}
	for i := len(p.Queue) - 1; i >= 0; i-- {
		if p.Queue[i].Serial == serial {
			return &p.Queue[i]
		}
	}
	return nil
}

// opening reads the messages without a type that begin a connection.
func (p *Parser) opening(h protocol.Host, v *protocol.View, at int) (int, bool) {
	b := v.Data[at:]
	if detectStartup(b) == protocol.No {
		p.lose(protocol.Client, v.At(at))
		return 0, true
	}
	if len(b) < 8 {
		return 0, false
	}
	size, code := int(binary.BigEndian.Uint32(b)), binary.BigEndian.Uint32(b[4:])
	if len(b) < size {
		return 0, false
	}
	m := message{body: b[8:size], whole: true, size: int64(size), first: v.At(at), last: v.At(at + size - 1)}
	switch code {
	case codeSSL, codeGSS:
		p.Asked = code
		h.Wake()
		return size, true
	case codeCancel:
		x := p.add(h, kindCancel, &m, "CancelRequest")
		x.Call.PostgreSQL.Success = true
		return size, true
	}
	p.User, p.Database = startup(m.body)
	x := p.add(h, kindStartup, &m, "Startup")
	x.Call.Path, x.Call.PostgreSQL.Authentication = p.Database, "trust"
	return size, true
}

// goesOn reports whether a client that asked for encryption has had its answer, which the capture lacks: it was no.
func goesOn(b []byte) bool {
	return len(b) >= 8 && binary.BigEndian.Uint32(b[4:])>>16 == 3 && detectStartup(b) == protocol.FromClient
}

// negotiated reads the byte that answers an SSLRequest or GSSENCRequest.
func (p *Parser) negotiated(h protocol.Host, answer byte) (int, bool) {
	asked := p.Asked
	p.Asked = 0
	switch {
	case answer == 'S' && asked == codeSSL:
		h.HandOver()
		return 1, false
	case answer == 'G' && asked == codeGSS:
		p.Dark = true
	}
	h.Wake()
	return 1, true
}

// lose gives up the message borders of one side.
func (p *Parser) lose(from protocol.Side, at protocol.Mark) {
	s := &p.Sides[from]
	s.Hunt, s.Skip = true, 0
	p.Asked = 0
	if from == protocol.Server {
		p.Lost = p.Lost || len(p.Queue) > 0
		return
	}
	// What the gap took may have ended the batch.
	if n := len(p.Queue); n > 0 && !ends(p.Queue[n-1].Kind) {
		p.push(item{Kind: 'S'}, at)
	}
}

// ends reports whether the server answers a message with ReadyForQuery.
func ends(kind byte) bool {
	switch kind {
	case 'S', 'Q', 'F', kindStartup, kindHalf:
		return true
	}
	return false
}

// hunt looks for a place where a message begins: where bytes begin that can be nothing else, or behind a Sync or
// ReadyForQuery.
func (p *Parser) hunt(h protocol.Host, from protocol.Side, b []byte) (int, bool) {
	s := &p.Sides[from]
	if from == protocol.Client && b[0] == 22 && len(b) > 2 && b[1] == 3 {
		h.HandOver() // the answer to an SSLRequest was lost
		return 0, false
	}
	verdict := chain(b, from)
	if verdict == protocol.FromClient || verdict == protocol.FromServer {
		s.Hunt = false
		return 0, true
	}
	mark := []byte{'S', 0, 0, 0, 4}
	if from == protocol.Server {
		mark = []byte{'Z', 0, 0, 0, 5}
	}
	n := bytes.Index(b[1:], mark) + 1
	switch {
	case n > 0 && from == protocol.Client: // behind the Sync
		n += len(mark)
		s.Hunt = n < len(b) && !types(from, b[n])
	case n > 0: // what is there may be cut
		s.Hunt = n+6 <= len(b) && chain(b[n:], from) != protocol.FromServer
	case verdict == protocol.Undecided && len(b) < 4096:
		return 0, false
	default:
		n = len(b)
	}
	h.Undecoded(int64(n), "no_sync")
	return n, true
}

// Salvage implements [protocol.Salvager]: the beginning of a message says how much of the gap belongs to it.
func (p *Parser) Salvage(h protocol.Host, from protocol.Side, v *protocol.View) int {
	s := &p.Sides[from]
	if p.Dark || s.Hunt || s.Skip > 0 || p.Asked != 0 || len(v.Data) < 5 || v.Data[0] == 0 {
		return 0
	}
	if from == protocol.Server && (v.Data[0] == 'C' || v.Data[0] == 'Z') {
		return 0
	}
	n, _ := p.message(h, from, v, 0, true)
	return n
}

// Gap implements [protocol.Parser].
func (p *Parser) Gap(h protocol.Host, from protocol.Side, n int64, at protocol.Mark) {
	s := &p.Sides[from]
	switch {
	case p.Dark:
	case n > 0 && n <= s.Skip:
		s.Skip -= n
	default:
		asked := p.Asked != 0
		p.lose(from, at)
		if asked { // the answer that the client waited for is lost
			p.Sides[protocol.Client].Hunt = true
			h.Wake()
		}
	}
}

// Tick implements [protocol.Parser].
func (p *Parser) Tick(protocol.Host, int64) {}

// Closed implements [protocol.Parser].
func (p *Parser) Closed(h protocol.Host, from protocol.Side, at protocol.Mark) {
	if from == protocol.Client {
		p.Leave = true
		return
	}
	p.End(h, protocol.End{Mark: at, By: from})
}

// End implements [protocol.Parser].
func (p *Parser) End(h protocol.Host, e protocol.End) {
	for i := range p.Queue {
		x := &p.Queue[i]
		c := x.Call
		if c == nil {
			continue
		}
		switch {
		case x.Kind == kindCancel && !e.Dropped: // closing is the answer
			c.State, c.End = traffic.StateComplete, e.Time
		case x.Tagged && x.Kind != kindHalf:
			c.State = traffic.StateComplete
		case x.Tagged:
			c.State = traffic.StateHalf
		case e.Dropped || p.Lost:
			c.State = traffic.StateOpen
			if p.Lost && !e.Dropped {
				c.End = e.Time
			}
		case x.Kind == kindHalf:
			c.State, c.Error = traffic.StateHalf, traffic.ErrorTruncated
		case x.Answer.Seen:
			c.State, c.Error = traffic.StateTruncated, traffic.ErrorTruncated
			c.End = x.Answer.Last.Time
		default:
			c.State, c.Error, c.End = traffic.StateUnanswered, p.reason(e), e.Time
		}
		p.emit(h, x)
	}
	p.Queue, p.At = nil, 0
}

func (p *Parser) reason(e protocol.End) string {
	switch {
	case e.By == protocol.Client || p.Leave:
		return traffic.ErrorCancelled
	case e.Reset:
		return traffic.ErrorReset
	}
	return traffic.ErrorClosed
}

// emit hands out an item's call.
func (p *Parser) emit(h protocol.Host, x *item) {
	c := x.Call
	x.Call = nil
	pg := c.PostgreSQL
	if c.State != traffic.StateComplete && c.State != traffic.StateHalf {
		pg.Success = false
	}
	c.Method = pg.Command
	if begin := x.Request.First.Time; x.Request.Seen { // captures shuffle packets: nothing is answered before it is asked
		x.Answer.First.Time, x.Answer.Last.Time = max(x.Answer.First.Time, begin), max(x.Answer.Last.Time, begin)
		if c.End != 0 {
			c.End = max(c.End, begin)
		}
	}
	h.Emit(c, &x.Request, &x.Answer)
}

// Window implements [protocol.Parser].
func (p *Parser) Window(h protocol.Host) {
	var none protocol.Span
	for i := range p.Queue {
		x := &p.Queue[i]
		switch {
		case x.Call == nil:
		case x.Kind == 'E' && x.Answered && x.Tagged:
			x.Call.State = traffic.StateComplete
			p.emit(h, x)
		default:
			c, pg := *x.Call, *x.Call.PostgreSQL
			c.PostgreSQL, c.State, pg.Success = &pg, traffic.StateOpen, false
			answer := &none
			if x.Kind == kindHalf {
				answer = &x.Answer
			}
			h.Emit(&c, &x.Request, answer)
		}
		x.Request.Forget()
		x.Answer.Forget()
	}
}
