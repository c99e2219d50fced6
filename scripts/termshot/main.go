// Command termshot draws text files as terminal windows: for each FILE.txt it writes FILE.svg beside it.
//
//	go run ./scripts/termshot docs/images/*.txt
//
// The first line of a file is the window's title. Lines that begin with "$ " are what was typed; marks of verdicts get
// their colours. Lines longer than a window's width go on in the next line.
package main

import (
	"bytes"
	"fmt"
	"html"
	"os"
	"regexp"
	"strings"
	"unicode/utf8"
)

const (
	columns    = 130 // times charWidth must be whole
	charWidth  = 7.8 // pixels, at fontSize
	fontSize   = 13
	lineHeight = 19
	margin     = 18
	titleBar   = 34
)

func main() {
	for _, path := range os.Args[1:] {
		if err := draw(path); err != nil {
			fmt.Fprintln(os.Stderr, "error:", err)
			os.Exit(1)
		}
	}
}

func draw(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	title, body, _ := strings.Cut(strings.TrimRight(string(text), "\n"), "\n")
	return os.WriteFile(strings.TrimSuffix(path, ".txt")+".svg", window(title, wrap(strings.Split(body, "\n"))), 0o644)
}

// line is one line of the window; all lines of one that was too long have its colour.
type line struct{ text, colour string }

func wrap(texts []string) (lines []line) {
	for _, text := range texts {
		c, rest := colour(text), []rune(strings.TrimRight(text, " "))
		for len(rest) > columns {
			at := columns
			for at > columns/2 && rest[at] != ' ' {
				at--
			}
			lines = append(lines, line{string(rest[:at]), c})
			rest = rest[at:]
		}
		lines = append(lines, line{string(rest), c})
	}
	return lines
}

// window is the picture. Its height follows from the lines, its width is the same for all pictures.
func window(title string, lines []line) []byte {
	width, height := int(columns*charWidth)+2*margin, titleBar+len(lines)*lineHeight+margin
	var b bytes.Buffer
	fmt.Fprintf(&b, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\" role=\"img\">\n", width, height, width, height)
	fmt.Fprintf(&b, "<title>%s</title>\n", html.EscapeString(title))
	fmt.Fprintf(&b, "<style>text{font:%dpx ui-monospace,SFMono-Regular,Menlo,Consolas,\"DejaVu Sans Mono\",monospace;fill:#c9d1d9;white-space:pre}"+
		".pass{fill:#56d364}.fail{fill:#ff7b72}.open{fill:#e3b341}.dim{fill:#8b949e}.typed{fill:#fff;font-weight:bold}</style>\n", fontSize)
	fmt.Fprintf(&b, "<rect width=\"%d\" height=\"%d\" rx=\"8\" fill=\"#0d1117\"/>\n", width, height)
	for i, c := range []string{"#ff5f57", "#febc2e", "#28c840"} {
		fmt.Fprintf(&b, "<circle cx=\"%d\" cy=\"17\" r=\"6\" fill=\"%s\"/>\n", margin+6+i*20, c)
	}
	fmt.Fprintf(&b, "<text class=\"dim\" x=\"%d\" y=\"21\" text-anchor=\"middle\">%s</text>\n", width/2, html.EscapeString(title))
	for i, l := range lines {
		for _, r := range runs(l.text) {
			class := l.colour
			if c := word(r.text); c != "" {
				class = c
			}
			fmt.Fprintf(&b, "<text class=\"%s\" x=\"%.1f\" y=\"%d\" textLength=\"%.1f\">%s</text>\n", class, margin+float64(r.column)*charWidth,
				titleBar+(i+1)*lineHeight-5, float64(utf8.RuneCountInString(r.text))*charWidth, html.EscapeString(r.text))
		}
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}

// run is text without wide gaps. Each is placed by itself, so that columns stand where fonts differ.
type run struct {
	text   string
	column int
}

var gap = regexp.MustCompile(`^[✓✗?-] (pass|fail|inconclusive|nodata|error|skipped)|\S+( \S+)*`)

func runs(text string) (all []run) {
	for _, at := range gap.FindAllStringIndex(text, -1) {
		all = append(all, run{text[at[0]:at[1]], utf8.RuneCountInString(text[:at[0]])})
	}
	return all
}

// colour is the class of a line.
func colour(text string) string {
	switch trimmed := strings.TrimSpace(text); {
	case strings.HasPrefix(text, "$ "):
		return "typed"
	case strings.HasPrefix(trimmed, "verdict: pass"):
		return "pass"
	case strings.HasPrefix(trimmed, "verdict: fail"):
		return "fail"
	case strings.HasPrefix(trimmed, "verdict:"):
		return "open"
	case strings.HasPrefix(trimmed, "ledger:"), strings.HasPrefix(trimmed, "#"), trimmed == "…", strings.HasPrefix(trimmed, "devloop explain"):
		return "dim"
	}
	return ""
}

// word is the class of a run that differs from its line's.
func word(text string) string {
	switch {
	case strings.HasPrefix(text, "✓"):
		return "pass"
	case strings.HasPrefix(text, "✗"):
		return "fail"
	case strings.HasPrefix(text, "? "):
		return "open"
	case strings.HasPrefix(text, "devloop explain"), strings.HasPrefix(text, "n="):
		return "dim"
	}
	return ""
}
