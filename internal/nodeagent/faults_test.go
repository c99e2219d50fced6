//go:build linux && (amd64 || arm64)

package nodeagent_test

import (
	"context"
	"encoding/binary"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/devloop-io/devloop/capture/agent"
	"github.com/devloop-io/devloop/fault"
	"github.com/devloop-io/devloop/traffic"
)

// spoken is which ends were recorded, by interface.
type spoken struct {
	mu   sync.Mutex
	ends map[string]map[netip.AddrPort]int
}

func (s *spoken) take() map[string]map[netip.AddrPort]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	ends := s.ends
	s.ends = map[string]map[netip.AddrPort]int{}
	return ends
}

func follow(t *testing.T, s *agent.Source) *spoken {
	t.Helper()
	got := &spoken{ends: map[string]map[netip.AddrPort]int{}}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- s.Run(ctx, func(p *traffic.Packet) {
			if len(p.Data) < 24 || p.Data[0] != 0x45 {
				return
			}
			name := s.Interfaces()[p.Interface].Name
			got.mu.Lock()
			defer got.mu.Unlock()
			if got.ends[name] == nil {
				got.ends[name] = map[netip.AddrPort]int{}
			}
			for i := range 2 {
				ip, _ := netip.AddrFromSlice(p.Data[12+4*i : 16+4*i])
				got.ends[name][netip.AddrPortFrom(ip, binary.BigEndian.Uint16(p.Data[20+2*i:]))]++
			}
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		s.Close()
	})
	return got
}

// A fault meets the pod that it is for and no other; its traffic is recorded once, as the client's with its server; and it goes
// when it is ended, when its time is over, and when the agent is gone.
func TestFaults(t *testing.T) {
	n := newNode(t)
	addr := serve(t, n.options())
	s := dial(t, agent.Options{Address: addr, Resolve: resolve})
	got := follow(t, s)
	at := start(t, n.b, "server", "").line()
	server := netip.MustParseAddrPort(at)
	client, other := start(t, n.a, "client", at), start(t, n.sys, "client", at)
	states, err := s.Client().Faults(t.Context())
	if err != nil || !states.Address.IsValid() {
		t.Fatalf("the relays' address is %v: %v", states.Address, err)
	}
	set := func(list ...agent.Fault) agent.FaultStates {
		t.Helper()
		states, err := s.Client().SetFaults(t.Context(), agent.Faults{Faults: list, Relays: []netip.Addr{states.Address}})
		if err != nil {
			t.Fatal(err)
		}
		return states
	}
	took := func(p *process, requests int) time.Duration {
		began := time.Now()
		p.ask(requests)
		return time.Since(began)
	}
	state := func(id string) agent.FaultState {
		t.Helper()
		states, err := s.Client().Faults(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range states.Faults {
			if x.ID == id {
				return x
			}
		}
		t.Fatalf("no fault %s in %+v", id, states)
		return agent.FaultState{}
	}

	slow := agent.Fault{ID: "f1", Kind: fault.Latency, Rate: 1, Delay: 200 * time.Millisecond, Lasts: time.Minute, Pods: []string{podA}, To: []netip.AddrPort{server}}
	if x := set(slow).Faults; len(x) != 1 || x[0].Pods != 1 || x[0].Problem != "" {
		t.Fatalf("set: %+v", x)
	}
	flush(t, s)
	got.take()
	if d := took(client, 3); d < 600*time.Millisecond {
		t.Errorf("3 requests through a delay of 200 ms took %s", d)
	}
	if d := took(other, 3); d > 400*time.Millisecond {
		t.Errorf("3 requests of another client took %s", d)
	}
	if x := state("f1"); x.Seen != 3 || x.Hit != 3 || x.Over {
		t.Errorf("counts: %+v", x)
	}
	flush(t, s)
	ends := got.take()
	if ends["pod/"+podA+"/"+boxA][server] == 0 && ends["shop/cart/aa"][server] == 0 {
		t.Errorf("the client's traffic is not recorded as with its server: %v", ends)
	}
	for name, list := range ends {
		for end := range list {
			ofRelay := end.Addr() == states.Address && !strings.Contains(name, "cart")
			if ofRelay {
				t.Errorf("%s: the relay's own words are recorded: %s", name, end)
			}
		}
	}

	// Another kind on the same edge, at half of the requests; the first ends with it.
	half := agent.Fault{ID: "f2", Kind: fault.Status, Status: 503, Rate: 0.5, Seed: 7, Lasts: time.Minute, Pods: []string{podA}, To: []netip.AddrPort{server}}
	set(half)
	if x := state("f1"); !x.Over || x.Hit != 3 || x.Problem != "" {
		t.Errorf("the first fault is not over: %+v", x)
	}
	client.ask(40)
	if x := state("f2"); x.Seen != 40 || x.Hit < 10 || x.Hit > 30 {
		t.Errorf("counts: %+v", x)
	}
	set()
	if d := took(client, 3); d > 400*time.Millisecond {
		t.Errorf("after the faults 3 requests took %s", d)
	}
	if x := state("f2"); !x.Over || x.Seen != 40 {
		t.Errorf("after the fault: %+v", x)
	}

	// By itself.
	slow.ID, slow.Lasts = "f3", 300*time.Millisecond
	set(slow)
	if !poll(func() bool { return state("f3").Over }) {
		t.Error("the fault did not end by itself")
	}
	if set(slow); !state("f3").Over {
		t.Error("a fault that is over began again")
	}
	if d := took(client, 3); d > 400*time.Millisecond {
		t.Errorf("after its time 3 requests took %s", d)
	}
}

func TestRefusedFaults(t *testing.T) {
	n := newNode(t)
	c := agent.NewClient(agent.ClientOptions{Address: serve(t, n.options()), Token: token})
	defer c.Close()
	to := []netip.AddrPort{netip.MustParseAddrPort("10.96.0.1:80")}
	for want, f := range map[string]agent.Fault{
		"there is no fault":       {ID: "f", Kind: "gremlin", Rate: 1, Lasts: time.Minute, To: to},
		"at most 1h0m0s":          {ID: "f", Kind: fault.Stall, Rate: 1, Lasts: 2 * time.Hour, To: to},
		"is empty":                {Kind: fault.Stall, Rate: 1, Lasts: time.Minute, To: to},
		"no IPv4 address":         {ID: "f", Kind: fault.Stall, Rate: 1, Lasts: time.Minute, To: []netip.AddrPort{netip.MustParseAddrPort("[::1]:80")}},
		"more than 0 and at most": {ID: "f", Kind: fault.Stall, Rate: 7, Lasts: time.Minute, To: to},
	} {
		if _, err := c.SetFaults(t.Context(), agent.Faults{Faults: []agent.Fault{f}}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: got %v, want %q", f, err, want)
		}
	}
}
