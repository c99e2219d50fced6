package redact

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"github.com/devloop-io/devloop/traffic"
)

// frame is one IP packet with right checksums, as LinkRaw.
func frame(src, dst string, proto byte, seq uint32, flags byte, payload []byte) []byte {
	s, d := netip.MustParseAddrPort(src), netip.MustParseAddrPort(dst)
	l4 := make([]byte, 20)
	if proto == 17 {
		l4 = make([]byte, 8)
		binary.BigEndian.PutUint16(l4[4:], uint16(8+len(payload)))
	} else {
		binary.BigEndian.PutUint32(l4[4:], seq)
		l4[12], l4[13] = 5<<4, flags
	}
	binary.BigEndian.PutUint16(l4, s.Port())
	binary.BigEndian.PutUint16(l4[2:], d.Port())
	l4 = append(l4, payload...)
	var ip []byte
	l := Layers{Proto: int(proto), Complete: true}
	if s.Addr().Is4() {
		ip = make([]byte, 20)
		ip[0], ip[8], ip[9] = 0x45, 64, proto
		binary.BigEndian.PutUint16(ip[2:], uint16(20+len(l4)))
		copy(ip[12:], s.Addr().AsSlice())
		copy(ip[16:], d.Addr().AsSlice())
		l.Version, l.L4 = 4, 20
	} else {
		ip = make([]byte, 40)
		ip[0], ip[6], ip[7] = 0x60, proto, 64
		binary.BigEndian.PutUint16(ip[4:], uint16(len(l4)))
		copy(ip[8:], s.Addr().AsSlice())
		copy(ip[24:], d.Addr().AsSlice())
		l.Version, l.L4 = 6, 40
	}
	data := append(ip, l4...)
	l.End = len(data)
	l.Payload = len(data) - len(payload)
	binary.BigEndian.PutUint16(data[l.L4+map[byte]int{6: 16, 17: 6}[proto]:], 1) // so that UDP has one
	l.repair(data, nil)
	return data
}

// sound recomputes the checksums of a whole packet.
func sound(t *testing.T, data []byte) {
	t.Helper()
	l, ok := Parse(data, traffic.LinkRaw)
	if !ok {
		t.Fatalf("no IP packet: %x", data)
	}
	if sum := fold(l.pseudo(data) + add(data[l.L4:l.End])); sum != 0xffff {
		t.Errorf("transport checksum is wrong by %04x", ^sum)
	}
	if l.Version == 4 {
		if sum := fold(add(data[l.IP:l.L4])); sum != 0xffff {
			t.Errorf("IP checksum is wrong by %04x", ^sum)
		}
	}
}

const client, server = "10.0.0.1:40000", "10.0.0.2:80"

// segments cuts text into TCP packets of n bytes, a SYN before them.
func segments(text string, n int) [][]byte {
	out := [][]byte{frame(client, server, 6, 999, 2, nil)}
	for at := 0; at < len(text); at += n {
		out = append(out, frame(client, server, 6, 1000+uint32(at), 0x18, []byte(text[at:min(len(text), at+n)])))
	}
	return out
}

// masked runs both passes over copies of packets and returns them.
func masked(packets [][]byte) [][]byte {
	s := New(testKey, Options{}).Streams()
	for _, p := range packets {
		s.Learn(p, traffic.LinkRaw)
	}
	s.Done()
	var out [][]byte
	for _, p := range packets {
		p = bytes.Clone(p)
		s.Mask(p, traffic.LinkRaw)
		out = append(out, p)
	}
	return out
}

// text puts the payloads together again by their sequence numbers.
func text(packets [][]byte) string {
	var out []byte
	for _, p := range packets {
		l, _ := Parse(p, traffic.LinkRaw)
		if l.Proto != 6 || l.Payload == l.End {
			continue
		}
		at := int(binary.BigEndian.Uint32(p[l.L4+4:])) - 1000
		for len(out) < at+l.End-l.Payload {
			out = append(out, '?')
		}
		copy(out[at:], p[l.Payload:l.End])
	}
	return string(out)
}

func gz(s string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write([]byte(s))
	_ = w.Close()
	return b.String()
}

const clear = `{"token":"sesame-open","n":1}`

func TestStreams(t *testing.T) {
	t.Parallel()
	stars := func(n int) string { return strings.Repeat("*", n) }
	head := "POST /x HTTP/1.1\r\nHost: a\r\n"
	body := gz(clear)
	plain := gz(`{"n":1}`)
	cases := []struct{ name, in, want string }{
		{"header", head + "Authorization: Bearer abcdef\r\n\r\n", head + "Authorization: Bearer ******\r\n\r\n"},
		{"json", head + "Content-Length: 29\r\n\r\n" + clear, head + "Content-Length: 29\r\n\r\n" + `{"token":"***********","n":1}`},
		{"form", head + "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 22\r\n\r\nuser%5Bpassword%5D=abc",
			head + "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 22\r\n\r\nuser%5Bpassword%5D=***"},
		{"across chunks", head + "Transfer-Encoding: chunked\r\n\r\n5\r\n{\"tok\r\n8\r\nen\":\"abc\r\n6\r\ndef\"}\n\r\n0\r\n\r\n",
			head + "Transfer-Encoding: chunked\r\n\r\n5\r\n{\"tok\r\n8\r\nen\":\"***\r\n6\r\n***\"}\n\r\n0\r\n\r\n"},
		{"gzip", fmt.Sprintf("%sContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%sGET / HTTP/1.1\r\n\r\n", head, len(body), body),
			fmt.Sprintf("%sContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%sGET / HTTP/1.1\r\n\r\n", head, len(body), stars(len(body)))},
		{"gzip without a secret", fmt.Sprintf("%sContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s", head, len(plain), plain),
			fmt.Sprintf("%sContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s", head, len(plain), plain)},
		{"chunked gzip", fmt.Sprintf("%sContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", head, len(body), body),
			fmt.Sprintf("%sContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", head, len(body), stars(len(body)))},
		{"nothing", head + "X-Request-Id: 41111111-1111-4111-8111-111111111111\r\n\r\n", head + "X-Request-Id: 41111111-1111-4111-8111-111111111111\r\n\r\n"},
	}
	for _, c := range cases {
		for _, size := range []int{1, 3, 7, 1400} {
			t.Run(fmt.Sprint(c.name, " by ", size), func(t *testing.T) {
				t.Parallel()
				in := segments(c.in, size)
				in = append(in, in[len(in)/2]) // a retransmission
				in = append(in, in[1:]...)     // the other capture point
				rand.New(rand.NewPCG(1, uint64(size))).Shuffle(len(in)-1, func(i, j int) { in[i+1], in[j+1] = in[j+1], in[i+1] })
				out := masked(in)
				for i, p := range out {
					if len(p) != len(in[i]) {
						t.Fatalf("packet %d has %d bytes, had %d", i, len(p), len(in[i]))
					}
					sound(t, p)
					got := text([][]byte{p})
					if got := strings.TrimLeft(got, "?"); got != "" && !strings.Contains(c.want, got) {
						t.Fatalf("packet %d carries %q, want a part of %q", i, got, c.want)
					}
				}
				if got := text(out); got != c.want {
					t.Errorf("got  %q\nwant %q", got, c.want)
				}
			})
		}
	}
}

func TestStreamsGapAndReuse(t *testing.T) {
	t.Parallel()
	first := `x {"password":"abcdefgh"} y`
	in := segments(first, 6)
	in = append(in[:4], in[5:]...)                           // the middle of the value is missing
	in = append(in, frame(client, server, 6, 50000, 2, nil)) // the ports are used again
	in = append(in, frame(client, server, 6, 50001, 0x18, []byte(`{"secret":"zz"}`)))
	out := masked(in)
	for i, p := range out {
		sound(t, p)
		for _, part := range []string{"abc", "defg", "gh", "zz"} {
			if bytes.Contains(p[40:], []byte(part)) {
				t.Errorf("packet %d still has %q: %q", i, part, p[40:])
			}
		}
	}
	if got := string(out[len(out)-1][40:]); got != `{"secret":"**"}` {
		t.Errorf("second use carries %q", got)
	}
}

// TestManyStreams keeps far more bytes open than are held at a time.
func TestManyStreams(t *testing.T) {
	t.Parallel()
	s := New(testKey, Options{}).Streams()
	payload := []byte(strings.Repeat("x", 30<<10) + clear)
	packet := func(i int) []byte {
		return frame(fmt.Sprintf("10.1.%d.%d:40000", i/250, i%250), server, 6, 1000, 0x18, payload)
	}
	const n = 4500
	for i := range n {
		s.Learn(packet(i), traffic.LinkRaw)
		if s.held > maxHeld {
			t.Fatalf("%d bytes are held after %d streams", s.held, i)
		}
	}
	s.Done()
	for i := range n {
		p := packet(i)
		if !s.Mask(p, traffic.LinkRaw) || bytes.Contains(p, []byte("sesame")) {
			t.Fatalf("stream %d is not masked", i)
		}
	}
}

func TestLargeEncodedBody(t *testing.T) {
	t.Parallel()
	noise := make([]byte, 3<<20)
	r := rand.NewChaCha8([32]byte{1})
	_, _ = r.Read(noise)
	for _, c := range []struct {
		name, content string
		masked        bool
	}{{"secret at the end", fmt.Sprintf("%x", noise) + clear, true}, {"none", fmt.Sprintf("%x", noise), false}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			body := gz(c.content)
			head := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n", len(body))
			got := text(masked(segments(head+body+"HTTP/1.1 204 No\r\n\r\n", 32<<10)))
			want := head + body
			if c.masked {
				want = head + strings.Repeat("*", len(body))
			}
			if got != want+"HTTP/1.1 204 No\r\n\r\n" {
				t.Errorf("body of %d bytes: masked is not %v", len(body), c.masked)
			}
		})
	}
}

func TestMaskPacket(t *testing.T) {
	t.Parallel()
	r := New(testKey, Options{})
	for _, ends := range [][2]string{{client, "10.0.0.2:9000"}, {"[fd00::1]:1", "[fd00::2]:9000"}} {
		p := frame(ends[0], ends[1], 17, 0, 0, []byte(`{"token":"abc"}`))
		sound(t, p)
		if !r.MaskPacket(p, traffic.LinkRaw) || !bytes.HasSuffix(p, []byte(`{"token":"***"}`)) {
			t.Errorf("UDP packet carries %q", p)
		}
		sound(t, p)
	}
	cut := frame(client, "10.0.0.2:9000", 17, 0, 0, []byte(`{"token":"abc","more":1}`))
	whole := bytes.Clone(cut)
	cut = cut[:len(cut)-5]
	r.MaskPacket(cut, traffic.LinkRaw)
	r.MaskPacket(whole, traffic.LinkRaw)
	if !bytes.Equal(cut, whole[:len(cut)]) {
		t.Errorf("checksum of a cut packet: got %x, want %x", cut, whole[:len(cut)])
	}
	dns := frame(client, "10.0.0.2:53", 17, 0, 0, []byte(`token=abc`))
	if r.MaskPacket(dns, traffic.LinkRaw) {
		t.Error("a DNS packet was masked")
	}
}

func FuzzMask(f *testing.F) {
	f.Add(frame(client, server, 6, 1000, 0x18, []byte(clear)), uint16(101), []byte{3})
	f.Add(append(make([]byte, 12), 8, 0), uint16(1), []byte{})
	f.Add([]byte("HTTP/1.1 200\r\nContent-Encoding: br\r\nTransfer-Encoding: chunked\r\n\r\nffff\r\nx"), uint16(113), []byte{1, 2, 9})
	r := New(testKey, Options{})
	f.Fuzz(func(t *testing.T, data []byte, link uint16, cuts []byte) {
		size := len(data)
		r.MaskPacket(bytes.Clone(data), traffic.LinkType(link))
		packets := [][]byte{data}
		seq := uint32(1000)
		rest := data
		for _, c := range cuts { // the same bytes as a stream, in any order
			n := min(int(c), len(rest))
			packets = append(packets, frame(client, server, 6, seq, c&2, rest[:n]))
			rest = rest[n:]
			seq += uint32(int8(c))
		}
		for _, kind := range []traffic.LinkType{traffic.LinkType(link), traffic.LinkRaw} {
			s := r.Streams()
			for _, p := range packets {
				s.Learn(p, kind)
			}
			s.Done()
			for _, p := range packets {
				s.Mask(bytes.Clone(p), kind)
			}
		}
		if len(data) != size {
			t.Fatal("length changed")
		}
	})
}
