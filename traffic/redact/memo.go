package redact

import (
	"hash/maphash"
	"strings"
	"sync/atomic"
	"unsafe"
)

// memo remembers texts that hold no secret, since services say the same things over and over, and looking is most of what redaction
// costs. A text is known when every byte of it is; so what is redacted does not depend on what came before. It is safe for concurrent
// use, and takes some MB at most: a text moves in when it comes for the second time, and may push another out.
type memo struct {
	seed  maphash.Seed
	marks [memoMarks]atomic.Uint32 // hash of the text that came last
	texts [memoSlots]atomic.Pointer[plainText]
	names [nameSlots]atomic.Pointer[headerName]
	at    [memoPlaces]atomic.Pointer[plainText] // long ones, by the address at which they were read
	total atomic.Int64                          // bytes of the long ones
}

const (
	memoSlots  = 2048
	memoMarks  = 16384
	memoPlaces = 1024
	memoPlace  = 128 // shorter texts are hashed as fast as compared
	nameSlots  = 512
	memoText   = 64 << 10 // longer texts are looked at each time
	memoLong   = 4 << 10  // of texts longer than this, memoTotal bytes are remembered
	memoTotal  = 8 << 20
)

// plainText is a text without a secret, and how it was read.
type plainText struct {
	text string
	how  int
}

// headerName is what follows from the name of a header.
type headerName struct {
	name  string // as it was sent
	lower string
	kind  string // of the secret that is its value; empty for none
	flags int    // for looking at its value where it is none

	values [nameValues]atomic.Pointer[string] // short ones that hold no secret
	marks  [nameValues]atomic.Uint32          // of the values that came last
}

const (
	nameValues = 8
	shortValue = 128 // a longer one is looked up in [memo]
)

// plain reports whether a short value, which has two bytes at least, was noted. Most headers have the same few values all the time.
func (h *headerName) plain(v string) (slot int, known bool) {
	slot = (len(v) + int(v[0]) + int(v[len(v)-1])) % nameValues
	p := h.values[slot].Load()
	return slot, p != nil && *p == v
}

// note remembers that a value holds no secret, when it comes for the second time.
func (h *headerName) note(slot int, v string) {
	mark := uint32(len(v))
	for _, c := range []byte(v[max(0, len(v)-12):]) {
		mark = mark*31 + uint32(c)
	}
	if h.marks[slot].Load() != mark {
		h.marks[slot].Store(mark)
		return
	}
	v = strings.Clone(v)
	h.values[slot].Store(&v)
}

func newMemo() *memo { return &memo{seed: maphash.MakeSeed()} }

// same is a text that says the same as b and is kept here, or b.
func (m *memo) same(b []byte) []byte {
	if len(b) < memoPlace || len(b) > memoText {
		return b
	}
	slot := maphash.Bytes(m.seed, b)
	for i := range uint64(2) {
		if p := m.texts[(slot+i)%memoSlots].Load(); p.is(b, 0) {
			return view(p.text)
		}
	}
	return b
}

// knows reports whether b, read in this way, holds no secret. Otherwise slot is where to note it when that turns out.
func (m *memo) knows(b []byte, how int) (slot uint64, known bool) {
	if len(b) > memoText {
		return 0, false
	}
	var at *atomic.Pointer[plainText]
	if len(b) >= memoPlace {
		at = &m.at[uintptr(unsafe.Pointer(&b[0]))/64%memoPlaces]
		if p := at.Load(); p.is(b, how) { // what lies there may have changed
			return 0, true
		}
	}
	slot = maphash.Bytes(m.seed, b) + uint64(how)
	for i := range uint64(2) {
		if p := m.texts[(slot+i)%memoSlots].Load(); p.is(b, how) {
			if at != nil {
				at.Store(p)
			}
			return slot, true
		}
	}
	return slot, false
}

func (p *plainText) is(b []byte, how int) bool {
	return p != nil && p.how == how && p.text == string(b)
}

// note remembers that b holds no secret.
func (m *memo) note(slot uint64, b []byte, how int) {
	if len(b) > memoText {
		return
	}
	mark := uint32(slot>>32) | 1
	if m.marks[slot%memoMarks].Swap(mark) != mark {
		return
	}
	if m.texts[slot%memoSlots].Load() != nil && m.texts[(slot+1)%memoSlots].Load() == nil {
		slot++
	}
	if len(b) > memoLong && m.total.Load()+int64(len(b)) > memoTotal {
		return
	}
	added := int64(long(len(b)))
	if old := m.texts[slot%memoSlots].Swap(&plainText{text: string(b), how: how}); old != nil {
		added -= int64(long(len(old.text)))
	}
	m.total.Add(added)
}

// long is the size of a text as far as it counts for memoTotal.
func long(n int) int {
	if n > memoLong {
		return n
	}
	return 0
}

// header is what follows from the name of a header.
func (r *Redactor) header(name string) *headerName {
	at := uint64(len(name))
	if n := len(name); n > 0 {
		at += uint64(name[0])*7 + uint64(name[n/2])*31 + uint64(name[n-1])*61
	}
	for i := range uint64(2) {
		if h := r.memo.names[(at+i)%nameSlots].Load(); h != nil && h.name == name {
			return h
		}
	}
	h := &headerName{name: name, lower: lower(name)}
	if h.kind = r.keyKind(view(h.lower)); r.headers[h.lower] {
		h.kind = "secret"
	}
	h.flags = idFlag(h.lower)
	if len(name) > maxKey {
		return h
	}
	h.name = strings.Clone(name) // it may lie within a whole message
	h.lower = lower(h.name)
	if r.memo.names[at%nameSlots].Load() != nil && r.memo.names[(at+1)%nameSlots].Load() == nil {
		at++
	}
	r.memo.names[at%nameSlots].Store(h)
	return h
}
