package http2

import "golang.org/x/net/http2/hpack"

// quickBits is how many bits of Huffman codes (RFC 7541 appendix B) are looked up at once: those of two letters or digits, mostly, and one of
// nearly all else that header fields hold. What has longer ones goes to the library, which takes twice as long.
const quickBits = 12

// quickCode is what some bits begin with.
type quickCode struct {
	text        [2]uint8
	first, both uint8 // bits of the first code, 0 if it is longer than these; of both of them, first if only one is there
}

var quick = quickCodes()

func quickCodes() *[1 << quickBits]quickCode {
	var table [1 << quickBits]quickCode
	for c := range 256 {
		eight := make([]byte, 8)
		for i := range eight {
			eight[i] = byte(c)
		}
		n := int(hpack.HuffmanEncodeLength(string(eight))) // eight codes are as many bytes as one has bits
		if n > quickBits {
			continue
		}
		code := hpack.AppendHuffmanString(nil, string(eight)) // two bytes at least
		first := (int(code[0])<<8 | int(code[1])) >> (16 - n) << (quickBits - n)
		for i := range 1 << (quickBits - n) {
			table[first+i] = quickCode{text: [2]uint8{byte(c)}, first: uint8(n), both: uint8(n)}
		}
	}
	alone := table
	for i := range table {
		q := &table[i]
		if q.first == 0 {
			continue
		}
		next := &alone[i<<q.first&(1<<quickBits-1)]
		if next.first > 0 && q.first+next.first <= quickBits {
			q.text[1], q.both = next.text[0], q.first+next.first
		}
	}
	return &table
}

// huffman decodes a string literal.
func huffman(b []byte) (string, error) {
	var room [160]byte
	if len(b) > 90 { // a code has five bits at least
		return hpack.HuffmanDecodeToString(b)
	}
	n, bits, left := 0, uint64(0), uint(0)
	for _, c := range b {
		bits, left = bits<<8|uint64(c), left+8
		for left >= quickBits {
			q := &quick[bits>>(left-quickBits)&(1<<quickBits-1)]
			if q.first == 0 {
				return hpack.HuffmanDecodeToString(b)
			}
			room[n], room[n+1] = q.text[0], q.text[1]
			n++
			if q.both > q.first {
				n++
			}
			left -= uint(q.both)
		}
	}
	for left > 0 {
		// Ones fill the last byte: they are the beginning of no short code.
		q := &quick[(bits<<(quickBits-left)|(1<<(quickBits-left)-1))&(1<<quickBits-1)]
		if q.first == 0 || uint(q.first) > left {
			break
		}
		room[n] = q.text[0]
		n++
		left -= uint(q.first)
	}
	if mask := uint64(1)<<left - 1; left > 7 || bits&mask != mask {
		return hpack.HuffmanDecodeToString(b)
	}
	return string(room[:n]), nil
}
