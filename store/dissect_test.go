package store

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/devloop-io/devloop/capture/pcapfile"
	"github.com/devloop-io/devloop/dissect"
	"github.com/devloop-io/devloop/internal/testenv"
	"github.com/devloop-io/devloop/traffic"
	"github.com/devloop-io/devloop/traffic/redact"
)

func TestDissectSnapshot(t *testing.T) {
	t.Parallel()
	s := opened(t, Options{})
	sn := exchanged(t, s, "i1")
	d, err := sn.Dissect(t.Context(), dissect.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if len(d.Calls) != 2 || len(d.Connections) != 2 {
		t.Fatalf("%d calls on %d connections, want 2 on 2", len(d.Calls), len(d.Connections))
	}
	hash := s.Redactor().Hash([]byte("sesame-open"))
	for i, c := range d.Calls {
		if c.Src.Service != "cart" || c.Dst.Service != "catalogue" || c.Src.Build != "c1" || c.Status != 200 || c.Path != "/items" {
			t.Errorf("call %d: %+v", i, c)
		}
		text := toJSON(c)
		if strings.Contains(text, "sesame") || strings.Count(text, hash) < 4 { // in the query and the header, and as credentials
			t.Errorf("call %d is not redacted: %s", i, text)
		}
	}
	if got := d.Calls[1].RequestPackets; got != (traffic.PacketRange{First: 23, Last: 25}) && got != (traffic.PacketRange{First: 23, Last: 26}) {
		t.Errorf("second request in packets %+v", got)
	}
	if d.Account.Source != "tap" || d.Account.Packets != 34 || len(d.Account.Interfaces) != 2 {
		t.Errorf("account: %+v", d.Account)
	}
	if err := sn.WriteDissection(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	read, err := sn.ReadDissection()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(d, read, sameAddrs); diff != "" {
		t.Errorf("what was stored (-want +got):\n%s", diff)
	}
}

// TestFileEqualsSnapshot dissects the exported file in every way there is, and compares.
func TestFileEqualsSnapshot(t *testing.T) {
	t.Parallel()
	s := opened(t, Options{})
	sn := exchanged(t, s, "i1")
	want, err := sn.Dissect(t.Context(), dissect.Options{})
	if err != nil {
		t.Fatal(err)
	}
	path := exportTo(t, sn, ExportOptions{Raw: true})
	got, err := DissectFile(t.Context(), path, FileOptions{Redactor: s.Redactor()})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range want.Calls { // a file does not know revisions
		c.Revision = ""
	}
	for _, c := range want.Connections {
		c.Revision = ""
	}
	source := cmpopts.IgnoreFields(traffic.Account{}, "Source")
	if diff := cmp.Diff(want, got, sameAddrs, source, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("file (-snapshot +file):\n%s", diff)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	got, err = DissectReader(t.Context(), bytes.NewReader(b), FileOptions{Redactor: s.Redactor()})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, sameAddrs, source, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("stream (-snapshot +stream):\n%s", diff)
	}
	var calls []*traffic.Call
	account, err := StreamFile(t.Context(), "-", bytes.NewReader(b), FileOptions{Redactor: s.Redactor(), Dissect: dissect.Options{
		OnCall: func(c *traffic.Call) { calls = append(calls, c) },
	}})
	if err != nil || account.Packets != 34 {
		t.Fatal(account, err)
	}
	derived := cmpopts.IgnoreFields(traffic.Call{}, "Parent", "ParentBy", "ParentCandidates", "Depth", "SelfNS", "Route") // these need all calls
	if diff := cmp.Diff(want.Calls, calls, sameAddrs, cmpopts.EquateEmpty(), derived); diff != "" {
		t.Errorf("callbacks (-snapshot +callbacks):\n%s", diff)
	}

	cut := filepath.Join(t.TempDir(), "cut.pcapng")
	write(t, cut, b[:len(b)-30])
	d, err := DissectFile(t.Context(), cut, FileOptions{})
	if err != nil || !d.Account.FileTruncated || len(d.Calls) != 2 {
		t.Errorf("a cut file: %+v, %v", d, err)
	}
	for name, content := range map[string]string{"none": "", "text": "hello, this is no capture at all"} {
		path := filepath.Join(t.TempDir(), name)
		write(t, path, []byte(content))
		d, err := DissectFile(t.Context(), path, FileOptions{})
		if name == "text" && err == nil {
			t.Errorf("%s was dissected: %+v", name, d)
		}
	}
}

// TestWindowsEqualTheWhole cuts one capture into windows at every place and dissects each from its checkpoint. The two
// copies of a packet stay in one window, as they do where a window closes after a quiet time.
func TestWindowsEqualTheWhole(t *testing.T) {
	t.Parallel()
	s := opened(t, Options{})
	talk := newTalk(t, 40001, 1e18)
	for range 3 {
		talk.request(asked, 20)
		talk.respond(answered)
	}
	talk.finish()
	whole := sealed(t, s, "whole", recorded(t, s, talk.packets))
	want, err := whole.Dissect(t.Context(), dissect.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if len(want.Calls) != 3 {
		t.Fatalf("%d calls, want 3", len(want.Calls))
	}
	for cut := 2; cut < len(talk.packets); cut += 2 {
		first := sealed(t, s, "a"+string(rune('a'+cut/26))+string(rune('a'+cut%26)), recorded(t, opened(t, Options{}), talk.packets[:cut]))
		live := dissect.New(dissect.Options{Resolve: Resolver(first.Identities)})
		p := first.Packets()
		var pkt traffic.Packet
		for p.Next(&pkt) != io.EOF {
			live.Packet(&pkt, p.Interface(pkt.Interface))
		}
		p.Close()
		live.EndWindow()
		state, err := live.Checkpoint()
		if err != nil {
			t.Fatal(err)
		}
		second, err := s.Seal(t.Context(), SealRequest{ID: "b" + first.ID(), Checkpoint: state, Revision: "r1", Identities: first.Identities,
			Segments: recorded(t, opened(t, Options{}), talk.packets[cut:])})
		if err != nil {
			t.Fatal(err)
		}
		defer second.Close()
		seen := map[string]*traffic.Call{}
		for _, sn := range []*Snapshot{first, second} {
			d, err := sn.Dissect(t.Context(), dissect.Options{})
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range d.Calls {
				if c.State == traffic.StateComplete {
					seen[c.ID] = c
				}
			}
		}
		for _, c := range want.Calls {
			got := seen[c.ID]
			numbers := cmpopts.IgnoreFields(traffic.Call{}, "RequestPackets", "ResponsePackets") // each window numbers its own
			if diff := cmp.Diff(c, got, sameAddrs, numbers); diff != "" {
				t.Fatalf("cut before packet %d, call %s (-whole +windows):\n%s", cut+1, c.ID, diff)
			}
		}
	}
}

func TestStamp(t *testing.T) {
	t.Parallel()
	end := func(service, build string) traffic.Endpoint {
		return traffic.Endpoint{Workload: traffic.Workload{Service: service, Build: build}}
	}
	d := &traffic.Dissection{Calls: []*traffic.Call{
		{Src: end("cart", "c2"), Dst: end("catalogue", "k1")}, {Src: end("cart", "c1"), Dst: end("catalogue", "k1")},
		{Src: end("exercise", ""), Dst: end("cart", "c2")}, {Src: end("cart", "c2"), Dst: end("catalogue", "")},
	}}
	w := Window{Revision: "r2", Builds: map[string]string{"cart": "c2", "catalogue": "k1"}}
	var got []string
	for _, c := range d.Calls {
		w.stampCall(c)
		got = append(got, c.Revision)
	}
	// The last one's server ran no process that was captured: a refusal by a service that is down is this revision's.
	if want := []string{"r2", "", "r2", "r2"}; !slices.Equal(got, want) {
		t.Errorf("revisions are %q, want %q", got, want)
	}
}

// TestCorpus reads captures that others made to break parsers: nothing fails, and an export keeps every packet's place,
// time and size.
func TestCorpus(t *testing.T) {
	t.Parallel()
	dir := testenv.NeedsFolder(t, "DEVLOOP_PCAPS")
	r := redact.New(make([]byte, 32), redact.Options{})
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !strings.Contains(filepath.Ext(path), "pcap") {
			return err
		}
		in, err := pcapfile.Open(path)
		if err != nil {
			return nil
		}
		defer in.Close()
		in.Finish()
		d, err := DissectFile(t.Context(), path, FileOptions{Redactor: r})
		var broken *pcapfile.CorruptError
		if errors.As(err, &broken) {
			return nil
		}
		if err != nil {
			t.Errorf("%v", err)
			return nil
		}
		before := toJSON(d)
		for _, c := range d.Calls {
			r.Call(c)
		}
		if toJSON(d) != before {
			t.Errorf("%s: redacting twice changes calls", path)
		}
		var b bytes.Buffer
		n, err := ExportFile(t.Context(), path, &b, r, ExportOptions{})
		if err != nil || n != d.Account.Packets {
			t.Errorf("export %s: %d packets of %d, %v", path, n, d.Account.Packets, err)
			return nil
		}
		out := pcapfile.NewReader(&b)
		var was, is traffic.Packet
		for in.Next(&was) == nil {
			if err := out.Next(&is); err != nil || len(is.Data) != len(was.Data) || is.Time != was.Time || is.Length != was.Length || is.Link != was.Link {
				t.Errorf("export %s: packet %d is another, %v", path, was.Number, err)
				return nil
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestBlame(t *testing.T) {
	t.Parallel()
	ip := netip.MustParseAddr
	d := &traffic.Dissection{
		Connections: []*traffic.Connection{
			{Proto: "tcp", Src: traffic.Endpoint{IP: ip("10.0.0.1"), Port: 1}, Dst: traffic.Endpoint{IP: ip("10.0.0.2"), Port: 80}},
			{Proto: "udp", Src: traffic.Endpoint{IP: ip("10.0.0.1"), Port: 1}, Dst: traffic.Endpoint{IP: ip("10.0.0.2"), Port: 80}},
		},
		Account: traffic.Account{Lost: []traffic.FlowLoss{
			{Proto: "tcp", Src: netip.MustParseAddrPort("10.0.0.2:80"), Dst: netip.MustParseAddrPort("[::ffff:10.0.0.1]:1"), Packets: 3},
			{Proto: "tcp", Src: netip.MustParseAddrPort("10.0.0.1:1"), Dst: netip.MustParseAddrPort("10.0.0.2:80"), Packets: 2},
		}},
	}
	blame(d)
	if d.Connections[0].Lost != 5 || d.Connections[1].Lost != 0 {
		t.Errorf("lost %d and %d, want 5 and 0", d.Connections[0].Lost, d.Connections[1].Lost)
	}
}

func TestResolver(t *testing.T) {
	t.Parallel()
	ip := netip.MustParseAddr("10.0.0.1")
	resolve := Resolver([]traffic.Identity{
		{IP: ip, From: 10, To: 20, Workload: traffic.Workload{Service: "old"}}, {IP: ip, From: 20, Workload: traffic.Workload{Service: "new"}},
	})
	var got []string
	for _, at := range []int64{5, 10, 19, 20, 99} {
		w, _ := resolve(netip.AddrFrom16(ip.As16()), at)
		got = append(got, w.Service)
	}
	if want := []string{"", "old", "old", "new", "new"}; !slices.Equal(got, want) {
		t.Errorf("names are %q, want %q", got, want)
	}
}
