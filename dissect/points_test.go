package dissect_test

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/devloop-io/devloop/dissect"
	"github.com/devloop-io/devloop/traffic"
)

// tapped is a packet with the time at which the capture hands it over.
type tapped struct {
	traffic.Packet
	at int64
}

// talk makes one conversation as the points at its two ends see it: each has names of its own for both ends.
type talk struct {
	names   [2][2]netip.AddrPort // by point: client, server
	points  [2]int               // interfaces of the client's and the server's point; -1 records nothing
	delay   [2]int64             // how much later a point's packets are handed over
	skew    int64                // of the server's clock
	headers bool                 // the receiver's copies lack payload, as the tap's do without translation
	now     int64
	seq     [2]uint32
	stamp   uint32
	proto   byte
	out     []tapped
}

func newTalk(client, service, seenClient, backend string) *talk {
	return &talk{names: [2][2]netip.AddrPort{{addrPort(client), addrPort(service)}, {addrPort(seenClient), addrPort(backend)}},
		points: [2]int{0, 1}, now: 1_700_000_000e9, seq: [2]uint32{0xfffffff0, 77_000}, stamp: 4711, proto: 6}
}

// packet is one packet as a point names it.
func (k *talk) packet(point, from int, flags byte, data string) []byte {
	src, dst := k.names[point][from], k.names[point][1-from]
	t := make([]byte, 8)
	if k.proto == 6 {
		t = make([]byte, 32)
		binary.BigEndian.PutUint32(t[4:], k.seq[from])
		if flags&0x10 != 0 {
			binary.BigEndian.PutUint32(t[8:], k.seq[1-from])
		}
		t[12], t[13] = 0x80, flags
		binary.BigEndian.PutUint16(t[14:], 65000)
		copy(t[20:], []byte{1, 1, 8, 10})
		binary.BigEndian.PutUint32(t[24:], k.stamp)
	} else {
		binary.BigEndian.PutUint16(t[4:], uint16(8+len(data)))
	}
	binary.BigEndian.PutUint16(t, src.Port())
	binary.BigEndian.PutUint16(t[2:], dst.Port())
	t = append(t, data...)
	if src.Addr().Is4() {
		b := make([]byte, 20, 20+len(t))
		b[0], b[8], b[9] = 0x45, 64, k.proto
		binary.BigEndian.PutUint16(b[2:], uint16(20+len(t)))
		copy(b[12:], src.Addr().AsSlice())
		copy(b[16:], dst.Addr().AsSlice())
		return append(b, t...)
	}
	b := make([]byte, 40, 40+len(t))
	b[0], b[6] = 0x60, k.proto
	binary.BigEndian.PutUint16(b[4:], uint16(len(t)))
	copy(b[8:], src.Addr().AsSlice())
	copy(b[24:], dst.Addr().AsSlice())
	return append(b, t...)
}

// send is a packet from one end to the other: out at the one, in at the other 30 µs later.
func (k *talk) send(from int, flags byte, data string) {
	k.now += 100_000
	for _, point := range []int{from, 1 - from} {
		if k.points[point] < 0 {
			continue
		}
		b := k.packet(point, from, flags, data)
		p := traffic.Packet{Time: k.now, Length: len(b), Data: b, Link: traffic.LinkRaw, Interface: k.points[point], Direction: traffic.DirectionOut}
		if point != from {
			p.Time, p.Direction = p.Time+30_000, traffic.DirectionIn
			if k.headers {
				p.Data = p.Data[:len(b)-len(data)]
			}
		}
		at := p.Time + k.delay[point]
		if point == 1 {
			p.Time += k.skew
		}
		k.out = append(k.out, tapped{p, at})
	}
	k.seq[from] += uint32(len(data))
	if flags&3 != 0 {
		k.seq[from]++
	}
}

func (k *talk) open() *talk {
	k.send(0, 2, "")
	k.send(1, 0x12, "")
	k.send(0, 0x10, "")
	return k
}

func (k *talk) call(request, response string) *talk {
	k.send(0, 0x18, request)
	k.send(1, 0x10, "")
	k.send(1, 0x18, response)
	k.send(0, 0x10, "")
	return k
}

func (k *talk) close() *talk {
	k.send(0, 0x11, "")
	k.send(1, 0x11, "")
	k.send(0, 0x10, "")
	return k
}

// handedOver puts conversations into the order in which a capture hands their packets over.
func handedOver(talks ...*talk) (packets []traffic.Packet) {
	var all []tapped
	for _, k := range talks {
		all = append(all, k.out...)
	}
	slices.SortStableFunc(all, func(a, b tapped) int { return cmp.Compare(a.at, b.at) })
	for i := range all {
		packets = append(packets, all[i].Packet)
	}
	return packets
}

func pod(index int, node, name, container string) *traffic.Interface {
	return &traffic.Interface{Index: index, Name: node + "/" + name + "/" + container, Link: traffic.LinkRaw,
		Workload: &traffic.Workload{Namespace: "shop", Kind: "pod", Pod: name, Container: container, Node: node}}
}

// pods are the points of TestPoints. The last two are containers of one pod.
var pods = []*traffic.Interface{pod(0, "n1", "cart", "main"), pod(1, "n2", "catalogue-1", "main"), pod(2, "n1", "cart", "sidecar")}

// services is a resolver that knows one Service.
func services(ip netip.Addr, _ int64) (traffic.Workload, bool) {
	return traffic.Workload{Namespace: "shop", Service: "catalogue"}, ip == netip.MustParseAddr("10.96.0.7")
}

const (
	client  = "10.1.0.5:40000"
	cluster = "10.96.0.7:80"
	backend = "10.1.2.9:8080"
)

// TestPoints has each way from a client to a server, in every order of both points' packets: each call appears once, with
// both ends named, and with what each point saw.
func TestPoints(t *testing.T) {
	for _, c := range []struct {
		name       string
		make       func() *talk
		calls      int
		joined     uint64
		state      traffic.State
		src, dst   string
		asked, svc string
	}{
		{"pod to pod on one node", func() *talk {
			k := newTalk(client, backend, client, backend)
			k.headers = true
			return k.open().call(get, ok).close()
		}, 1, 0, "closed", client, backend, "", ""},
		{"socket load balancing", func() *talk { return newTalk(client, backend, client, backend).open().call(get, ok).close() },
			1, 0, "closed", client, backend, "", ""},
		{"ClusterIP", func() *talk {
			return newTalk(client, cluster, client, backend).open().call(get, ok).call(post, ok).close()
		},
			2, 1, "closed", client, backend, cluster, "catalogue"},
		{"ClusterIP of IPv6", func() *talk {
			return newTalk("[fd00:1::5]:40000", "[fd00:96::7]:80", "[fd00:1::5]:40000", "[fd00:2::9]:8080").open().call(get, ok).close()
		}, 1, 1, "closed", "[fd00:1::5]:40000", "[fd00:2::9]:8080", "[fd00:96::7]:80", ""},
		{"hairpin", func() *talk {
			return newTalk(client, cluster, "10.1.0.1:1031", "10.1.0.5:8080").open().call(get, ok).close()
		},
			1, 1, "closed", client, "10.1.0.5:8080", cluster, "catalogue"},
		{"host network", func() *talk {
			return newTalk("192.168.0.3:40000", cluster, "192.168.0.3:61000", backend).open().call(get, ok).close()
		},
			1, 1, "closed", "192.168.0.3:40000", backend, cluster, "catalogue"},
		{"NodePort", func() *talk {
			return newTalk("127.0.0.1:40000", "127.0.0.1:30080", "10.1.2.1:2044", backend).open().call(get, ok).close()
		},
			1, 1, "closed", "127.0.0.1:40000", backend, "127.0.0.1:30080", ""},
		{"lost SYN", func() *talk {
			k := newTalk(client, cluster, "10.1.0.1:1031", backend)
			k.points[1] = -1
			k.send(0, 2, "")
			k.points[1] = 1
			k.seq[0]--
			k.stamp += 1000
			k.now += 1e9
			return k.open().call(get, ok).close()
		}, 1, 1, "closed", client, backend, cluster, "catalogue"},
		{"refused", func() *talk {
			k := newTalk(client, cluster, client, backend)
			k.send(0, 2, "")
			k.send(1, 0x14, "")
			return k
		}, 0, 1, "refused", client, backend, cluster, "catalogue"},
		{"refused behind a masquerade", func() *talk {
			k := newTalk(client, cluster, "10.1.0.1:1031", backend)
			k.send(0, 2, "")
			k.send(1, 0x14, "")
			return k
		}, 0, 1, "refused", client, backend, cluster, "catalogue"},
		{"unanswered", func() *talk {
			k := newTalk(client, cluster, client, backend)
			k.send(0, 2, "")
			return k
		}, 0, 1, "in_progress", client, backend, cluster, "catalogue"},
		{"in the middle", func() *talk {
			return newTalk(client, cluster, "10.1.0.1:1031", backend).call(get, ok).call(post, ok).close()
		},
			2, 1, "closed", client, backend, cluster, "catalogue"},
		{"server's point alone", func() *talk {
			k := newTalk(client, cluster, client, backend)
			k.points[0] = -1
			return k.open().call(get, ok).close()
		}, 1, 0, "closed", client, backend, "", ""},
		{"client's point alone", func() *talk {
			k := newTalk(client, cluster, client, backend)
			k.points[1] = -1
			return k.open().call(get, ok).close()
		}, 1, 0, "closed", client, cluster, "", "catalogue"},
		{"two containers of one pod", func() *talk {
			k := newTalk("127.0.0.1:40000", "127.0.0.1:8080", "127.0.0.1:40000", "127.0.0.1:8080")
			k.points = [2]int{0, 2}
			return k.open().call(get, ok).close()
		}, 1, 0, "closed", "127.0.0.1:40000", "127.0.0.1:8080", "", ""},
		{"DNS", func() *talk {
			k := newTalk(client, "10.96.0.7:53", client, "10.1.2.9:53")
			k.proto = 17
			for id := range byte(2) {
				k.send(0, 0, string(question(id)))
			}
			for id := range byte(2) {
				k.send(1, 0, string(answer(id)))
			}
			return k
		}, 2, 1, "established", client, "10.1.2.9:53", "10.96.0.7:53", "catalogue"},
	} {
		for order, way := range map[string]func(k *talk){
			"as they went": func(*talk) {}, "client first": func(k *talk) { k.delay[1] = 3e9 }, "server first": func(k *talk) { k.delay[0] = 3e9 },
			"slow clock": func(k *talk) { k.skew = -2e9 }, "fast clock": func(k *talk) { k.skew = 2e9 },
		} {
			t.Run(c.name+"/"+order, func(t *testing.T) {
				k := c.make()
				if k.headers && order != "as they went" {
					return // one tap, one order, one clock
				}
				skewed := *k
				way(&skewed)
				for i := range k.out {
					point := 0
					if k.out[i].Interface != k.points[0] {
						point = 1
						k.out[i].Time += skewed.skew
					}
					k.out[i].at += skewed.delay[point]
				}
				packets := handedOver(k)
				var got rows
				o := got.into()
				o.Resolve = services
				got.Account = feed(dissect.New(o), packets, pods)
				dissect.Settle(got.Calls, got.Connections)
				if len(got.Connections) != 1 || len(got.Calls) != c.calls {
					t.Fatalf("%d connections and %d calls, want 1 and %d: %+v", len(got.Connections), len(got.Calls), c.calls, got.Connections)
				}
				row := got.Connections[0]
				asked := ""
				if row.OriginalDst.IsValid() {
					asked = row.OriginalDst.String()
				}
				is := fmt.Sprintf("%d %s %s %s %q %q", got.Account.Joined, row.State, row.Src.Addr(), row.Dst.Addr(), asked, row.Dst.Service)
				if want := fmt.Sprintf("%d %s %s %s %q %q", c.joined, c.state, c.src, c.dst, c.asked, c.svc); is != want {
					t.Errorf("connection %s\n                         want %s", is, want)
				}
				for _, call := range got.Calls {
					if call.State != traffic.StateComplete || call.Dst.Addr() != row.Dst.Addr() || call.Src.Addr() != row.Src.Addr() {
						t.Errorf("call %s, %v to %v", call.State, call.Src, call.Dst)
					}
				}
				for _, v := range row.Views {
					point := map[string]int{"client": 0, "server": 1}[v.Point]
					if v.Src != k.names[point][0] || v.Dst != k.names[point][1] || v.Interface != pods[k.points[point]].Name || v.Packets == 0 {
						t.Errorf("view %+v", v)
					}
					if error, off := v.ClockErrorNS, v.ClockOffsetNS-skewed.skew; error > 0 && max(off, -off) > error {
						t.Errorf("clock offset %d ± %d, made %d", v.ClockOffsetNS, error, skewed.skew)
					}
				}
				if row.TCP != nil && row.State == traffic.StateClosed && row.TCP.Retransmissions > 0 && c.name != "lost SYN" {
					t.Errorf("%d retransmissions that there were not", row.TCP.Retransmissions)
				}
				if one := got.Account.OnePoint; (one == 1) != (len(row.Views) == 1) {
					t.Errorf("%d connections with one point, %d views", one, len(row.Views))
				}
				for at := range packets {
					split(t, packets, pods, at)
				}
			})
		}
	}
}

// TestPointsCrowd has thousands of connections at a time, with the same ports again and again and both points' packets out
// of order, and finds each with its own other half.
func TestPointsCrowd(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	var talks []*talk
	truth := map[string][2]string{}
	port := map[string]int{}
	const rounds, perRound = 4, 1500
	for round := range rounds {
		for i := range perRound {
			from := fmt.Sprintf("10.1.0.%d:%d", i%50, 40000+i/50) // the same in every round
			to := fmt.Sprintf("10.1.2.%d:8080", rng.IntN(40))
			seen := from
			if i%3 == 0 { // masqueraded: ports of the bridge come round, too
				port[to]++
				seen = fmt.Sprintf("10.1.0.254:%d", 1024+port[to]%500+500*(i%7))
			}
			k := newTalk(from, fmt.Sprintf("10.96.0.%d:80", i%3), seen, to)
			k.seq = [2]uint32{rng.Uint32(), rng.Uint32()}
			k.stamp = rng.Uint32()
			k.now += int64(round)*8e9 + rng.Int64N(1e9)
			path := fmt.Sprintf("/%d/%d", round, i)
			k.open().call("GET "+path+" HTTP/1.1\r\nHost: a\r\n\r\n", ok).close()
			for j := range k.out {
				if k.out[j].Interface == 1 {
					k.out[j].at += 2e9
				}
			}
			if i%2 == 0 {
				for j := range k.out {
					k.out[j].at += 1e9 * int64(1-2*k.out[j].Interface)
				}
			}
			truth[path] = [2]string{from, to}
			talks = append(talks, k)
		}
	}
	var got rows
	got.Account = feed(dissect.New(got.into()), handedOver(talks...), pods[:2])
	dissect.Settle(got.Calls, got.Connections)
	if len(got.Calls) != rounds*perRound || len(got.Connections) != rounds*perRound || got.Account.Joined != rounds*perRound || got.Account.OnePoint != 0 {
		t.Errorf("%d calls, %d connections, %d joined, %d with one point; made %d", len(got.Calls), len(got.Connections), got.Account.Joined,
			got.Account.OnePoint, rounds*perRound)
	}
	wrong := 0
	for _, c := range got.Calls {
		if is := [2]string{c.Src.Addr().String(), c.Dst.Addr().String()}; is != truth[c.Path] {
			wrong++
		}
	}
	if wrong > 0 {
		t.Errorf("%d calls between wrong ends", wrong)
	}
}

// TestPointsLoopback has pods that all talk from port 40000 to port 8080 of 127.0.0.1 at the same time.
func TestPointsLoopback(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 8))
	var talks []*talk
	var points []*traffic.Interface
	const count = 400
	for i := range count {
		name, node := fmt.Sprintf("pod-%d", i), fmt.Sprintf("n%d", i%3)
		points = append(points, pod(2*i, node, name, "main"), pod(2*i+1, node, name, "sidecar"))
		k := newTalk("127.0.0.1:40000", "127.0.0.1:8080", "127.0.0.1:40000", "127.0.0.1:8080")
		k.points = [2]int{2 * i, 2*i + 1}
		k.seq = [2]uint32{rng.Uint32(), rng.Uint32()}
		k.now += rng.Int64N(1e6)
		k.open()
		for n := range 3 {
			k.call(fmt.Sprintf("GET /%s/%d HTTP/1.1\r\nHost: a\r\n\r\n", name, n), ok)
		}
		k.close()
		u := newTalk("127.0.0.1:40000", "127.0.0.1:53", "127.0.0.1:40000", "127.0.0.1:53")
		u.points, u.proto = k.points, 17
		u.send(0, 0, string(question(1)))
		u.send(1, 0, string(answer(1)))
		talks = append(talks, k, u)
	}
	var got rows
	got.Account = feed(dissect.New(got.into()), handedOver(talks...), points)
	if len(got.Calls) != 4*count || len(got.Connections) != 2*count || got.Account.Joined != 0 {
		t.Errorf("%d calls, %d connections, %d joined; made %d and %d", len(got.Calls), len(got.Connections), got.Account.Joined, 4*count, 2*count)
	}
	ids := map[string]bool{}
	for _, c := range got.Calls {
		if ids[c.ID] || c.Src.Pod != c.Dst.Pod || c.Src.Container != "main" || c.Dst.Container != "sidecar" ||
			c.HTTP != nil && c.Path[1:len(c.Path)-2] != c.Src.Pod {
			t.Fatalf("call %s of %s/%s to %s/%s", c.ID, c.Src.Pod, c.Src.Container, c.Dst.Pod, c.Dst.Container)
		}
		ids[c.ID] = true
	}
}
