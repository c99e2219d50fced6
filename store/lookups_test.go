package store

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/devloop-io/devloop/traffic"
)

// answer is a look-up by a client.
func answer(at int64, client, name string, addresses ...string) *traffic.Call {
	c := &traffic.Call{Protocol: traffic.ProtoDNS, Start: at - 1, End: at, Src: traffic.Endpoint{IP: netip.MustParseAddr(client)}, DNS: &traffic.DNS{Questions: []traffic.DNSRecord{{Name: name, Type: "A"}}}}
	for _, a := range addresses {
		c.DNS.Answers = append(c.DNS.Answers, traffic.DNSRecord{Name: "edge.example", Type: "A", Data: a})
	}
	return c
}

// TestNamesOfOthers names servers outside by what their clients looked up before, or asked for in TLS.
func TestNamesOfOthers(t *testing.T) {
	t.Parallel()
	d := &traffic.Dissection{Calls: []*traffic.Call{
		answer(10, "10.0.0.1", "api.stripe.com", "203.0.113.7"), answer(20, "10.0.0.2", "cdn.example", "203.0.113.7"), answer(30, "10.0.0.2", "files.lan", "192.168.7.7"),
	}}
	type want struct{ name, kind string }
	var wants, got []want
	connect := func(at int64, src, dst, sni string, known traffic.Workload, w want) {
		id := uint64(len(d.Connections) + 1)
		ends := traffic.Endpoint{IP: netip.MustParseAddr(dst), Workload: known}
		client := traffic.Endpoint{IP: netip.MustParseAddr(src)}
		d.Connections = append(d.Connections, &traffic.Connection{ID: id, Start: at, Src: client, Dst: ends, SNI: sni})
		d.Calls = append(d.Calls, &traffic.Call{ConnID: id, Start: at, Src: client, Dst: ends})
		wants = append(wants, w)
	}
	nobody := traffic.Workload{}
	connect(40, "10.0.0.1", "203.0.113.7", "", nobody, want{"api.stripe.com", traffic.KindExternal})
	connect(40, "10.0.0.2", "203.0.113.7", "", nobody, want{"cdn.example", traffic.KindExternal})
	connect(40, "10.0.0.3", "203.0.113.7", "", nobody, want{"cdn.example", traffic.KindExternal}) // who asked for it was not seen
	connect(15, "10.0.0.2", "203.0.113.7", "", nobody, want{"api.stripe.com", traffic.KindExternal})
	connect(5, "10.0.0.1", "203.0.113.7", "", nobody, want{}) // before anybody asked
	connect(40, "10.0.0.2", "192.168.7.7", "", nobody, want{"files.lan", ""})
	connect(40, "10.0.0.2", "198.51.100.1", "sni.example", nobody, want{"sni.example", traffic.KindExternal})
	connect(40, "10.0.0.2", "203.0.113.7", "", traffic.Workload{Service: "cart"}, want{"", ""})
	nameExternals(d)
	for i, c := range d.Connections {
		got = append(got, want{c.Dst.DNS, c.Dst.Kind})
		if call := d.Calls[3+i]; call.Dst.DNS != c.Dst.DNS || call.Dst.Kind != c.Dst.Kind {
			t.Errorf("call %d is to %+v, its connection to %+v", i, call.Dst, c.Dst)
		}
	}
	if diff := cmp.Diff(fmt.Sprint(wants), fmt.Sprint(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestLookupsAreBounded meets more names and addresses than are remembered.
func TestLookupsAreBounded(t *testing.T) {
	t.Parallel()
	var l Lookups
	ip := netip.MustParseAddr("11.0.0.0")
	for i := range 3 * maxLookups {
		ip = ip.Next()
		l.Learn(answer(int64(i), "10.0.0.1", "a.example", ip.String()))
		l.Learn(answer(int64(i), "10.0.0.1", fmt.Sprint(i, ".example"), "203.0.113.1"))
	}
	all := l.Identities([]traffic.Identity{{IP: ip}})
	if len(l.byIP) > maxLookups || len(l.order) > maxLookups || len(all) > maxLookups+maxNames || len(all) < maxLookups-2 {
		t.Errorf("%d addresses, %d identities", len(l.byIP), len(all))
	}
	for _, id := range all {
		if id.IP == ip {
			t.Error("an address that the environment knows has a name of DNS too")
		}
	}
}
