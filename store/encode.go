package store

import (
	"encoding/json"
	"net/netip"
	"unsafe"

	"github.com/devloop-io/devloop/traffic"
)

// texts holds the texts that are made for the rows of one batch. What it returned is invalid after reset.
type texts struct {
	buf   []byte
	plain bool // all of them are ASCII

	addresses [16]addressText // those that came last
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
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"name":`...)
		b = t.append(b, list[i].Name)
		b = append(b, `,"value":`...)
		b = t.append(b, list[i].Value)
		b = append(b, '}')
	}
	b = append(b, ']')
	t.buf = b
	return unsafe.String(&b[from], len(b)-from)
}

// append appends a string as encoding/json writes it.
func (t *texts) append(b []byte, s string) []byte {
	if !plainJSON(s) {
		t.plain = false
		quoted, err := json.Marshal(s)
		if err != nil {
			return append(b, `""`...) // no string fails
		}
		return append(b, quoted...)
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

// plainJSON reports whether all characters of a text are asIs. It looks at eight at a time.
func plainJSON(s string) bool {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	i := 0
	for ; i+8 <= len(s); i += 8 {
		x := uint64(s[i]) | uint64(s[i+1])<<8 | uint64(s[i+2])<<16 | uint64(s[i+3])<<24 | uint64(s[i+4])<<32 | uint64(s[i+5])<<40 | uint64(s[i+6])<<48 | uint64(s[i+7])<<56
		// A byte's high bit is set where it is beyond ASCII, DEL, below a blank, or one of five; what a borrow adds to that comes behind a
		// byte that has it.
		quote, back, amp, less := x^ones*'"', x^ones*'\\', x^ones*'&', (x|ones*2)^ones*'>' // < and > differ by one bit
		if (x|(x+ones)|(x-ones*' ')|(quote-ones)|(back-ones)|(amp-ones)|(less-ones))&high != 0 {
			return false
		}
	}
	for ; i < len(s); i++ {
		if !asIs[s[i]] {
			return false
		}
	}
	return true
}

// asIs are the characters that encoding/json writes as they are.
var asIs = func() (t [256]bool) {
	for c := ' '; c < 0x7f; c++ {
		t[c] = c != '"' && c != '\\' && c != '<' && c != '>' && c != '&'
	}
	return t
}()
