package http2

import "errors"

// unknown stands for a name or value whose table entry was not seen.
const unknown = "(unknown)"

// Limits of what a peer can make this end remember.
const (
	defaultTable = 4096
	maxTable     = 64 << 10 // of a dynamic table, as RFC 7541 section 4.1 counts
	maxList      = 256 << 10
	maxHeaders   = 1000
)

var (
	errShort = errors.New("header block ends in the middle of a field")
	errIndex = errors.New("header block refers to an entry that does not exist")
	errLimit = errors.New("header list is too long")
)

// field is one header field.
type field struct{ Name, Value string }

// table is one direction's compression state. Exported for checkpoints.
type table struct {
	Entries []field // oldest first
	Size    int
	Max     int  // 0 is the default: gob does not tell them apart, and a table of no size is NoRoom
	NoRoom  bool // its size was set to 0
	Lost    bool // older entries exist that are not here
}

func (t *table) limit() int {
	switch {
	case t.NoRoom:
		return 0
	case t.Max == 0:
		return defaultTable
	}
	return t.Max
}

// lose forgets the entries: bytes are missing that may have added some.
func (t *table) lose() { t.Entries, t.Size, t.Lost = nil, 0, true }

func (t *table) resize(n int) {
	if n > maxTable { // the peer remembers more than we do
		n, t.Lost = maxTable, true
	}
	t.Max, t.NoRoom = n, n == 0
	t.evict(n)
}

func (t *table) evict(limit int) {
	n := 0
	for t.Size > limit && n < len(t.Entries) {
		t.Size -= sizeOf(t.Entries[n])
		t.Entries[n] = field{}
		n++
	}
	t.Entries = t.Entries[n:]
}

func sizeOf(f field) int { return len(f.Name) + len(f.Value) + 32 }

func (t *table) add(f field) {
	limit, n := t.limit(), sizeOf(f)
	if n > limit {
		t.Entries, t.Size = nil, 0
		return
	}
	t.evict(limit - n)
	t.Entries = append(t.Entries, f)
	t.Size += n
}

// at is the entry of an index (RFC 7541 section 2.3.3).
func (t *table) at(i uint64) (field, bool) {
	switch {
	case i == 0:
		return field{}, false
	case i < uint64(len(static)):
		return static[i], true
	}
	i -= uint64(len(static))
	if i < uint64(len(t.Entries)) {
		return t.Entries[len(t.Entries)-1-int(i)], true
	}
	if t.Lost && i < maxTable {
		return field{unknown, unknown}, true
	}
	return field{}, false
}

// decode reads a header block (RFC 7541 section 6) and appends its fields. It says how many of them are not known. After
// an error the table cannot be relied upon any more.
func (t *table) decode(b []byte, out []field) (fields []field, missing int, err error) {
	size := 0
	for len(b) > 0 {
		var f field
		var i uint64
		c := b[0]
		switch {
		case c&0x80 != 0: // indexed
			if i, b, err = integer(b, 7); err != nil {
				return out, missing, err
			}
			var ok bool
			if f, ok = t.at(i); !ok {
				return out, missing, errIndex
			}
		case c&0xe0 == 0x20: // table size
			if i, b, err = integer(b, 5); err != nil {
				return out, missing, err
			}
			t.resize(int(min(i, 1<<30)))
			continue
		default: // literal: kept in the table, or not
			bits := 4
			if c&0x40 != 0 {
				bits = 6
			}
			if i, b, err = integer(b, bits); err != nil {
				return out, missing, err
			}
			if i == 0 {
				if f.Name, b, err = text(b); err != nil {
					return out, missing, err
				}
			} else {
				named, ok := t.at(i)
				if !ok {
					return out, missing, errIndex
				}
				f.Name = named.Name
			}
			if f.Value, b, err = text(b); err != nil {
				return out, missing, err
			}
			if c&0x40 != 0 {
				t.add(f)
			}
		}
		if f.Name == unknown {
			missing++
		}
		if size += sizeOf(f); size > maxList || len(out) >= maxHeaders {
			err = errLimit
			continue // the table must stay right
		}
		out = append(out, f)
	}
	return out, missing, err
}

// integer reads a number with a prefix of so many bits (RFC 7541 section 5.1).
func integer(b []byte, bits int) (uint64, []byte, error) {
	mask := byte(1<<bits - 1)
	n := uint64(b[0] & mask)
	b = b[1:]
	if n < uint64(mask) {
		return n, b, nil
	}
	for shift := 0; shift <= 28; shift += 7 {
		if len(b) == 0 {
			return 0, nil, errShort
		}
		c := b[0]
		b = b[1:]
		n += uint64(c&0x7f) << shift
		if c&0x80 == 0 {
			return n, b, nil
		}
	}
	return 0, nil, errIndex
}

// text reads a string literal (RFC 7541 section 5.2).
func text(b []byte) (string, []byte, error) {
	if len(b) == 0 {
		return "", nil, errShort
	}
	packed := b[0]&0x80 != 0
	n, b, err := integer(b, 7)
	if err != nil {
		return "", nil, err
	}
	if n > uint64(len(b)) {
		return "", nil, errShort
	}
	raw, rest := b[:n], b[n:]
	if !packed {
		return string(raw), rest, nil
	}
	s, err := huffman(raw)
	return s, rest, err
}

// static is the table of RFC 7541 appendix A, from 1.
var static = [62]field{1: {":authority", ""}, {":method", "GET"}, {":method", "POST"}, {":path", "/"}, {":path", "/index.html"}, {":scheme", "http"},
	{":scheme", "https"}, {":status", "200"}, {":status", "204"}, {":status", "206"}, {":status", "304"}, {":status", "400"}, {":status", "404"},
	{":status", "500"}, {"accept-charset", ""}, {"accept-encoding", "gzip, deflate"}, {"accept-language", ""}, {"accept-ranges", ""}, {"accept", ""},
	{"access-control-allow-origin", ""}, {"age", ""}, {"allow", ""}, {"authorization", ""}, {"cache-control", ""}, {"content-disposition", ""},
	{"content-encoding", ""}, {"content-language", ""}, {"content-length", ""}, {"content-location", ""}, {"content-range", ""}, {"content-type", ""},
	{"cookie", ""}, {"date", ""}, {"etag", ""}, {"expect", ""}, {"expires", ""}, {"from", ""}, {"host", ""}, {"if-match", ""},
	{"if-modified-since", ""}, {"if-none-match", ""}, {"if-range", ""}, {"if-unmodified-since", ""}, {"last-modified", ""}, {"link", ""},
	{"location", ""}, {"max-forwards", ""}, {"proxy-authenticate", ""}, {"proxy-authorization", ""}, {"range", ""}, {"referer", ""}, {"refresh", ""},
	{"retry-after", ""}, {"server", ""}, {"set-cookie", ""}, {"strict-transport-security", ""}, {"transfer-encoding", ""}, {"user-agent", ""},
	{"vary", ""}, {"via", ""}, {"www-authenticate", ""}}
