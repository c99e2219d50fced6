package screen

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"unicode/utf8"

	"golang.org/x/term"
)

// Block is the lines at the bottom. Everything else that is written to the terminal has to go through it, as an io.Writer, or the
// terminal's idea of where the block begins is wrong.
type Block struct {
	w    io.Writer
	size func() (columns, rows int)

	mu     sync.Mutex
	lines  []string
	widths []int  // of the lines as they were drawn
	rest   []byte // of a line that has not ended
	closed bool
}

// Terminal reports whether a file is a terminal that lines can be rewritten on.
func Terminal(f *os.File) bool {
	return term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb"
}

// On makes a block on a terminal.
func On(f *os.File) *Block {
	return New(f, func() (int, int) {
		columns, rows, err := term.GetSize(int(f.Fd()))
		if err != nil || columns <= 0 || rows <= 0 {
			return 80, 24
		}
		return columns, rows
	})
}

// New makes a block on a writer that understands what a terminal does; size is asked before each drawing.
func New(w io.Writer, size func() (columns, rows int)) *Block { return &Block{w: w, size: size} }

// Draw replaces the lines. They may have colours (SGR sequences) and are cut to the terminal's width, their number to its height.
func (b *Block) Draw(lines []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return
	}
	var out bytes.Buffer
	b.erase(&out)
	b.lines = lines
	b.draw(&out)
	_, _ = b.w.Write(out.Bytes()) // a terminal that went away ends the program by other means
}

// Write writes whole lines above the block; what has no end yet waits for it.
func (b *Block) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return b.w.Write(p)
	}
	b.rest = append(b.rest, p...)
	end := bytes.LastIndexByte(b.rest, '\n') + 1
	if end == 0 {
		return len(p), nil
	}
	var out bytes.Buffer
	b.erase(&out)
	out.Write(b.rest[:end])
	b.rest = append([]byte(nil), b.rest[end:]...)
	b.draw(&out)
	if _, err := b.w.Write(out.Bytes()); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Close takes the block away and shows the cursor again. What is written afterwards goes to the terminal as it is.
func (b *Block) Close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return
	}
	b.closed = true
	var out bytes.Buffer
	b.erase(&out)
	out.Write(b.rest)
	out.WriteString("\x1b[?25h")
	_, _ = b.w.Write(out.Bytes())
}

// erase goes back to where the block began and clears from there. A terminal that has become narrower since shows its lines as several.
func (b *Block) erase(out *bytes.Buffer) {
	columns, _ := b.size()
	up := 0
	for _, width := range b.widths {
		up += max(1, (width+columns-1)/max(1, columns))
	}
	b.widths = nil
	if up == 0 {
		return
	}
	fmt.Fprintf(out, "\r\x1b[%dA\x1b[J", up)
}

func (b *Block) draw(out *bytes.Buffer) {
	columns, rows := b.size()
	lines := b.lines[:min(len(b.lines), max(0, rows-1))]
	if len(lines) == 0 {
		return
	}
	out.WriteString("\x1b[?25l\x1b[?7l") // no cursor, and no wrapping where a character is wider than we think
	for _, line := range lines {
		cut, width := Cut(line, columns)
		b.widths = append(b.widths, width)
		out.WriteString(cut)
		out.WriteString("\x1b[K\r\n")
	}
	out.WriteString("\x1b[?7h")
}

// Cut takes as much of a line as a width has room for, colours not counted, and returns how wide it is. Colours end with it.
func Cut(line string, columns int) (string, int) {
	var out strings.Builder
	width, coloured := 0, false
	for i := 0; i < len(line); {
		if line[i] == '\x1b' {
			end := i + 1
			for end < len(line) && (line[end] < '@' || line[end] == '[') {
				end++
			}
			end = min(end+1, len(line))
			out.WriteString(line[i:end])
			coloured, i = !strings.HasSuffix(line[i:end], "[0m"), end
			continue
		}
		_, n := utf8.DecodeRuneInString(line[i:])
		if width == columns-1 && utf8.RuneCountInString(plain(line[i:])) > 1 {
			out.WriteString("…")
			width++
			break
		}
		if width >= columns {
			break
		}
		out.WriteString(line[i : i+n])
		width, i = width+1, i+n
	}
	if coloured {
		out.WriteString("\x1b[0m")
	}
	return out.String(), width
}

// plain is a text without its sequences.
func plain(text string) string {
	for {
		at := strings.IndexByte(text, '\x1b')
		if at < 0 {
			return text
		}
		end := at + 1
		for end < len(text) && (text[end] < '@' || text[end] == '[') {
			end++
		}
		text = text[:at] + text[min(end+1, len(text)):]
	}
}
