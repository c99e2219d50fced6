package localenv

import (
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

var testAddr = netip.MustParseAddr("10.77.3.10")

func testNames() *names {
	n := &names{subnets: []netip.Prefix{netip.MustParsePrefix("10.77.3.0/24")}}
	n.set("payment", testAddr)
	n.set("api.Payments.example.", testAddr)
	return n
}

// question packs a query.
func question(t testing.TB, name string, kind dnsmessage.Type) []byte {
	t.Helper()
	m := dnsmessage.Message{Header: dnsmessage.Header{ID: 7, RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName(name), Type: kind, Class: dnsmessage.ClassINET}}}
	out, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestResponderAnswers(t *testing.T) {
	t.Parallel()
	r := newResponder(testNames(), nil, slog.New(slog.DiscardHandler))
	for _, tc := range []struct {
		name string
		kind dnsmessage.Type
		code dnsmessage.RCode
		want string // of the record; empty: none
	}{
		{"payment.", dnsmessage.TypeA, dnsmessage.RCodeSuccess, "10.77.3.10"},
		{"PayMent.", dnsmessage.TypeA, dnsmessage.RCodeSuccess, "10.77.3.10"},
		{"payment.", dnsmessage.TypeAAAA, dnsmessage.RCodeSuccess, ""},
		{"payment.", dnsmessage.Type(65), dnsmessage.RCodeSuccess, ""},
		{"payment.default.svc.cluster.local.", dnsmessage.TypeA, dnsmessage.RCodeSuccess, "10.77.3.10"},
		{"payment.shop.svc.", dnsmessage.TypeA, dnsmessage.RCodeSuccess, "10.77.3.10"},
		{"payment.default.", dnsmessage.TypeA, dnsmessage.RCodeSuccess, "10.77.3.10"},
		{"api.payments.example.", dnsmessage.TypeA, dnsmessage.RCodeSuccess, "10.77.3.10"},
		{"10.3.77.10.in-addr.arpa.", dnsmessage.TypePTR, dnsmessage.RCodeSuccess, "payment."},
		{"11.3.77.10.in-addr.arpa.", dnsmessage.TypePTR, dnsmessage.RCodeNameError, ""},
		{"paymnt.", dnsmessage.TypeA, dnsmessage.RCodeNameError, ""},
		{"nobody.shop.svc.cluster.local.", dnsmessage.TypeA, dnsmessage.RCodeNameError, ""},
		{"payment.com.", dnsmessage.TypeA, dnsmessage.RCodeServerFailure, ""}, // of the world, and no resolver there
	} {
		answer, forward := r.answer(question(t, tc.name, tc.kind))
		if forward {
			t.Errorf("%s: forwarded without a resolver", tc.name)
			continue
		}
		var m dnsmessage.Message
		if err := m.Unpack(answer); err != nil {
			t.Fatalf("%s: %v", tc.name, err)
		}
		got := ""
		if len(m.Answers) > 0 {
			switch body := m.Answers[0].Body.(type) {
			case *dnsmessage.AResource:
				got = netip.AddrFrom4(body.A).String()
			case *dnsmessage.PTRResource:
				got = body.PTR.String()
			}
		}
		if m.ID != 7 || !m.Response || m.RCode != tc.code || got != tc.want || m.Questions[0].Name.String() != tc.name {
			t.Errorf("%s %v: got %v %q, want %v %q", tc.name, tc.kind, m.RCode, got, tc.code, tc.want)
		}
	}
}

// serving starts a responder on the loopback.
func serving(t *testing.T, resolvers ...netip.AddrPort) netip.AddrPort {
	t.Helper()
	udp, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	tcp, err := net.Listen("tcp4", udp.LocalAddr().String())
	if err != nil {
		t.Skipf("the port is taken for TCP: %v", err)
	}
	r := newResponder(testNames(), resolvers, slog.New(slog.DiscardHandler))
	r.serve(udp, tcp)
	t.Cleanup(r.close)
	return udp.LocalAddr().(*net.UDPAddr).AddrPort()
}

func TestResponderForwards(t *testing.T) {
	t.Parallel()
	upstreamNames := &names{}
	upstreamNames.set("example.com", netip.MustParseAddr("192.0.2.99"))
	udp, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	tcp, err := net.Listen("tcp4", udp.LocalAddr().String())
	if err != nil {
		t.Skipf("the port is taken for TCP: %v", err)
	}
	upstream := newResponder(upstreamNames, nil, slog.New(slog.DiscardHandler))
	upstream.serve(udp, tcp)
	t.Cleanup(upstream.close)
	at := serving(t, udp.LocalAddr().(*net.UDPAddr).AddrPort())
	for _, network := range []string{"udp", "tcp"} {
		answer, err := ask(t.Context(), network, at, question(t, "example.com.", dnsmessage.TypeA))
		var m dnsmessage.Message
		if err != nil || m.Unpack(answer) != nil || len(m.Answers) != 1 {
			t.Errorf("%s: %v %+v", network, err, m)
		}
		answer, err = ask(t.Context(), network, at, question(t, "payment.", dnsmessage.TypeA))
		if err != nil || m.Unpack(answer) != nil || len(m.Answers) != 1 {
			t.Errorf("%s, own name: %v %+v", network, err, m)
		}
	}
}

func TestSilentResolversAreAskedOnce(t *testing.T) {
	t.Parallel()
	silent, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	at := serving(t, silent.LocalAddr().(*net.UDPAddr).AddrPort())
	for i := range 3 {
		began := time.Now()
		answer, err := ask(t.Context(), "udp", at, question(t, "example.com.", dnsmessage.TypeA))
		var m dnsmessage.Message
		if err != nil || m.Unpack(answer) != nil || m.RCode != dnsmessage.RCodeServerFailure {
			t.Fatalf("got %v %+v", err, m)
		}
		if took := time.Since(began); i > 0 && took > dnsForwardBound/2 {
			t.Errorf("question %d took %s, though the resolver is known to be silent", i, took)
		}
	}
}

func TestParseResolvers(t *testing.T) {
	t.Parallel()
	got := parseResolvers("# x\nnameserver 10.0.0.1\nsearch corp\nnameserver fe80::1%eth0\nnameserver nonsense\nnameserver\nnameserver 1.1.1.1\nnameserver 9.9.9.9\n")
	if len(got) != 3 || got[0].String() != "10.0.0.1:53" || got[2].String() != "1.1.1.1:53" {
		t.Errorf("got %v", got)
	}
}

// FuzzResponder feeds the responder anything: it must not panic, answer with its own number and question, and never
// answer a response.
func FuzzResponder(f *testing.F) {
	f.Add(question(f, "payment.", dnsmessage.TypeA))
	f.Add(question(f, "example.com.", dnsmessage.TypeAAAA))
	f.Add(question(f, "10.3.77.10.in-addr.arpa.", dnsmessage.TypePTR))
	f.Add([]byte{0, 7, 0x80, 0, 0, 1})
	f.Add(failure(question(f, "payment.", dnsmessage.TypeA), dnsmessage.RCodeFormatError))
	r := newResponder(testNames(), []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:1")}, slog.New(slog.DiscardHandler))
	f.Fuzz(func(t *testing.T, msg []byte) {
		answer, forward := r.answer(msg)
		if forward && answer != nil {
			t.Error("both answered and forwarded")
		}
		if answer == nil {
			return
		}
		var m dnsmessage.Message
		if err := m.Unpack(answer); err != nil {
			t.Fatalf("the answer cannot be read: %v", err)
		}
		if msg[2]&0x80 != 0 || !m.Response || m.ID != uint16(msg[0])<<8|uint16(msg[1]) {
			t.Errorf("answered %x with %+v", msg, m.Header)
		}
		answers(msg, answer)
		truncate(answer)
	})
}
