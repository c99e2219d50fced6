package redact

import (
	"encoding/binary"
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
	near  [memoNear][2]atomic.Pointer[plainText] // long ones, by a sample of their bytes; the later one first
	total atomic.Int64                           // bytes of the long ones
}

const (
	memoSlots  = 2048
	memoMarks  = 16384
	memoNear   = 1024
	memoSample = 128 // shorter texts are hashed as fast as sampled
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

// plain is the value that was noted and says the same as a short one, which has two bytes at least; nil where there is none. Most headers have the
// same few values all the time.
func (h *headerName) plain(v string) (known *string, slot int) {
	slot = (len(v) + int(v[0]) + int(v[len(v)-1])) % nameValues
	if p := h.values[slot].Load(); p != nil && *p == v {
		return p, slot
	}
	return nil, slot
}

// note remembers that a value, which has eight bytes at least, holds no secret, when it comes for the second time.
func (h *headerName) note(slot int, v string) {
	mark := uint32(len(v)) ^ uint32(binary.LittleEndian.Uint64(view(v[len(v)-8:]))*0x9e3779b97f4a7c15>>32)
	if h.marks[slot].Load() != mark {
		h.marks[slot].Store(mark)
		return
	}
	v = strings.Clone(v)
	h.values[slot].Store(&v)
}

func newMemo() *memo { return &memo{seed: maphash.MakeSeed()} }

// known is the text that says the same as b and, read in this way, holds no secret; nil where none is known. Then slot is where to note b
// when it turns out to hold none.
func (m *memo) known(b []byte, how int) (p *plainText, slot uint64) {
	if len(b) > memoText {
		return nil, 0
	}
	var near *[2]atomic.Pointer[plainText]
	if len(b) >= memoSample { // most are told apart by a few bytes: hashing all of them takes as long as comparing
		near = &m.near[sample(b)%memoNear]
		for i := range near {
			if p := near[i].Load(); p.is(b, how) {
				return p, 0
			}
		}
	}
	slot = maphash.Bytes(m.seed, b) + uint64(how)
	for i := range uint64(2) {
		if p := m.texts[(slot+i)%memoSlots].Load(); p.is(b, how) {
			if near != nil {
				near[1].Store(near[0].Load())
				near[0].Store(p)
			}
			return p, slot
		}
	}
	return nil, slot
}

// keeps reports whether b is a text that was given away as known. It may have been forgotten since.
func (m *memo) keeps(b []byte) bool {
	if len(b) < memoSample || len(b) > memoText {
		return false
	}
	near := &m.near[sample(b)%memoNear]
	for i := range near {
		if p := near[i].Load(); p != nil && len(p.text) == len(b) && unsafe.StringData(p.text) == &b[0] {
			return true
		}
	}
	return false
}

// sample is a number made of the length of a text and of 72 of its bytes, which has as many at least.
func sample(b []byte) uint64 {
	const prime = 0x9e3779b97f4a7c15
	h, step := uint64(len(b)), (len(b)-8)/8
	for at := 0; at <= 8*step; at += step {
		h = (h ^ binary.LittleEndian.Uint64(b[at:])) * prime
		h ^= h >> 29
	}
	return h >> 32
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
		m.forget(old)
	}
	m.total.Add(added)
}

// forget lets go of a text that another one pushed out.
func (m *memo) forget(old *plainText) {
	if len(old.text) < memoSample {
		return
	}
	near := &m.near[sample(view(old.text))%memoNear]
	for i := range near {
		near[i].CompareAndSwap(old, nil)
	}
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
