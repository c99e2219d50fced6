package dissect_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/devloop-io/devloop/capture/pcapfile"
	"github.com/devloop-io/devloop/dissect"
	"github.com/devloop-io/devloop/traffic"
)

var update = flag.Bool("update", false, "rewrite the goldens")

const (
	get  = "GET /items?page=2 HTTP/1.1\r\nHost: catalogue\r\nTraceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\nDevloop-Iteration: i12\r\n\r\n"
	post = "POST /cart HTTP/1.1\r\nHost: catalogue\r\nContent-Length: 11\r\n\r\nhello world"
	ok   = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Type: text/plain\r\n\r\nhello"
	head = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
	sse  = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n5\r\nhello\r\n6;ext=1\r\n world\r\n0\r\nX-Sum: 7\r\n\r\n"
)

func packed(s string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write([]byte(s))
	w.Close()
	return b.String()
}

// question is a DNS query for shop.test A; answer adds 10.1.2.3.
func question(id byte) []byte {
	return append([]byte{0, id, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0}, "\x04shop\x04test\x00\x00\x01\x00\x01"...)
}

func answer(id byte) []byte {
	b := question(id)
	b[2], b[7] = 0x81, 1
	return append(b, "\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\x0a\x01\x02\x03"...)
}

// scenarios are captures made by hand; the folder of each in testdata says what is found in it.
var scenarios = map[string]func(m *maker){
	"get":       func(m *maker) { m.open(); m.send(0, get, 1400); m.send(1, ok, 1400); m.close(0) },
	"bytewise":  func(m *maker) { m.open(); m.send(0, get+post, 7); m.send(1, sse+ok, 11); m.close(0) },
	"pipelined": func(m *maker) { m.open(); m.send(0, get+post+get, 1400); m.send(1, ok+sse+ok, 1400); m.close(0) },
	"keep_alive": func(m *maker) {
		m.open()
		for range 3 {
			m.send(0, get, 1400)
			m.send(1, ok, 1400)
		}
		m.close(0)
	},
	"head_and_304": func(m *maker) {
		m.open()
		m.send(0, strings.Replace(get, "GET", "HEAD", 1), 1400)
		m.send(1, head, 1400)
		m.send(0, get, 1400)
		m.send(1, "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", 1400)
		m.close(0)
	},
	"continue": func(m *maker) {
		m.open()
		m.send(0, post[:len(post)-11], 1400)
		m.send(1, "HTTP/1.1 100 Continue\r\n\r\n", 1400)
		m.send(0, post[len(post)-11:], 1400)
		m.send(1, ok, 1400)
		m.close(0)
	},
	"gzip": func(m *maker) {
		z := packed(strings.Repeat("devloop ", 20))
		m.open()
		m.send(0, get, 1400)
		m.send(1, "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nConnection: close\r\n\r\n"+z, 40)
		m.close(1)
	},
	"upgrade": func(m *maker) {
		m.open()
		m.send(0, "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", 1400)
		m.send(1, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x02hi", 1400)
		m.send(0, "\x81\x82abcdxy", 1400)
		m.close(0)
	},
	"connect_tunnel": func(m *maker) {
		m.open()
		m.send(0, "CONNECT b:80 HTTP/1.1\r\nHost: b:80\r\n\r\n", 1400)
		m.send(1, "HTTP/1.1 200 Connection established\r\n\r\n", 1400)
		m.send(0, get, 1400)
		m.send(1, ok, 1400)
		m.close(0)
	},
	"reset_by_server": func(m *maker) { m.open(); m.send(0, get, 1400); m.flag(1, 0x14) },
	"cancelled":       func(m *maker) { m.open(); m.send(0, get, 1400); m.flag(0, 0x11); m.flag(1, 0x11); m.flag(0, 0x10) },
	"server_closes":   func(m *maker) { m.open(); m.send(0, get, 1400); m.close(1) },
	"snaplen": func(m *maker) { // 70 bytes of each packet: the lines of requests end in their targets
		m.open()
		for _, path := range []string{"/a/long/way", "/another/way", "http://a/long/way"} {
			m.send(0, strings.Replace(get, "/items", path, 1), 1400)
			m.send(1, ok, 1400)
		}
		m.send(0, "GET /7 HTTP/1.0\r\n\r\n", 1400) // its version ends there
		m.send(1, ok, 1400)
		m.close(0)
		for i := range m.packets {
			m.packets[i].Data = m.packets[i].Data[:min(70, len(m.packets[i].Data))]
		}
	},
	"continue_late": func(m *maker) { // the request was sent before the capture began
		m.send(1, "HTTP/1.1 100 Continue\r\n\r\n", 1400)
		m.send(0, post[len(post)-11:], 1400)
		m.send(1, ok, 1400)
		m.close(0)
	},
	"truncated":      func(m *maker) { m.open(); m.send(0, get, 1400); m.send(1, ok[:len(ok)-3], 1400); m.close(1) },
	"refused":        func(m *maker) { m.flag(0, 2); m.seq[0]--; m.seq[0]++; m.flag(1, 0x14) },
	"unanswered_syn": func(m *maker) { m.flag(0, 2); m.seq[0]--; m.now += 1e9; m.flag(0, 2) },
	"challenged": func(m *maker) { // the server still has an older connection
		m.flag(0, 2)
		old := m.tcp(1, 77_000_000, 99_000_000, 0x10, "")
		m.add(1, old)
		m.add(0, m.tcp(0, 99_000_000, 0, 4, ""))
		m.seq[0]--
		m.now += 1e9
		m.open()
		m.send(0, get, 1400)
		m.send(1, ok, 1400)
		m.close(0)
	},
	"early_413": func(m *maker) {
		m.open()
		m.send(0, "POST /big HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nxxxxx", 1400)
		m.send(1, "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n", 1400)
		m.close(1)
	},
	"joined_late": func(m *maker) {
		m.send(1, "rest of a body", 1400)
		m.send(1, ok, 1400)
		m.send(0, get, 1400)
		m.send(1, ok, 1400)
		m.close(0)
	},
	"gap_in_body": func(m *maker) {
		m.open()
		m.send(0, get, 1400)
		m.send(1, "HTTP/1.1 200 OK\r\nContent-Length: 3000\r\n\r\n"+strings.Repeat("a", 1000), 1400)
		m.lose(1, 1000)
		m.send(1, strings.Repeat("c", 1000), 1400)
		m.send(0, get, 1400)
		m.send(1, ok, 1400)
		m.close(0)
	},
	"gap_in_head": func(m *maker) {
		m.open()
		m.send(0, get[:40], 1400)
		m.lose(0, len(get)-40)
		m.send(1, ok, 1400)
		m.send(0, post, 1400)
		m.send(1, ok, 1400)
		m.close(0)
	},
	"gap_in_both_heads": func(m *maker) {
		m.open()
		m.send(0, post[:32], 1400)
		m.lose(0, len(post)-32)
		m.send(1, ok[:38], 1400)
		m.lose(1, len(ok)-38)
		m.send(0, get, 1400)
		m.send(1, ok, 1400)
		m.close(0)
	},
	"gap_is_request": func(m *maker) {
		m.open()
		m.send(0, get, 1400)
		m.send(1, ok, 1400)
		m.lose(0, len(get))
		m.send(1, ok, 1400)
		m.send(0, post, 1400)
		m.send(1, ok, 1400)
		m.close(0)
	},
	"gap_is_response": func(m *maker) {
		m.open()
		m.send(0, get, 1400)
		m.lose(1, len(ok))
		m.send(0, post, 1400)
		m.send(1, strings.Replace(ok, "200 OK", "201 Created", 1), 1400)
		m.send(0, get, 1400)
		m.lose(1, len(ok))
		m.close(0)
	},
	"gap_among_pipelined": func(m *maker) {
		m.open()
		m.send(0, get+post+get, 1400)
		m.send(1, ok, 1400)
		m.lose(1, len(ok))
		m.send(1, strings.Replace(ok, "200 OK", "500 Oops", 1), 1400)
		m.send(0, get, 1400)
		m.send(1, ok, 1400)
		m.close(0)
	},
	"out_of_order": func(m *maker) {
		m.open()
		first := m.tcp(0, m.seq[0], m.seq[1], 0x18, get[:30])
		second := m.tcp(0, m.seq[0]+30, m.seq[1], 0x18, get[30:60])
		overlap := m.tcp(0, m.seq[0]+20, m.seq[1], 0x18, strings.Repeat("X", 20)+get[40:60])
		third := m.tcp(0, m.seq[0]+60, m.seq[1], 0x18, get[60:])
		for i, p := range []traffic.Packet{third, second, first, overlap, first} {
			p.Time = m.now + int64(i)*1000
			m.add(0, p)
		}
		m.now += 100_000
		m.seq[0] += uint32(len(get))
		m.send(1, ok, 1400)
		m.close(0)
	},
	"two_points": func(m *maker) {
		m.points = []int{0, 1}
		m.open()
		m.send(0, get, 1400)
		m.send(1, ok, 20)
		m.send(0, post, 20)
		m.send(1, sse, 30)
		m.close(0)
	},
	"dns_over_udp": func(m *maker) {
		m.server = addrPort("10.0.0.53:53")
		m.udp(0, question(1))
		m.udp(1, answer(1))
		m.udp(0, question(2))
		m.now += 1e9
		m.udp(0, question(2))
		m.udp(1, answer(2))
		m.now += 6e9
		m.udp(0, question(3))
	},
	"dns_over_tcp": func(m *maker) {
		q, a := question(7), answer(7)
		m.open()
		m.send(0, "\x00"+string(rune(len(q)))+string(q), 5)
		m.send(1, "\x00"+string(rune(len(a)))+string(a), 9)
		m.close(0)
	},
}

func made(name string) *maker {
	m := newMaker()
	scenarios[name](m)
	return m.numbered()
}

// numbered numbers the packets in their order, as a capture file does.
func (m *maker) numbered() *maker {
	for i := range m.packets {
		m.packets[i].Number = uint64(i + 1)
	}
	return m
}

// TestScenarios dissects captures made by hand and compares the rows with testdata/<scenario>/want.jsonl.
func TestScenarios(t *testing.T) {
	for name := range scenarios {
		t.Run(name, func(t *testing.T) {
			compareRows(t, name, made(name))
		})
	}
}

// compareRows dissects what is made, and compares the rows with testdata/<scenario>/want.jsonl.
func compareRows(t *testing.T, name string, m *maker) {
	t.Helper()
	var got rows
	got.Account = feed(dissect.New(got.into()), m.packets, workloads)
	compareGolden(t, filepath.Join("testdata", name), m, &got)
}

// compareWholeAndSplit is compareRows, and the same with a checkpoint at every packet.
func compareWholeAndSplit(t *testing.T, name string, m *maker) {
	t.Helper()
	compareRows(t, name, m)
	for at := range m.packets {
		split(t, m.packets, workloads, at)
	}
}

func compareGolden(t *testing.T, dir string, m *maker, got *rows) {
	t.Helper()
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	for _, c := range got.Calls {
		e.Encode(map[string]any{"call": c})
	}
	for _, c := range got.Connections {
		e.Encode(map[string]any{"connection": c})
	}
	e.Encode(map[string]any{"account": got.Account})
	file := filepath.Join(dir, "want.jsonl")
	if *update {
		writeScenario(t, dir, m)
		if err := os.WriteFile(file, out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(out.String(), "\n")); diff != "" {
		t.Errorf("rows of %s (-want +got):\n%s", dir, diff)
	}
}

// writeScenario leaves the capture beside its golden, for Wireshark.
func writeScenario(t *testing.T, dir string, m *maker) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(dir, "input.pcapng"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := pcapfile.NewWriter(f, pcapfile.Header{})
	for _, ifc := range workloads {
		ifc := *ifc
		ifc.Link = m.packets[0].Link
		if m.points == nil {
			ifc.Workload, ifc.Name = nil, "wire"
		}
		w.AddInterface(&ifc)
	}
	for i := range m.packets {
		if err := w.Write(&m.packets[i], m.packets[i].Interface); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
}

// TestCheckpointScenarios splits every made capture at every packet.
func TestCheckpointScenarios(t *testing.T) {
	for name := range scenarios {
		m := made(name)
		for at := range m.packets {
			split(t, m.packets, workloads, at)
			if t.Failed() {
				t.Fatalf("in %s", name)
			}
		}
	}
}
