package dissect_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/devloop-io/devloop/capture/pcapfile"
	"github.com/devloop-io/devloop/dissect"
	"github.com/devloop-io/devloop/dissect/tls"
	"github.com/devloop-io/devloop/traffic"
)

// TestLent: calls that are lent say what those say that are given away, however late they come back and whatever was made of them.
func TestLent(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "*", "*.pcap*"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	if dir := os.Getenv("DEVLOOP_PCAPS"); dir != "" {
		err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
			if info, _ := e.Info(); err == nil && info.Mode().IsRegular() && info.Size() < 1<<20 && strings.Contains(path, ".pcap") {
				files = append(files, path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	files = append(files, manyPairs(t), upgradedSlowly(t))
	for _, file := range files {
		want := linesOf(t, file, -1)
		for _, late := range []int{0, 7} {
			if diff := cmp.Diff(want, linesOf(t, file, late)); diff != "" {
				t.Fatalf("%s, calls returned %d later (-given away +lent):\n%s", file, late, diff)
			}
		}
	}
}

// linesOf dissects a file. Calls are lent unless late is negative, and each comes back, scribbled over, when so many others came after it.
func linesOf(t *testing.T, file string, late int) (lines []string) {
	r, err := pcapfile.Open(file)
	if err != nil {
		return []string{err.Error()}
	}
	defer r.Close()
	var out []*traffic.Call
	o := dissect.Options{Secrets: new(tls.Secrets)}
	write := func(c *traffic.Call) {
		b, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, string(b))
		if h := c.HTTP; h != nil {
			for _, body := range [][]byte{h.RequestBody, h.ResponseBody} {
				for i := range body {
					body[i] = '!'
				}
			}
			for _, list := range [][]traffic.Header{h.RequestHeaders, h.ResponseHeaders} {
				for i := range list {
					list[i] = traffic.Header{Name: "gone", Value: "gone"}
				}
			}
		}
	}
	o.OnCall = func(c *traffic.Call) { out = append(out, c) }
	if late >= 0 {
		o.Returned = func() int {
			if len(out) <= late {
				return 0
			}
			write(out[0])
			out = out[1:]
			return 1
		}
	}
	_, err = dissect.Run(context.Background(), r.Next, r.Interface, o)
	for _, c := range out {
		write(c)
	}
	if err != nil {
		lines = append(lines, err.Error())
	}
	return lines
}

// manyPairs is a capture of connections that pipeline, whose messages come in all sizes.
func manyPairs(t *testing.T) string {
	var packets []traffic.Packet
	for i := range 4 {
		m := newMaker()
		m.client = addrPort("10.0.0.1:" + strconv.Itoa(40000+i))
		m.open()
		for n := range 60 {
			body := strings.Repeat(strconv.Itoa(n), n*n*7%9000)
			head := "X-Id: " + strconv.Itoa(i*1000+n) + "\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n" + strings.Repeat("X-Pad: "+strconv.Itoa(n)+"\r\n", n%45)
			m.send(0, "POST /"+strconv.Itoa(n)+" HTTP/1.1\r\nHost: x\r\n"+head+"\r\n"+body, 1400)
			if n%3 == 2 {
				for k := n - 2; k <= n; k++ {
					m.send(1, "HTTP/1.1 200 OK\r\nX-Answer: "+strconv.Itoa(k)+"\r\n"+head+"\r\n"+body, 1300)
				}
			}
		}
		if i%2 == 0 {
			m.close(0)
		}
		packets = append(packets, m.packets...)
	}
	return captureOf(t, packets)
}

// upgradedSlowly is a capture of a request whose answer comes in another protocol, after many others' calls.
func upgradedSlowly(t *testing.T) string {
	up, other := newMaker(), newMaker()
	other.client = addrPort("10.0.0.3:40001")
	up.open()
	up.send(0, "GET /slow HTTP/1.1\r\nHost: slow\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n\r\n", 1400)
	up.send(1, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00", 1400)
	other.now = up.now
	other.open()
	for n := range 40 {
		other.send(0, "GET /other/"+strconv.Itoa(n)+" HTTP/1.1\r\nHost: other\r\nX-Other: "+strconv.Itoa(n)+"\r\n\r\n", 1400)
		other.send(1, ok, 1400)
	}
	up.now = other.now
	up.send(0, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00", 1400)
	up.send(1, "\x00\x00\x01\x01\x05\x00\x00\x00\x01\x88", 1400)
	return captureOf(t, append(up.packets, other.packets...))
}

// captureOf writes packets into a file, in the order of their times.
func captureOf(t *testing.T, packets []traffic.Packet) string {
	slices.SortStableFunc(packets, func(a, b traffic.Packet) int { return int(a.Time - b.Time) })
	file := filepath.Join(t.TempDir(), "made.pcapng")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := pcapfile.NewWriter(f, pcapfile.Header{})
	w.AddInterface(&traffic.Interface{Link: traffic.LinkEthernet})
	for i := range packets {
		if err := w.Write(&packets[i], 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return file
}
