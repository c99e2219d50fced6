package assertions

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/devloop-io/devloop/assertions/baseline"
	"github.com/devloop-io/devloop/assertions/example"
	"github.com/devloop-io/devloop/internal/config"
	"github.com/devloop-io/devloop/traffic"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// A case is a sentence, check.netcheck.yaml, calls.jsonl and perhaps connections.jsonl, account.json and input.json in short
// form (see package example), passed.jsonl and only.txt (names) for built-in checks, and want.txt: the results, or the mistakes in the file.
func TestCases(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if len(bytes.TrimSpace(archive.Comment)) == 0 {
				t.Fatal("a case begins with a sentence that says what is checked")
			}
			got := runCase(t, archive)
			if *update {
				setFile(archive, "want.txt", got)
				if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(fileOf(archive, "want.txt"), got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", file, diff)
			}
		})
	}
}

func fileOf(a *txtar.Archive, name string) string {
	for _, f := range a.Files {
		if f.Name == name {
			return string(f.Data)
		}
	}
	return ""
}

func setFile(a *txtar.Archive, name, data string) {
	for i := range a.Files {
		if a.Files[i].Name == name {
			a.Files[i].Data = []byte(data)
			return
		}
	}
	a.Files = append(a.Files, txtar.File{Name: name, Data: []byte(data)})
}

func runCase(t *testing.T, a *txtar.Archive) string {
	t.Helper()
	s, err := Parse("check.netcheck.yaml", []byte(fileOf(a, "check.netcheck.yaml")))
	if err != nil {
		var all config.Errors
		if !errors.As(err, &all) {
			t.Fatalf("%v is no list of mistakes", err)
		}
		text := ""
		for _, e := range all {
			text += e.Error() + "\n"
		}
		return text
	}
	in := inputOf(t, a)
	options := CheckOptions{NoBuiltin: !strings.Contains(string(a.Comment), "built-in")}
	if strings.Contains(string(a.Comment), "profile agent") {
		options.Profile, options.Only = config.ProfileAgent, strings.Fields(fileOf(a, "only.txt"))
	}
	results := s.Check(in, options)
	again := s.Check(in, options)
	if diff := cmp.Diff(encode(t, results), encode(t, again)); diff != "" {
		t.Errorf("the same input gave another output:\n%s", diff)
	}
	return render(results)
}

func encode(t *testing.T, results []traffic.CheckResult) string {
	t.Helper()
	data, err := json.MarshalIndent(results, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// render is a result in lines that a person can read.
func render(results []traffic.CheckResult) string {
	var b strings.Builder
	for _, r := range results {
		name := r.Name
		if r.Group != "" {
			name += " [" + r.Group + "]"
		}
		fmt.Fprintf(&b, "%s: %s\n  %s\n", r.Verdict, name, r.Reason)
		fmt.Fprintf(&b, "  n %d %s, severity %s", r.N, r.Unit, r.Severity)
		if r.Basis != "" {
			b.WriteString(", basis " + r.Basis)
		}
		if r.NeedMore > 0 {
			fmt.Fprintf(&b, ", needs %d more", r.NeedMore)
		}
		b.WriteString("\n")
		for _, x := range r.Terms {
			fmt.Fprintf(&b, "  term %s = %s", x.Text, x.Value)
			if x.Low+x.High != "" {
				fmt.Fprintf(&b, " in %s..%s", x.Low, x.High)
			}
			fmt.Fprintf(&b, " over %d", x.N)
			if x.Exact {
				b.WriteString(" exact")
			}
			b.WriteString("\n")
		}
		for _, v := range r.Vacuous {
			b.WriteString("  vacuous " + v + "\n")
		}
		if r.Loss != "" {
			b.WriteString("  loss " + r.Loss + "\n")
		}
		for _, e := range r.Evidence {
			id := e.Call
			if id == "" {
				id = fmt.Sprint("connection ", e.Connection)
			}
			fmt.Fprintf(&b, "  evidence %s packets %d-%d: %s\n", id, e.Packets.First, e.Packets.Last, e.Summary)
		}
		if r.EvidenceTotal > len(r.Evidence) {
			fmt.Fprintf(&b, "  evidence of %d in all\n", r.EvidenceTotal)
		}
	}
	verdict, code := Summary(results, false)
	fmt.Fprintf(&b, "summary: %s, exit %d\n", verdict, code)
	return b.String()
}

type shortInput struct {
	Exercise   string
	Start, End float64
	Identities []string // services that are known by address
}

func inputOf(t *testing.T, a *txtar.Archive) Input {
	t.Helper()
	var calls []example.Call
	eachLine(t, fileOf(a, "calls.jsonl"), func(x example.Call) { calls = append(calls, x) })
	var connections []example.Connection
	eachLine(t, fileOf(a, "connections.jsonl"), func(x example.Connection) { connections = append(connections, x) })
	d := example.Dissection(calls, connections)
	if text := fileOf(a, "account.json"); text != "" {
		if err := json.Unmarshal([]byte(text), &d.Account); err != nil {
			t.Fatal(err)
		}
	}
	in := Input{Dissection: d, WindowStart: example.At(0), WindowEnd: example.At(60_000)}
	in.Folder = t.TempDir()
	for _, f := range a.Files {
		if name, ok := strings.CutPrefix(f.Name, "workspace/"); ok {
			if err := os.WriteFile(filepath.Join(in.Folder, name), f.Data, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	if text := fileOf(a, "baseline.yaml"); text != "" {
		in.Baseline.Name, in.Baseline.Host = "baseline.yaml", baseline.Host{OS: "linux", Arch: "amd64", Cores: 2}
		in.Baseline.Baseline, in.Baseline.Err = baseline.Parse([]byte(text))
	}
	if text := fileOf(a, "passed.jsonl"); text != "" { // what a run that passed before showed
		var calls []example.Call
		eachLine(t, text, func(x example.Call) { calls = append(calls, x) })
		var err error
		if in.Passed, err = baseline.New(baseline.Meta{}, []*baseline.Run{baseline.Summarize("i1", example.Dissection(calls, nil))}); err != nil {
			t.Fatal(err)
		}
	}
	if text := fileOf(a, "input.json"); text != "" {
		var x shortInput
		if err := json.Unmarshal([]byte(text), &x); err != nil {
			t.Fatal(err)
		}
		in.Exercise = x.Exercise
		for _, name := range x.Identities {
			in.Identities = append(in.Identities, traffic.Identity{IP: example.Address(name), Workload: example.End(name, 0, false).Workload})
		}
		if x.End != 0 {
			in.WindowStart, in.WindowEnd = example.At(x.Start), example.At(x.End)
		}
	}
	return in
}

func eachLine[T any](t *testing.T, text string, do func(T)) {
	t.Helper()
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.DisallowUnknownFields()
	for {
		var x T
		err := decoder.Decode(&x)
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		do(x)
	}
}
