// Command eval measures how well the statistics behind verdicts keep their promises, and writes what it found into
// docs/statistics.md and docs/images/power.svg: make eval. The same seed gives the same figures. It fails where a promise is
// broken.
//
//	go run ./assertions/baseline/eval                      the figures, with the size that docs show
//	go run ./assertions/baseline/eval -full                five times as many rounds; nothing is written
//	go run ./assertions/baseline/eval -record .devloop -load 0.7   record the runs that A/A is resampled from, from a workspace's snapshots
//	go run ./assertions/baseline/eval -record .devloop -faults runs.txt   record runs of the clean shop and of each of its faults
//
// scripts/record-shop.sh makes both recordings.
package main

import (
	"compress/gzip"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"github.com/devloop-io/devloop/assertions/baseline"
	"github.com/devloop-io/devloop/store"
	"github.com/devloop-io/devloop/traffic"
)

const (
	recording = "assertions/baseline/eval/testdata/shop.json.gz"
	machine   = "assertions/baseline/eval/testdata/machine.txt" // what the runs were recorded on, in words
	document  = "docs/statistics.md"
	picture   = "docs/images/power.svg"
	begin     = "<!-- begin of what make eval writes -->\n"
	end       = "<!-- end of what make eval writes -->\n"
)

func main() {
	full := flag.Bool("full", false, "five times as many rounds; nothing is written")
	record := flag.String("record", "", "a workspace's .devloop whose snapshots become the recorded runs")
	faults := flag.String("faults", "", "with -record: a file whose lines are FAULT ITERATION; these become the recorded faults")
	load := flag.Float64("load", 0, "with -record: the load average of the machine meanwhile, which the document tells")
	flag.Parse()
	if err := run(*full, *record, *faults, *load); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(full bool, record, faults string, load float64) error {
	if record != "" && faults != "" {
		return recordFaults(record, faults)
	}
	if record != "" {
		return recordRuns(record, load)
	}
	runs, err := recordedRuns()
	if err != nil {
		return err
	}
	times := 1
	if full {
		times = 5
	}
	var out strings.Builder
	var broken []string
	broken = append(broken, sameCode(&out, runs, 200*times)...)
	broken = append(broken, faultsFound(&out, 200*times)...)
	curves := power(&out, 100*times)
	errorRates(&out, 200*times)
	broken = append(broken, coverage(&out, 400*times)...)
	fmt.Print(out.String())
	if !full {
		if err := write(out.String(), curves); err != nil {
			return err
		}
	}
	if len(broken) > 0 {
		return fmt.Errorf("promises are broken: %s", strings.Join(broken, "; "))
	}
	return nil
}

// write puts the figures between their markers, and the picture beside.
func write(text string, curves []curve) error {
	old, err := os.ReadFile(document)
	if err != nil {
		return err
	}
	head, rest, ok1 := strings.Cut(string(old), begin)
	_, tail, ok2 := strings.Cut(rest, end)
	if !ok1 || !ok2 {
		return fmt.Errorf("%s has no markers to write between", document)
	}
	if err := os.WriteFile(document, []byte(head+begin+"\n"+text+"\n"+end+tail), 0o644); err != nil {
		return err
	}
	return os.WriteFile(picture, []byte(plot(curves)), 0o644)
}

// recordRuns summarises the snapshots of a workspace: runs of the same code.
func recordRuns(dir string, load float64) error {
	st, err := store.Open(dir, store.Options{})
	if err != nil {
		return err
	}
	list, err := st.List()
	if err != nil {
		return err
	}
	revision := ""
	for _, info := range list {
		revision = max(revision, info.Revision)
	}
	var runs []*baseline.Run
	for _, info := range list {
		sn, err := st.Snapshot(info.ID)
		if err != nil {
			return err
		}
		d, err := sn.ReadDissection()
		sn.Close()
		if err != nil {
			return err
		}
		if info.Revision == revision && info.ID != "i1" { // the first one started the services
			runs = append(runs, rounded(baseline.Summarize(info.ID, d)))
		}
	}
	fmt.Printf("%d runs\n", len(runs))
	if err := compressed(recording, runs); err != nil {
		return err
	}
	return os.WriteFile(filepath.FromSlash(machine), fmt.Appendf(nil, "%d cores with a load average of about %.2g\n", runtime.NumCPU(), load), 0o644)
}

// compressed writes a recording.
func compressed(file string, runs any) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	defer f.Close()
	z, err := gzip.NewWriterLevel(f, gzip.BestCompression)
	if err != nil {
		return err
	}
	if err := json.NewEncoder(z).Encode(runs); err != nil {
		return err
	}
	return z.Close()
}

// rounded keeps a microsecond's worth of each latency.
func rounded(r *baseline.Run) *baseline.Run {
	for _, e := range r.Endpoints {
		for i, l := range e.Latencies {
			e.Latencies[i] = max(0.001, math.Round(l*1000)/1000)
		}
		e.Sizes = nil
	}
	return r
}

func recordedRuns() ([]*baseline.Run, error) {
	var runs []*baseline.Run
	err := decompressed(recording, &runs)
	return runs, err
}

// decompressed reads a recording.
func decompressed(file string, runs any) error {
	f, err := os.Open(filepath.FromSlash(file))
	if err != nil {
		return fmt.Errorf("open the recorded runs (run this in the repository's folder): %w", err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return err
	}
	return json.NewDecoder(z).Decode(runs)
}

func percent(x float64) string { return strconv.FormatFloat(100*x, 'f', 1, 64) + " %" }

func failed(r *baseline.Report) bool { return r.Verdict == traffic.Fail }
