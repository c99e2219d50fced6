package screen

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
)

// tty is a terminal's screen, as far as the block's sequences go.
type tty struct {
	columns int
	rows    []string // what scrolled away included
	at, x   int
	hidden  bool
	wrap    bool
}

func (t *tty) Write(p []byte) (int, error) {
	for i := 0; i < len(p); i++ {
		switch c := p[i]; c {
		case '\r':
			t.x = 0
		case '\n':
			t.at, t.x = t.at+1, 0
		case '\x1b':
			end := i + 2
			for p[end] < '@' {
				end++
			}
			t.sequence(string(p[i+2 : end+1]))
			i = end
		default:
			if t.x >= t.columns {
				if !t.wrap {
					continue
				}
				t.at, t.x = t.at+1, 0
			}
			for len(t.rows) <= t.at {
				t.rows = append(t.rows, "")
			}
			row := fmt.Sprintf("%-*s", t.x, t.rows[t.at])
			t.rows[t.at] = row[:t.x] + string(c) + row[min(len(row), t.x+1):]
			t.x++
		}
	}
	return len(p), nil
}

func (t *tty) sequence(s string) {
	switch n, _ := strconv.Atoi(s[:len(s)-1]); {
	case s == "?25l", s == "?25h":
		t.hidden = s == "?25l"
	case s == "?7l", s == "?7h":
		t.wrap = s == "?7h"
	case s[len(s)-1] == 'A':
		t.at = max(0, t.at-n)
	case s == "J":
		t.rows = t.rows[:min(len(t.rows), t.at)]
	case s == "K":
		for len(t.rows) <= t.at {
			t.rows = append(t.rows, "")
		}
		t.rows[t.at] = t.rows[t.at][:min(len(t.rows[t.at]), t.x)]
	}
}

// narrower is what terminals do when they become so: lines that are too long go on in the next.
func (t *tty) narrower(columns int) {
	var rows []string
	for _, r := range t.rows {
		for len(r) > columns {
			rows, r = append(rows, r[:columns]), r[columns:]
		}
		rows = append(rows, r)
	}
	t.columns, t.rows, t.at = columns, rows, len(rows)
}

func (t *tty) shows(test *testing.T, want string) {
	test.Helper()
	if got := strings.Join(t.rows, "\n"); got != want {
		test.Errorf("the terminal shows\n%s\nwant\n%s", got, want)
	}
}

func TestBlock(t *testing.T) {
	screen := &tty{columns: 20, wrap: true}
	rows := 10
	b := New(screen, func() (int, int) { return screen.columns, rows })
	b.Draw([]string{"one", "two"})
	screen.shows(t, "one\ntwo")
	fmt.Fprint(b, "above\nhalf")
	screen.shows(t, "above\none\ntwo")
	fmt.Fprint(b, " a line\n")
	b.Draw([]string{"three"})
	screen.shows(t, "above\nhalf a line\nthree")
	if !screen.hidden {
		t.Error("the cursor is shown within the block")
	}
	b.Draw([]string{strings.Repeat("x", 19), "a line of twenty ch."})
	screen.narrower(8)
	b.Draw([]string{"12345678", "123456789"})
	if got := screen.rows[len(screen.rows)-2:]; got[0] != "12345678" || !strings.HasPrefix(got[1], "1234567") || len(screen.rows) != 5 {
		t.Errorf("narrower: %q", screen.rows)
	}
	rows = 2
	b.Draw([]string{"a", "b", "c"})
	if got := screen.rows[len(screen.rows)-1]; got != "a" {
		t.Errorf("a terminal of two rows: %q", screen.rows)
	}
	b.Close()
	if last := screen.rows[len(screen.rows)-1]; screen.hidden || !screen.wrap || last == "a" {
		t.Errorf("after Close: %q, cursor hidden %t, wraps %t", screen.rows, screen.hidden, screen.wrap)
	}
	fmt.Fprint(b, "bye")
	b.Draw([]string{"late"})
	if last := screen.rows[len(screen.rows)-1]; last != "bye" {
		t.Errorf("after Close: %q", screen.rows)
	}
}

func TestCut(t *testing.T) {
	for _, c := range []struct {
		line    string
		columns int
		want    string
		width   int
	}{
		{"abc", 3, "abc", 3},
		{"abcd", 3, "ab…", 3},
		{"größer", 4, "grö…", 4},
		{"\x1b[31mred\x1b[0m end", 5, "\x1b[31mred\x1b[0m …", 5},
		{"\x1b[31mredder", 4, "\x1b[31mred…\x1b[0m", 4},
		{"\x1b[31mred\x1b[0m", 3, "\x1b[31mred\x1b[0m", 3},
		{"", 3, "", 0},
		{"ab", 1, "…", 1},
		{"cut\x1b[3", 10, "cut\x1b[3\x1b[0m", 3},
	} {
		if got, width := Cut(c.line, c.columns); got != c.want || width != c.width {
			t.Errorf("Cut(%q, %d) = %q, %d; want %q, %d", c.line, c.columns, got, width, c.want, c.width)
		}
	}
}
