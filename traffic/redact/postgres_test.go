package redact

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/devloop-io/devloop/traffic"
)

// pgMessage is a typed message; kind 0 makes one without a type.
func pgMessage(kind byte, body string) string {
	b := binary.BigEndian.AppendUint32(nil, uint32(4+len(body)))
	if kind == 0 {
		return string(b) + body
	}
	return string(kind) + string(b) + body
}

func pgSASL(mechanism, data string) string {
	return mechanism + "\x00" + string(binary.BigEndian.AppendUint32(nil, uint32(len(data)))) + data
}

var (
	pgStartup = pgMessage(0, "\x00\x03\x00\x00user\x00ann\x00database\x00shop\x00\x00")
	pgQuery   = pgMessage('Q', "SELECT 1\x00")
)

func TestPostgresStreams(t *testing.T) {
	t.Parallel()
	stars := func(n int) string { return strings.Repeat("*", n) }
	ssl, gssenc := pgMessage(0, "\x04\xd2\x16\x2f"), pgMessage(0, "\x04\xd2\x16\x30")
	open := pgMessage('p', "sesame\x00")
	cases := []struct{ name, in, want string }{
		{"cleartext", pgStartup + open + pgQuery, pgStartup + pgMessage('p', "******\x00") + pgQuery},
		{"protocol 3.2", strings.Replace(pgStartup, "\x00\x03\x00\x00", "\x00\x03\x00\x02", 1) + open,
			strings.Replace(pgStartup, "\x00\x03\x00\x00", "\x00\x03\x00\x02", 1) + pgMessage('p', "******\x00")},
		{"after SSLRequest", ssl + pgStartup + open + pgQuery, ssl + pgStartup + pgMessage('p', "******\x00") + pgQuery},
		{"after both requests", gssenc + ssl + pgStartup + open, gssenc + ssl + pgStartup + pgMessage('p', "******\x00")},
		{"MD5", pgStartup + pgMessage('p', "md5"+strings.Repeat("0f", 16)+"\x00") + pgQuery, pgStartup + pgMessage('p', stars(35)+"\x00") + pgQuery},
		{"SASL", pgStartup + pgMessage('p', pgSASL("SCRAM-SHA-256", "n,,n=,r=nonce")) + pgMessage('p', "c=biws,r=nonce,p=proof") + pgQuery,
			pgStartup + pgMessage('p', pgSASL("SCRAM-SHA-256", stars(13))) + pgMessage('p', stars(22)) + pgQuery},
		{"SASL without data", pgStartup + pgMessage('p', "SCRAM-SHA-256\x00\xff\xff\xff\xff"), pgStartup + pgMessage('p', "SCRAM-SHA-256\x00\xff\xff\xff\xff")},
		{"not quite SASL", pgStartup + pgMessage('p', "SCRAM-SHA-256\x00\x00\x00\x00\x01abc"), pgStartup + pgMessage('p', stars(21))},
		{"empty", pgStartup + pgMessage('p', "") + open, pgStartup + pgMessage('p', "") + pgMessage('p', "******\x00")},
		{"long", pgStartup + pgMessage('p', strings.Repeat("x", 70000)+"\x00") + pgQuery, pgStartup + pgMessage('p', stars(70000)+"\x00") + pgQuery},
		{"cut", pgStartup + open[:9], pgStartup + open[:5] + "****"},
		{"after a query", pgStartup + pgQuery + open, pgStartup + pgQuery + open},
		{"after Parse", pgStartup + pgMessage('P', "\x00SELECT 1\x00\x00\x00") + open, pgStartup + pgMessage('P', "\x00SELECT 1\x00\x00\x00") + open},
		{"not PostgreSQL", "hello, world" + open, "hello, world" + open},
		{"cancel", pgMessage(0, "\x04\xd2\x16\x2e\x00\x00\x00\x01\x00\x00\x00\x02") + open, pgMessage(0, "\x04\xd2\x16\x2e\x00\x00\x00\x01\x00\x00\x00\x02") + open},
	}
	for _, c := range cases {
		for _, size := range []int{1, 3, 7, 1400} {
			if len(c.in) > 1<<12 && size < 1400 {
				continue
			}
			t.Run(fmt.Sprint(c.name, " by ", size), func(t *testing.T) {
				t.Parallel()
				in := segments(c.in, size)
				in = append(in, in[len(in)/2]) // a retransmission
				in = append(in, in[1:]...)     // the other capture point
				slices.Reverse(in[1:])
				out := masked(in)
				for i, p := range out {
					if len(p) != len(in[i]) {
						t.Fatalf("packet %d has %d bytes, had %d", i, len(p), len(in[i]))
					}
					sound(t, p)
				}
				if got := text(out); got != c.want {
					t.Errorf("got  %q\nwant %q", got, c.want)
				}
			})
		}
	}
}

// TestPostgresGap leaves out any one packet: what else is there of the password stays hidden.
func TestPostgresGap(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1, 3, 7} {
		in := segments(pgStartup+pgMessage('p', "sesame-open\x00")+pgQuery, size)
		for lost := 1 + (len(pgStartup)+size-1)/size; lost < len(in); lost++ {
			out := masked(slices.Delete(slices.Clone(in), lost, lost+1))
			got := text(out)
			secret := got[min(len(got), len(pgStartup)+5):min(len(got), len(pgStartup)+16)]
			if strings.Trim(secret, "*?") != "" {
				t.Errorf("by %d without %d: %q", size, lost, got)
			}
		}
	}
}

// TestPostgresFlush scans what is held in the middle of a message, as happens with very many connections.
func TestPostgresFlush(t *testing.T) {
	t.Parallel()
	in := segments(pgStartup+pgMessage('p', "sesame\x00")+pgQuery, 3)
	s := New(testKey, Options{}).Streams()
	for _, p := range in {
		s.Learn(p, traffic.LinkRaw)
		s.flush()
	}
	s.Done()
	for _, p := range in {
		s.Mask(p, traffic.LinkRaw)
	}
	if got, want := text(in), pgStartup+pgMessage('p', "*******")+pgQuery; got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// FuzzPostgres checks that how a stream is cut does not change what is found, and that little is kept.
func FuzzPostgres(f *testing.F) {
	f.Add([]byte(pgStartup+pgMessage('p', "sesame\x00")+pgQuery), []byte{8, 30, 2, 1}, byte(0))
	f.Add([]byte(pgMessage(0, "\x04\xd2\x16\x2f")+pgStartup+pgMessage('p', pgSASL("SCRAM-SHA-256", "n,,n=,r=x"))+pgMessage('p', "p=x")), []byte{7, 60, 9}, byte(3))
	f.Fuzz(func(t *testing.T, data, cuts []byte, gap byte) {
		ranges := func(cuts []byte, gap int) []rng {
			var p postgres
			var d direction
			at := 0
			for i, c := range append(slices.Clone(cuts), 255) {
				n := min(int(c), len(data)-at)
				if i == len(cuts) {
					n = len(data) - at
				}
				if gap > 0 && i == gap {
					p.gap(int64(at+n), &d)
				} else {
					p.write(data[at:at+n], int64(at), &d)
				}
				at += n
				if len(p.head) > postgresFront {
					t.Fatalf("%d bytes are kept", len(p.head))
				}
			}
			p.flush(&d)
			for _, x := range d.ranges {
				if x.from >= x.to || x.from < 0 {
					t.Fatalf("range %v", x)
				}
			}
			return merge(d.ranges)
		}
		if one, many := ranges(nil, 0), ranges(cuts, 0); !slices.Equal(one, many) {
			t.Fatalf("in one: %v, cut: %v", one, many)
		}
		ranges(cuts, int(gap))
	})
}
