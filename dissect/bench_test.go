package dissect_test

import (
	"context"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/devloop-io/devloop/capture/pcapfile"
	"github.com/devloop-io/devloop/dissect"
	"github.com/devloop-io/devloop/traffic"
)

// BenchmarkRun dissects the capture that DEVLOOP_BENCH_PCAP names, reading included, and prints the ratio of CPU time
// against tshark where that is installed and DEVLOOP_BENCH_TSHARK is set (it takes long). Without the variable it dissects a made-up capture in memory.
func BenchmarkRun(b *testing.B) {
	path := os.Getenv("DEVLOOP_BENCH_PCAP")
	if path == "" {
		benchmarkMade(b)
		return
	}
	info, err := os.Stat(path)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(info.Size())
	b.ReportAllocs()
	calls := 0
	began := cpuTime()
	for b.Loop() {
		calls = 0
		r, err := pcapfile.Open(path)
		if err != nil {
			b.Fatal(err)
		}
		_, err = dissect.Run(context.Background(), r.Next, r.Interface, dissect.Options{OnCall: func(*traffic.Call) { calls++ }})
		if err != nil {
			b.Fatal(err)
		}
		r.Close()
	}
	cpu := (cpuTime() - began) / time.Duration(b.N)
	b.ReportMetric(float64(calls), "calls")
	b.ReportMetric(cpu.Seconds(), "cpu-s/op")
	if tshark, err := exec.LookPath("tshark"); err == nil && os.Getenv("DEVLOOP_BENCH_TSHARK") != "" {
		cmd := exec.Command(tshark, "-n", "-r", path, "-Y", "http", "-T", "fields", "-e", "http.request.method", "-e", "http.request.uri", "-e", "http.response.code")
		cmd.Stdout, cmd.Stderr = io.Discard, io.Discard
		if err := cmd.Run(); err == nil {
			theirs := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
			b.ReportMetric(theirs.Seconds()/cpu.Seconds(), "tshark/ours")
		}
	}
}

// cpuTime is what this process has used, from /proc where that exists, else the wall clock.
func cpuTime() time.Duration {
	stat, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		return time.Duration(time.Now().UnixNano())
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	var ticks time.Duration
	for _, f := range fields[11:13] {
		var n time.Duration
		for _, c := range f {
			n = n*10 + time.Duration(c-'0')
		}
		ticks += n
	}
	return ticks * 10 * time.Millisecond
}

// benchmarkMade dissects a capture made in memory: 16 connections of 500 calls each.
func benchmarkMade(b *testing.B) {
	var packets []traffic.Packet
	for i := range 16 {
		m := newMaker()
		m.client = addrPort("10.0.0.1:" + strconv.Itoa(40000+i))
		m.open()
		for range 500 {
			m.send(0, get, 1400)
			m.send(1, ok, 1400)
		}
		m.close(0)
		packets = append(packets, m.packets...)
	}
	var size int64
	for i := range packets {
		size += int64(packets[i].Length)
	}
	b.SetBytes(size)
	b.ReportAllocs()
	for b.Loop() {
		calls := 0
		d := dissect.New(dissect.Options{OnCall: func(*traffic.Call) { calls++ }})
		for i := range packets {
			d.Packet(&packets[i], nil)
		}
		d.EndWindow()
		if calls != 8000 {
			b.Fatalf("found %d calls of 8000", calls)
		}
	}
}
