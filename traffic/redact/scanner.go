package redact

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"io"
	"strconv"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"
)

// scanner looks for secrets in the bytes of one direction as they come, block by block.
type scanner struct {
	buf   []byte
	at    int64 // offset of buf[0]
	block int   // scan when buf is this long; 0 is scanBlock
	carry bool  // a secret ran into a gap: what follows the gap up to a delimiter belongs to it
	blind bool  // in an encoded body that is too large to decode: everything is masked until the next message
	pg    postgres
}

// maxBody bounds the encoded body that is held to be decoded whole.
const maxBody = 8 << 20

func (s *scanner) write(r *Redactor, data []byte, d *direction) {
	s.pg.write(data, s.at+int64(len(s.buf)), d)
	s.buf = append(s.buf, data...)
	if len(s.buf) < max(s.block, scanBlock) {
		return
	}
	_, unfinished := s.scan(r, d, false)
	keep := min(overlap, len(s.buf))
	s.block = scanBlock
	if unfinished >= 0 {
		if rest := len(s.buf) - unfinished; rest < maxBody {
			keep = max(keep, rest)
			s.block = 2 * keep
		} else {
			d.ranges = append(d.ranges, rng{s.at + int64(bodyStart(s.buf, unfinished)), s.at + int64(len(s.buf))})
			s.blind, keep = true, 0
		}
	}
	s.at += int64(len(s.buf) - keep)
	s.buf = append(s.buf[:0], s.buf[len(s.buf)-keep:]...)
}

// bodyStart is where the body of the message at head begins.
func bodyStart(b []byte, head int) int {
	if n := bytes.Index(b[head:], []byte("\r\n\r\n")); n >= 0 {
		return head + n + 4
	}
	return len(b)
}

// gap ends the contiguous bytes; the next ones stand at offset next.
func (s *scanner) gap(r *Redactor, d *direction, next int64) {
	s.pg.gap(next, d)
	open, _ := s.scan(r, d, true)
	s.buf, s.at = s.buf[:0], next
	s.carry = open
}

func (s *scanner) end(r *Redactor, d *direction) {
	s.pg.flush(d)
	s.scan(r, d, true)
	s.at += int64(len(s.buf))
	s.buf = s.buf[:0]
}

// scan adds the ranges of what is buffered. It reports whether the last one reaches the buffer's end, and where the
// message begins whose encoded body is not there whole (-1 for none); final says that no more comes.
func (s *scanner) scan(r *Redactor, d *direction, final bool) (open bool, unfinished int) {
	b := s.buf
	if len(b) == 0 {
		return false, -1
	}
	if s.blind {
		head := nextHead(b, 0)
		if head < 0 {
			head = len(b)
		}
		d.ranges = append(d.ranges, rng{s.at, s.at + int64(head)})
		s.blind = head == len(b)
	}
	if s.carry {
		n := 0
		for n < len(b) && n < 4096 && !endsBare(b[n]) {
			n++
		}
		d.ranges = append(d.ranges, rng{s.at, s.at + int64(n)})
		s.carry = false
	}
	if b[0] >= 0x14 && b[0] <= 0x17 && len(b) > 2 && b[1] == 3 && b[2] <= 4 {
		return false, -1 // TLS
	}
	for _, p := range r.find(nil, b, 0) {
		d.ranges = append(d.ranges, rng{s.at + int64(p.from), s.at + int64(p.to)})
		open = open || p.to == len(b)
	}
	hidden, unfinished := r.messages(b, final)
	for _, p := range hidden {
		d.ranges = append(d.ranges, rng{s.at + p.from, s.at + p.to})
	}
	return open, unfinished
}

// messages finds secrets that the plain bytes of HTTP/1 messages hide: split by chunk headers, or compressed. A
// compressed body with a secret is masked whole, since no single byte of it can be blamed; so is one that cannot be
// read, because it may hide one.
func (r *Redactor) messages(b []byte, final bool) (out []rng, unfinished int) {
	for at := 0; at < len(b); {
		head := nextHead(b, at)
		if head < 0 {
			return out, -1
		}
		end := bytes.Index(b[head:], []byte("\r\n\r\n"))
		if end < 0 {
			return out, -1
		}
		h := b[head : head+end+2]
		body := head + end + 4
		at = body
		coding := headerField(h, "content-encoding")
		form := bytes.Contains(headerField(h, "content-type"), []byte("x-www-form-urlencoded"))
		chunked := bytes.Contains(headerField(h, "transfer-encoding"), []byte("chunked"))
		if len(coding) == 0 && !chunked && !form || isHead(b[body:]) {
			continue
		}
		parts, next, whole := bodyParts(b, body, chunked, headerField(h, "content-length"))
		if !whole && !final {
			return out, head
		}
		at = max(next, body)
		out = append(out, r.hidden(b, parts, string(coding), form)...)
	}
	return out, -1
}

// hidden finds the secrets of one body that lies in parts of b.
func (r *Redactor) hidden(b []byte, parts []rng, coding string, form bool) []rng {
	var raw []byte
	for _, p := range parts {
		raw = append(raw, b[p.from:p.to]...)
	}
	if len(raw) == 0 {
		return nil
	}
	text := raw
	if coding != "" && coding != "identity" {
		var ok bool
		text, ok = decode(raw, coding)
		if !ok && len(text) == 0 {
			return parts
		}
		if found := r.bodySpans(text, form); len(found) > 0 || !ok {
			return parts
		}
		return nil
	}
	var out []rng
	for _, s := range r.bodySpans(text, form) {
		skip := int64(0) // bytes of text in the parts before
		for _, p := range parts {
			n := p.to - p.from
			from, to := max(0, int64(s.from)-skip), min(n, int64(s.to)-skip)
			if from < to {
				out = append(out, rng{p.from + from, p.from + to})
			}
			skip += n
		}
	}
	return out
}

func (r *Redactor) bodySpans(text []byte, form bool) []span {
	if form {
		return r.form(nil, text)
	}
	return r.find(nil, text, 0)
}

// maxDecoded bounds what a compressed body may grow to.
const maxDecoded = 8 << 20

// decode undoes a Content-Encoding; false when the body is cut, broken, too large or of a coding that we do not know.
func decode(raw []byte, coding string) ([]byte, bool) {
	var in io.Reader = bytes.NewReader(raw)
	switch coding {
	case "gzip", "x-gzip":
		z, err := gzip.NewReader(in)
		if err != nil {
			return nil, false
		}
		in = z
	case "deflate":
		if z, err := zlib.NewReader(bytes.NewReader(raw)); err == nil {
			in = z
		} else {
			in = flate.NewReader(in)
		}
	case "br":
		in = brotli.NewReader(in)
	case "zstd":
		z, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxDecoded))
		if err != nil {
			return nil, false
		}
		defer z.Close()
		in = z
	default:
		return nil, false
	}
	text, err := io.ReadAll(io.LimitReader(in, maxDecoded))
	return text, err == nil && len(text) < maxDecoded
}

// nextHead is where the next HTTP/1 message begins at or after at, -1 when none does.
func nextHead(b []byte, at int) int {
	for at < len(b) {
		v := bytes.Index(b[at:], []byte("HTTP/1."))
		if v < 0 {
			return -1
		}
		v += at
		line := bytes.LastIndexByte(b[at:v], '\n') + at + 1
		if bytes.IndexByte(b[at:v], '\n') < 0 {
			line = at
		}
		if line == v || v > line && b[v-1] == ' ' {
			return line
		}
		at = v + 7
	}
	return -1
}

func isHead(b []byte) bool { return bytes.HasPrefix(b, []byte("HTTP/1.")) }

// headerField is the value of a header in lower case, nil without it.
func headerField(head []byte, name string) []byte {
	for len(head) > 0 {
		line := head
		if n := bytes.IndexByte(head, '\n'); n >= 0 {
			line, head = head[:n], head[n+1:]
		} else {
			head = nil
		}
		if len(line) > len(name) && line[len(name)] == ':' && lower(string(line[:len(name)])) == name {
			return bytes.ToLower(bytes.TrimSpace(line[len(name)+1:]))
		}
	}
	return nil
}

// bodyParts are the ranges of b that carry a body's bytes, where the next message may begin, and whether the body is
// there to its end.
func bodyParts(b []byte, at int, chunked bool, length []byte) (parts []rng, next int, whole bool) {
	if !chunked {
		n, err := strconv.ParseUint(string(length), 10, 40)
		if err != nil || at+int(n) > len(b) {
			return []rng{{int64(at), int64(len(b))}}, len(b), false
		}
		return []rng{{int64(at), int64(at) + int64(n)}}, at + int(n), true
	}
	for at < len(b) {
		line := bytes.Index(b[at:min(len(b), at+256)], []byte("\r\n"))
		if line < 0 {
			return parts, at, len(b)-at >= 256
		}
		digits := b[at : at+line]
		if n := bytes.IndexAny(digits, "; \t"); n >= 0 {
			digits = digits[:n]
		}
		size, err := strconv.ParseUint(string(digits), 16, 31)
		if err != nil {
			return parts, at, true // no chunk: whatever it is, waiting does not mend it
		}
		at += line + 2
		if size == 0 {
			return parts, at, true
		}
		end := min(len(b), at+int(size))
		parts = append(parts, rng{int64(at), int64(end)})
		at = min(len(b), end+2)
	}
	return parts, at, false
}
