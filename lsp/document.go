package lsp

import (
	"net/url"
	"runtime"
	"strings"
	"sync"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/devloop-io/devloop/lsp/routes"
)

// maxDocument bounds the text of a document; larger ones get one diagnostic and nothing else.
const maxDocument = 4 << 20

// document is an open file as the editor has it. It is never changed: an edit makes another one.
type document struct {
	uri     string
	path    string // of the file; "" where the URI names none
	version int
	text    string
	lines   []int // offsets of the lines' first bytes
	bytes   bool  // columns are UTF-8 bytes

	scan   sync.Once
	routes []routes.Route // of a source file, once somebody asked
	calls  []routes.Call  // that it makes, likewise
}

func newDocument(uri string, version int, text string, bytes bool) *document {
	d := &document{uri: uri, path: pathOf(uri), version: version, text: text, bytes: bytes, lines: []int{0}}
	for i := 0; i < len(text); i++ {
		if text[i] == '\n' {
			d.lines = append(d.lines, i+1)
		}
	}
	return d
}

// changed is the document after the editor's changes.
func (d *document) changed(version int, changes []ContentChange) *document {
	for _, c := range changes {
		text := c.Text
		if c.Range != nil {
			from, to := d.offset(c.Range.Start), d.offset(c.Range.End)
			text = d.text[:from] + c.Text + d.text[max(from, to):]
		}
		d = newDocument(d.uri, version, text, d.bytes)
	}
	return d
}

// line is the text of a line without its end; "" for one that there is not.
func (d *document) line(n int) string {
	if n < 0 || n >= len(d.lines) {
		return ""
	}
	end := len(d.text)
	if n+1 < len(d.lines) {
		end = d.lines[n+1] - 1
	}
	return strings.TrimSuffix(d.text[d.lines[n]:end], "\r")
}

// offset is the byte at which a position lies. One beyond a line's end is its end, one beyond the last line the text's.
func (d *document) offset(p Position) int {
	if p.Line < 0 {
		return 0
	}
	if p.Line >= len(d.lines) {
		return len(d.text)
	}
	return d.lines[p.Line] + d.byteColumn(d.line(p.Line), p.Character)
}

// byteColumn turns an editor's column into bytes.
func (d *document) byteColumn(line string, column int) int {
	if d.bytes {
		return max(0, min(column, len(line)))
	}
	units := 0
	for i, r := range line {
		if units >= column {
			return i
		}
		units += utf16.RuneLen(r)
	}
	return len(line)
}

// position is where the byte of a line lies, in the editor's columns.
func (d *document) position(line, column int) Position {
	text := d.line(line)
	column = max(0, min(column, len(text)))
	if d.bytes {
		return Position{line, column}
	}
	units := 0
	for _, r := range text[:column] {
		units += utf16.RuneLen(r)
	}
	return Position{line, units}
}

// at is where an offset lies.
func (d *document) at(offset int) Position {
	line := 0
	for lo, hi := 0, len(d.lines); lo < hi; {
		mid := (lo + hi) / 2
		if d.lines[mid] <= offset {
			line, lo = mid, mid+1
		} else {
			hi = mid
		}
	}
	return d.position(line, offset-d.lines[line])
}

// span is a range of one line, by bytes.
func (d *document) span(line, from, to int) Range {
	return Range{d.position(line, from), d.position(line, to)}
}

// runes turns a column in characters, from 1, as our errors count, into bytes.
func runes(line string, column int) int {
	offset := 0
	for range column - 1 {
		if offset >= len(line) {
			break
		}
		_, n := utf8.DecodeRuneInString(line[offset:])
		offset += n
	}
	return offset
}

// pathOf is the file that a URI names, "" for none.
func pathOf(uri string) string { return pathOn(runtime.GOOS, uri) }

// pathOn is pathOf on a system. On Windows a path begins with a drive or, from a URI with a host, with a share; a drive's letter is in
// lower case, because editors write either.
func pathOn(system, uri string) string {
	u, err := url.Parse(uri)
	if err != nil || u.Scheme != "file" {
		return ""
	}
	if system != "windows" {
		return u.Path
	}
	p := strings.TrimPrefix(u.Path, "/")
	switch {
	case u.Host != "":
		p = "//" + u.Host + u.Path
	case len(p) > 1 && p[1] == ':':
		p = strings.ToLower(p[:1]) + p[1:]
	}
	return strings.ReplaceAll(p, "/", `\`)
}

// uriOf is the URI of a file.
func uriOf(path string) string { return uriOn(runtime.GOOS, path) }

func uriOn(system, path string) string {
	if system == "windows" {
		path = strings.ReplaceAll(path, `\`, "/")
	}
	host := ""
	if share, ok := strings.CutPrefix(path, "//"); ok {
		host, path, _ = strings.Cut(share, "/")
	}
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	return (&url.URL{Scheme: "file", Host: host, Path: path}).String()
}

// sameFile is the one form of a URI: editors encode more characters than they must, each others.
func sameFile(uri string) string {
	if path := pathOf(uri); path != "" {
		return uriOf(path)
	}
	return uri
}
