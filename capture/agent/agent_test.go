package agent

import (
	"bytes"
	"encoding/json"
	"fmt"
	"testing"
	"testing/iotest"

	"github.com/devloop-io/devloop/capture/pcapfile"
	"github.com/devloop-io/devloop/traffic"
)

// ringBytes is what an agent's ring has in two segments of five packets.
func ringBytes(t testing.TB) []byte {
	t.Helper()
	var b bytes.Buffer
	for seq := range uint64(2) {
		comment, err := json.Marshal(Head{Ring: "r", Run: "x", Segment: seq + 1, Before: 5 * seq})
		if err != nil {
			t.Fatal(err)
		}
		w := pcapfile.NewWriter(&b, pcapfile.Header{Comment: string(comment)})
		i := w.AddInterface(&traffic.Interface{Name: "pod/a/b", Link: traffic.LinkRaw, CGroup: 7})
		for n := range 5 {
			if err := w.Write(&traffic.Packet{Time: int64(n + 1), Data: bytes.Repeat([]byte{69}, 100*n), Length: 100 * n}, i); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

// Wherever the stream is cut, what comes after the position is all that is missing.
func TestScanGoesOnWhereItWasCut(t *testing.T) {
	t.Parallel()
	whole := ringBytes(t)
	second := bytes.LastIndex(whole, []byte{0x0a, 0x0d, 0x0d, 0x0a})
	offset := func(p Position) int {
		if p.Segment == 2 {
			return second + int(p.Offset)
		}
		return int(p.Offset)
	}
	for cut := range len(whole) {
		var got []byte
		at := Position{Ring: "r", Segment: 1}
		give := func(c chunk) bool {
			got = append(got, c.data...)
			at = c.after
			return true
		}
		if err := scan(iotest.OneByteReader(bytes.NewReader(whole[:cut])), at, give); err != nil {
			t.Fatal(err)
		}
		if err := scan(bytes.NewReader(whole[offset(at):]), at, give); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, whole) {
			t.Fatalf("cut after %d bytes: got %d bytes of %d", cut, len(got), len(whole))
		}
	}
}

func TestPositions(t *testing.T) {
	t.Parallel()
	p := Position{Ring: "ab", Segment: 3, Offset: 9}
	var q Position
	if err := q.UnmarshalText([]byte(p.String())); err != nil || q != p {
		t.Errorf("%v, %v", q, err)
	}
	for _, c := range []struct {
		text string
		want bool
	}{{"ab.3.9", true}, {"ab.3.8", true}, {"ab.2.99", true}, {"ab.3.10", false}, {"ab.4.0", false}, {"x.1.0", false}} {
		if err := q.UnmarshalText([]byte(c.text)); err != nil || p.Reached(q) != c.want {
			t.Errorf("%v reached %s: %v, %v", p, c.text, p.Reached(q), err)
		}
	}
}

func FuzzPosition(f *testing.F) {
	f.Add("ab.3.9")
	f.Add("a.-1.99999999999999999999")
	f.Fuzz(func(t *testing.T, text string) {
		var p, q Position
		if p.UnmarshalText([]byte(text)) != nil {
			return
		}
		if err := q.UnmarshalText([]byte(p.String())); err != nil || q != p || p.Offset < 0 {
			t.Errorf("%q: %v, %v, %v", text, p, q, err)
		}
	})
}

func FuzzStream(f *testing.F) {
	whole := ringBytes(f)
	f.Add(whole)
	f.Add(whole[:len(whole)/2+3])
	f.Fuzz(func(t *testing.T, b []byte) {
		s := &Source{o: Options{Log: discard(), Resolve: func(string, string) (traffic.Workload, bool) { return traffic.Workload{}, false }},
			moved: make(chan struct{}), byKey: map[pointKey]*point{}, runs: map[string]*runStats{}}
		var emitted uint64
		d := decoder{s: s, emit: func(p *traffic.Packet) {
			emitted++
			if p.Interface < 0 || p.Interface >= len(s.points) || len(p.Data) > len(b) {
				t.Errorf("packet %+v", p)
			}
		}}
		var size int
		scan(bytes.NewReader(b), Position{}, func(c chunk) bool {
			size += len(c.data)
			d.decode(c)
			return true
		})
		if st := s.Stats(); size > len(b) || st.Received != emitted || len(st.Interfaces) != len(s.points) {
			t.Error(fmt.Sprint(size, len(b), st.Received, emitted))
		}
	})
}
