package dissect_test

import (
	"bytes"
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

// BenchmarkFile dissects capture files, each in a process of its own, reading included and writing nothing, and says what share of
// the CPU time that takes of scripts/bench/gopacket, which puts gopacket and Go's parsers together, and of tshark, all measured in this run.
// DEVLOOP_BENCH_PCAP names the captures, as PATH does folders; without it one of HTTP/1 (50 MB) and one of gRPC (12 MB) are made, which needs
// root. DEVLOOP_BENCH_READER names another program to compare with, whose argument is the file; DEVLOOP_BENCH_TSHARK another tshark, or
// none.
func BenchmarkFile(b *testing.B) {
	files := filepath.SplitList(os.Getenv("DEVLOOP_BENCH_PCAP"))
	if len(files) == 0 {
		for _, name := range []string{"load", "rpcs"} {
			file := filepath.Join(b.TempDir(), name+".pcapng")
			child(b, name, file)
			files = append(files, file)
		}
	}
	reader := os.Getenv("DEVLOOP_BENCH_READER")
	if reader == "" {
		reader = filepath.Join(b.TempDir(), "gopacket")
		build := exec.Command("go", "build", "-o", reader, ".")
		build.Dir = filepath.Join("..", "scripts", "bench", "gopacket")
		if out, err := build.CombinedOutput(); err != nil {
			b.Logf("the program to compare with cannot be built here (it needs its libraries): %v\n%s", err, out)
			reader = ""
		}
	}
	tshark, err := exec.LookPath(cmp.Or(os.Getenv("DEVLOOP_BENCH_TSHARK"), "tshark"))
	if err != nil {
		b.Logf("without tshark: %v", err)
	}
	for _, file := range files {
		b.Run(filepath.Base(file), func(b *testing.B) { benchmarkFile(b, file, reader, tshark) })
	}
}

func benchmarkFile(b *testing.B, file, reader, tshark string) {
	info, err := os.Stat(file)
	if err != nil {
		b.Fatal(err)
	}
	var ours, theirs [rounds]usage
	for b.Loop() {
		for i := range rounds { // taking turns
			ours[i] = dissectOnce(b, file)
			if reader != "" {
				theirs[i] = readOnce(b, reader, file)
			}
		}
	}
	mine, other := median(ours[:]), median(theirs[:])
	megabytes, seconds := float64(info.Size())/1e6, mine.cpu.Seconds()
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(seconds, "cpu-s")
	b.ReportMetric(megabytes/seconds, "MB/cpu-s")
	b.ReportMetric(mine.calls/seconds, "calls/cpu-s")
	b.ReportMetric(mine.memory, "peak-MB")
	if reader != "" {
		b.ReportMetric(other.cpu.Seconds(), "reader-cpu-s")
		b.ReportMetric(other.memory, "reader-peak-MB")
		b.ReportMetric(seconds/other.cpu.Seconds(), "ours/reader")
	}
	if tshark != "" {
		args := []string{"-n", "-r", file, "-Y", "http", "-T", "fields", "-e", "http.request.method", "-e", "http.request.uri", "-e", "http.response.code"}
		if mine.port != 0 { // tshark has to be told
			args = []string{"-n", "-r", file, "-d", fmt.Sprintf("tcp.port==%d,http2", mine.port), "-Y", "http2", "-T", "fields", "-e", "http2.headers.method", "-e", "http2.headers.path",
				"-e", "http2.headers.status"}
		}
		slow := readOnce(b, tshark, args...)
		b.ReportMetric(slow.cpu.Seconds(), "tshark-cpu-s")
		b.ReportMetric(slow.memory, "tshark-peak-MB")
		b.ReportMetric(seconds/slow.cpu.Seconds(), "ours/tshark")
	}
}

// readOnce is what another program took. It has to have found something.
func readOnce(b *testing.B, program string, args ...string) usage {
	b.Helper()
	cmd := exec.Command(program, args...)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil || len(out) == 0 {
		b.Fatalf("%s %q: %d bytes, %v: %s", program, args, len(out), err, said.Bytes())
	}
	return usageOf(cmd.ProcessState)
}

// usage is what a process took.
type usage struct {
	cpu    time.Duration
	memory float64 // MB at the peak
	calls  float64
	port   int // see dissectAlone
}

func usageOf(p *os.ProcessState) usage {
	return usage{cpu: p.UserTime() + p.SystemTime(), memory: float64(p.SysUsage().(*syscall.Rusage).Maxrss) / 1000}
}

// dissectOnce is what one run took.
func dissectOnce(b *testing.B, file string) usage {
	state, out := child(b, "dissect", file)
	u := usage{cpu: usageOf(state).cpu}
	if _, err := fmt.Sscan(out, &u.memory, &u.calls, &u.port); err != nil {
		b.Fatalf("%q: %v", out, err)
	}
	u.memory /= 1000
	return u
}

func median(all []usage) usage {
	slices.SortFunc(all, func(a, c usage) int { return int(a.cpu - c.cpu) })
	return all[len(all)/2]
}
