package columns

import "bytes"

// sampled is how much of a page is looked at to know what is rare in it.
const sampled = 2 << 10

// holds is bytes.Contains for pages, most of which do not hold a text. It stops at the byte of the text that is rarest in the page's
// beginning; bytes.Index stops at the first one, which may be frequent.
func holds(b, text []byte) bool {
	var seen [256]uint16
	for _, c := range b[:min(len(b), sampled)] {
		seen[c]++
	}
	rare := 0
	for i, c := range text {
		if seen[c] < seen[text[rare]] {
			rare = i
		}
	}
	if len(text) < 2 || int(seen[text[rare]]) > sampled/16 {
		return bytes.Contains(b, text)
	}
	c, before, after := text[rare], text[:rare], text[rare+1:]
	for at := rare; at < len(b)-len(after); {
		i := bytes.IndexByte(b[at:len(b)-len(after)], c)
		if i < 0 {
			return false
		}
		at += i
		if bytes.HasPrefix(b[at+1:], after) && bytes.HasSuffix(b[:at], before) {
			return true
		}
		at++
	}
	return false
}
