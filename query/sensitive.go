package query

import (
	"bytes"
	"cmp"
	"context"
	"net/url"
	"slices"
	"strings"

	"github.com/devloop-io/devloop/filter"
	"github.com/devloop-io/devloop/traffic"
	"github.com/devloop-io/devloop/traffic/redact"
)

// kindEmail is of what redaction leaves in rows, because it opens no door, and a report on personal data must name.
const kindEmail = "email"

// FindSensitiveData says where sensitive data was seen: kind, place and keyed hash, never the value. What redaction found
// stands in the calls; hash is for what is found here.
func FindSensitiveData(ctx context.Context, db *Database, r SensitiveRequest, hash func([]byte) string) (*SensitiveAnswer, error) {
	limit, err := bounded(r.Limit, 100, 1000)
	if err != nil {
		return nil, err
	}
	v, err := openSurvey(ctx, db, r.Selection)
	if err != nil {
		return nil, err
	}
	g := sensitive{request: &r, limit: limit, found: map[sensitiveKey]*sensitiveSums{}, spread: map[[2]string]*Spread{}}
	for c, err := range v.calls() {
		if err != nil {
			return nil, err
		}
		g.call(c, append(slices.Clone(c.Credentials), emails(c, hash)...))
	}
	a := &SensitiveAnswer{Findings: g.findings(), Spread: g.spreads(), Calls: g.calls, CallCount: g.count, Looked: v.found}
	var more [2]bool
	a.Findings, more[0] = head(a.Findings, limit)
	a.Spread, more[1] = head(a.Spread, limit)
	a.Truncated = more[0] || more[1] || r.Calls && g.count > len(g.calls)
	a.Reading = v.reading("calls")
	if g.count == 0 && a.Why == "" {
		a.Why = "none of these calls has any that the detectors know, as far as it could be read: what is encrypted was not looked at"
	}
	return a, nil
}

type sensitive struct {
	request *SensitiveRequest
	limit   int
	found   map[sensitiveKey]*sensitiveSums
	spread  map[[2]string]*Spread // by kind and hash
	calls   []SensitiveCall
	count   int
}

type sensitiveKey struct{ kind, place, src, endpoint string }

type sensitiveSums struct {
	Sensitive
	hashes map[string]bool
}

// maxHashes bounds the different values that are told apart in one place.
const maxHashes = 10_000

func personal(kind string) bool { return kind == kindEmail || redact.Personal(kind) }

func (g *sensitive) wanted(kind string) bool {
	if g.request.Personal && !personal(kind) {
		return false
	}
	return len(g.request.Kinds) == 0 || slices.ContainsFunc(g.request.Kinds, func(k string) bool {
		return k == kind || k == "personal" && personal(kind) || k == "credentials" && !personal(kind)
	})
}

func (g *sensitive) call(c *traffic.Call, data []traffic.Credential) {
	data = slices.DeleteFunc(data, func(k traffic.Credential) bool { return !g.wanted(k.Kind) })
	if len(data) == 0 {
		return
	}
	g.count++
	row := &filter.Row{Call: c}
	outside, plain := leaves(row), readable(row)
	src, dst, endpoint := nameOf(&c.Src), nameOf(&c.Dst), endpointOf(c)
	spread := map[*Spread]bool{}
	one := SensitiveCall{ID: c.ID, TS: c.Start / 1e6, Src: src, Dst: dst, What: cut(strings.TrimSpace(c.Method+" "+c.Path), 200)}
	counted := map[*sensitiveSums]bool{}
	for _, k := range data {
		one.Kinds, one.Places = note(one.Kinds, k.Kind, 20), note(one.Places, k.Place, 20)
		if s := g.sums(sensitiveKey{k.Kind, k.Place, src, endpoint}); s != nil {
			s.see(c, k.Hash, outside, plain, !counted[s])
			counted[s] = true
		}
		if p := g.trail(k); p != nil {
			p.Edges = note(p.Edges, src+" → "+dst, 20)
			p.Outside = p.Outside || outside
			if !spread[p] {
				p.Calls++
				spread[p] = true
			}
		}
	}
	if g.request.Calls && len(g.calls) < g.limit {
		g.calls = append(g.calls, one)
	}
}

func (g *sensitive) sums(k sensitiveKey) *sensitiveSums {
	s := g.found[k]
	if s == nil && len(g.found) < maxGroups {
		s = &sensitiveSums{Sensitive: Sensitive{Kind: k.kind, Personal: personal(k.kind), Place: k.place, Src: k.src, Endpoint: k.endpoint}, hashes: map[string]bool{}}
		g.found[k] = s
	}
	return s
}

func (s *sensitiveSums) see(c *traffic.Call, hash string, outside, plain, first bool) {
	if first {
		s.Calls++
	}
	s.Outside, s.Plain = s.Outside || outside, s.Plain || plain
	s.First, s.Last = cmp.Or(s.First, c.Start/1e6), c.Start/1e6
	s.Example = cmp.Or(s.Example, c.ID)
	s.Hashes = note(s.Hashes, hash, 5)
	if len(s.hashes) < maxHashes {
		s.hashes[hash] = true
	}
}

// trail is where a value went.
func (g *sensitive) trail(k traffic.Credential) *Spread {
	key := [2]string{k.Kind, k.Hash}
	p := g.spread[key]
	if p == nil && len(g.spread) < maxRetried {
		p = &Spread{Kind: k.Kind, Hash: k.Hash}
		g.spread[key] = p
	}
	return p
}

func (g *sensitive) findings() []Sensitive {
	list := []Sensitive{}
	for _, s := range g.found {
		s.Values = len(s.hashes)
		list = append(list, s.Sensitive)
	}
	slices.SortFunc(list, func(a, b Sensitive) int {
		return cmp.Or(compareBool(b.Outside, a.Outside), cmp.Compare(b.Calls, a.Calls), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Endpoint, b.Endpoint),
			cmp.Compare(a.Place, b.Place), cmp.Compare(a.Src, b.Src))
	})
	return list
}

// spreads are the values that went over more than one edge, or out.
func (g *sensitive) spreads() []Spread {
	list := []Spread{}
	for _, p := range g.spread {
		if len(p.Edges) > 1 || p.Outside {
			list = append(list, *p)
		}
	}
	slices.SortFunc(list, func(a, b Spread) int {
		return cmp.Or(compareBool(b.Outside, a.Outside), cmp.Compare(len(b.Edges), len(a.Edges)), cmp.Compare(b.Calls, a.Calls), cmp.Compare(a.Hash, b.Hash))
	})
	return list
}

// emails are the e-mail addresses of a call, as redaction notes secrets.
func emails(c *traffic.Call, hash func([]byte) string) []traffic.Credential {
	var found []traffic.Credential
	look := func(place string, text []byte) {
		for from := 0; ; {
			i := bytes.IndexByte(text[from:], '@')
			if i < 0 || len(found) >= 256 {
				return
			}
			begin, end := email(text, from+i)
			from += i + 1
			if end == 0 {
				continue
			}
			where := place
			if key := jsonKey(text[:begin]); key != "" {
				where += ":" + key
			}
			found = note(found, traffic.Credential{Kind: kindEmail, Place: where, Hash: hash(bytes.ToLower(text[begin:end]))}, 256)
		}
	}
	if c.DNS != nil || c.Protocol == traffic.ProtoTLS {
		return nil
	}
	if h := c.HTTP; h != nil {
		look("request.path", []byte(c.Path))
		if q, err := url.QueryUnescape(h.Query); err == nil {
			look("request.query", []byte(q))
		}
		for side, headers := range map[string][]traffic.Header{"request.": h.RequestHeaders, "response.": h.ResponseHeaders} {
			for _, x := range headers {
				if strings.IndexByte(x.Value, '@') >= 0 {
					look(side+"header:"+strings.ToLower(x.Name), []byte(x.Value))
				}
			}
		}
		look("request.body", h.RequestBody)
		look("response.body", h.ResponseBody)
	}
	if g := c.GRPC; g != nil {
		look("request.body", []byte(g.RequestJSON))
		look("response.body", []byte(g.ResponseJSON))
	}
	if p := c.PostgreSQL; p != nil {
		look("request.query", []byte(p.Query))
		for _, x := range p.Arguments {
			look("request.arguments", []byte(x))
		}
	}
	if d := c.Redis; d != nil {
		for _, x := range d.Args {
			look("request.args", []byte(x))
		}
		look("response.reply", []byte(d.Reply))
	}
	if w := c.WebSocket; w != nil {
		look(map[bool]string{true: "response.message", false: "request.message"}[w.FromServer], w.Payload)
	}
	return found
}

// email bounds the address around an @: RFC 5322's dot-atom before it (section 3.4.1), a domain with a top level of letters
// behind it. end is 0 where there is none, as in the user of a URL.
func email(b []byte, at int) (begin, end int) {
	const longest = 64 // RFC 5321 section 4.5.3.1.1
	begin = at
	for begin > 0 && at-begin <= longest && atom(b[begin-1]) {
		begin--
	}
	for begin < at && b[begin] == '.' {
		begin++
	}
	if n := at - begin; n == 0 || n > longest || b[at-1] == '.' || bytes.HasSuffix(b[:begin], []byte("//")) || bytes.HasSuffix(b[:begin], []byte(":")) && bytes.Contains(b[max(0, begin-80):begin], []byte("//")) {
		return 0, 0
	}
	top := at
	for end = at + 1; end < len(b) && end-at <= 255 && (letter(b[end]) || b[end] >= '0' && b[end] <= '9' || b[end] == '-' || b[end] == '.'); end++ {
		if b[end] == '.' {
			if b[end-1] == '.' || b[end-1] == '@' {
				return 0, 0
			}
			top = end
		}
	}
	if b[end-1] == '.' { // the end of a sentence
		end--
		top = bytes.LastIndexByte(b[:end], '.')
	}
	if top <= at || end-top < 3 {
		return 0, 0
	}
	for _, c := range b[top+1 : end] {
		if !letter(c) {
			return 0, 0
		}
	}
	return begin, end
}

func letter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }

func atom(c byte) bool {
	return letter(c) || c >= '0' && c <= '9' || c == '.' || c == '_' || c == '%' || c == '+' || c == '-'
}

// jsonKey is the name in front of a JSON text that begins where b ends: `"name": "`.
func jsonKey(b []byte) string {
	b, quoted := bytes.CutSuffix(b, []byte{'"'})
	b = bytes.TrimRight(b, " \t\r\n")
	b, named := bytes.CutSuffix(b, []byte{':'})
	b = bytes.TrimRight(b, " \t\r\n")
	b, closed := bytes.CutSuffix(b, []byte{'"'})
	open := bytes.LastIndexByte(b, '"')
	if !quoted || !named || !closed || open < 0 || len(b)-open > 65 {
		return ""
	}
	return strings.ToLower(string(b[open+1:]))
}
