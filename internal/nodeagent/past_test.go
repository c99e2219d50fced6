//go:build linux && (amd64 || arm64)

package nodeagent_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/devloop-io/devloop/capture/agent"
)

// cookies are a past's packets by their bytes and time.
func cookies(t *testing.T, p *agent.Past) map[string]int {
	t.Helper()
	all := map[string]int{}
	for k, err := range p.Packets(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		all[fmt.Sprint(p.Interfaces()[k.Interface].Name, k.Time, k.Direction, k.Cookie, k.Length)]++
	}
	return all
}

// TestThePastComesFromTheRing asks an agent for what passed before the source came: over a way that is cut again and again,
// all packets of the span come, each once, and none of those that the source delivers itself.
func TestThePastComesFromTheRing(t *testing.T) {
	n := newNode(t)
	o := n.options()
	o.Segment = 256 << 10
	addr := serve(t, o)
	whole := dial(t, agent.Options{Address: addr})
	_, stop := listen(t, whole)
	defer stop()
	client := n.talk(n.a, n.b)
	ask := func() time.Time {
		client.ask(150)
		flush(t, whole)
		return time.Now()
	}
	began := time.Now()
	var times []time.Time
	for range 4 {
		times = append(times, ask())
		if _, err := whole.Client().Rotate(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	way := &cutter{addr: addr, mean: 60_000}
	late := dial(t, agent.Options{Address: addr, DialPast: way.dial, Resolve: resolve})
	got, _ := listen(t, late)
	ask() // comes by Run alone
	flush(t, late)
	span := func(from, to time.Time) map[string]int {
		p, err := late.Past(t.Context(), from.UnixNano(), to.UnixNano())
		if err != nil {
			t.Fatal(err)
		}
		all := cookies(t, p)
		if st := p.Stats(); st.Dropped != 0 || len(p.Gaps()) > 0 || int(st.Received) != len(all) {
			t.Errorf("stats %+v, gaps %+v, %d packets", st, p.Gaps(), len(all))
		}
		if bytes, read := p.Bytes(); read < bytes {
			t.Errorf("%d bytes of %d were read", read, bytes)
		}
		return all
	}
	first, rest, all := span(began, times[1]), span(times[1], time.Now()), span(began, time.Now())
	if len(first) < 300*10 || len(first)+len(rest) != len(all) || way.cuts.Load() < 5 {
		t.Errorf("%d packets and %d, %d in all; %d cuts", len(first), len(rest), len(all), way.cuts.Load())
	}
	for c, n := range all {
		if n != 1 || first[c]+rest[c] != 1 {
			t.Fatalf("%s came %d times, %d times in the first part, %d in the other", c, n, first[c], rest[c])
		}
	}
	now := got.take()
	if now["shop/cart/aa"] < 150*5 {
		t.Errorf("what came since: %v", now)
	}
	if both := len(all) + now["shop/cart/aa"] + now["shop/payment/bb"]; both != int(whole.Stats().Received) {
		t.Errorf("%d packets before and after, want %d", both, whole.Stats().Received)
	}
}

// TestASourceThatBeginsEarlier follows the ring from before it came.
func TestASourceThatBeginsEarlier(t *testing.T) {
	n := newNode(t)
	o := n.options()
	addr := serve(t, o)
	whole := dial(t, agent.Options{Address: addr})
	all, _ := listen(t, whole)
	client := n.talk(n.a, n.b)
	client.ask(50)
	flush(t, whole)
	if _, err := whole.Client().Rotate(t.Context()); err != nil {
		t.Fatal(err)
	}
	since := time.Now()
	client.ask(20)
	flush(t, whole)
	before := all.take()["pod/"+podA+"/"+boxA]
	late := dial(t, agent.Options{Address: addr, Since: since})
	got, _ := listen(t, late)
	flush(t, late)
	earlier := got.take()["pod/"+podA+"/"+boxA]
	if earlier < 20*5 || earlier > before/2 {
		t.Errorf("%d packets from before came, of %d", earlier, before)
	}
	client.ask(20)
	flush(t, late)
	if more := got.take()["pod/"+podA+"/"+boxA]; more < 20*5 {
		t.Errorf("%d packets of now came", more)
	}
	if st := late.Stats(); st.Dropped != 0 || len(late.Gaps()) > 0 {
		t.Errorf("stats %+v, gaps %+v", st, late.Gaps())
	}
	p, err := late.Past(t.Context(), 0, time.Now().UnixNano())
	if err != nil {
		t.Fatal(err)
	}
	if older := len(cookies(t, p)); older < 50*10 || older > 60*20 {
		t.Errorf("%d packets are older than what came", older)
	}
}

// TestWhatLeftTheRingIsCounted has the ring go on while the past is read.
func TestWhatLeftTheRingIsCounted(t *testing.T) {
	n := newNode(t)
	o := n.options()
	o.RingSize, o.Segment = 2<<20, 256<<10
	addr := serve(t, o)
	flood := start(t, n.a, "flood", "")
	flood.ask(20000, 2000)
	s := dial(t, agent.Options{Address: addr})
	listen(t, s)
	p, err := s.Past(t.Context(), 0, time.Now().UnixNano())
	if err != nil {
		t.Fatal(err)
	}
	var came uint64
	for _, err := range p.Packets(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if came++; came == 1 {
			flood.ask(20000, 10000) // the ring is full of these
			flush(t, s)
		}
	}
	st := p.Stats()
	if st.Received != came || len(p.Gaps()) == 0 || came == 0 || came >= 4000 {
		t.Errorf("%d of 4000 came, stats %+v, gaps %+v", came, st, p.Gaps())
	}
}
