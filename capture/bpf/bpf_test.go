package bpf

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/devloop-io/devloop/capture/pcapfile"
	"github.com/devloop-io/devloop/internal/testenv"
	"github.com/devloop-io/devloop/traffic"
)

// raw makes an IPv4 packet of a protocol with ports.
func raw(proto byte, src, dst string, sport, dport int, more ...byte) traffic.Packet {
	b := make([]byte, 20, 40)
	b[0], b[8], b[9] = 0x45, 64, proto
	fmt.Sscanf(src, "%d.%d.%d.%d", &b[12], &b[13], &b[14], &b[15])
	fmt.Sscanf(dst, "%d.%d.%d.%d", &b[16], &b[17], &b[18], &b[19])
	b = append(b, byte(sport>>8), byte(sport), byte(dport>>8), byte(dport))
	switch proto {
	case protoTCP:
		b = append(b, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 0, 0, 0, 0, 0, 0, 0)
	case protoUDP:
		b = append(b, 0, byte(8+len(more)), 0, 0)
	}
	b = append(b, more...)
	b[2], b[3] = byte(len(b)>>8), byte(len(b))
	return traffic.Packet{Data: b, Length: len(b), Link: traffic.LinkRaw}
}

func TestMatch(t *testing.T) {
	t.Parallel()
	syn := raw(protoTCP, "10.0.0.1", "10.0.0.2", 40000, 80)
	syn.Data[33] = 2
	packets := map[string]traffic.Packet{
		"syn": syn, "data": raw(protoTCP, "10.0.0.2", "10.0.0.1", 80, 40000, []byte("hello")...), "dns": raw(protoUDP, "10.0.0.1", "10.1.0.53", 5353, 53, 1, 2, 3),
		"ping": raw(protoICMP, "10.0.0.1", "192.168.0.1", 0x0800, 0), "arp": {Data: []byte{0, 1, 8, 0}, Length: 4, Link: traffic.LinkRaw},
	}
	for expression, want := range map[string]string{
		"":                                 "arp data dns ping syn",
		"ip":                               "data dns ping syn",
		"ip6":                              "",
		"tcp":                              "data syn",
		"icmp":                             "ping",
		"not ip":                           "arp",
		"! (tcp || udp)":                   "arp ping",
		"host 10.0.0.2":                    "data syn",
		"src 10.0.0.2":                     "data",
		"dst host 10.0.0.2":                "syn",
		"host 10.0.0.2 or 10.1.0.53":       "data dns syn",
		"host 10.0.0.1 and not 10.0.0.2":   "dns ping",
		"src or dst net 192.168.0.0/16":    "ping",
		"net 10.1":                         "dns",
		"net 10.1.0.0 mask 255.255.0.0":    "dns",
		"net 10.0.0.0/8 and port 53":       "dns",
		"port 80 or 53":                    "data dns syn",
		"tcp port 53":                      "",
		"udp dst port domain":              "dns",
		"tcp src port http":                "data",
		"src and dst port 80":              "",
		"portrange 50-100":                 "data dns syn",
		"ip proto 17":                      "dns",
		"proto icmp":                       "ping",
		"tcp[tcpflags] & tcp-syn != 0":     "syn",
		"tcp[13] & (tcp-syn|tcp-ack) == 2": "syn",
		"tcp[0:2] = 80":                    "data",
		"ip[9] = 1":                        "ping",
		"icmp[icmptype] = icmp-echo":       "ping",
		"greater 45":                       "data",
		"less 24 and ip":                   "ping",
		"len > 40":                         "data",
		"tcp or udp and port 53":           "dns", // from left to right, as there
		"tcp or (udp and port 53)":         "data dns syn",
		"not tcp and not udp and ip":       "ping",
	} {
		f, err := Compile(expression)
		if err != nil {
			t.Errorf("%q: %v", expression, err)
			continue
		}
		var got []string
		for _, name := range []string{"arp", "data", "dns", "ping", "syn"} {
			if p := packets[name]; f.Match(&p) {
				got = append(got, name)
			}
		}
		if g := strings.Join(got, " "); g != want {
			t.Errorf("%q selects %q, want %q", expression, g, want)
		}
	}
}

func TestErrorsNameTheColumn(t *testing.T) {
	t.Parallel()
	for expression, want := range map[string]string{
		"hots 10.0.0.1":                  `column 1: "hots" is not understood`,
		"host":                           "column 5: host of what?",
		"host shop":                      `column 6: "shop" is no address`,
		"tcp port 99999":                 `column 10: "99999" is no port`,
		"tcp and":                        "column 8: the filter ends",
		"(tcp or udp":                    "column 12: the parenthesis of column 1 is not closed",
		"tcp udp":                        `column 5: "udp" is not expected here`,
		"net 10.0.0.1/8":                 "column 5: 10.0.0.1/8 has bits beyond its length; the network is 10.0.0.0/8",
		"net 10.0.0.0 mask 255.0.255.0":  "column 19: mask 255.0.255.0 has holes",
		"portrange 80":                   `column 11: "80" is no range`,
		"tcp[tcpflags] tcp-syn":          "column 15: a comparison is missing",
		"tcp[x] = 1":                     `column 5: "x" is no offset`,
		"ip proto 300":                   `column 10: "300" is no number from 0 to 255`,
		"ether host 0:1:2:3:4:5":         `column 1: "ether" is not understood`,
		strings.Repeat("(", 100) + "tcp": "parentheses are nested too deep",
		strings.Repeat("tcp or ", 1000):  "at most 4096 bytes",
	} {
		_, err := Compile(expression)
		var e *Error
		if !errors.As(err, &e) || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v, want %q", expression, err, want)
		}
	}
}

// TestAsTcpdump compares with tcpdump on real packets, where it is installed.
func TestAsTcpdump(t *testing.T) {
	t.Parallel()
	testenv.NeedsProgram(t, "tcpdump")
	for _, capture := range []string{"http2", "dns_over_udp", "postgresql", "redis"} {
		path := filepath.Join("..", "..", "dissect", "testdata", capture, "input.pcapng")
		if _, err := os.Stat(path); err != nil {
			continue
		}
		classic, packets := classic(t, path)
		for _, expression := range []string{
			"tcp", "udp", "ip", "ip6", "port 80", "tcp[tcpflags] & (tcp-syn|tcp-fin) != 0", "tcp[13] = 16", "greater 100", "less 60", "not tcp",
			"src portrange 1024-65535", "net 10.0.0.0/8", "net 127", "tcp or udp and port 53", "ip[2:2] > 100", "tcp and not port 22",
		} {
			out, err := exec.CommandContext(t.Context(), "tcpdump", "-n", "-t", "-q", "-r", classic, expression).Output()
			if err != nil {
				t.Fatalf("tcpdump %q: %v", expression, err)
			}
			f, err := Compile(expression)
			if err != nil {
				t.Fatal(err)
			}
			n := 0
			for i := range packets {
				if f.Match(&packets[i]) {
					n++
				}
			}
			if want := strings.Count(string(out), "\n"); n != want {
				t.Errorf("%s: %q selects %d packets, and with tcpdump %d", capture, expression, n, want)
			}
		}
	}
}

// classic rewrites a capture as pcap, which every tcpdump reads.
func classic(t *testing.T, path string) (string, []traffic.Packet) {
	t.Helper()
	r, err := pcapfile.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	to := filepath.Join(t.TempDir(), "x.pcap")
	f, err := os.Create(to)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := pcapfile.NewPCAPWriter(f)
	var packets []traffic.Packet
	var p traffic.Packet
	for err = r.Next(&p); err == nil; err = r.Next(&p) {
		k := look(&p)
		if k.version == 0 {
			continue
		}
		own := p
		own.Data, own.Link = append([]byte(nil), k.data...), traffic.LinkRaw
		own.Length = len(own.Data)
		packets = append(packets, own)
		if err := w.Write(p.Time, own.Data, len(own.Data)); err != nil {
			t.Fatal(err)
		}
	}
	if err != io.EOF {
		t.Fatal(err)
	}
	return to, packets
}

func FuzzCompile(f *testing.F) {
	for _, s := range []string{"tcp port 80", "host 10.0.0.1 or 10.0.0.2", "tcp[tcpflags] & (tcp-syn|tcp-ack) != 0", "not (net 10.0.0.0/8)", "len <= 60"} {
		f.Add(s, []byte{0x45, 0, 0, 20, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 0, 80})
	}
	f.Fuzz(func(t *testing.T, text string, data []byte) {
		c, err := Compile(text)
		if err == nil {
			c.Match(&traffic.Packet{Data: data, Length: len(data), Link: traffic.LinkRaw})
		} else if e := new(Error); !errors.As(err, &e) || e.Column < 1 || e.Column > len(text)+1 {
			t.Fatalf("%q: %v", text, err)
		}
	})
}
