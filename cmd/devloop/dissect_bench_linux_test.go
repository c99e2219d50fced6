package main

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"

	"github.com/parquet-go/parquet-go"
)

// The bars of a capture as it is made of an HTTP/1 service under load.
const (
	barCalls  = 150_000 // per CPU second, from the capture to Parquet
	barBytes  = 300     // of Parquet a call
	barMemory = 200     // MB at the peak
)

// BenchmarkParquet runs the program from a capture file to Parquet and prints what it takes beside the bars. DEVLOOP_BENCH_PCAP names
// the capture (pcap of Ethernet and IPv4); DEVLOOP_BENCH_COPIES dissects it several times over, with new addresses in each copy.
// The median of five runs counts, of copies one run.
func BenchmarkParquet(b *testing.B) {
	file := os.Getenv("DEVLOOP_BENCH_PCAP")
	if file == "" {
		b.Skip("DEVLOOP_BENCH_PCAP names no capture")
	}
	program := filepath.Join(b.TempDir(), "devloop")
	if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		b.Fatalf("build: %v\n%s", err, out)
	}
	copies, _ := strconv.Atoi(cmp.Or(os.Getenv("DEVLOOP_BENCH_COPIES"), "1"))
	rounds := 5
	if copies > 1 {
		rounds = 1
	}
	type run struct{ cpu, memory, calls, bytes float64 }
	for b.Loop() {
		var runs []run
		for range rounds {
			out, err := os.Create(filepath.Join(b.TempDir(), "calls.parquet"))
			if err != nil {
				b.Fatal(err)
			}
			cmd := exec.Command(program, "dissect", "-q", file, "-o", "parquet")
			cmd.Stdout, cmd.Stderr = out, os.Stderr
			if copies > 1 {
				cmd.Args[3] = "-"
				cmd.Stdin = copied(b, file, copies)
			}
			if err := cmd.Run(); err != nil {
				b.Fatal(err)
			}
			info, err := out.Stat()
			if err != nil {
				b.Fatal(err)
			}
			table, err := parquet.OpenFile(out, info.Size())
			if err != nil {
				b.Fatal(err)
			}
			p := cmd.ProcessState
			runs = append(runs, run{(p.UserTime() + p.SystemTime()).Seconds(), float64(p.SysUsage().(*syscall.Rusage).Maxrss) / 1000,
				float64(table.NumRows()), float64(info.Size())})
			_ = out.Close()
		}
		slices.SortFunc(runs, func(a, c run) int { return cmp.Compare(a.cpu, c.cpu) })
		m := runs[len(runs)/2]
		fmt.Printf("%.0f calls, %.2f CPU s: %.0f calls for each (%.2f of the bar), %.0f bytes a call (%.2f of the bar), %.0f MB at most (%.2f of the bar)\n",
			m.calls, m.cpu, m.calls/m.cpu, m.calls/m.cpu/barCalls, m.bytes/m.calls, m.bytes/m.calls/barBytes, m.memory, m.memory/barMemory)
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(m.calls/m.cpu, "calls/cpu-s")
		b.ReportMetric(m.bytes/m.calls, "B/call")
		b.ReportMetric(m.memory, "peak-MB")
	}
}

// copied is a capture several times over. What cannot be read ends it.
func copied(b *testing.B, file string, copies int) io.Reader {
	r, w := io.Pipe()
	go func() { _ = w.CloseWithError(writeCopies(w, file, copies)) }()
	b.Cleanup(func() { _ = r.Close() })
	return r
}

// writeCopies holds one packet at a time: a child's peak of memory begins with its parent's.
func writeCopies(w io.Writer, file string, copies int) error {
	out := bufio.NewWriterSize(w, 1<<20)
	for n := range copies {
		if err := writeCopy(out, file, byte(n)); err != nil {
			return err
		}
	}
	return out.Flush()
}

func writeCopy(w *bufio.Writer, file string, n byte) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	in := bufio.NewReaderSize(f, 1<<20)
	buf := make([]byte, 1<<18)
	if _, err := io.ReadFull(in, buf[:24]); err != nil {
		return err
	}
	if n == 0 {
		_, _ = w.Write(buf[:24]) // the writer keeps its first error
	}
	for {
		if _, err := io.ReadFull(in, buf[:16]); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		packet := buf[16:][:binary.LittleEndian.Uint32(buf[8:])]
		if _, err := io.ReadFull(in, packet); err != nil {
			return err
		}
		if len(packet) >= 34 { // the second byte of both IPv4 addresses behind Ethernet
			packet[27], packet[31] = n, n
		}
		if _, err := w.Write(buf[:16+len(packet)]); err != nil {
			return err
		}
	}
}
