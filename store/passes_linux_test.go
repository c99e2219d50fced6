package store

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/devloop-io/devloop/capture"
	"github.com/devloop-io/devloop/capture/pcapfile"
	"github.com/devloop-io/devloop/dissect"
	"github.com/devloop-io/devloop/traffic"
)

// What DissectInto may take: so many MB, and for a million calls so many more.
const (
	intoMemory  = 200
	intoPerCall = 700
)

const intoChild = "DEVLOOP_STORE_INTO"

// TestDissectIntoMemory dissects a snapshot of many calls, of which each is wide and has a trace of its own, in a process of its own.
// DEVLOOP_BENCH_CALLS says how many, 20,000 without it; docs/performance.md has the figures of a million.
func TestDissectIntoMemory(t *testing.T) {
	calls, _ := strconv.Atoi(cmp.Or(os.Getenv("DEVLOOP_BENCH_CALLS"), "20000"))
	s := opened(t, Options{})
	file := filepath.Join(t.TempDir(), "many.pcapng")
	writeTalks(t, file, calls)
	sn, err := s.Seal(t.Context(), SealRequest{ID: "many", Segments: []capture.Segment{{Seq: 1, Path: file}}})
	if err != nil {
		t.Fatal(err)
	}
	defer sn.Close()
	cmd := exec.Command(os.Args[0], "-test.run=^TestDissectIntoChild$", "-test.v")
	cmd.Env = append(os.Environ(), intoChild+"="+s.Dir())
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	_, line, _ := strings.Cut(string(out), "peak ")
	var kB float64
	if _, err := fmt.Sscan(line, &kB); err != nil {
		t.Fatalf("%q: %v", out, err)
	}
	d, err := sn.Dissection("d1")
	if err != nil {
		t.Fatal(err)
	}
	if n, err := d.Entries(); err != nil || n != int64(calls) {
		t.Errorf("%d calls are stored of %d: %v", n, calls, err)
	}
	p := cmd.ProcessState
	t.Logf("%d calls: %.0f MB at the peak, %.1f CPU seconds, %d bytes stored a call", calls, kB/1000, (p.UserTime() + p.SystemTime()).Seconds(), d.Size/int64(calls))
	if most := intoMemory + intoPerCall*float64(calls)/1e6; kB/1000 > most {
		t.Errorf("%.0f MB at the peak, want at most %.0f", kB/1000, most)
	}
}

// TestDissectIntoChild is what TestDissectIntoMemory measures.
func TestDissectIntoChild(t *testing.T) {
	dir := os.Getenv(intoChild)
	if dir == "" {
		t.Skip("it is a part of TestDissectIntoMemory")
	}
	s, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	sn, err := s.Snapshot("many")
	if err != nil {
		t.Fatal(err)
	}
	defer sn.Close()
	if err := sn.DissectInto(t.Context(), "d1", dissect.Options{}, nil); err != nil {
		t.Fatal(err)
	}
	status, _ := os.ReadFile("/proc/self/status")
	_, peak, _ := strings.Cut(string(status), "VmHWM:")
	fmt.Println("peak", strings.Fields(peak + " 0")[0])
}

// writeTalks writes a capture of connections of ten calls each, eight of them at a time.
func writeTalks(t *testing.T, file string, calls int) {
	const each, trace = 10, "4bf92f3577b34da6a3ce929d0e0e4736"
	c := newTalk(t, 40001, 1e18)
	for range each {
		c.request("GET /orders/1234567 HTTP/1.1\r\nHost: catalogue\r\nUser-Agent: Go-http-client/1.1\r\nAccept: application/json\r\nX-Request-Id: " + trace +
			"\r\nTraceparent: 00-" + trace + "-00f067aa0ba902b7-01\r\n\r\n")
		body := `{"id":1234567,"state":"sent","lines":[` + strings.Repeat(`{"sku":"A1","n":2},`, 20) + `{}]}`
		c.respond("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nServer: catalogue\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body)
	}
	c.finish()
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	out := bufio.NewWriterSize(f, 1<<20)
	w := pcapfile.NewWriter(out, pcapfile.Header{})
	for _, ifc := range ends {
		w.AddInterface(&ifc)
	}
	took := c.packets[len(c.packets)-1].Time - c.packets[0].Time + int64(50*time.Millisecond) // closed connections are remembered for 30 s
	for n := 0; n < calls/each; n += 8 {
		for i := range c.packets {
			for k := n; k < min(n+8, calls/each); k++ {
				p := c.packets[i]
				p.Data = slices.Clone(p.Data)
				p.Time += int64(n/8)*took + int64(k-n)
				for _, ip := range [][]byte{p.Data[12:16], p.Data[16:20]} {
					if ip[3] == 1 { // the client
						binary.BigEndian.PutUint32(ip, 10<<24|uint32(k+256))
					}
				}
				for at := 0; ; at += len(trace) {
					next := strings.Index(string(p.Data[at:]), trace)
					if next < 0 {
						break
					}
					at += next
					copy(p.Data[at:], fmt.Sprintf("%016x%016x", k+1, i+1))
				}
				if err := w.Write(&p, p.Interface); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if err := out.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

var ends = []traffic.Interface{
	{Index: 0, Name: "cart", Link: traffic.LinkRaw, Workload: &traffic.Workload{Namespace: "local", Service: "cart"}},
	{Index: 1, Name: "catalogue", Link: traffic.LinkRaw, Workload: &traffic.Workload{Namespace: "local", Service: "catalogue"}},
}
