package redis

import (
	"bytes"

	"github.com/devloop-io/devloop/dissect/protocol"
)

// Limits of one message.
const (
	maxHeader = 32      // a type byte with its number
	maxBulk   = 1 << 32 // what a text may claim to hold
	maxDepth  = 64      // lists within lists
	maxLine   = 64 << 10
	maxName   = 64 // a command's name
	maxWord   = 1 << 10
	maxArgs   = 1024 // that are kept
)

// Where a direction is within its value.
const (
	atValue   = iota // before a type byte
	atBulk           // in a text of known length
	atBulkEnd        // before its line end
	atLine           // in a line that is read as it comes
	atResync         // looking for a place where a value begins
	atOpaque         // replication: no values any more
)

// half is one direction.
type half struct {
	At      int
	Left    int64 // of the text
	Kind    byte  // of the text or line
	Skip    int   // of a verbatim text: bytes of its format that are left
	Stack   []frame
	Chunked bool // within a text that comes in chunks
	Begun   bool // a message is under way
	Msg     message
	Tried   bool // the place at hand has been looked at in vain
}

// frame is a list, set or map under way.
type frame struct {
	Kind byte
	Left int64 // elements; -1 when an end is sent
	N    int64 // elements read

	Before int // bytes of the reply's text before it
}

// message is one value of the server, or the command that the client is sending.
type message struct {
	Span  protocol.Span
	Size  int64
	Kind  byte // of the outermost value
	N     int64
	Text  []byte // of a reply
	Cut   bool
	Words []string // the first texts of a list: the kind of a push, its channel
	Last  int64    // the last number of the list
	Word  []byte   // under way
	Name  string   // of the command
	Bytes int      // of arguments that are kept
	Wide  bool     // an argument was cut
}

// depth counts the lists around the value at hand, attributes included.
func (s *half) depth() int { return len(s.Stack) }

// top is the list around the value at hand.
func (s *half) top() *frame { return &s.Stack[len(s.Stack)-1] }

// begin starts a message at a mark.
func (s *half) begin(m protocol.Mark) {
	if !s.Begun {
		text := s.Msg.Text[:0]
		word := s.Msg.Word[:0]
		if cap(text) > 4<<10 {
			text = nil
		}
		s.Msg = message{Text: text, Word: word}
		s.Begun = true
	}
	s.Msg.Span.Add(m)
}

// reset forgets the message under way.
func (s *half) reset(at int) {
	s.At, s.Left, s.Chunked, s.Begun = at, 0, false, false
	s.Stack, s.Msg, s.Tried = s.Stack[:0], message{}, false
	if len(s.Stack) == 0 {
		s.Stack = nil
	}
}

// take counts consumed bytes of the message.
func (s *half) take(v *protocol.View, at, n int) {
	s.Msg.Size += int64(n)
	s.Msg.Span.Add(v.At(at + n - 1))
}

// write appends to the reply's text.
func (s *half) write(limit int, text string) {
	if s.Msg.Cut {
		return
	}
	if room := limit - len(s.Msg.Text); room < len(text) {
		s.Msg.Cut = true
		text = text[:max(0, room)]
	}
	s.Msg.Text = append(s.Msg.Text, text...)
}

const hexDigits = "0123456789abcdef"

// writeText appends a piece of a text, escaped where it stands within a list.
func (s *half) writeText(limit int, b []byte) {
	if s.Msg.Cut {
		return
	}
	b, cut := b[:min(len(b), limit+1)], len(b) > limit+1
	if s.depth() == 0 {
		s.write(limit, string(b))
	} else {
		at := 0
		for i, c := range b {
			if c >= ' ' && c != '"' && c != '\\' {
				continue
			}
			s.write(limit, string(b[at:i]))
			at = i + 1
			switch c {
			case '"', '\\':
				s.write(limit, string([]byte{'\\', c}))
			case '\n':
				s.write(limit, `\n`)
			case '\r':
				s.write(limit, `\r`)
			case '\t':
				s.write(limit, `\t`)
			default:
				s.write(limit, string([]byte{'\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15]}))
			}
		}
		s.write(limit, string(b[at:]))
	}
	s.Msg.Cut = s.Msg.Cut || cut
}

// separate writes what stands before an element.
func (s *half) separate(limit int) {
	if s.depth() == 0 {
		return
	}
	switch f := s.top(); {
	case f.N == 0:
	case isMap(f.Kind) && f.N%2 == 1:
		s.write(limit, ": ")
	default:
		s.write(limit, ", ")
	}
}

func isMap(kind byte) bool { return kind == '%' || kind == '|' }

// quote writes the mark around a text that stands within a list.
func (s *half) quote(limit int) {
	if s.depth() > 0 {
		s.write(limit, `"`)
	}
}

// value reads the line that begins a value, and the value itself where that is all of it. Zero says that bytes are missing,
// -1 that this is no value.
func (p *Parser) value(h protocol.Host, from protocol.Side, s *half, v *protocol.View, at int) int {
	b := v.Data[at:]
	switch b[0] {
	case '$', '*', '%', '~', '>', '|', '=', '!', ';':
		n, size, a := header(b)
		switch {
		case a == maybe:
			return 0
		case a == no:
			return -1
		case from == protocol.Client && (n < 0 || s.depth() == 0 && b[0] != '*' || s.depth() == 1 && b[0] != '$'):
			if n >= -1 && s.depth() == 0 && b[0] == '*' {
				return size // an empty command is ignored
			}
			return -1
		case from == protocol.Client && s.depth() == 0 && n == 0:
			return size
		case (b[0] == ';') != s.Chunked:
			return -1
		}
		s.begin(v.At(at))
		s.take(v, at, size)
		if b[0] == '$' || b[0] == '=' || b[0] == '!' || b[0] == ';' {
			return p.text(h, from, s, b[0], n, size)
		}
		return p.list(h, from, s, b[0], n, size)
	case '.':
		if s.depth() == 0 || s.top().Left != -1 {
			return -1
		}
		if len(b) < 3 {
			return 0
		}
		if b[1] != '\r' || b[2] != '\n' {
			return -1
		}
		s.take(v, at, 3)
		s.top().Left = 0
		p.pop(h, from, s)
		return 3
	case '+', '-', ':', ',', '(', '_', '#':
		if from == protocol.Client || s.Chunked {
			return -1
		}
		s.begin(v.At(at))
		s.take(v, at, 1)
		p.open(h, s, b[0])
		s.At, s.Kind = atLine, b[0]
		if b[0] == '+' || b[0] == '-' {
			s.quote(h.BodyLimit())
		}
		if b[0] == '-' && s.depth() > 0 {
			s.write(h.BodyLimit(), "-")
		}
		return 1
	}
	return -1
}

// open begins an element: what stands before it is written, and the outermost one gives the message its kind.
func (p *Parser) open(h protocol.Host, s *half, kind byte) {
	if s.depth() == 0 {
		s.Msg.Kind = kind
	}
	s.separate(h.BodyLimit())
	s.Msg.Word = s.Msg.Word[:0]
}

// text begins a text of n bytes; -1 is null, -2 comes in chunks.
func (p *Parser) text(h protocol.Host, from protocol.Side, s *half, kind byte, n int64, size int) int {
	limit := h.BodyLimit()
	if kind == ';' {
		if n < 0 {
			return -1
		}
		if n == 0 {
			s.Chunked = false
			p.textEnd(h, from, s)
			return size
		}
		s.At, s.Left = atBulk, n
		return size
	}
	if from == protocol.Client {
		s.Msg.Word = s.Msg.Word[:0]
		s.At, s.Left, s.Kind = atBulk, n, kind
		if n == 0 {
			s.At = atBulkEnd
		}
		return size
	}
	p.open(h, s, kind)
	s.Kind, s.Skip = kind, 0
	if n == -1 {
		if s.depth() == 0 {
			s.Msg.Kind = '_'
		} else {
			s.write(limit, "null")
		}
		p.element(h, from, s)
		return size
	}
	s.quote(limit)
	if kind == '!' && s.depth() > 0 {
		s.write(limit, "-")
	}
	if kind == '=' {
		s.Skip = 4
	}
	switch {
	case n == -2:
		if kind != '$' {
			return -1
		}
		s.Chunked = true
	case n == 0:
		s.At, s.Left = atBulkEnd, 0
	default:
		s.At, s.Left = atBulk, n
	}
	return size
}

// list begins a list, set or map.
func (p *Parser) list(h protocol.Host, from protocol.Side, s *half, kind byte, n int64, size int) int {
	before := len(s.Msg.Text)
	if from == protocol.Server {
		p.open(h, s, kind)
		if s.depth() == 0 {
			s.Msg.N = n
		}
	} else {
		s.Msg.Kind, s.Msg.N = kind, n
	}
	if s.depth() >= maxDepth {
		return -1
	}
	if n == -1 {
		if s.depth() == 0 {
			s.Msg.Kind = '_'
		} else {
			s.write(h.BodyLimit(), "null")
		}
		p.element(h, from, s)
		return size
	}
	if kind == '*' && n > 0 && n%2 == 0 && s.depth() == 0 && from == protocol.Server && p.answersMap() {
		kind = '%'
		n /= 2
	}
	f := frame{Kind: kind, Left: n, Before: before}
	if n == -2 {
		f.Left = -1
	} else if isMap(kind) {
		f.Left = 2 * n
	}
	if from == protocol.Server {
		s.write(h.BodyLimit(), brackets(kind)[:1])
	}
	s.Stack = append(s.Stack, f)
	if f.Left == 0 {
		p.pop(h, from, s)
	}
	return size
}

func brackets(kind byte) string {
	if isMap(kind) {
		return "{}"
	}
	return "[]"
}

// pop ends the innermost list.
func (p *Parser) pop(h protocol.Host, from protocol.Side, s *half) {
	kind, before := s.top().Kind, s.top().Before
	s.Stack = s.Stack[:len(s.Stack)-1]
	if from == protocol.Server {
		s.write(h.BodyLimit(), brackets(kind)[1:])
	}
	if kind == '|' { // an attribute is no value: the one that it describes follows
		s.Msg.Text, s.Msg.Cut = s.Msg.Text[:before], before == h.BodyLimit()
		if s.depth() == 0 {
			s.Msg.Words = nil
		}
		s.At = atValue
		return
	}
	p.element(h, from, s)
}

// element ends a value: it counts in the list around it, or it was the whole message.
func (p *Parser) element(h protocol.Host, from protocol.Side, s *half) {
	s.At = atValue
	if s.depth() == 0 {
		p.messageEnd(h, from, s)
		return
	}
	f := s.top()
	f.N++
	if f.Left > 0 {
		f.Left--
		if f.Left == 0 {
			p.pop(h, from, s)
		}
	}
}

// bulk reads bytes of a text.
func (p *Parser) bulk(h protocol.Host, from protocol.Side, s *half, v *protocol.View, at int) int {
	b := v.Data[at:]
	n := int(min(s.Left, int64(len(b))))
	b = b[:n]
	s.take(v, at, n)
	s.Left -= int64(n)
	if s.Left == 0 {
		s.At = atBulkEnd
	}
	if from == protocol.Client {
		p.argument(h, s, b)
		return n
	}
	if skip := min(s.Skip, len(b)); skip > 0 { // "txt:" of a verbatim text
		s.Skip -= skip
		b = b[skip:]
	}
	s.word(b)
	s.writeText(h.BodyLimit(), b)
	return n
}

// word keeps the first texts of a list, and the outermost error.
func (s *half) word(b []byte) {
	if s.depth() == 1 && len(s.Msg.Words) < 4 || s.depth() == 0 || s.Kind == ':' {
		s.Msg.Word = append(s.Msg.Word, b[:min(len(b), maxWord-min(maxWord, len(s.Msg.Word)))]...)
	}
}

// textEnd ends a text or line.
func (p *Parser) textEnd(h protocol.Host, from protocol.Side, s *half) {
	if from == protocol.Client {
		p.argumentEnd(h, s)
		p.element(h, from, s)
		return
	}
	switch s.Kind {
	case ':':
		s.Msg.Last = 0
		for _, c := range s.Msg.Word {
			if c >= '0' && c <= '9' {
				s.Msg.Last = (s.Msg.Last*10 + int64(c-'0')) % (1 << 50)
			}
		}
	case '_', '#', ',', '(':
	default:
		s.quote(h.BodyLimit())
		if s.depth() == 1 && len(s.Msg.Words) < 4 {
			s.Msg.Words = append(s.Msg.Words, string(s.Msg.Word))
		}
	}
	p.element(h, from, s)
}

// line reads a simple text, number or the like up to its line end, as it comes.
func (p *Parser) line(h protocol.Host, s *half, v *protocol.View, at int) int {
	b := v.Data[at:]
	k := bytes.IndexByte(b, '\n')
	n, text := k+1, b
	if k < 0 {
		n = len(b)
		if b[n-1] == '\r' { // belongs to the end, unless more text follows
			n--
		}
		text = b[:n]
	} else {
		text = bytes.TrimSuffix(b[:k], []byte("\r"))
	}
	if n == 0 {
		return 0
	}
	limit := h.BodyLimit()
	switch s.Kind {
	case '+', '-':
	case '_', '#', ':', ',', '(':
		if len(text) > maxLine || !lineOf(s.Kind, text, false) {
			return -1
		}
	}
	s.take(v, at, n)
	s.word(text)
	switch {
	case s.Kind == '_':
		if k >= 0 && s.depth() > 0 {
			s.write(limit, "null")
		}
	case s.Kind == '#' && len(text) == 1:
		s.write(limit, map[bool]string{true: "true", false: "false"}[text[0] == 't'])
	case s.Kind == '#':
	default:
		s.writeText(limit, text)
	}
	if k >= 0 {
		p.textEnd(h, protocol.Server, s)
	}
	return n
}
