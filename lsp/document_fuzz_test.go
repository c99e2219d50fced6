package lsp

import (
	"strings"
	"testing"
	"unicode/utf16"
	"unicode/utf8"
)

// FuzzChanges replays edits on a document and on a plain list of UTF-16 units: both must hold the same text, and every
// position must lead back to where it came from.
func FuzzChanges(f *testing.F) {
	f.Add("a\nb💸c\r\nd", []byte{0, 1, 1, 2, 3}, "x\n💸")
	f.Add("", []byte{9, 9, 9, 9, 9}, "é")
	f.Add("\r\n\r\n💸💸", []byte{1, 0, 2, 1, 0, 0, 0, 1, 4, 1}, "\n")
	f.Fuzz(func(t *testing.T, text string, edits []byte, insert string) {
		if !utf8.ValidString(text) || !utf8.ValidString(insert) || len(text) > 1<<12 || len(insert) > 100 || len(edits) > 100 {
			return
		}
		d := newDocument("", 0, text, false)
		model := utf16.Encode([]rune(text))
		for ; len(edits) >= 5; edits = edits[5:] {
			from, to := Position{int(edits[0] % 8), int(edits[1])}, Position{int(edits[2] % 8), int(edits[3])}
			a, b := unit(model, from), unit(model, to)
			with := insert[:0]
			for i := range int(edits[4] % 3) {
				with += strings.Repeat(insert, i)
			}
			d = d.changed(d.version+1, []ContentChange{{Range: &Range{from, to}, Text: with}})
			after := append([]uint16(nil), model[:a]...)
			after = append(after, utf16.Encode([]rune(with))...)
			model = append(after, model[max(a, b):]...)
			if got, want := d.text, string(utf16.Decode(model)); got != want {
				t.Fatalf("%q, want %q", got, want)
			}
		}
		for i := range d.text {
			if utf8.RuneStart(d.text[i]) && d.offset(d.at(i)) != i && d.text[i] != '\n' {
				t.Fatalf("byte %d of %q is at %v, which is byte %d", i, d.text, d.at(i), d.offset(d.at(i)))
			}
		}
	})
}

// unit is where a position lies in UTF-16 units: the plain reading of the specification, line by line. Within a surrogate
// pair it is the pair's end, as a server may round.
func unit(text []uint16, p Position) int {
	at := 0
	for line := 0; line < p.Line; line++ {
		for at < len(text) && text[at] != '\n' {
			at++
		}
		if at == len(text) {
			return at
		}
		at++
	}
	end := at
	for end < len(text) && text[end] != '\n' {
		end++
	}
	if end < len(text) && end > at && text[end-1] == '\r' {
		end--
	}
	if end == len(text) && end > at && text[end-1] == '\r' {
		end--
	}
	at = min(at+p.Character, end)
	if at > 0 && at < len(text) && utf16.IsSurrogate(rune(text[at])) && text[at] >= 0xdc00 {
		at++
	}
	return at
}
