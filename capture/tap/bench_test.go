//go:build linux && (amd64 || arm64)

package tap

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/devloop-io/devloop/capture"
	"github.com/devloop-io/devloop/internal/testenv"
	"github.com/devloop-io/devloop/traffic"
)

// BenchmarkAgainstTcpdump compares what capture costs the services and the machine with what `tcpdump -w` costs: none,
// tap and tcpdump take turns, five times each. Both write their packets into a small ring of files, as a capture that runs
// all day does: in one growing file, on a young virtual machine, the first touch of each page of memory costs ten times
// what writing it costs, and that would be all one sees. It prints medians and ratios; the
// capture's cost is CPU time, of the services' processes and of whoever captures, beyond that without capture.
//
//	go test -run '^$' -bench AgainstTcpdump -benchtime 1x ./capture/tap
func BenchmarkAgainstTcpdump(b *testing.B) {
	testenv.NeedsProgram(b, "tcpdump")
	root := testRoot(b)
	for _, load := range []struct {
		role, unit string
		count      int
	}{{"pingpong", "ns/round-trip", 40_000}, {"http", "ns/request", 20_000}} {
		b.Run(load.role, func(b *testing.B) {
			for b.Loop() {
				compare(b, root, load.role, load.count, load.unit)
			}
		})
	}
}

// cost is CPU nanoseconds per round trip or request.
type cost struct{ services, capturer float64 }

func (c cost) total() float64 { return c.services + c.capturer }

func compare(b *testing.B, root, role string, count int, unit string) {
	modes := []string{"none", "tap", "tcpdump"}
	costs := map[string][]cost{}
	for range 5 {
		for _, mode := range modes {
			costs[mode] = append(costs[mode], measure(b, root, role, mode, count))
		}
	}
	median := func(mode string, of func(cost) float64) float64 {
		var v []float64
		for _, c := range costs[mode] {
			v = append(v, of(c))
		}
		slices.Sort(v)
		return v[len(v)/2]
	}
	base := median("none", cost.total)
	added := map[string]float64{}
	for _, mode := range modes {
		added[mode] = median(mode, cost.total) - base
		b.Logf("%-8s %-8s services %6.0f + capturer %5.0f = %6.0f %s, added %5.0f, %.3f of none", role, mode,
			median(mode, func(c cost) float64 { return c.services }), median(mode, func(c cost) float64 { return c.capturer }),
			median(mode, cost.total), unit, added[mode], median(mode, cost.total)/base)
	}
	b.ReportMetric(median("tap", cost.total)/median("tcpdump", cost.total), "tap/tcpdump")
	b.ReportMetric(added["tap"]/added["tcpdump"], "added-tap/added-tcpdump")
	b.ReportMetric(added["tap"], "tap-"+unit)
	b.ReportMetric(added["tcpdump"], "tcpdump-"+unit)
}

// measure runs the load once under one way of capturing.
func measure(b *testing.B, root, role, mode string, count int) cost {
	dir := b.TempDir()
	name := fmt.Sprintf("%s-%s-%d", role, mode, time.Now().UnixNano())
	path := filepath.Join(root, name)
	if err := os.Mkdir(path, 0o755); err != nil {
		b.Fatal(err)
	}
	p := start(b, path, "", role, "127.0.0.1:0", count, 128)
	_, port, _ := net.SplitHostPort(p.line(b))
	end := func() (cpu int64, packets uint64) { return 0, 1 }
	switch mode {
	case "tap":
		end = benchTap(b, path, dir)
	case "tcpdump":
		end = benchTcpdump(b, dir, port)
	}
	p.in.Write([]byte("!"))
	used, err := strconv.ParseFloat(p.line(b), 64)
	if err != nil {
		b.Fatal(err)
	}
	cpu, packets := end()
	p.Wait()
	os.RemoveAll(dir)
	if mode != "none" && packets < uint64(count) {
		b.Errorf("%s recorded %d packets of %d round trips", mode, packets, count)
	}
	for range 200 {
		if os.Remove(path) == nil {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	return cost{used / float64(count), float64(cpu) / float64(count)}
}

// benchTap records with the tap as the product does.
func benchTap(b *testing.B, cgroup, dir string) func() (int64, uint64) {
	s, err := Open(benchOptions(cgroup))
	if err != nil {
		b.Fatal(err)
	}
	rec, err := capture.NewRecorder(dir, capture.RecorderOptions{SegmentSize: 2_000_000, RingSize: 8_000_000})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	var wg sync.WaitGroup
	var ifaces []traffic.Interface
	wg.Go(func() {
		s.Run(ctx, func(p *traffic.Packet) {
			if p.Interface >= len(ifaces) {
				ifaces = s.Interfaces()
			}
			if err := rec.Write(p, &ifaces[p.Interface]); err != nil {
				b.Error(err)
			}
		})
	})
	runtime.GC()
	used := cpuTime()
	return func() (int64, uint64) {
		s.Flush(b.Context())
		if _, err := rec.Rotate(s.Stats()); err != nil {
			b.Error(err)
		}
		used = cpuTime() - used
		cancel()
		wg.Wait()
		st := s.Stats()
		if st.Dropped > 0 {
			b.Errorf("the tap lost %d packets", st.Dropped)
		}
		rec.Close()
		s.Close()
		return used, st.Received
	}
}

func benchOptions(cgroup string) Options {
	o := Options{CGroup: cgroup}
	switch os.Getenv("TAP_BENCH") {
	case "whole":
		o.WholeIngress = true
	case "egress":
		o.EgressOnly = true
	}
	return o
}

func benchTcpdump(b *testing.B, dir, port string) func() (int64, uint64) {
	cmd := exec.Command("tcpdump", "-i", "lo", "-n", "-Z", "root", "-C", "2", "-W", "4", "-w", filepath.Join(dir, "x.pcap"), "tcp port "+port)
	stderr, _ := cmd.StderrPipe()
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	r := bufio.NewReader(stderr)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			b.Fatal(err)
		}
		if strings.Contains(line, "listening on") {
			break
		}
	}
	before := processCPU(cmd.Process.Pid)
	return func() (int64, uint64) {
		time.Sleep(200 * time.Millisecond) // it has no flush
		cmd.Process.Signal(syscall.SIGINT)
		rest, _ := io.ReadAll(r)
		cmd.Wait()
		var packets uint64
		fmt.Sscan(string(rest), &packets)
		if !strings.Contains(string(rest), "\n0 packets dropped by kernel") {
			b.Logf("tcpdump: %q", rest)
		}
		return (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Nanoseconds() - before, packets
	}
}

// processCPU is what the process's only thread has used.
func processCPU(pid int) int64 {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/schedstat", pid))
	var ns int64
	fmt.Sscan(string(text), &ns)
	return ns
}

// pingPong is a load with one thread and so with little noise: it holds both ends of a connection.
func pingPong(count, size int) error {
	runtime.LockOSThread()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	c, err := net.Dial("tcp4", l.Addr().String())
	if err != nil {
		return err
	}
	s, err := l.Accept()
	if err != nil {
		return err
	}
	var fds [2]int
	for i, conn := range []net.Conn{c, s} {
		f, err := conn.(*net.TCPConn).File()
		if err != nil {
			return err
		}
		fds[i] = int(f.Fd())
		syscall.SetNonblock(fds[i], false)
		defer f.Close()
	}
	fmt.Println(l.Addr())
	io.ReadFull(os.Stdin, make([]byte, 1))
	buf := make([]byte, size)
	turn := func(from, to int) {
		unix.Write(from, buf)
		for got := 0; got < size; {
			n, _ := unix.Read(to, buf[got:])
			got += n
		}
	}
	var before, after unix.Timespec
	unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &before)
	for range count {
		turn(fds[0], fds[1])
		turn(fds[1], fds[0])
	}
	unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &after)
	fmt.Println(after.Nano() - before.Nano())
	return nil
}

// httpLoad is a server and eight clients in one process.
func httpLoad(count int) error {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	body := strings.Repeat("x", 1000)
	go http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, body) }))
	fmt.Println(l.Addr())
	io.ReadFull(os.Stdin, make([]byte, 1))
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 8}}
	used := cpuTime()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range count / 8 {
				res, err := client.Get("http://" + l.Addr().String())
				if err != nil {
					fmt.Fprintln(os.Stderr, err)
					return
				}
				io.Copy(io.Discard, res.Body)
				res.Body.Close()
			}
		})
	}
	wg.Wait()
	fmt.Println(cpuTime() - used)
	return nil
}
