package dissect_test

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"
)

// rounds is how often a file is dissected; the median counts. Other programs on the machine make every CPU second longer.
const rounds = 5

// BenchmarkFile dissects a capture file in a process of its own, reading included and writing nothing, and says what share
// of tshark's CPU time and memory that takes, both measured in this run. DEVLOOP_BENCH_PCAP names the capture; without
// it one of 50 MB is made, which needs root. DEVLOOP_BENCH_READER names another program to measure, whose argument is the file;
// DEVLOOP_BENCH_TSHARK another tshark, or none.
func BenchmarkFile(b *testing.B) {
	file := os.Getenv("DEVLOOP_BENCH_PCAP")
	if file == "" {
		file = filepath.Join(b.TempDir(), "load.pcapng")
		child(b, "load", file)
	}
	info, err := os.Stat(file)
	if err != nil {
		b.Fatal(err)
	}
	var ours usage
	for b.Loop() {
		ours = median(rounds, func() usage { return dissectOnce(b, file) })
	}
	megabytes := float64(info.Size()) / 1e6
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(ours.cpu.Seconds(), "cpu-s")
	b.ReportMetric(megabytes/ours.cpu.Seconds(), "MB/cpu-s")
	b.ReportMetric(ours.calls/ours.cpu.Seconds(), "calls/cpu-s")
	b.ReportMetric(ours.memory, "peak-MB")
	if reader := os.Getenv("DEVLOOP_BENCH_READER"); reader != "" {
		theirs := median(rounds, func() usage {
			cmd := exec.Command(reader, file)
			if err := cmd.Run(); err != nil {
				b.Fatalf("%s %s: %v", reader, file, err)
			}
			return usageOf(cmd.ProcessState)
		})
		b.ReportMetric(theirs.cpu.Seconds(), "reader-cpu-s")
		b.ReportMetric(ours.cpu.Seconds()/theirs.cpu.Seconds(), "ours/reader")
	}
	tshark, err := exec.LookPath(cmp.Or(os.Getenv("DEVLOOP_BENCH_TSHARK"), "tshark"))
	if err != nil {
		return
	}
	cmd := exec.Command(tshark, "-n", "-r", file, "-Y", "http", "-T", "fields", "-e", "http.request.method", "-e", "http.request.uri", "-e", "http.response.code")
	if err := cmd.Run(); err != nil {
		b.Fatalf("tshark %s: %v", file, err)
	}
	theirs := usageOf(cmd.ProcessState)
	b.ReportMetric(theirs.cpu.Seconds(), "tshark-cpu-s")
	b.ReportMetric(ours.cpu.Seconds()/theirs.cpu.Seconds(), "ours/tshark")
	fmt.Printf("%.0f MB: ours %.2f CPU seconds and %.0f MB at most, tshark %.1f and %.0f: ours/tshark is 1/%.0f of the CPU, 1/%.0f of the memory\n",
		megabytes, ours.cpu.Seconds(), ours.memory, theirs.cpu.Seconds(), theirs.memory, theirs.cpu.Seconds()/ours.cpu.Seconds(), theirs.memory/ours.memory)
}

// usage is what a process took.
type usage struct {
	cpu    time.Duration
	memory float64 // MB at the peak
	calls  float64
}

func usageOf(p *os.ProcessState) usage {
	return usage{cpu: p.UserTime() + p.SystemTime(), memory: float64(p.SysUsage().(*syscall.Rusage).Maxrss) / 1000}
}

// dissectOnce is what one run took.
func dissectOnce(b *testing.B, file string) usage {
	state, out := child(b, "dissect", file)
	var kB, calls float64
	if _, err := fmt.Sscan(out, &kB, &calls); err != nil {
		b.Fatalf("%q: %v", out, err)
	}
	return usage{usageOf(state).cpu, kB / 1000, calls}
}

func median(n int, run func() usage) usage {
	var all []usage
	for range n {
		all = append(all, run())
	}
	slices.SortFunc(all, func(a, c usage) int { return int(a.cpu - c.cpu) })
	return all[n/2]
}
