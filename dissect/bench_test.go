package dissect_test

import (
	"context"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/devloop-io/devloop/capture/pcapfile"
	"github.com/devloop-io/devloop/dissect"
	"github.com/devloop-io/devloop/traffic"
)

// BenchmarkRun dissects the capture that DEVLOOP_BENCH_PCAP names, reading included, and prints the ratio of CPU time
// against tshark where that is installed. Without the variable it dissects a made-up capture in memory.
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

func benchmarkMade(b *testing.B) { b.Skip("made capture: see make_test.go") }
