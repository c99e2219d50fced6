package quic

import (
	"bytes"
	"encoding/hex"
	"testing"

	"github.com/devloop-io/devloop/dissect/protocol"
	"github.com/devloop-io/devloop/traffic"
)

// TestKeys has the protection masks and packets of RFC 9001 appendix A and RFC 9369 appendix A.
func TestKeys(t *testing.T) {
	dcid := unhex("8394c8f03e515708")
	tests := []struct {
		version uint32
		from    protocol.Side
		iv      string
		sample  string // of the ciphertext
		mask    string
	}{
		{version1, protocol.Client, "fa044b2f42a3fd3b46fb255c", "d1b1c98dd7689fb8ec11d242b123dc9b", "437b9aec36"},
		{version1, protocol.Server, "0ac1493ca1905853b0bba03e", "2cd0991cd25b0aac406a5816b6394100", "2ec0d8356a"},
		{version2, protocol.Client, "91f73e2351d8fa91660e909f", "ffe67b6abcdb4298b485dd04de806071", "94a0c95e80"},
		{version2, protocol.Server, "dd13c276499c0249d3310652", "6f05d8a4398c47089698baeea26b91eb", "4dd92e91ea"},
	}
	for _, test := range tests {
		k, err := initialKeys(test.version, dcid, test.from)
		if err != nil {
			t.Fatal(err)
		}
		var mask [16]byte
		k.head.Encrypt(mask[:], unhex(test.sample))
		if got := hex.EncodeToString(k.iv); got != test.iv {
			t.Errorf("version %s, side %d: iv %s, want %s", Version(test.version), test.from, got, test.iv)
		}
		if got := hex.EncodeToString(mask[:5]); got != test.mask {
			t.Errorf("version %s, side %d: mask %s, want %s", Version(test.version), test.from, got, test.mask)
		}
	}
}

// serverInitial is RFC 9001 appendix A.3.
var serverInitial = unhex("cf000000010008f067a5502a4262b5004075c0d95a482cd0991cd25b0aac406a5816b6394100f37a1c69797554780bb38cc5a99f5ede4c" +
	"f73c3ec2493a1839b3dbcba3f6ea46c5b7684df3548e7ddeb9c3bf9c73cc3f3bded74b562bfb19fb84022f8ef4cdd93795d77d06edbb7aaf2f58891850abbdca3d" +
	"20398c276456cbc42158407dd074ee")

func TestOpen(t *testing.T) {
	p, rest, ok := split(serverInitial)
	if !ok || len(rest) > 0 || p.kind != initial || hex.EncodeToString(p.scid) != "f067a5502a4262b5" {
		t.Fatalf("split: %+v, %d bytes left, %v", p, len(rest), ok)
	}
	k, err := initialKeys(version1, unhex("8394c8f03e515708"), protocol.Server)
	if err != nil {
		t.Fatal(err)
	}
	payload, number, ok := k.open(&p, -1)
	if !ok || number != 1 || !bytes.HasPrefix(payload, unhex("02000000000600405a020000560303")) {
		t.Errorf("open: number %d, payload %x, %v", number, payload, ok)
	}
}

// TestFullNumber has the examples of RFC 9000 appendix A.
func TestFullNumber(t *testing.T) {
	if got := fullNumber(0x9b32, 2, 0xa82f30ea); got != 0xa82f9b32 {
		t.Errorf("got %x", got)
	}
	if got := fullNumber(0xff, 1, 0x100); got != 0xff {
		t.Errorf("a little late: got %x", got)
	}
	if got := fullNumber(0, 1, -1); got != 0 {
		t.Errorf("the first: got %x", got)
	}
}

// seal makes an Initial packet of a client, with a packet number of four bytes.
func seal(t testing.TB, version uint32, key, dcid []byte, number byte, payload []byte) []byte {
	k, err := initialKeys(version, key, protocol.Client)
	if err != nil {
		t.Fatal(err)
	}
	first := byte(0xc3)
	if version == version2 {
		first = 0xd3
	}
	length := 4 + len(payload) + 16
	head := []byte{first, byte(version >> 24), byte(version >> 16), byte(version >> 8), byte(version), byte(len(dcid))}
	head = append(append(head, dcid...), 0, 0, 0x40|byte(length>>8), byte(length), 0, 0, 0, number)
	nonce := bytes.Clone(k.iv)
	nonce[11] ^= number
	b := k.aead.Seal(bytes.Clone(head), nonce, payload, head)
	at := len(head) - 4
	var mask [16]byte
	k.head.Encrypt(mask[:], b[at+4:])
	b[0] ^= mask[0] & 0x0f
	for i := range 4 {
		b[at+i] ^= mask[1+i]
	}
	return b
}

func cryptoFrame(offset int, data []byte) []byte {
	return append([]byte{frameCrypto, 0x40 | byte(offset>>8), byte(offset), 0x40 | byte(len(data)>>8), byte(len(data))}, data...)
}

// hello is a ClientHello that asks for a server by name.
func hello(name string) []byte {
	sni := append([]byte{0, 0, byte(0), byte(len(name) + 5), 0, byte(len(name) + 3), 0, 0, byte(len(name))}, name...)
	body := append([]byte{3, 3}, make([]byte, 32)...)
	body = append(body, 0, 0, 2, 0x13, 0x01, 1, 0, 0, byte(len(sni)))
	body = append(body, sni...)
	return append([]byte{1, 0, 0, byte(len(body))}, body...)
}

// fakeHost collects calls.
type fakeHost struct {
	calls     []traffic.Call
	encrypted int64
}

func (h *fakeHost) BodyLimit() int                            { return 0 }
func (h *fakeHost) NextCall() int                             { return 0 }
func (h *fakeHost) Memory() *protocol.Memory                  { return new(protocol.Memory) }
func (h *fakeHost) Emit(c *traffic.Call, _, _ *protocol.Span) { h.calls = append(h.calls, *c) }
func (h *fakeHost) HandOver()                                 {}
func (h *fakeHost) Wake()                                     {}
func (h *fakeHost) Undecoded(int64, string)                   {}
func (h *fakeHost) Encrypted(n int64)                         { h.encrypted += n }
func (h *fakeHost) SNI(string)                                {}
func (h *fakeHost) Deadline(int64)                            {}
func (h *fakeHost) Transport() string                         { return "udp" }
func (h *fakeHost) give(p *Parser, from protocol.Side, datagrams ...[]byte) {
	for _, b := range datagrams {
		p.Data(h, from, &protocol.View{Data: b, Marks: make([]protocol.Mark, 1)})
	}
}

func TestHandshakes(t *testing.T) {
	one, two := []byte("one-conn"), []byte("two-conn")
	whole := hello("shop.example")
	retried := append([]byte{0xf0, 0, 0, 0, 1, 0, 8}, append(bytes.Clone(two), make([]byte, 20)...)...)
	tests := []struct {
		name string
		run  func(h *fakeHost, p *Parser)
		want []string
	}{
		{"in one packet", func(h *fakeHost, p *Parser) { h.give(p, 0, seal(t, version1, one, one, 0, cryptoFrame(0, whole))) }, []string{"shop.example"}},
		{"version 2", func(h *fakeHost, p *Parser) { h.give(p, 0, seal(t, version2, one, one, 0, cryptoFrame(0, whole))) }, []string{"shop.example"}},
		{"a draft", func(h *fakeHost, p *Parser) { h.give(p, 0, seal(t, 0xff00001d, one, one, 0, cryptoFrame(0, whole))) }, []string{"shop.example"}},
		{"pieces in any order, coalesced, repeated", func(h *fakeHost, p *Parser) {
			a, b, c := cryptoFrame(0, whole[:10]), cryptoFrame(8, whole[8:30]), cryptoFrame(30, whole[30:])
			h.give(p, 0, slicesJoin(seal(t, version1, one, one, 0, slicesJoin(c, []byte{framePing, 0, 0, 0}, c)), seal(t, version1, one, two, 1, b)),
				seal(t, version1, one, one, 2, slicesJoin(make([]byte, 20), a)))
		}, []string{"shop.example"}},
		{"retry", func(h *fakeHost, p *Parser) {
			h.give(p, 0, seal(t, version1, one, one, 0, cryptoFrame(0, whole)))
			h.give(p, 1, retried)
			h.give(p, 0, seal(t, version1, two, two, 1, cryptoFrame(0, whole)), seal(t, version1, one, one, 0, cryptoFrame(0, whole)))
		}, []string{"shop.example"}},
		{"another connection from the same port", func(h *fakeHost, p *Parser) {
			h.give(p, 0, seal(t, version1, one, one, 0, cryptoFrame(0, whole)), seal(t, version1, two, two, 0, cryptoFrame(0, hello("other.example"))))
		}, []string{"shop.example", "other.example"}},
		{"a piece is missing", func(h *fakeHost, p *Parser) { h.give(p, 0, seal(t, version1, one, one, 0, cryptoFrame(4, whole[4:]))) }, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			h, p := &fakeHost{}, &Parser{}
			test.run(h, p)
			p.End(h, protocol.End{Dropped: true})
			var got []string
			for _, c := range h.calls {
				got = append(got, c.TLS.SNI)
			}
			if len(got) != len(test.want) || len(got) > 0 && got[len(got)-1] != test.want[len(got)-1] {
				t.Errorf("calls for %q, want %q", got, test.want)
			}
		})
	}
}

func slicesJoin(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// FuzzFrames reads any payload as if it had been decrypted, and any datagram.
func FuzzFrames(f *testing.F) {
	f.Add(cryptoFrame(0, hello("a.example")), serverInitial)
	f.Add([]byte{frameACK, 5, 0, 0x7f, 0xff, 0}, seal(f, version1, []byte("12345678"), []byte("12345678"), 0, cryptoFrame(3, []byte("abc"))))
	f.Add([]byte{frameClose, 0x41, 0x28, 0, 0}, []byte{0xc0, 0, 0, 0, 1, 255, 0})
	f.Fuzz(func(t *testing.T, payload, datagram []byte) {
		h, p := &fakeHost{}, &Parser{}
		p.frames(h, protocol.Client, payload, protocol.Mark{})
		detect(append(datagram, 0))
		h.give(p, protocol.Client, datagram)
		p.frames(h, protocol.Server, payload, protocol.Mark{})
		for i := range p.Sides {
			held := 0
			for _, x := range p.Sides[i].Pieces {
				held += len(x.Data)
			}
			if held > maxStream {
				t.Fatalf("%d bytes are held back", held)
			}
		}
	})
}
