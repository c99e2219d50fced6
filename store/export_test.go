package store

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/devloop-io/devloop/capture/pcapfile"
	"github.com/devloop-io/devloop/dissect"
	"github.com/devloop-io/devloop/internal/testenv"
	"github.com/devloop-io/devloop/traffic"
)

// talk makes the packets of one TCP connection from cart (10.0.0.1) to catalogue (10.0.0.2:8080), each captured at
// both ends: number 1 is the client's SYN going out, 2 the same coming in, and so on.
type talk struct {
	t        testing.TB
	port     uint16
	at       int64
	seq, ack uint32
	packets  []traffic.Packet
}

func newTalk(t testing.TB, port uint16, at int64) *talk {
	c := &talk{t: t, port: port, at: at, seq: 1000, ack: 5000}
	c.send(true, layers.TCP{SYN: true}, "")
	c.seq++
	c.send(false, layers.TCP{SYN: true, ACK: true}, "")
	c.ack++
	c.send(true, layers.TCP{ACK: true}, "")
	return c
}

func (c *talk) send(up bool, tcp layers.TCP, payload string) {
	c.t.Helper()
	ip := layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolTCP, SrcIP: net.IP{10, 0, 0, 1}, DstIP: net.IP{10, 0, 0, 2}}
	tcp.SrcPort, tcp.DstPort, tcp.Seq, tcp.Ack, tcp.Window = layers.TCPPort(c.port), 8080, c.seq, c.ack, 60000
	if !up {
		ip.SrcIP, ip.DstIP = ip.DstIP, ip.SrcIP
		tcp.SrcPort, tcp.DstPort, tcp.Seq, tcp.Ack = tcp.DstPort, tcp.SrcPort, tcp.Ack, tcp.Seq
	}
	if !tcp.ACK {
		tcp.Ack = 0
	}
	if err := tcp.SetNetworkLayerForChecksum(&ip); err != nil {
		c.t.Fatal(err)
	}
	b := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, &ip, &tcp, gopacket.Payload(payload)); err != nil {
		c.t.Fatal(err)
	}
	data := b.Bytes()
	sender, receiver := 0, 1
	if !up {
		sender, receiver = 1, 0
	}
	for _, side := range []struct {
		ifc int
		dir traffic.Direction
	}{{sender, traffic.DirectionOut}, {receiver, traffic.DirectionIn}} {
		c.at += 50_000
		c.packets = append(c.packets, traffic.Packet{Time: c.at, Data: slices.Clone(data), Length: len(data), Interface: side.ifc, Link: traffic.LinkRaw, Direction: side.dir})
	}
}

func (c *talk) request(text string, cuts ...int) {
	for _, n := range append(cuts, len(text)) {
		n = min(n, len(text))
		c.send(true, layers.TCP{ACK: true, PSH: true}, text[:n])
		c.seq += uint32(n)
		text = text[n:]
	}
}

func (c *talk) respond(text string) {
	c.send(false, layers.TCP{ACK: true, PSH: true}, text)
	c.ack += uint32(len(text))
}

func (c *talk) finish() {
	c.send(true, layers.TCP{ACK: true, FIN: true}, "")
	c.seq++
	c.send(false, layers.TCP{ACK: true, FIN: true}, "")
	c.ack++
	c.send(true, layers.TCP{ACK: true}, "")
}

const (
	asked    = "GET /items?token=sesame-open HTTP/1.1\r\nHost: catalogue:8080\r\nAuthorization: Bearer sesame-open\r\n\r\n"
	answered = "HTTP/1.1 200 OK\r\nSet-Cookie: sid=opensesame; Path=/\r\nContent-Length: 2\r\n\r\n{}"
)

// exchanged is a snapshot of two connections in two segments: the second request's token is cut in two packets.
func exchanged(t testing.TB, s *Store, id string) *Snapshot {
	a, b := newTalk(t, 40001, 1e18), newTalk(t, 40002, 1e18+1e9)
	a.request(asked)
	a.respond(answered)
	a.finish()
	b.request(asked, 20)
	b.respond(answered)
	b.finish()
	return sealed(t, s, id, recorded(t, s, a.packets, b.packets))
}

func exportTo(t testing.TB, sn *Snapshot, o ExportOptions) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "out.pcapng")
	f := create(t, path)
	if _, err := sn.Export(t.Context(), f, o); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func packetsOf(t testing.TB, path string) (out []traffic.Packet, ifaces []traffic.Interface, names []pcapfile.Name) {
	t.Helper()
	r, err := pcapfile.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	r.Finish()
	var p traffic.Packet
	for r.Next(&p) == nil {
		p.Data = slices.Clone(p.Data)
		out = append(out, p)
	}
	if r.Truncated() {
		t.Errorf("%s is cut", path)
	}
	return out, r.Interfaces(), r.Names()
}

func TestExport(t *testing.T) {
	t.Parallel()
	s := opened(t, Options{})
	sn := exchanged(t, s, "i1")
	var original []traffic.Packet
	p := sn.Packets()
	var pkt traffic.Packet
	for p.Next(&pkt) == nil {
		c := pkt
		c.Data = slices.Clone(pkt.Data)
		original = append(original, c)
	}
	p.Close()

	t.Run("raw", func(t *testing.T) {
		got, ifaces, names := packetsOf(t, exportTo(t, sn, ExportOptions{Raw: true}))
		if diff := cmp.Diff(original, got); diff != "" {
			t.Errorf("raw export (-want +got):\n%s", diff)
		}
		if len(ifaces) != 2 || ifaces[0].Name != "local/cart" || ifaces[1].Workload == nil || ifaces[1].Workload.Build != "k1" {
			t.Errorf("interfaces: %+v", ifaces)
		}
		if len(names) != 2 || names[0].Addr != netip.MustParseAddr("10.0.0.1") || names[0].Names[0] != "cart" {
			t.Errorf("names: %+v", names)
		}
	})
	t.Run("masked", func(t *testing.T) {
		got, _, _ := packetsOf(t, exportTo(t, sn, ExportOptions{}))
		if len(got) != len(original) {
			t.Fatalf("%d packets, want %d", len(got), len(original))
		}
		for i := range got {
			for _, gone := range []string{"sesame", "ame-open"} {
				if bytes.Contains(got[i].Data, []byte(gone)) {
					t.Errorf("packet %d still carries %q", i+1, got[i].Data)
				}
			}
			if len(got[i].Data) != len(original[i].Data) || got[i].Time != original[i].Time || got[i].Direction != original[i].Direction {
				t.Errorf("packet %d is not the same but for its secrets", i+1)
			}
		}
		if want := []byte("Authorization: Bearer ***********\r\n"); !bytes.Contains(got[6].Data, want) {
			t.Errorf("packet 7 is %q, want %q in it", got[6].Data, want)
		}
	})
	t.Run("evidence", func(t *testing.T) {
		d, err := sn.Dissect(t.Context(), dissect.Options{})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range d.Calls {
			sel, err := Select(d, []string{c.ID}, nil)
			if err != nil {
				t.Fatal(err)
			}
			path := exportTo(t, sn, ExportOptions{Select: sel})
			part, err := DissectFile(t.Context(), path, FileOptions{Redactor: s.Redactor()})
			if err != nil || len(part.Calls) != 1 || part.Calls[0].Status != 200 || part.Calls[0].Start != c.Start || part.Calls[0].Dst.Service != "catalogue" {
				t.Errorf("the slice of call %s holds %+v, %v", c.ID, part, err)
			}
		}
		if _, err := Select(d, []string{"x"}, nil); err == nil {
			t.Error("a call that is not there was selected")
		}
		if sel, err := Select(d, nil, []uint64{d.Connections[1].ID}); err != nil || sel[0].Tuple.A.Port() != 40002 {
			t.Errorf("selected %+v, %v", sel, err)
		}
	})
	t.Run("slices", func(t *testing.T) {
		conn := &traffic.Connection{Proto: "tcp", Src: traffic.Endpoint{IP: netip.MustParseAddr("10.0.0.1"), Port: 40002}, Dst: traffic.Endpoint{IP: netip.MustParseAddr("10.0.0.2"), Port: 8080}}
		call := &traffic.Call{Src: conn.Src, Dst: conn.Dst, RequestPackets: traffic.PacketRange{First: 23, Last: 26}, ResponsePackets: traffic.PacketRange{First: 27, Last: 28}}
		for _, c := range []struct {
			name        string
			o           ExportOptions
			first, last uint64
		}{
			{"numbers", ExportOptions{From: 7, To: 10}, 7, 10},
			{"time", ExportOptions{Start: original[30].Time, End: original[32].Time}, 31, 32},
			{"connection", ExportOptions{Select: []Selection{SelectConnection(conn)}}, 17, 34},
			{"call", ExportOptions{Select: []Selection{SelectCall(call)}}, 23, 28},
			{"nothing", ExportOptions{From: 1000}, 1, 0},
		} {
			path := exportTo(t, sn, c.o)
			got, _, _ := packetsOf(t, path)
			if len(got) != int(c.last-c.first+1) {
				t.Errorf("%s: %d packets, want %d to %d", c.name, len(got), c.first, c.last)
				continue
			}
			raw, _ := os.ReadFile(path)
			for i := range got {
				if n := c.first + uint64(i); got[i].Time != original[n-1].Time || !bytes.Contains(raw, fmt.Appendf(nil, "packet %d of snapshot i1", n)) {
					t.Errorf("%s: packet %d is not %d of the snapshot", c.name, i+1, n)
				}
			}
		}
	})
}

func tshark(t *testing.T, path string, args ...string) string {
	t.Helper()
	program := testenv.NeedsProgram(t, "tshark")
	out, err := exec.CommandContext(t.Context(), program, append([]string{"-n", "-r", path}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("tshark %v: %v\n%s", args, err, out)
	}
	var lines []string
	for line := range strings.Lines(string(out)) {
		if !strings.HasPrefix(line, "Running as user") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}

func TestExportOpensInTshark(t *testing.T) {
	t.Parallel()
	sn := exchanged(t, opened(t, Options{}), "i1")
	path := exportTo(t, sn, ExportOptions{})
	checks := []string{"-o", "tcp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE"}
	got := tshark(t, path, append(checks, "-T", "fields", "-e", "frame.number", "-e", "frame.interface_name", "-e", "frame.packet_flags_direction",
		"-e", "tcp.checksum.status", "-e", "ip.checksum.status")...)
	var want strings.Builder
	for i, p := range func() []traffic.Packet { p, _, _ := packetsOf(t, path); return p }() {
		fmt.Fprintf(&want, "%d\t%s\t0x%08x\t1\t1\n", i+1, interfaces[p.Interface].Name, uint8(p.Direction))
	}
	if diff := cmp.Diff(want.String(), got); diff != "" {
		t.Errorf("number, interface, direction, checksums (-want +got):\n%s", diff)
	}
	hosts := tshark(t, path, "-q", "-z", "hosts")
	for _, host := range []string{"10.0.0.1\tcart", "10.0.0.2\tcatalogue"} {
		if !strings.Contains(hosts, host) {
			t.Errorf("names of tshark:\n%s\nwant %q", hosts, host)
		}
	}
	if got := tshark(t, path, "-Y", "http.request", "-T", "fields", "-e", "frame.number", "-e", "http.request.uri", "-e", "http.authorization"); !strings.Contains(got, "/items?token=***********\tBearer ***********") {
		t.Errorf("requests that tshark finds:\n%s", got)
	}
	part := exportTo(t, sn, ExportOptions{From: 7, To: 8})
	if got := tshark(t, part, "-T", "fields", "-e", "frame.comment"); got != "packet 7 of snapshot i1\npacket 8 of snapshot i1\n" {
		t.Errorf("comments of the slice:\n%s", got)
	}
}
