package redis

import (
	"bytes"
	"slices"
	"strconv"
	"strings"

	"github.com/devloop-io/devloop/dissect/protocol"
	"github.com/devloop-io/devloop/traffic"
)

// Limits of one connection.
const (
	maxWaiting = 16 << 10 // commands without replies
	maxHolding = 4 << 20  // bytes of arguments that they keep
)

// Parser is the state of one connection. Exported for checkpoints.
type Parser struct {
	Sides    [2]half
	Waiting  []*exchange // in order of their commands
	Holding  int         // bytes of arguments that they keep
	Forsaken int         // replies still to come for commands that were given up
	Leave    bool        // the client has closed its half
	RESP3    bool
	Database int
	Multi    bool
	Monitor  bool
	Silent   int  // 1: the client asked for no replies; 2: for none to the next command
	Lost     bool // replies cannot be told to commands until the client asks again

	Channels, Patterns, Shards int64 // that the client listens to
}

// exchange is a command that is not finished.
type exchange struct {
	Call              *traffic.Call
	Request, Response protocol.Span
	RequestDone       bool
	ResponseDone      bool
	AnswerLost        bool  // a hole may have held the reply
	Confirmed         int64 // channels of a subscription
	Total             int64 // channels of a subscription that are to be confirmed; 0 is all that there are
	Before            int   // database before a SELECT
	Kept              int   // bytes of arguments
}

// callAndRedis is allocated as one.
type callAndRedis struct {
	call  traffic.Call
	redis traffic.Redis
}

func newCall(h protocol.Host) *traffic.Call {
	both := &callAndRedis{}
	c := &both.call
	c.Redis, c.Protocol, c.Index = &both.redis, traffic.ProtoRedis, h.NextCall()
	return c
}

// Data implements [protocol.Parser].
func (p *Parser) Data(h protocol.Host, from protocol.Side, v *protocol.View) int {
	s := &p.Sides[from]
	used := 0
	for used < len(v.Data) {
		n := p.step(h, from, s, v, used)
		if n < 0 { // not Redis as we know it
			p.lose(h, from, v.At(used))
			h.Undecoded(1, "redis_malformed")
			s.reset(atResync)
			s.Tried = true
			n = 1
		}
		used += n
		if n == 0 {
			break
		}
	}
	return used
}

// step reads one element at v.Data[at:]: how many bytes it took, 0 when some are missing, -1 when they make no sense.
func (p *Parser) step(h protocol.Host, from protocol.Side, s *half, v *protocol.View, at int) int {
	b := v.Data[at:]
	switch s.At {
	case atBulk:
		return p.bulk(h, from, s, v, at)
	case atBulkEnd:
		if b[0] != '\r' || len(b) > 1 && b[1] != '\n' {
			return -1
		}
		if len(b) == 1 {
			return 0
		}
		s.take(v, at, 2)
		s.At = atValue
		if !s.Chunked {
			p.textEnd(h, from, s)
		}
		return 2
	case atLine:
		return p.line(h, s, v, at)
	case atResync:
		return p.resync(h, from, s, v, at)
	case atOpaque:
		h.Undecoded(int64(len(b)), "redis_replication")
		return len(b)
	}
	if s.depth() == 0 && !s.Begun {
		if from == protocol.Client && b[0] != '*' {
			return p.inline(h, s, v, at)
		}
		if b[0] == '\n' { // a master keeps the connection alive while it prepares
			return 1
		}
	}
	return p.value(h, from, s, v, at)
}

// inline reads a command without RESP around it: words, perhaps quoted, on one line.
func (p *Parser) inline(h protocol.Host, s *half, v *protocol.View, at int) int {
	b := v.Data[at:]
	k := bytes.IndexByte(b, '\n')
	switch {
	case k < 0 && len(b) > maxLine:
		return -1
	case k < 0:
		return 0
	}
	words := split(bytes.TrimRight(b[:k], "\r"))
	if len(words) == 0 {
		return k + 1
	}
	if len(words[0]) > maxName || !isName(words[0]) {
		return -1
	}
	s.begin(v.At(at))
	s.take(v, at, k+1)
	s.Msg.N = int64(len(words))
	for _, w := range words {
		p.argument(h, s, w)
		p.argumentEnd(h, s)
	}
	p.messageEnd(h, protocol.Client, s)
	return k + 1
}

// split takes an inline command apart as sdssplitargs of Redis does, escapes apart from the plain ones left out.
func split(b []byte) [][]byte {
	var words [][]byte
	for {
		b = bytes.TrimLeft(b, " \t")
		if len(b) == 0 {
			return words
		}
		if q := b[0]; q == '"' || q == '\'' {
			var w []byte
			i := 1
			for i < len(b) && b[i] != q {
				if b[i] == '\\' && i+1 < len(b) {
					i++
				}
				w = append(w, b[i])
				i++
			}
			words = append(words, w)
			b = b[min(i+1, len(b)):]
			continue
		}
		k := bytes.IndexAny(b, " \t")
		if k < 0 {
			k = len(b)
		}
		words = append(words, b[:k])
		b = b[k:]
	}
}

// argument takes a piece of the command's text at hand.
func (p *Parser) argument(h protocol.Host, s *half, b []byte) {
	room := h.BodyLimit() - s.Msg.Bytes - len(s.Msg.Word)
	switch x := p.asking(); {
	case s.Msg.Wide: // what follows a hole would be read as if it followed what was before
		return
	case s.Msg.Name == "":
		room = maxName - len(s.Msg.Word)
	case x == nil || len(x.Call.Redis.Args) >= maxArgs:
		room = 0
	case p.Holding > maxHolding && len(x.Call.Redis.Args) > 1:
		room = 0
	case p.Holding > maxHolding:
		room = min(room, maxName-len(s.Msg.Word))
	}
	if room < len(b) {
		s.Msg.Wide = true
		b = b[:max(0, room)]
	}
	s.Msg.Word = append(s.Msg.Word, b...)
}

// argumentEnd ends one text of the command. The first is its name, with which the call begins.
func (p *Parser) argumentEnd(h protocol.Host, s *half) {
	m := &s.Msg
	if m.Name == "" {
		m.Name = string(upper(nil, m.Word[:min(len(m.Word), maxName)]))
		if m.Name == "" {
			m.Name = "?"
		}
		m.Word, m.Wide = m.Word[:0], false
		p.ask(h, s)
		return
	}
	x := p.asking()
	if x == nil {
		return
	}
	r := x.Call.Redis
	if m.Wide {
		r.ArgsCut = true
	}
	if len(r.Args) < maxArgs && (!m.Wide || len(m.Word) > 0) && (p.Holding <= maxHolding || len(r.Args) < 2) {
		if r.Args == nil {
			r.Args = make([]string, 0, min(m.N-1, 16))
		}
		r.Args = append(r.Args, string(m.Word))
		m.Bytes += len(m.Word)
		x.Kept += len(m.Word)
		p.Holding += len(m.Word)
	} else {
		r.ArgsCut = true
	}
	m.Word, m.Wide = m.Word[:0], false
	if cap(m.Word) > 4<<10 {
		m.Word = nil
	}
}

// ask begins a call, when its command's name has been read.
func (p *Parser) ask(h protocol.Host, s *half) {
	p.forsake(h, s.Msg.Span.First)
	if len(p.Waiting) >= maxWaiting {
		x := p.Waiting[0]
		x.Call.State = traffic.StateOpen
		h.Emit(x.Call, &x.Request, &x.Response)
		p.Forsaken++
		p.drop(1)
	}
	x := &exchange{Call: newCall(h)}
	x.Call.Method = s.Msg.Name
	r := x.Call.Redis
	r.Command, r.Database, r.Pipelined = s.Msg.Name, p.Database, len(p.Waiting) > 0
	p.Waiting = append(p.Waiting, x)
}

// forsake gives up the commands whose replies a hole may have held, once the client asks again.
func (p *Parser) forsake(h protocol.Host, at protocol.Mark) {
	p.Lost = false
	n := 0
	for n < len(p.Waiting) && p.Waiting[n].AnswerLost && p.Waiting[n].RequestDone {
		x := p.Waiting[n]
		x.Call.State, x.Call.End = traffic.StateOpen, at.Time
		h.Emit(x.Call, &x.Request, &x.Response)
		n++
	}
	p.drop(n)
}

// asking is the call whose command is being read.
func (p *Parser) asking() *exchange {
	if n := len(p.Waiting); n > 0 && !p.Waiting[n-1].RequestDone {
		return p.Waiting[n-1]
	}
	return nil
}

// answering is the call that the server's next reply belongs to.
func (p *Parser) answering() *exchange {
	if p.Forsaken > 0 || p.Lost {
		return nil
	}
	for _, x := range p.Waiting {
		if !x.ResponseDone {
			return x
		}
	}
	return nil
}

// answersMap reports whether the reply at hand is a list that stands for a map.
func (p *Parser) answersMap() bool {
	x := p.answering()
	if x == nil || p.Channels+p.Patterns+p.Shards > 0 && !p.RESP3 {
		return false
	}
	r := x.Call.Redis
	return r.Command == "HGETALL" || r.Command == "CONFIG" && len(r.Args) > 0 && strings.EqualFold(r.Args[0], "GET")
}

// drop forgets the first n commands.
func (p *Parser) drop(n int) {
	for i := range n {
		p.Holding -= p.Waiting[i].Kept
		p.Waiting[i] = nil
	}
	p.Waiting = p.Waiting[n:]
	if len(p.Waiting) == 0 {
		p.Waiting = nil
	}
}

// messageEnd finishes a command or reply.
func (p *Parser) messageEnd(h protocol.Host, from protocol.Side, s *half) {
	if from == protocol.Client {
		p.asked(h, s)
	} else {
		p.replied(h, s)
	}
	s.Begun = false
	s.Msg = message{Text: s.Msg.Text[:0], Word: s.Msg.Word[:0]}
}

// asked finishes a command.
func (p *Parser) asked(h protocol.Host, s *half) {
	x := p.asking()
	if x == nil {
		return
	}
	p.request(x, s)
	r := x.Call.Redis
	argument := func(i int) string {
		if i < len(r.Args) {
			return strings.ToUpper(r.Args[i])
		}
		return ""
	}
	quiet := p.Silent == 1
	if p.Silent == 2 {
		quiet, p.Silent = true, 0
	}
	switch {
	case r.Command == "CLIENT" && argument(0) == "REPLY":
		switch argument(1) {
		case "OFF":
			quiet, p.Silent = true, 1
		case "SKIP":
			quiet, p.Silent = true, 2
		case "ON":
			quiet, p.Silent = false, 0
		}
	case r.Command == "REPLCONF" && argument(0) == "ACK":
		quiet = true
	case r.Command == "SELECT":
		x.Before = p.Database
		if n, err := strconv.Atoi(argument(0)); err == nil && n >= 0 && n < 1<<20 {
			p.Database = n
		}
	case r.Command == "RESET":
		x.Before, p.Database = p.Database, 0
	case isSubscription(r.Command):
		x.Total = int64(len(r.Args))
		if r.ArgsCut {
			x.Total = s.Msg.N - 1
		}
	}
	if quiet {
		x.ResponseDone, r.Type = true, "none"
	}
	p.flush(h)
}

// request notes what the command's bytes tell of its call.
func (p *Parser) request(x *exchange, s *half) {
	x.Request, x.RequestDone = s.Msg.Span, true
	c := x.Call
	c.RequestSize = s.Msg.Size
	if k := keyAt(c.Redis.Command, c.Redis.Args); k >= 0 {
		key := c.Redis.Args[k]
		c.Redis.Key = key[:min(len(key), maxWord)]
		c.Path = c.Redis.Key
	}
}

// replied finishes a value of the server.
func (p *Parser) replied(h protocol.Host, s *half) {
	m := &s.Msg
	if m.Kind == '%' || m.Kind == '~' || m.Kind == '>' || m.Kind == '_' && m.Size == 3 || m.Kind == '#' || m.Kind == ',' {
		p.RESP3 = true
	}
	kind := ""
	if (m.Kind == '>' || m.Kind == '*') && len(m.Words) > 0 {
		kind = string(upper(nil, []byte(m.Words[0])))
	}
	if isSubscription(kind) && len(m.Words) < 3 && p.confirmed(h, s, kind) {
		return
	}
	if p.pushed(kind, m) {
		p.push(h, s, kind)
		return
	}
	if p.Forsaken > 0 && !p.Lost {
		p.Forsaken--
		h.Undecoded(m.Size, "redis_pipeline_limit")
		return
	}
	if p.Lost {
		h.Undecoded(m.Size, "behind_gap")
		return
	}
	x := p.answering()
	if x == nil {
		c := newCall(h)
		c.State = traffic.StateHalf
		p.fill(c, m)
		var none protocol.Span
		h.Emit(c, &none, &m.Span)
		return
	}
	x.ResponseDone, x.Response = true, m.Span
	p.fill(x.Call, m)
	p.effect(x)
	if x.Call.Redis.Command == "PSYNC" || x.Call.Redis.Command == "SYNC" {
		defer func() { s.reset(atOpaque) }()
	}
	p.flush(h)
}

// pushed reports whether the server sent a value by itself.
func (p *Parser) pushed(kind string, m *message) bool {
	switch {
	case m.Kind == '>':
		return true
	case p.Monitor && m.Kind == '+':
		return len(m.Text) > 0 && m.Text[0] >= '0' && m.Text[0] <= '9'
	case m.Kind != '*' || p.RESP3:
		return false
	}
	x := p.answering()
	if p.Channels+p.Patterns+p.Shards == 0 && x != nil && !isSubscription(x.Call.Redis.Command) {
		return false
	}
	return (kind == "MESSAGE" || kind == "SMESSAGE") && m.N == 3 || kind == "PMESSAGE" && m.N == 4
}

// push makes a call of what the server sent by itself.
func (p *Parser) push(h protocol.Host, s *half, kind string) {
	m := &s.Msg
	c := newCall(h)
	p.fill(c, m)
	r := c.Redis
	c.State, r.Push, r.Command, r.Database = traffic.StateComplete, true, kind, p.Database
	switch {
	case m.Kind == '+':
		r.Command = "MONITOR"
	case kind == "":
		r.Command = "PUSH"
	case kind == "PMESSAGE" && len(m.Words) > 2:
		r.Key = m.Words[2]
	case kind != "INVALIDATE" && len(m.Words) > 1:
		r.Key = m.Words[1]
	}
	c.Method, c.Path = r.Command, r.Key
	var none protocol.Span
	h.Emit(c, &none, &m.Span)
}

// confirmed takes the confirmation of one channel, and reports whether a command waits for it.
func (p *Parser) confirmed(h protocol.Host, s *half, kind string) bool {
	m := &s.Msg
	x := p.answering()
	mine := x != nil && x.Call.Redis.Command == kind
	if !mine && x != nil && m.Kind == '*' { // a script may answer such a list
		return false
	}
	switch kind {
	case "SUBSCRIBE", "UNSUBSCRIBE":
		p.Channels = max(0, m.Last-p.Patterns)
	case "PSUBSCRIBE", "PUNSUBSCRIBE":
		p.Patterns = max(0, m.Last-p.Channels)
	default:
		p.Shards = m.Last
	}
	if !mine {
		return false
	}
	x.Confirmed++
	earlier, cut, size := x.Call.Redis.Reply, x.Call.Redis.ReplyCut, x.Call.ResponseSize
	p.fill(x.Call, m)
	r := x.Call.Redis
	x.Call.ResponseSize += size
	if earlier != "" {
		if r.Reply = earlier + "\n" + r.Reply; cut || len(r.Reply) > h.BodyLimit() {
			r.Reply, r.ReplyCut = r.Reply[:min(len(r.Reply), h.BodyLimit())], true
		}
	}
	x.Response.Add(m.Span.First)
	x.Response.Add(m.Span.Last)
	if x.Total > 0 && x.Confirmed >= x.Total || x.Total == 0 && x.RequestDone && p.silentAbout(kind) {
		x.ResponseDone = true
		p.flush(h)
	}
	return true
}

// silentAbout reports whether nothing is listened to any more of what UNSUBSCRIBE and its like end.
func (p *Parser) silentAbout(kind string) bool {
	switch kind {
	case "UNSUBSCRIBE":
		return p.Channels == 0
	case "PUNSUBSCRIBE":
		return p.Patterns == 0
	}
	return p.Shards == 0
}

// typeNames are what the type bytes mean.
var typeNames = map[byte]string{'+': "simple", '-': "error", ':': "integer", '$': "string", '*': "array", '_': "null", '%': "map", '~': "set", '>': "push",
	',': "double", '#': "boolean", '(': "big_number", '=': "verbatim", '!': "error"}

// fill puts a reply into its call.
func (p *Parser) fill(c *traffic.Call, m *message) {
	r := c.Redis
	r.Type = typeNames[m.Kind]
	r.Reply, r.ReplyCut = string(m.Text), m.Cut
	c.ResponseSize = m.Size
	if r.Type == "error" {
		r.Error = r.Reply[:min(len(r.Reply), maxWord)]
	}
}

// effect is what a reply means for the connection.
func (p *Parser) effect(x *exchange) {
	r := x.Call.Redis
	if r.Type == "simple" && r.Reply == "QUEUED" && p.Multi {
		r.Queued = true
		return
	}
	ok := r.Type != "error"
	switch r.Command {
	case "SELECT", "RESET":
		if !ok {
			p.undo(x)
			return
		}
		if r.Command == "RESET" {
			p.Multi, p.Monitor, p.RESP3 = false, false, false
			p.Channels, p.Patterns, p.Shards = 0, 0, 0
		}
	case "MULTI":
		p.Multi = p.Multi || ok
	case "EXEC", "DISCARD":
		p.Multi = false
	case "MONITOR":
		p.Monitor = ok
	case "HELLO":
		if ok && len(r.Args) > 0 {
			p.RESP3 = r.Args[0] == "3"
		}
	}
}

// undo takes back the database of a SELECT that failed, for the commands that were sent behind it, too.
func (p *Parser) undo(x *exchange) {
	behind := false
	for _, y := range p.Waiting {
		if behind {
			if y.Call.Redis.Command == "SELECT" && y.RequestDone {
				y.Call.Redis.Database, y.Before = x.Before, x.Before
				return
			}
			y.Call.Redis.Database = x.Before
		}
		behind = behind || y == x
	}
	p.Database = x.Before
}

// flush emits the calls at the front that are finished.
func (p *Parser) flush(h protocol.Host) {
	n := 0
	for n < len(p.Waiting) && p.Waiting[n].RequestDone && p.Waiting[n].ResponseDone {
		x := p.Waiting[n]
		x.Call.State = traffic.StateComplete
		h.Emit(x.Call, &x.Request, &x.Response)
		n++
	}
	p.drop(n)
}

// resync drops bytes until something looks like a command or reply.
func (p *Parser) resync(h protocol.Host, from protocol.Side, s *half, v *protocol.View, at int) int {
	b := v.Data[at:]
	i := 0
	if s.Tried {
		i = nextLine(b, 0)
	}
	for i < len(b) {
		a := no
		if from == protocol.Server {
			a = plausible(b[i:])
		} else {
			a = asksAt(b[i:])
		}
		if a == maybe && len(b)-i > 2048 {
			a = no
		}
		switch a {
		case yes:
			h.Undecoded(int64(i), "no_sync")
			s.At, s.Tried = atValue, false
			if i == 0 {
				return p.step(h, from, s, v, at)
			}
			return i
		case maybe:
			h.Undecoded(int64(i), "no_sync")
			s.Tried = false
			return i
		}
		i = nextLine(b, i)
	}
	h.Undecoded(int64(len(b)), "no_sync")
	s.Tried = b[len(b)-1] != '\n'
	return len(b)
}

func nextLine(b []byte, from int) int {
	k := bytes.IndexByte(b[from:], '\n')
	if k < 0 {
		return len(b)
	}
	return from + k + 1
}

// asksAt says whether a command begins at b.
func asksAt(b []byte) answer {
	if b[0] != '*' {
		return no
	}
	n, at, a := header(b)
	switch {
	case a != yes:
		return a
	case n < 1:
		return no
	case at == len(b):
		return maybe
	case b[at] != '$':
		return no
	}
	size, head, a := header(b[at:])
	switch {
	case a != yes:
		return a
	case size < 1 || size > maxName:
		return no
	}
	at += head
	if int64(len(b)-at) < size+2 {
		return maybe
	}
	if !isName(b[at:at+int(size)]) || b[at+int(size)] != '\r' {
		return no
	}
	return yes
}

// Gap implements [protocol.Parser]: a hole inside a text of known length does not lose the place.
func (p *Parser) Gap(h protocol.Host, from protocol.Side, n int64, at protocol.Mark) {
	s := &p.Sides[from]
	switch {
	case s.At == atOpaque:
		return
	case s.At == atBulk && (n <= s.Left || n == s.Left+2) && n > 0 && (from == protocol.Server || s.Msg.Name != ""): // perhaps with its line end
		s.Left -= n
		s.Msg.Size += n
		s.Msg.Wide, s.Msg.Cut = true, true
		if x := p.asking(); x != nil && from == protocol.Client {
			x.Call.Redis.ArgsCut = true
		}
		switch {
		case s.Left == 0:
			s.At = atBulkEnd
		case s.Left < 0:
			s.At, s.Left = atValue, 0
			if !s.Chunked {
				p.textEnd(h, from, s)
			}
		}
		return
	}
	if from == protocol.Server {
		p.answerCut(h, s)
	}
	p.lose(h, from, at)
	s.reset(atResync)
}

// lose gives up the message under way in one direction, and what can no longer be told because of it.
func (p *Parser) lose(h protocol.Host, from protocol.Side, _ protocol.Mark) {
	s := &p.Sides[from]
	if from == protocol.Client {
		if x := p.asking(); x != nil { // its name is known, so that the reply can be told
			if s.At == atBulk && s.Kind == '$' && len(s.Msg.Word) > 0 {
				s.Msg.Wide = true
				p.argumentEnd(h, s)
			}
			p.request(x, s)
			x.Call.Redis.ArgsCut = true
			p.flush(h)
		}
		return
	}
	p.Lost = p.Lost || len(p.Waiting) > 0 || s.Begun
	p.Forsaken = 0
	for _, x := range p.Waiting {
		x.AnswerLost = !x.ResponseDone
	}
}

// answerCut answers a call with the text or list under way, as far as it is there. Part of a number says nothing.
func (p *Parser) answerCut(h protocol.Host, s *half) {
	x := p.answering()
	if x == nil || !s.Begun || len(s.Msg.Text) == 0 || p.Monitor || p.Channels+p.Patterns+p.Shards > 0 {
		return
	}
	switch s.Msg.Kind {
	case '$', '*', '%', '~', '=', '-', '!':
		x.Response = s.Msg.Span
		p.fill(x.Call, &s.Msg)
		x.Call.Redis.ReplyCut, x.ResponseDone = true, true
		p.flush(h)
	}
}

// Closed implements [protocol.Parser].
func (p *Parser) Closed(h protocol.Host, from protocol.Side, at protocol.Mark) {
	if from == protocol.Client {
		p.Leave = true // and may still wait
		return
	}
	p.End(h, protocol.End{Mark: at, By: protocol.Server})
}

// End implements [protocol.Parser].
func (p *Parser) End(h protocol.Host, e protocol.End) {
	client, server := &p.Sides[protocol.Client], &p.Sides[protocol.Server]
	if x := p.asking(); x != nil {
		p.request(x, client)
		x.Call.Redis.ArgsCut = true
		client.reset(atResync)
	}
	under := p.answering()
	for _, x := range p.Waiting {
		begun := x.Confirmed > 0
		if x == under && server.Begun && server.Msg.Kind != '>' && p.Channels+p.Patterns+p.Shards == 0 {
			begun = true
			x.Response = server.Msg.Span
			p.fill(x.Call, &server.Msg)
			x.Call.Redis.ReplyCut = true
		}
		p.judge(x, e, begun)
		if !x.ResponseDone && !e.Dropped {
			x.Call.End = e.Time
		}
		h.Emit(x.Call, &x.Request, &x.Response)
	}
	server.Begun = false
	p.drop(len(p.Waiting))
}

// judge says what became of a call whose connection ended.
func (p *Parser) judge(x *exchange, e protocol.End, begun bool) {
	c := x.Call
	switch {
	case x.ResponseDone:
		c.State = traffic.StateComplete
		return
	case e.Dropped, x.AnswerLost && !begun, p.Lost:
		c.State = traffic.StateOpen
		return
	case begun:
		c.State = traffic.StateTruncated
	default:
		c.State = traffic.StateUnanswered
	}
	switch {
	case e.By == protocol.Client || p.Leave:
		c.Error = traffic.ErrorCancelled
	case e.Reset:
		c.Error = traffic.ErrorReset
	case begun:
		c.Error = traffic.ErrorTruncated
	default:
		c.Error = traffic.ErrorClosed
	}
}

// Tick implements [protocol.Parser]; Redis sets no deadlines: BLPOP may wait for ever.
func (p *Parser) Tick(protocol.Host, int64) {}

// Window implements [protocol.Parser].
func (p *Parser) Window(h protocol.Host) {
	client, server := &p.Sides[protocol.Client], &p.Sides[protocol.Server]
	for _, x := range p.Waiting {
		c, r := *x.Call, *x.Call.Redis
		r.Args = slices.Clone(r.Args)
		c.Redis, c.State = &r, traffic.StateOpen
		request := x.Request
		if !x.RequestDone {
			request = client.Msg.Span
		}
		h.Emit(&c, &request, &x.Response)
		x.Request.Forget()
		x.Response.Forget()
	}
	client.Msg.Span.Forget()
	server.Msg.Span.Forget()
}
