package bpf

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

const (
	maxSource = 4096
	maxDepth  = 64
)

// Compile reads a filter. An empty one matches everything. Errors are of type *[Error].
func Compile(text string) (*Filter, error) {
	p := &parser{source: text}
	if len(text) > maxSource {
		return nil, p.fail(token{at: maxSource}, "a filter has at most %d bytes", maxSource)
	}
	p.scan()
	f := &Filter{source: text}
	if p.now().text == "" {
		return f, nil
	}
	match, err := p.expression()
	if err != nil {
		return nil, err
	}
	if t := p.now(); t.text != "" {
		return nil, p.fail(t, "%q is not expected here: join conditions with and, or", t.text)
	}
	f.match = match
	return f, nil
}

type token struct {
	text string // "" at the end
	at   int
}

// parser reads by recursive descent.
type parser struct {
	source string
	tokens []token
	next   int
	depth  int
	words  *qualifiers // of the last host, net or port
}

// qualifiers are the words before an address or a number.
type qualifiers struct {
	version int // 4, 6 or 0
	proto   int // -1: any
	which   which
	kind    string // host, net, port, portrange
}

func (p *parser) fail(t token, what string, args ...any) error {
	return &Error{Column: t.at + 1, What: fmt.Sprintf(what, args...), source: p.source}
}

// scan cuts the text into words and signs.
func (p *parser) scan() {
	s := p.source
	for i := 0; i < len(s); {
		switch c := s[i]; {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			i++
		case strings.HasPrefix(s[i:], "&&") || strings.HasPrefix(s[i:], "||") || strings.HasPrefix(s[i:], "!=") || strings.HasPrefix(s[i:], "==") ||
			strings.HasPrefix(s[i:], "<=") || strings.HasPrefix(s[i:], ">="):
			p.tokens = append(p.tokens, token{s[i : i+2], i})
			i += 2
		case strings.IndexByte("()!&|=<>[]", c) >= 0:
			p.tokens = append(p.tokens, token{s[i : i+1], i})
			i++
		default:
			from := i
			for i < len(s) && strings.IndexByte(" \t\n\r()!&|=<>[]", s[i]) < 0 {
				i++
			}
			p.tokens = append(p.tokens, token{s[from:i], from})
		}
	}
}

func (p *parser) now() token {
	if p.next < len(p.tokens) {
		return p.tokens[p.next]
	}
	return token{at: len(p.source)}
}

// take goes on when one of the words comes.
func (p *parser) take(words ...string) (string, bool) {
	for _, w := range words {
		if strings.EqualFold(p.now().text, w) {
			p.next++
			return w, true
		}
	}
	return "", false
}

// expression joins conditions, from left to right.
func (p *parser) expression() (test, error) {
	if p.depth++; p.depth > maxDepth {
		return nil, p.fail(p.now(), "parentheses are nested too deep")
	}
	defer func() { p.depth-- }()
	left, err := p.factor()
	for err == nil {
		word, ok := p.take("and", "&&", "or", "||")
		if !ok {
			return left, nil
		}
		var right test
		if right, err = p.factor(); err == nil {
			a, b := left, right
			if word == "and" || word == "&&" {
				left = func(k *packet) bool { return a(k) && b(k) }
			} else {
				left = func(k *packet) bool { return a(k) || b(k) }
			}
		}
	}
	return nil, err
}

// factor is a condition, one that is turned around, or some in parentheses.
func (p *parser) factor() (test, error) {
	not := false
	for {
		if _, ok := p.take("not", "!"); !ok {
			break
		}
		not = !not
	}
	var t test
	var err error
	if open := p.now(); open.text == "(" {
		p.next++
		if t, err = p.expression(); err == nil {
			if _, ok := p.take(")"); !ok {
				err = p.fail(p.now(), "the parenthesis of column %d is not closed", open.at+1)
			}
		}
	} else {
		t, err = p.condition()
	}
	if err != nil || !not {
		return t, err
	}
	return func(k *packet) bool { return !t(k) }, nil
}

// protocols that stand before conditions, or alone.
var protocols = map[string]qualifiers{
	"ip": {version: 4, proto: -1}, "ip6": {version: 6, proto: -1}, "tcp": {proto: protoTCP}, "udp": {proto: protoUDP}, "sctp": {proto: protoSCTP},
	"icmp": {version: 4, proto: protoICMP}, "icmp6": {version: 6, proto: protoICMP6},
}

// condition is one primitive of pcap-filter(7).
func (p *parser) condition() (test, error) {
	first := p.now()
	switch word := strings.ToLower(first.text); word {
	case "":
		return nil, p.fail(first, "the filter ends where a condition is expected")
	case "less", "greater":
		p.next++
		n, err := p.number(0, 1<<31)
		if err != nil {
			return nil, err
		}
		return func(k *packet) bool { return word == "less" && k.length <= n || word == "greater" && k.length >= n }, nil
	case "len":
		p.next++
		return p.relation(func(k *packet) (int, bool) { return k.length, true })
	}
	q := qualifiers{proto: -1}
	proto, named := protocols[strings.ToLower(first.text)]
	if named {
		q = proto
		p.next++
		if p.now().text == "[" {
			return p.field(strings.ToLower(first.text), q)
		}
	}
	if _, ok := p.take("proto"); ok {
		return p.protocol(q)
	}
	directed, err := p.direction(&q)
	if err != nil {
		return nil, err
	}
	kind, kinded := p.take("host", "net", "port", "portrange")
	switch {
	case kinded:
		q.kind = kind
	case directed:
		q.kind = "host" // as there: "src 10.0.0.1"
	case named:
		return q.is, nil
	case p.words != nil && valueLike(first.text):
		q = *p.words
	case valueLike(first.text):
		q.kind = "host"
	default:
		return nil, p.fail(first, "%q is not understood", first.text)
	}
	p.words = &q
	return p.value(q)
}

// valueLike reports whether a word looks like an address or a number.
func valueLike(s string) bool {
	return s != "" && (s[0] >= '0' && s[0] <= '9' || strings.Contains(s, ":"))
}

// is tests version and protocol.
func (q qualifiers) is(k *packet) bool {
	return k.version != 0 && (q.version == 0 || q.version == k.version) && (q.proto < 0 || q.proto == k.proto)
}

// direction reads src, dst, src or dst, src and dst.
func (p *parser) direction(q *qualifiers) (bool, error) {
	word, ok := p.take("src", "dst")
	if !ok {
		return false, nil
	}
	q.which = source
	if word == "dst" {
		q.which = destination
	}
	back := p.next
	join, ok := p.take("and", "or")
	if !ok {
		return true, nil
	}
	other, ok := p.take("src", "dst")
	if !ok || other == word {
		p.next = back
		return true, nil
	}
	if q.which = either; join == "and" {
		q.which = both
	}
	return true, nil
}

// protocol reads the number or the name after proto.
func (p *parser) protocol(q qualifiers) (test, error) {
	t := p.now()
	n := -1
	if known, ok := protocols[strings.ToLower(strings.TrimPrefix(t.text, "\\"))]; ok && known.proto >= 0 {
		n = known.proto
		p.next++
	} else {
		var err error
		if n, err = p.number(0, 255); err != nil {
			return nil, err
		}
	}
	return func(k *packet) bool { return q.is(k) && k.proto == n }, nil
}

// value reads what stands behind the words.
func (p *parser) value(q qualifiers) (test, error) {
	t := p.now()
	if t.text == "" {
		return nil, p.fail(t, "%s of what? A value is missing", q.kind)
	}
	switch q.kind {
	case "host":
		p.next++
		ip, err := netip.ParseAddr(t.text)
		if err != nil {
			return nil, p.fail(t, "%q is no address; names are not looked up: list_ips tells the addresses of a workload", t.text)
		}
		ip = ip.Unmap()
		return func(k *packet) bool { return q.is(k) && q.which.ends(k.src == ip, k.dst == ip) }, nil
	case "net":
		return p.net(q)
	case "port":
		n, err := p.port(t, t.text)
		p.next++
		if err != nil {
			return nil, err
		}
		return q.ports(n, n), nil
	}
	p.next++
	low, high, ok := strings.Cut(t.text, "-")
	if !ok {
		return nil, p.fail(t, "%q is no range of ports, such as 8000-8080", t.text)
	}
	from, err := p.port(t, low)
	if err != nil {
		return nil, err
	}
	to, err := p.port(t, high)
	if err != nil {
		return nil, err
	}
	return q.ports(min(from, to), max(from, to)), nil
}

func (q qualifiers) ports(from, to int) test {
	in := func(n int) bool { return n >= from && n <= to }
	return func(k *packet) bool { return q.is(k) && q.which.ends(in(k.sport), in(k.dport)) }
}

// services are names of ports.
var services = map[string]int{
	"ssh": 22, "smtp": 25, "domain": 53, "http": 80, "ntp": 123, "https": 443, "mysql": 3306, "postgresql": 5432, "amqp": 5672, "redis": 6379,
}

func (p *parser) port(t token, text string) (int, error) {
	if n, ok := services[strings.ToLower(text)]; ok {
		return n, nil
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return 0, p.fail(t, "%q is no port", text)
	}
	return int(n), nil
}

// net reads 10.0.0.0/8, 10.1, fd00::/8, or 10.0.0.0 mask 255.0.0.0.
func (p *parser) net(q qualifiers) (test, error) {
	t := p.now()
	p.next++
	prefix, err := netip.ParsePrefix(t.text)
	if err != nil {
		if prefix, err = shortNet(t.text); err != nil {
			return nil, p.fail(t, "%q is no network, such as 10.0.0.0/8", t.text)
		}
		if _, ok := p.take("mask"); ok {
			m := p.now()
			p.next++
			mask, err := netip.ParseAddr(m.text)
			if err != nil || !mask.Is4() {
				return nil, p.fail(m, "%q is no mask, such as 255.255.0.0", m.text)
			}
			b := mask.As4()
			bits, word := 0, uint32(b[0])<<24|uint32(b[1])<<16|uint32(b[2])<<8|uint32(b[3])
			for ; bits < 32 && word&(1<<31) != 0; bits++ {
				word <<= 1
			}
			if word != 0 {
				return nil, p.fail(m, "mask %s has holes", m.text)
			}
			prefix = netip.PrefixFrom(prefix.Addr(), bits)
		}
	}
	if prefix != prefix.Masked() {
		return nil, p.fail(t, "%s has bits beyond its length; the network is %s", t.text, prefix.Masked())
	}
	return func(k *packet) bool { return q.is(k) && q.which.ends(prefix.Contains(k.src), prefix.Contains(k.dst)) }, nil
}

// shortNet reads an address, or the first bytes of one.
func shortNet(text string) (netip.Prefix, error) {
	if ip, err := netip.ParseAddr(text); err == nil {
		return netip.PrefixFrom(ip, ip.BitLen()), nil
	}
	n := strings.Count(text, ".") + 1
	if n > 3 {
		return netip.Prefix{}, fmt.Errorf("%q is no network", text)
	}
	ip, err := netip.ParseAddr(text + strings.Repeat(".0", 4-n))
	return netip.PrefixFrom(ip, 8*n), err
}

// number reads a number within bounds.
func (p *parser) number(low, high int64) (int, error) {
	t := p.now()
	n, err := strconv.ParseInt(t.text, 0, 64)
	if err != nil || n < low || n > high {
		if t.text == "" {
			return 0, p.fail(t, "a number is missing")
		}
		return 0, p.fail(t, "%q is no number from %d to %d", t.text, low, high)
	}
	p.next++
	return int(n), nil
}

// names of numbers in tests of fields.
var constants = map[string]int{
	"tcp-fin": 1, "tcp-syn": 2, "tcp-rst": 4, "tcp-push": 8, "tcp-ack": 16, "tcp-urg": 32,
	"icmp-echoreply": 0, "icmp-unreach": 3, "icmp-echo": 8, "icmp-timxceed": 11, "icmp6-echo": 128, "icmp6-echoreply": 129,
}

// indices are names of offsets.
var indices = map[string]int{"tcpflags": 13, "icmptype": 0, "icmpcode": 1, "icmp6type": 0, "icmp6code": 1}

// field reads tcp[13], ip[2:2], tcp[tcpflags], and the relation behind.
func (p *parser) field(name string, q qualifiers) (test, error) {
	p.next++ // [
	t := p.now()
	first, rest, sized := strings.Cut(t.text, ":")
	at, ok := indices[strings.ToLower(first)]
	if !ok {
		n, err := strconv.ParseUint(first, 0, 16)
		if err != nil {
			return nil, p.fail(t, "%q is no offset into a header", t.text)
		}
		at = int(n)
	}
	size := 1
	if sized {
		if size = map[string]int{"1": 1, "2": 2, "4": 4}[rest]; size == 0 {
			return nil, p.fail(t, "%q: a field has 1, 2 or 4 bytes", t.text)
		}
	}
	p.next++
	if _, ok := p.take("]"); !ok {
		return nil, p.fail(p.now(), "] is missing")
	}
	return p.relation(func(k *packet) (int, bool) {
		base := k.l4
		if name == "ip" || name == "ip6" {
			base = 0
		}
		if !q.is(k) || base < 0 || base+at+size > len(k.data) {
			return 0, false
		}
		v := 0
		for _, b := range k.data[base+at : base+at+size] {
			v = v<<8 | int(b)
		}
		return v, true
	})
}

// relation reads [& MASK] RELATION NUMBER.
func (p *parser) relation(value func(*packet) (int, bool)) (test, error) {
	mask := -1
	if _, ok := p.take("&"); ok {
		var err error
		if mask, err = p.constant(); err != nil {
			return nil, err
		}
	}
	t := p.now()
	word, ok := p.take("=", "==", "!=", "<=", ">=", "<", ">")
	if !ok {
		return nil, p.fail(t, "a comparison is missing: =, !=, <, <=, > or >=")
	}
	n, err := p.constant()
	if err != nil {
		return nil, err
	}
	return func(k *packet) bool {
		v, ok := value(k)
		if !ok {
			return false
		}
		switch v &= mask; word {
		case "!=":
			return v != n
		case "<":
			return v < n
		case "<=":
			return v <= n
		case ">":
			return v > n
		case ">=":
			return v >= n
		}
		return v == n
	}, nil
}

// constant is a number, a name of one, or some of these joined: (tcp-syn|tcp-ack).
func (p *parser) constant() (int, error) {
	if _, ok := p.take("("); !ok {
		if n, ok := constants[strings.ToLower(p.now().text)]; ok {
			p.next++
			return n, nil
		}
		return p.number(0, 1<<32-1)
	}
	sum := 0
	for {
		n, ok := constants[strings.ToLower(p.now().text)]
		if ok {
			p.next++
		} else {
			var err error
			if n, err = p.number(0, 1<<32-1); err != nil {
				return 0, err
			}
		}
		sum |= n
		if _, ok := p.take(")"); ok {
			return sum, nil
		}
		if _, ok := p.take("|"); !ok {
			return 0, p.fail(p.now(), "| or ) is expected")
		}
	}
}
