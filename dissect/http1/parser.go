package http1

import (
	"bytes"
	"strings"

	"github.com/devloop-io/devloop/dissect/grpc"
	"github.com/devloop-io/devloop/dissect/protocol"
	"github.com/devloop-io/devloop/traffic"
)

// Limits of one message.
const (
	maxHead    = 128 << 10 // request or status line and headers
	maxHeaders = 1000
	maxOpen    = 1000 // requests that wait for responses
	maxBodies  = 64   // of them, with bodies
)

// Where a direction is within its message.
const (
	atHead = iota
	atBody
	atChunkSize
	atChunk
	atChunkEnd
	atTrailers
	atUntilClose
	atResync  // after a gap: until something looks like a message
	atWaiting // the client after a request that may change the protocol
)

// Parser is the state of one connection. Exported for checkpoints.
type Parser struct {
	Sides [2]half
	Open  []*exchange // in order of their requests; a response belongs to the first one without
	Count int
	Leave bool // the client has closed its half

	Continued bool // a 100 came to a request that was not seen

	free    []*exchange
	ends    []int // of the lines of the head at hand
	cutHead bool  // it ends at a gap
}

// half is one direction.
type half struct {
	At      int
	Left    int64 // of the body or chunk
	Scanned int   // bytes of an unfinished head that hold no end
	Gapped  bool
}

// exchange is a call that is not finished on both sides.
type exchange struct {
	Call              *traffic.Call
	Request, Response protocol.Span
	RequestDone       bool
	ResponseBegun     bool
	ResponseDone      bool
	NoRequest         bool // the request was not seen
	AnswerLost        bool // a hole may have held the response
	Upgrade           bool // asks for another protocol
	RequestCoding     string
	ResponseCoding    string
	RequestLost       bool // a gap lies in the body
	ResponseLost      bool
	Events            Events
	Messages          *[2]grpc.Messages // of gRPC-Web

	memory *protocol.Memory // of the call; nil from a checkpoint
}

// of is the memory of an exchange's call; there may be no exchange yet.
func (x *exchange) of(h protocol.Host) *protocol.Memory {
	if x == nil || x.memory == nil {
		return h.Memory()
	}
	return x.memory
}

func (p *Parser) add(h protocol.Host) *exchange {
	var x *exchange
	if n := len(p.free); n > 0 {
		x, p.free = p.free[n-1], p.free[:n-1]
		*x = exchange{}
	} else {
		x = &exchange{}
	}
	x.Call, x.memory = h.Memory().Lend()
	x.Call.Protocol = traffic.ProtoHTTP
	x.Call.Index = h.NextCall()
	x.Call.HTTP.KeptAlive = p.Count > 0
	p.Count++
	p.Open = append(p.Open, x)
	return x
}

// reading is the exchange whose request body is being read.
func (p *Parser) reading() *exchange {
	if n := len(p.Open); n > 0 && !p.Open[n-1].RequestDone {
		return p.Open[n-1]
	}
	return nil
}

// answering is the exchange that the server's next bytes belong to.
func (p *Parser) answering() *exchange {
	for _, x := range p.Open {
		if !x.ResponseDone {
			return x
		}
	}
	return nil
}

// current is the exchange whose message a direction is within.
func (p *Parser) current(from protocol.Side) *exchange {
	if from == protocol.Client {
		return p.reading()
	}
	return p.answering()
}

// Data implements [protocol.Parser].
func (p *Parser) Data(h protocol.Host, from protocol.Side, v *protocol.View) int {
	s := &p.Sides[from]
	used := 0
	for used < len(v.Data) {
		n, more := p.step(h, from, s, v, used)
		used += n
		if !more {
			break
		}
	}
	return used
}

// step reads one element at v.Data[at:] and reports whether to go on.
func (p *Parser) step(h protocol.Host, from protocol.Side, s *half, v *protocol.View, at int) (n int, more bool) {
	b := v.Data[at:]
	switch s.At {
	case atHead:
		return p.head(h, from, s, v, at)
	case atBody, atChunk, atUntilClose:
		if s.At == atBody && from == protocol.Server && p.headOnly(b) {
			p.messageEnd(h, from)
			return 0, true
		}
		n := len(b)
		if s.At != atUntilClose {
			n = int(min(s.Left, int64(n)))
			s.Left -= int64(n)
		}
		p.body(h, from, b[:n], v.At(at), v.At(at+n-1))
		if s.Left == 0 && s.At == atBody {
			p.messageEnd(h, from)
		} else if s.Left == 0 && s.At == atChunk {
			s.At = atChunkEnd
		}
		return n, true
	case atChunkSize:
		return p.chunkSize(h, from, s, v, at)
	case atChunkEnd:
		n := lineEnd(b)
		if n == 0 {
			return 0, false
		}
		s.At = atChunkSize
		if n < 0 { // no line end: the chunk was longer than it said
			return p.broken(h, from, s, "chunk is longer than its size"), true
		}
		p.extend(from, v.At(at+n-1))
		return n, true
	case atTrailers:
		i := bytes.IndexByte(b, '\n')
		if i < 0 {
			return 0, false
		}
		p.extend(from, v.At(at+i))
		if len(bytes.TrimRight(b[:i], "\r")) == 0 {
			p.messageEnd(h, from)
		} else {
			p.trailer(from, b[:i])
		}
		return i + 1, true
	case atResync:
		return p.resync(h, from, s, b)
	}
	return 0, false // atWaiting
}

// headOnly reports whether the response at hand has no body after all: it answers a request that was not captured, which may have been a
// HEAD, and where its body would begin there is the next response.
func (p *Parser) headOnly(b []byte) bool {
	if len(p.Open) == 0 || !p.Open[0].NoRequest {
		return false
	}
	x := p.answering()
	return x == p.Open[0] && x.Call.ResponseSize == 0 && detectResponse(b) == protocol.FromServer
}

// lineEnd is the length of the line end at the start of b; 0 when it is not all there, -1 when there is none.
func lineEnd(b []byte) int {
	switch {
	case b[0] == '\n':
		return 1
	case b[0] != '\r':
		return -1
	case len(b) == 1:
		return 0
	case b[1] == '\n':
		return 2
	}
	return -1
}

// head reads a message's first line and headers once they are complete.
func (p *Parser) head(h protocol.Host, from protocol.Side, s *half, v *protocol.View, at int) (int, bool) {
	b := v.Data[at:]
	if s.Scanned == 0 {
		if blank := len(b) - len(skipBlank(b)); blank > 0 {
			return blank, true
		}
	}
	verdict := protocol.Undecided
	if from == protocol.Client {
		verdict = detectRequest(b)
	} else {
		verdict = detectResponse(b)
	}
	if verdict == protocol.No {
		s.Scanned = 0
		s.At = atResync
		return 0, true
	}
	end := p.headEnd(b, s.Scanned)
	if end < 0 {
		s.Scanned = max(1, len(b)-4)
		if len(b) > maxHead {
			s.Scanned, s.At = 0, atResync
			h.Undecoded(1, "header_limit")
			return 1, true
		}
		return 0, false
	}
	s.Scanned = 0
	first, last := v.At(at), v.At(at+end-1)
	if from == protocol.Client {
		p.request(h, s, b[:end], first, last)
	} else {
		p.response(h, s, b[:end], first, last)
	}
	return end, true
}

// headEnd finds the empty line that ends a head, scanning from a place that an earlier try had reached, and notes where its lines end.
func (p *Parser) headEnd(b []byte, from int) int {
	p.ends = p.ends[:0]
	i, end := from, 0
	for end == 0 {
		k := bytes.IndexByte(b[i:], '\n')
		if k < 0 {
			return -1
		}
		i += k + 1
		p.ends = append(p.ends, i)
		switch {
		case i < len(b) && b[i] == '\n':
			end = i + 1
		case i+1 < len(b) && b[i] == '\r' && b[i+1] == '\n':
			end = i + 2
		case i+2 < len(b) && b[i] == '\r' && b[i+1] == '\r' && b[i+2] == '\n': // as most clients take it
			end = i + 3
		}
	}
	if from > 0 { // its first lines, too
		p.lines(b[:end])
	}
	return end
}

// lines notes where the lines of a head end, be it that the last one is cut.
func (p *Parser) lines(head []byte) {
	p.ends = p.ends[:0]
	for i := 0; i < len(head); {
		k := bytes.IndexByte(head[i:], '\n')
		if k < 0 {
			k = len(head) - i - 1
		}
		i += k + 1
		p.ends = append(p.ends, i)
	}
}

// extend widens the message that a direction is within.
func (p *Parser) extend(from protocol.Side, m protocol.Mark) {
	if x := p.current(from); x != nil {
		x.span(from).Add(m)
	}
}

func (x *exchange) span(from protocol.Side) *protocol.Span {
	if from == protocol.Client {
		return &x.Request
	}
	return &x.Response
}

// body keeps payload up to the limit; it is decoded when the message ends.
func (p *Parser) body(h protocol.Host, from protocol.Side, b []byte, first, last protocol.Mark) {
	x := p.current(from)
	if x == nil {
		return
	}
	x.span(from).Add(first)
	x.span(from).Add(last)
	kept, size, cut := &x.Call.HTTP.RequestBody, &x.Call.RequestSize, &x.Call.HTTP.RequestBodyCut
	if from == protocol.Server {
		kept, size, cut = &x.Call.HTTP.ResponseBody, &x.Call.ResponseSize, &x.Call.HTTP.ResponseBodyCut
	}
	*size += int64(len(b))
	if x.Events.On && from == protocol.Server {
		x.Events.Read(x.Call.HTTP, b, last.Time)
	}
	lost := x.RequestLost
	if from == protocol.Server {
		lost = x.ResponseLost
	}
	if x.Messages != nil {
		m := &x.Messages[from]
		m.Lost = m.Lost || lost
		m.Read(b)
	}
	if lost { // what follows a hole would be read as if it followed what was before
		*cut = true
		return
	}
	limit := h.BodyLimit()
	if len(p.Open) > maxBodies {
		limit = 0
	}
	if room := limit - len(*kept); room < len(b) {
		*cut = true
		b = b[:max(0, room)]
	}
	if *kept == nil && len(b) > 0 {
		*kept = x.of(h).Body(max(len(b), int(min(p.Sides[from].Left+int64(len(b)), int64(h.BodyLimit())))))
	}
	*kept = append(*kept, b...)
}

func (p *Parser) chunkSize(h protocol.Host, from protocol.Side, s *half, v *protocol.View, at int) (int, bool) {
	b := v.Data[at:]
	i := bytes.IndexByte(b, '\n')
	if i < 0 {
		if len(b) > 4096 {
			return p.broken(h, from, s, "chunk size line is too long"), true
		}
		return 0, false
	}
	size, ok := parseChunkSize(b[:i])
	if !ok {
		return p.broken(h, from, s, "chunk size is no number"), true
	}
	p.extend(from, v.At(at+i))
	s.Left, s.At = size, atChunk
	if size == 0 {
		s.At = atTrailers
	}
	return i + 1, true
}

// parseChunkSize reads hexadecimal digits up to an extension (RFC 9112 section 7.1).
func parseChunkSize(line []byte) (int64, bool) {
	line = bytes.TrimSpace(line)
	if k := bytes.IndexByte(line, ';'); k >= 0 {
		line = bytes.TrimSpace(line[:k])
	}
	line = bytes.TrimPrefix(bytes.TrimPrefix(line, []byte("0x")), []byte("0X"))
	var n int64
	for _, c := range line {
		switch {
		case digit(c):
			n = n<<4 | int64(c-'0')
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			n = n<<4 | int64(c|0x20-'a'+10)
		default:
			return 0, false
		}
		if n > 1<<50 {
			return 0, false
		}
	}
	return n, len(line) > 0
}

// broken ends a message whose framing makes no sense, and looks for the next one. It consumes nothing.
func (p *Parser) broken(h protocol.Host, from protocol.Side, s *half, why string) int {
	if x := p.current(from); x != nil {
		x.Call.HTTP.BodyError = why
		p.messageEnd(h, from)
	}
	s.At, s.Left = atResync, 0
	return 0
}

// resync drops bytes until something looks like a message.
func (p *Parser) resync(h protocol.Host, from protocol.Side, s *half, b []byte) (int, bool) {
	check := detectRequest
	if from == protocol.Server {
		check = detectResponse
	}
	for i := 0; i < len(b); {
		switch check(b[i:]) {
		case protocol.Undecided:
			if len(b)-i > 8192 {
				break
			}
			h.Undecoded(int64(i), "no_sync")
			return i, false
		case protocol.FromClient, protocol.FromServer:
			h.Undecoded(int64(i), "no_sync")
			s.At = atHead
			return i, true
		}
		k := bytes.IndexByte(b[i:], '\n')
		if from == protocol.Server { // the last chunk or body need not end in a line
			if m := bytes.Index(b[i+1:], []byte(statusPrefix)); m >= 0 && (k < 0 || m+1 < k+1) {
				i += m + 1
				continue
			}
		}
		if k < 0 {
			break
		}
		i += k + 1
	}
	h.Undecoded(int64(len(b)), "no_sync")
	return len(b), false
}

// messageEnd finishes the message that a direction is within.
func (p *Parser) messageEnd(h protocol.Host, from protocol.Side) {
	s := &p.Sides[from]
	x := p.current(from)
	s.At, s.Left = atHead, 0
	if x == nil {
		return
	}
	if from == protocol.Client {
		x.RequestDone = true
		x.Call.HTTP.RequestBody = decode(x.Call.HTTP.RequestBody, x.RequestCoding, h.BodyLimit(), &x.Call.HTTP.RequestBodyCut, &x.Call.HTTP.BodyError)
		if x.Upgrade && !x.ResponseDone {
			s.At = atWaiting
		}
	} else {
		x.ResponseDone = true
		x.Events.End(x.Call.HTTP, x.Response.Last.Time)
		x.Call.HTTP.ResponseBody = decode(x.Call.HTTP.ResponseBody, x.ResponseCoding, h.BodyLimit(), &x.Call.HTTP.ResponseBodyCut, &x.Call.HTTP.BodyError)
	}
	p.flush(h)
}

// flush emits the exchanges at the front that are finished.
func (p *Parser) flush(h protocol.Host) {
	n := 0
	for n < len(p.Open) && p.Open[n].RequestDone && p.Open[n].ResponseDone {
		x := p.Open[n]
		x.Call.State = traffic.StateComplete
		if x.NoRequest {
			x.Call.State = traffic.StateHalf
		}
		p.emit(h, x)
		n++
	}
	p.drop(n)
}

// drop forgets the first n exchanges.
func (p *Parser) drop(n int) {
	if n == 0 {
		return
	}
	for _, x := range p.Open[:n] {
		x.Call, x.memory = nil, nil
		if len(p.free) < 4 {
			p.free = append(p.free, x)
		}
	}
	k := copy(p.Open, p.Open[n:])
	clear(p.Open[k:])
	p.Open = p.Open[:k]
}

func (p *Parser) emit(h protocol.Host, x *exchange) {
	x.count(x.Call)
	h.Emit(x.Call, &x.Request, &x.Response)
}

// Salvage implements [protocol.Salvager]: a head whose first lines are there is a message without its later headers, and so is one whose first
// line is there as far as the target or the status.
func (p *Parser) Salvage(h protocol.Host, from protocol.Side, v *protocol.View) int {
	s := &p.Sides[from]
	end := bytes.LastIndexByte(v.Data, '\n') + 1
	check := detectRequest
	if end == 0 {
		end, check = len(v.Data), detectCut
	}
	if s.At != atHead && s.At != atResync || end == 0 { // what is left of looking for a message begins like one
		return 0
	}
	if from == protocol.Server {
		check = detectResponse
	}
	if v := check(v.Data[:end]); v != protocol.FromClient && v != protocol.FromServer {
		return 0
	}
	s.Scanned = 0
	p.cutHead = true
	defer func() { p.cutHead = false }()
	p.lines(v.Data[:end])
	if from == protocol.Client {
		p.request(h, s, v.Data[:end], v.At(0), v.At(end-1))
	} else {
		p.response(h, s, v.Data[:end], v.At(0), v.At(end-1))
	}
	if x := p.current(from); x != nil && s.At != atHead && s.At != atWaiting {
		p.messageEnd(h, from) // where it ends is not known: the next message is looked for
	}
	return end
}

// Gap implements [protocol.Parser]: a hole inside a body of known length does not lose the place.
func (p *Parser) Gap(h protocol.Host, from protocol.Side, n int64, at protocol.Mark) {
	s := &p.Sides[from]
	s.Scanned = 0
	x := p.current(from)
	if x != nil && s.At != atHead {
		if from == protocol.Client {
			x.RequestLost = true
		} else {
			x.ResponseLost = true
			x.Events.Gap()
		}
	}
	switch {
	case s.At == atUntilClose:
		p.size(x, from, n)
		return
	case (s.At == atBody || s.At == atChunk) && s.Left > n || s.At == atChunk && s.Left == n:
		s.Left -= n
		p.size(x, from, n)
		if s.Left == 0 {
			s.At = atChunkEnd
		}
		return
	case s.At == atBody && s.Left == n:
		p.size(x, from, n)
		if x != nil {
			x.Call.HTTP.BodyError = "bytes are missing"
		}
		p.messageEnd(h, from)
		return
	case s.At == atWaiting:
		return
	}
	if s.At != atHead && s.At != atResync && x != nil {
		x.Call.HTTP.BodyError = "bytes are missing"
		p.messageEnd(h, from)
	}
	s.At, s.Left = atResync, 0
	if from == protocol.Client {
		p.forsake(h, at) // what comes next may answer a request that the hole held
		return
	}
	for _, x := range p.Open {
		x.AnswerLost = !x.ResponseDone
	}
}

// forsake emits the exchanges whose responses a hole may have held, once that can no longer be told from what follows.
func (p *Parser) forsake(h protocol.Host, at protocol.Mark) {
	n := 0
	for n < len(p.Open) && p.Open[n].AnswerLost && p.Open[n].RequestDone && !p.Open[n].ResponseBegun {
		x := p.Open[n]
		x.Call.State, x.Call.End = traffic.StateOpen, at.Time
		p.emit(h, x)
		n++
	}
	p.drop(n)
}

func (p *Parser) size(x *exchange, from protocol.Side, n int64) {
	switch {
	case x == nil:
	case from == protocol.Client:
		x.Call.RequestSize += n
		x.Call.HTTP.RequestBodyCut = true
		x.Call.HTTP.BodyError = "bytes are missing"
	default:
		x.Call.ResponseSize += n
		x.Call.HTTP.ResponseBodyCut = true
		x.Call.HTTP.BodyError = "bytes are missing"
	}
}

// Closed implements [protocol.Parser].
func (p *Parser) Closed(h protocol.Host, from protocol.Side, at protocol.Mark) {
	if from == protocol.Client {
		p.Leave = true // and may still wait
		return
	}
	if p.Sides[protocol.Server].At == atUntilClose {
		p.messageEnd(h, protocol.Server)
	}
	p.abandon(h, protocol.End{Mark: at, By: protocol.Server}, false)
}

// End implements [protocol.Parser].
func (p *Parser) End(h protocol.Host, e protocol.End) { p.abandon(h, e, true) }

// abandon emits what will not be answered any more. While the client may still send (the server closed its half),
// requests whose bodies are under way stay.
func (p *Parser) abandon(h protocol.Host, e protocol.End, final bool) {
	for _, x := range p.Open {
		p.judge(x, e)
		if !x.ResponseDone && !e.Dropped {
			x.Call.End = e.Time
			x.Events.End(x.Call.HTTP, e.Time)
		}
		p.emit(h, x)
	}
	p.drop(len(p.Open))
	if !final && p.Sides[protocol.Client].At != atHead {
		p.Sides[protocol.Client].At = atResync
	}
}

// judge says what became of a call whose connection ended.
func (p *Parser) judge(x *exchange, e protocol.End) {
	c := x.Call
	switch {
	case x.ResponseDone:
		c.State = traffic.StateComplete
		if x.NoRequest {
			c.State = traffic.StateHalf
		}
		return
	case e.Dropped, x.AnswerLost && !x.ResponseBegun:
		c.State = traffic.StateOpen
		return
	case x.NoRequest:
		c.State = traffic.StateHalf
	case x.ResponseBegun:
		c.State = traffic.StateTruncated
	default:
		c.State = traffic.StateUnanswered
	}
	switch {
	case e.By == protocol.Client || p.Leave:
		c.Error = traffic.ErrorCancelled
	case e.Reset:
		c.Error = traffic.ErrorReset
	case x.ResponseBegun:
		c.Error = traffic.ErrorTruncated
	default:
		c.Error = traffic.ErrorClosed
	}
}

// Tick implements [protocol.Parser]; HTTP sets no deadlines.
func (p *Parser) Tick(protocol.Host, int64) {}

// Window implements [protocol.Parser].
func (p *Parser) Window(h protocol.Host) {
	for _, x := range p.Open {
		c := *x.Call
		web := *x.Call.HTTP
		web.RequestBody, web.ResponseBody = bytes.Clone(web.RequestBody), bytes.Clone(web.ResponseBody)
		c.HTTP, c.State = &web, traffic.StateOpen
		if c.GRPC != nil {
			g := *c.GRPC
			c.GRPC = &g
			x.count(&c)
		}
		h.Emit(&c, &x.Request, &x.Response)
		x.Request.Forget()
		x.Response.Forget()
	}
}

// finalCoding says whether the last of a list of codings is the given one.
func finalCoding(list, coding string) bool {
	if k := strings.LastIndexByte(list, ','); k >= 0 {
		list = list[k+1:]
	}
	return strings.EqualFold(strings.TrimSpace(list), coding)
}
