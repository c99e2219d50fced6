package store

import (
	"encoding/binary"
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
	"unsafe"

	"github.com/devloop-io/devloop/traffic"
)

// texts holds the texts that are made for the rows of one batch. What it returned is invalid after reset.
type texts struct {
	buf   []byte
	plain bool // all of them are ASCII

	addresses [16]addressText // those that came last
	lists     [512]listText   // of headers that came often
}

type addressText struct {
	ip   netip.Addr
	text string
}

func (t *texts) reset() { t.buf, t.plain = t.buf[:0], true }

// address is an address as text, which stays valid.
func (t *texts) address(ip netip.Addr) string {
	b := ip.As16()
	known := &t.addresses[(b[15]^b[14])%16]
	if known.ip != ip {
		known.ip, known.text = ip, ip.String()
	}
	return known.text
}

// listText is a list of headers as text, some kB at most.
type listText struct {
	last  uint64 // mark of the list that came last
	mark  uint64 // of the one that is kept
	list  []traffic.Header
	text  string
	plain bool
}

// repeated is headers of a list that may have come before, as those of responses often have: what comes a second time is kept, and stays valid.
func (t *texts) repeated(list []traffic.Header) string {
	if len(list) == 0 {
		return t.headers(list)
	}
	const prime, longest = 0x9e3779b97f4a7c15, 4 << 10
	mark := uint64(len(list))
	for i := range list {
		v := list[i].Value
		if mark = (mark ^ uint64(len(v))) * prime; len(v) > 0 {
			mark ^= uint64(v[len(v)-1]) | uint64(v[len(v)/2])<<8 | uint64(v[0])<<16
		}
	}
	mark *= prime
	known := &t.lists[mark>>(64-9)]
	if known.mark == mark && slices.Equal(known.list, list) {
		t.plain = t.plain && known.plain
		return known.text
	}
	before := t.plain
	t.plain = true
	text := t.headers(list)
	if known.last == mark && len(text) <= longest {
		*known = listText{mark: mark, list: cloneHeaders(list), text: strings.Clone(text), plain: t.plain}
	}
	known.last = mark
	t.plain = t.plain && before
	return text
}

// cloneHeaders is a copy in memory of its own.
func cloneHeaders(list []traffic.Header) []traffic.Header {
	var all strings.Builder
	own := make([]traffic.Header, len(list))
	for i := range list {
		all.WriteString(list[i].Name)
		all.WriteString(list[i].Value)
	}
	text := all.String()
	for i := range list {
		n, v := len(list[i].Name), len(list[i].Value)
		own[i], text = traffic.Header{Name: text[:n], Value: text[n : n+v]}, text[n+v:]
	}
	return own
}

// headers is [listJSON] of headers: the same text, an order of magnitude faster.
func (t *texts) headers(list []traffic.Header) string {
	if list == nil {
		return ""
	}
	size := 2
	for i := range list {
		size += len(`{"name":"","value":""},`) + len(list[i].Name) + len(list[i].Value)
	}
	if cap(t.buf)-len(t.buf) < size { // texts in the old buffer stay there
		t.buf = make([]byte, 0, max(64<<10, 2*size, 2*cap(t.buf)))
	}
	from := len(t.buf)
	b := append(t.buf, '[')
	for i := range list {
		h := &list[i]
		if i > 0 {
			b = append(b, ',')
		}
		if plainJSON(h.Name) && plainJSON(h.Value) {
			b = append(append(b, `{"name":"`...), h.Name...)
			b = append(append(b, `","value":"`...), h.Value...)
			b = append(b, `"}`...)
			continue
		}
		t.plain = false
		b = appendJSON(append(b, `{"name":`...), h.Name)
		b = append(appendJSON(append(b, `,"value":`...), h.Value), '}')
	}
	b = append(b, ']')
	t.buf = b
	return unsafe.String(&b[from], len(b)-from)
}

// appendJSON appends a string as encoding/json writes it.
func appendJSON(b []byte, s string) []byte {
	quoted, err := json.Marshal(s)
	if err != nil {
		return append(b, `""`...) // no string fails
	}
	return append(b, quoted...)
}

// plainJSON reports whether all characters of a text are asIs. It looks at eight at a time, and at some of the last ones twice.
func plainJSON(s string) bool {
	b := unsafe.Slice(unsafe.StringData(s), len(s))
	switch {
	case len(b) >= 8:
		for i := 0; i+8 < len(b); i += 8 {
			if special(binary.LittleEndian.Uint64(b[i:])) {
				return false
			}
		}
		return !special(binary.LittleEndian.Uint64(b[len(b)-8:]))
	case len(b) >= 4:
		return !special(uint64(binary.LittleEndian.Uint32(b))<<32 | uint64(binary.LittleEndian.Uint32(b[len(b)-4:])))
	}
	for _, c := range b {
		if !asIs[c] {
			return false
		}
	}
	return true
}

// special reports whether one of eight characters is not asIs.
func special(x uint64) bool {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	// A byte's high bit is set where it is beyond ASCII, DEL, below a blank, or one of five; what a borrow adds to that comes behind a
	// byte that has it.
	quote, back, less := (x|ones*4)^ones*'&', x^ones*'\\', (x|ones*2)^ones*'>' // " and &, and < and >, differ by one bit
	return (x|(x+ones)|(x-ones*' ')|(quote-ones)|(back-ones)|(less-ones))&high != 0
}

// ascii reports whether all characters of a text are, as plainJSON does.
func ascii(s string) bool {
	const high = 0x8080808080808080
	b := unsafe.Slice(unsafe.StringData(s), len(s))
	if len(b) < 8 {
		all := byte(0)
		for _, c := range b {
			all |= c
		}
		return all < 0x80
	}
	all := binary.LittleEndian.Uint64(b[len(b)-8:])
	for i := 0; i+8 < len(b); i += 8 {
		all |= binary.LittleEndian.Uint64(b[i:])
	}
	return all&high == 0
}

// asIs are the characters that encoding/json writes as they are.
var asIs = func() (t [256]bool) {
	for c := ' '; c < 0x7f; c++ {
		t[c] = c != '"' && c != '\\' && c != '<' && c != '>' && c != '&'
	}
	return t
}()
