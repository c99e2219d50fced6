package postgresql

import (
	"slices"

	"github.com/devloop-io/devloop/dissect/protocol"
	"github.com/devloop-io/devloop/traffic"
)

// client reads a message of the client and returns the serial of the item that it belongs to.
func (p *Parser) client(h protocol.Host, m *message) int {
	switch m.kind {
	case 'Q':
		p.room(h, m.first)
		p.forget("") // a simple query ends the unnamed statement and portal
		x := p.add(h, 'Q', m, "")
		p.describe(x.Call, prepared(m.body, m.whole))
		return x.Serial
	case 'P':
		return p.parse(h, m)
	case 'B':
		return p.bind(h, m)
	case 'D', 'C':
		x := p.push(item{Kind: m.kind, Sub: 'S'}, m.first)
		if len(m.body) > 0 {
			x.Sub = m.body[0]
			x.Name, _, _ = text(m.body[1:])
		}
		x.Request.Add(m.last)
		x.Size = m.size
		if m.kind == 'C' && x.Sub == 'S' {
			p.forget(x.Name)
		} else if m.kind == 'C' {
			delete(p.Portals, x.Name)
		}
		return x.Serial
	case 'E':
		return p.execute(h, m)
	case 'F':
		return p.add(h, 'F', m, "FunctionCall").Serial
	case 'S':
		return p.sync(h, m)
	case 'H':
		p.settleParses(h)
	case 'd', 'c', 'f':
		return p.copied(m)
	}
	return 0 // p: authentication, never looked at. X: the end follows
}

// add begins a call.
func (p *Parser) add(h protocol.Host, kind byte, m *message, command string) *item {
	x := p.push(item{Kind: kind}, m.first)
	x.Request.Add(m.last)
	x.Call = p.call(h, command)
	x.Call.RequestSize = m.size
	return x
}

func (p *Parser) call(h protocol.Host, command string) *traffic.Call {
	c := &traffic.Call{Protocol: traffic.ProtoPostgreSQL, Index: h.NextCall(), Method: command}
	c.PostgreSQL = &traffic.PostgreSQL{Command: command, Database: p.Database, User: p.User}
	return c
}

// describe gives a call its SQL.
func (p *Parser) describe(c *traffic.Call, s statement) {
	pg := c.PostgreSQL
	pg.Query, pg.QueryCut, pg.Fingerprint, pg.Unknown = s.SQL, s.Cut, s.Fingerprint, s.Unknown
	if s.Command != "" {
		pg.Command, c.Method = s.Command, s.Command
	}
	c.Path = s.Fingerprint
}

// prepared is what is known of a SQL text on the wire.
func prepared(b []byte, whole bool) statement {
	sql, _, ok := text(b)
	if !ok {
		sql = string(b)
	}
	s := statement{Cut: !ok && !whole || len(sql) > maxSQL}
	s.SQL = cut(sql, maxSQL)
	s.Fingerprint, s.Command = Fingerprint(s.SQL), command(s.SQL)
	if s.Command == "" {
		s.Command = "EMPTY"
	}
	return s
}

// push appends to the queue. The memory of what waits is bounded.
func (p *Parser) push(x item, at protocol.Mark) *item {
	p.Serial++
	x.Serial = p.Serial
	x.Request.Add(at)
	if p.Skipping && x.Kind != 'S' {
		x.Answered = true
	}
	p.Queue = append(p.Queue, x)
	if p.Skipping {
		if p.Skipping = x.Kind != 'S'; p.Skipping {
			p.At = len(p.Queue)
		}
	}
	return &p.Queue[len(p.Queue)-1]
}

// room makes place in the queue: when answers were lost, a client that goes on has had them; and what waits is bounded.
func (p *Parser) room(h protocol.Host, at protocol.Mark) {
	n := len(p.Queue)
	if n == 0 {
		p.Lost = false
		return
	}
	held := 0
	if n%64 == 0 || n > 0 && n < 64 {
		for i := range p.Queue {
			if c := p.Queue[i].Call; c != nil && p.Queue[i].Kind == 'Q' {
				held += len(c.PostgreSQL.Query)
			}
		}
	}
	if p.Lost && ends(p.Queue[n-1].Kind) || n >= maxWaiting || held > maxHeldSQL {
		p.release(h, at)
	}
}

// release hands out all that waits: the capture lacks the answers.
func (p *Parser) release(h protocol.Host, at protocol.Mark) {
	for i := range p.Queue {
		x := &p.Queue[i]
		if x.Call == nil {
			continue
		}
		switch {
		case x.Kind == kindHalf:
			x.Call.State = traffic.StateHalf
		case x.Tagged:
			x.Call.State = traffic.StateComplete
		default:
			x.Call.State, x.Call.End = traffic.StateOpen, max(at.Time, x.Request.Last.Time, x.Answer.Last.Time)
		}
		p.emit(h, x)
	}
	clear(p.Queue)
	p.Queue, p.At, p.Lost, p.Skipping = p.Queue[:0], 0, false, false
}

// parse reads Parse: name, SQL, types.
func (p *Parser) parse(h protocol.Host, m *message) int {
	p.room(h, m.first)
	name, rest, ok := text(m.body)
	s := statement{Unknown: true}
	if ok {
		s = prepared(rest, m.whole)
	}
	p.remember(name, s)
	x := p.push(item{Kind: 'P', Name: cut(name, 256), Text: s, Size: m.size}, m.first)
	x.Request.Add(m.last)
	return x.Serial
}

// remember keeps a statement; the oldest go when there are too many.
func (p *Parser) remember(name string, s statement) {
	p.forget(name)
	if len(name) > 256 {
		return
	}
	if p.Statements == nil {
		p.Statements = map[string]statement{}
	}
	p.Statements[name] = s
	p.Order = append(p.Order, name)
	p.Kept += cost(name, s)
	for len(p.Order) > 1 && (len(p.Order) > maxStatements || p.Kept > maxKept) {
		p.forget(p.Order[0])
	}
}

func cost(name string, s statement) int { return len(name) + len(s.SQL) + len(s.Fingerprint) + 64 }

func (p *Parser) forget(name string) {
	s, ok := p.Statements[name]
	if !ok {
		return
	}
	delete(p.Statements, name)
	p.Kept -= cost(name, s)
	for i, n := range p.Order {
		if n == name {
			p.Order = append(p.Order[:i], p.Order[i+1:]...)
			break
		}
	}
}

// bind reads Bind: a portal from a statement and parameters.
func (p *Parser) bind(h protocol.Host, m *message) int {
	p.room(h, m.first)
	b, _ := parseBind(m.body)
	s, known := p.Statements[b.statement]
	if !known {
		s = statement{Unknown: true}
	}
	if p.Portals == nil {
		p.Portals = map[string]portal{}
	}
	if len(p.Portals) >= maxPortals {
		clear(p.Portals)
	}
	if len(b.portal) <= 256 {
		p.Portals[b.portal] = portal{Name: cut(b.statement, 256), Statement: s, Parameters: b.parameters, Arguments: b.arguments}
	}
	x := p.push(item{Kind: 'B', Size: m.size}, m.first)
	x.Request.Add(m.last)
	return x.Serial
}

// execute reads Execute: a call, with what prepared it since the last.
func (p *Parser) execute(h protocol.Host, m *message) int {
	p.room(h, m.first)
	name, _, _ := text(m.body)
	x := p.add(h, 'E', m, "Execute")
	c := x.Call
	b, known := p.Portals[name]
	if !known {
		b.Statement.Unknown = true
	}
	p.describe(c, b.Statement)
	c.PostgreSQL.Statement, c.PostgreSQL.Parameters, c.PostgreSQL.Arguments = b.Name, b.Parameters, slices.Clone(b.Arguments)
	for i := len(p.Queue) - 2; i >= 0; i-- {
		y := &p.Queue[i]
		if y.Owner != 0 || y.Call != nil || !prepares(y.Kind) {
			break
		}
		y.Owner = x.Serial
		c.RequestSize += y.Size
		x.Request.First = y.Request.First
		if y.Answer.Seen { // answered already, after a Flush
			x.Answer = y.Answer
		}
	}
	return x.Serial
}

func prepares(kind byte) bool { return kind == 'P' || kind == 'B' || kind == 'D' || kind == 'C' }

// sync ends a batch.
func (p *Parser) sync(h protocol.Host, m *message) int {
	p.settleParses(h)
	x := p.push(item{Kind: 'S', Size: m.size}, m.first)
	return x.Serial
}

// settleParses makes calls of the Parses of the batch that no Execute follows.
func (p *Parser) settleParses(h protocol.Host) {
	from := len(p.Queue)
	for from > 0 && prepares(p.Queue[from-1].Kind) && p.Queue[from-1].Owner == 0 {
		from--
	}
	owner := -1
	for i := from; i < len(p.Queue); i++ {
		x := &p.Queue[i]
		switch {
		case x.Kind == 'P' && x.Call == nil && !x.Tagged:
			p.own(h, x, "Parse")
			owner = i
		case owner >= 0 && x.Kind == 'D':
			x.Owner = p.Queue[owner].Serial
			p.Queue[owner].Call.RequestSize += x.Size
			p.Queue[owner].Request.Add(x.Request.Last)
		}
	}
}

// own makes a call of an item that had none.
func (p *Parser) own(h protocol.Host, x *item, command string) {
	x.Call = p.call(h, command)
	if x.Kind == 'P' {
		p.describe(x.Call, x.Text)
		x.Call.PostgreSQL.Statement = x.Name
		x.Call.PostgreSQL.Command, x.Call.Method = command, command
		x.Text = statement{}
	}
	x.Call.PostgreSQL.Notices += x.Noticed
	x.Call.RequestSize = x.Size
}

// copied reads CopyData, CopyDone and CopyFail.
func (p *Parser) copied(m *message) int {
	if p.At >= len(p.Queue) || !p.Queue[p.At].Copy {
		return 0
	}
	x := &p.Queue[p.At]
	if x.Call == nil {
		return 0
	}
	x.Call.RequestSize += m.size
	x.Request.Add(m.first)
	x.Request.Add(m.last)
	if m.kind != 'd' {
		x.Copy, x.Answer = false, protocol.Span{}
		// The server ignored each Sync that came before this.
		keep := p.Queue[:p.At+1]
		for _, y := range p.Queue[p.At+1:] {
			if y.Kind != 'S' {
				keep = append(keep, y)
			}
		}
		clear(p.Queue[len(keep):])
		p.Queue = keep
	}
	return x.Serial
}
