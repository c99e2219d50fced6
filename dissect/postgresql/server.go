package postgresql

import (
	"encoding/binary"

	"github.com/devloop-io/devloop/dissect/protocol"
	"github.com/devloop-io/devloop/traffic"
)

// server reads a message of the server and returns the serial of the item that it answers.
func (p *Parser) server(h protocol.Host, m *message) int {
	switch m.kind {
	case 'Z':
		p.ready(h, m)
		return 0
	case 'E':
		p.Asked = 0
		return p.failed(h, m)
	case 'A':
		p.notification(h, m)
		return 0
	case 'N', 'S', 'K', 'v', 'R':
		return p.aside(m)
	case '1':
		return p.prepared('P', m)
	case '2':
		return p.prepared('B', m)
	case '3':
		return p.prepared('C', m)
	case 't', 'n':
		return p.prepared('D', m)
	case 'T':
		if p.At < len(p.Queue) && p.batchHas('D') {
			return p.prepared('D', m)
		}
	}
	return p.outcome(h, m)
}

// batchHas reports whether a message of that kind waits before the next Execute.
func (p *Parser) batchHas(kind byte) bool {
	for i := p.At; i < len(p.Queue); i++ {
		switch k := p.Queue[i].Kind; {
		case k == kind:
			return true
		case !prepares(k):
			return false
		}
	}
	return false
}

// prepared reads the answer to a Parse, Bind, Close or Describe.
func (p *Parser) prepared(kind byte, m *message) int {
	for i := p.At; i < len(p.Queue); i++ {
		x := &p.Queue[i]
		if x.Kind != kind {
			if prepares(x.Kind) { // its answer was lost
				continue
			}
			break
		}
		if m.kind != 't' { // a RowDescription or NoData follows
			x.Answered = true
			p.At = i + 1
		}
		y := x
		if o := p.find(x.Owner); o != nil {
			y = o
		}
		y.Answer.Add(m.first)
		y.Answer.Add(m.last)
		if y.Call != nil {
			y.Call.ResponseSize += m.size
			if y.Kind == 'P' {
				y.Tagged, y.Call.PostgreSQL.Success = true, true
			}
		}
		return y.Serial
	}
	return 0
}

// outcome reads what a query, an Execute or a FunctionCall yields.
func (p *Parser) outcome(h protocol.Host, m *message) int {
	x := p.current(h, m)
	if x == nil || x.Call == nil {
		return 0
	}
	pg := x.Call.PostgreSQL
	x.Answer.Add(m.first)
	x.Answer.Add(m.last)
	x.Call.ResponseSize += m.size
	switch m.kind {
	case 'D':
		if !x.Tagged {
			pg.Rows++
		}
	case 'G':
		x.Copy = true
	case 'V':
		pg.Rows, pg.Success, x.Tagged = 1, true, true
	case 's':
		p.done(x)
	case 'I':
		if pg.Unknown || x.Kind == kindHalf {
			pg.Command = "EMPTY"
		}
		p.done(x)
	case 'C':
		p.complete(x, m)
	}
	return x.Serial
}

// complete reads a CommandComplete. A simple query may have several: their rows add up.
func (p *Parser) complete(x *item, m *message) {
	pg := x.Call.PostgreSQL
	tag, _, _ := text(m.body)
	name, rows, ok := parseTag(tag)
	if ok && (x.Kind == kindHalf || pg.Unknown) && (pg.Command == "" || pg.Command == "Execute") {
		pg.Command = name
	}
	if !x.Tagged {
		pg.Rows = 0 // the tag knows better than rows that were counted
	}
	pg.Rows += rows
	p.done(x)
}

// done notes that a statement was executed.
func (p *Parser) done(x *item) {
	x.Tagged, x.Copy = true, false
	x.Call.PostgreSQL.Success = !x.Failed
	if x.Kind == 'E' {
		x.Answered = true
		p.advance(x.Serial)
	}
}

// advance moves on behind an item.
func (p *Parser) advance(serial int) {
	for i := p.At; i < len(p.Queue); i++ {
		if p.Queue[i].Serial == serial {
			p.At = i + 1
			return
		}
	}
}

// current is the item that yields rows now: the first Execute, query or function call that is not answered. Without one
// the request was not captured.
func (p *Parser) current(h protocol.Host, m *message) *item {
	for i := p.At; i < len(p.Queue); i++ {
		switch p.Queue[i].Kind {
		case 'Q', 'E', 'F', kindHalf, kindStartup:
			p.At = i
			return &p.Queue[i]
		case 'S':
			return nil
		}
	}
	x := p.push(item{Kind: kindHalf}, protocol.Mark{})
	x.Request = protocol.Span{}
	x.Call = p.call(h, "")
	x.Call.PostgreSQL.Unknown = true
	p.At = len(p.Queue) - 1
	return x
}

// aside reads messages that may come at any time, and those of authentication.
func (p *Parser) aside(m *message) int {
	i := p.At
	if i >= len(p.Queue) {
		return 0
	}
	x := &p.Queue[i]
	if o := p.find(x.Owner); o != nil {
		x = o
	}
	if x.Call == nil {
		if m.kind == 'N' {
			x.Noticed++
		}
		return 0
	}
	pg := x.Call.PostgreSQL
	switch m.kind {
	case 'N':
		pg.Notices++
	case 'R':
		if len(m.body) >= 4 {
			if name := authentication(binary.BigEndian.Uint32(m.body)); name != "" {
				pg.Authentication = name
			}
		}
	}
	x.Answer.Add(m.first)
	x.Answer.Add(m.last)
	x.Call.ResponseSize += m.size
	return x.Serial
}

// authentication names the method that the server asks for; empty for steps within one.
func authentication(code uint32) string {
	switch code {
	case 3:
		return "password"
	case 5:
		return "md5"
	case 7, 9:
		return "gss"
	case 10:
		return "scram"
	}
	return ""
}

// failed reads an ErrorResponse.
func (p *Parser) failed(h protocol.Host, m *message) int {
	e, _ := parseError(m.body, m.whole)
	fatal := e.severity == "FATAL" || e.severity == "PANIC"
	if p.At >= len(p.Queue) {
		if n := len(p.Queue); n > 0 && !ends(p.Queue[n-1].Kind) { // the last message was done, and then its batch failed
			return p.blame(h, &p.Queue[n-1], e, m)
		}
		if fatal { // the server says goodbye
			return 0
		}
		p.current(h, m)
	}
	at := p.At
	x := &p.Queue[at]
	if x.Kind == 'S' && at > 0 { // the transaction failed at its end
		x = &p.Queue[at-1]
	}
	serial := p.blame(h, x, e, m)
	x = p.find(serial)
	if fatal && x != nil && x.Call != nil {
		x.Call.State = traffic.StateComplete
		if x.Kind == kindHalf {
			x.Call.State = traffic.StateHalf
		}
		p.emit(h, x)
		return 0
	}
	if k := p.Queue[at].Kind; k == 'Q' || k == 'F' || k == kindStartup || k == kindHalf || k == 'S' {
		return serial
	}
	for p.At = at; p.At < len(p.Queue) && p.Queue[p.At].Kind != 'S'; p.At++ {
		p.Queue[p.At].Answered = true
	}
	p.Skipping = p.At == len(p.Queue)
	return serial
}

// blame gives an error to the call that an item belongs to, making one where there is none.
func (p *Parser) blame(h protocol.Host, x *item, e failure, m *message) int {
	if o := p.find(x.Owner); o != nil && o.Call != nil {
		x = o
	}
	if x.Call == nil {
		p.own(h, x, kindName(x.Kind))
	}
	if x.Copy {
		x.Copy, x.Answer = false, protocol.Span{}
	}
	x.Failed, x.Tagged, x.Answered = true, true, true
	pg := x.Call.PostgreSQL
	if pg.SQLState == "" {
		pg.Success, pg.SQLState, pg.Severity, pg.Message = false, e.state, e.severity, e.message
	}
	x.Answer.Add(m.first)
	x.Answer.Add(m.last)
	x.Call.ResponseSize += m.size
	return x.Serial
}

func kindName(kind byte) string {
	switch kind {
	case 'P':
		return "Parse"
	case 'B':
		return "Bind"
	case 'D':
		return "Describe"
	case 'C':
		return "Close"
	case 'E':
		return "Execute"
	}
	return "Sync"
}

// ready reads ReadyForQuery: it settles everything up to the next Sync or query.
func (p *Parser) ready(h protocol.Host, m *message) {
	n := 0
	for n < len(p.Queue) && !ends(p.Queue[n].Kind) {
		n++
	}
	if n == len(p.Queue) { // its Sync was not captured
		n--
	}
	last := p.last(n)
	broken := false
	for i := 0; i <= n; i++ {
		x := &p.Queue[i]
		broken = broken || x.Failed
		if x.Call == nil {
			continue
		}
		if i == last {
			x.Answer.Add(m.first)
			x.Answer.Add(m.last)
			x.Call.ResponseSize += m.size
		}
		p.settle(x, broken, m)
		p.emit(h, x)
	}
	k := copy(p.Queue, p.Queue[n+1:])
	clear(p.Queue[k:])
	p.Queue = p.Queue[:k]
	p.At = max(0, p.At-n-1)
	if k == 0 {
		p.Lost, p.Skipping = false, false
		p.Portals = open(p.Portals, m)
	}
}

// open is the portals that are left after a transaction: none.
func open(portals map[string]portal, m *message) map[string]portal {
	if len(m.body) > 0 && m.body[0] == 'I' {
		clear(portals)
	}
	return portals
}

// last is the last call of a batch.
func (p *Parser) last(n int) int {
	for i := n; i >= 0; i-- {
		if p.Queue[i].Call != nil {
			return i
		}
	}
	return -1
}

// settle gives a call its state at the end of its batch.
func (p *Parser) settle(x *item, broken bool, m *message) {
	c, pg := x.Call, x.Call.PostgreSQL
	c.State = traffic.StateComplete
	if len(m.body) > 0 {
		pg.Transaction = string(m.body[:1])
	}
	switch {
	case x.Kind == kindHalf:
		c.State = traffic.StateHalf
	case x.Kind == kindStartup:
		pg.Success = !x.Failed
	case x.Tagged:
	case p.Lost: // an answer was seen, and not all of it
		c.State, c.End = traffic.StateOpen, m.last.Time
		x.Answer = protocol.Span{}
	case broken:
		pg.Severity, pg.Message = "SKIPPED", "not executed: an earlier statement of its batch failed"
		x.Answer.Add(m.first)
		x.Answer.Add(m.last)
	default: // COPY of replication and other streams end without a tag
		pg.Success = true
		x.Answer.Add(m.last)
	}
}

// notification reads a NotificationResponse, which no request asked for.
func (p *Parser) notification(h protocol.Host, m *message) {
	if len(m.body) < 4 {
		return
	}
	channel, rest, _ := text(m.body[4:])
	payload, _, _ := text(rest)
	c := p.call(h, "NotificationResponse")
	c.Path, c.State, c.ResponseSize = cut(channel, 256), traffic.StateComplete, m.size
	c.PostgreSQL.Success, c.PostgreSQL.Message = true, cut(payload, maxMessageOf)
	var none, answer protocol.Span
	answer.Add(m.first)
	answer.Add(m.last)
	h.Emit(c, &none, &answer)
}
