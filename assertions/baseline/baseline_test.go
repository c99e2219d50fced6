package baseline

import (
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/devloop-io/devloop/traffic"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// shop is a dissection of a small shop: a frontend that asks a catalogue once for each request of the exercise.
type shop struct {
	seed      uint64
	calls     int
	base      float64 // milliseconds that the catalogue takes
	spread    float64 // standard deviation of its logarithm
	perCall   int     // calls of the catalogue for each one from outside
	failing   int     // of the catalogue's calls
	retried   int
	header    string // more, in the catalogue's answers
	body      string
	egress    bool
	fresh     bool // a connection for each call
	forwarded bool // the client's token goes on to the catalogue
	loss      uint64
	stepped   bool // the clock was set back in the middle of each call
	slow      int  // so many of the catalogue's calls take five times as long
}

func clean0() shop {
	return shop{seed: 1, calls: 40, base: 30, spread: 0.05, perCall: 1, body: `{"items":[{"id":"a","price":3.5}],"next":null}`}
}

func end(name string, port uint16) traffic.Endpoint {
	kind := traffic.KindService
	if name == "driver" {
		kind = traffic.KindExercise
	}
	return traffic.Endpoint{Port: port, Workload: traffic.Workload{Service: name, Kind: kind, Namespace: "local"}}
}

func (s shop) run(id string) *Run {
	r := rand.New(rand.NewPCG(s.seed, uint64(len(id))*31+uint64(id[len(id)-1])))
	noise := math.Exp(r.NormFloat64() * 0.01)
	d := &traffic.Dissection{Account: traffic.Account{Dropped: s.loss}}
	now := int64(1_700_000_000_000_000_000)
	for i := range s.calls {
		parent := &traffic.Call{ID: fmt.Sprint("p", i), Protocol: traffic.ProtoHTTP, ConnID: 1, Index: i, Src: end("driver", 0), Dst: end("frontend", 80), State: traffic.StateComplete,
			Start: now, ResponseStart: now + 90e6, End: now + 100e6, Method: "GET", Path: "/cart/1", Route: "/cart/{id}", Status: 200,
			HTTP:        &traffic.HTTP{RequestHeaders: []traffic.Header{{Name: "Authorization"}}, ResponseHeaders: []traffic.Header{{Name: "Content-Type", Value: "text/plain"}}},
			Credentials: []traffic.Credential{{Kind: "bearer", Place: "request.header:authorization"}}}
		d.Calls = append(d.Calls, parent)
		for j := range s.perCall {
			took := int64(s.base * noise * math.Exp(r.NormFloat64()*s.spread) * 1e6)
			if i < s.slow {
				took *= 5
			}
			c := &traffic.Call{ID: fmt.Sprint("c", i, ".", j), Protocol: traffic.ProtoHTTP, ConnID: 2, Index: i*s.perCall + j, Src: end("frontend", 0), Dst: end("catalogue", 8080), State: traffic.StateComplete,
				Start: now + 1e6, ResponseStart: now + 2e6, End: now + 1e6 + took, Method: "GET", Path: "/items", Route: "/items", Status: 200, Parent: parent.ID, ParentCandidates: 1,
				HTTP: &traffic.HTTP{RequestHeaders: []traffic.Header{{Name: "Accept"}}, ResponseHeaders: []traffic.Header{{Name: "Content-Type", Value: "application/json"}}, ResponseBody: []byte(s.body)}}
			if s.stepped {
				c.End = c.Start - 1
			}
			if s.header != "" {
				c.HTTP.ResponseHeaders = append(c.HTTP.ResponseHeaders, traffic.Header{Name: s.header})
			}
			if i < s.failing {
				c.Status = 503
			}
			if i < s.retried {
				c.Retry = &traffic.Retry{Attempt: 2, Attempts: 2}
			}
			if s.fresh {
				c.ConnID, c.Index = uint64(100+i*10+j), 0
			}
			if s.forwarded {
				c.Credentials = []traffic.Credential{{Kind: "bearer", Place: "request.header:authorization"}}
			}
			d.Calls = append(d.Calls, c)
		}
		now += 200e6
	}
	if s.egress {
		out := end("", 443)
		out.Outside, out.DNS = true, "api.vendor.example"
		d.Connections = append(d.Connections, &traffic.Connection{ID: 77, Proto: "tcp", Src: end("frontend", 0), Dst: out, Opened: true})
	}
	for _, c := range d.Calls {
		if c.Index == 0 {
			d.Connections = append(d.Connections, &traffic.Connection{ID: c.ConnID, Proto: "tcp", Src: c.Src, Dst: c.Dst, Opened: true})
		}
	}
	return Summarize(id, d)
}

func (s shop) baseline(t testing.TB, runs int) *Baseline {
	t.Helper()
	var all []*Run
	for i := range runs {
		all = append(all, s.run(fmt.Sprint("i", i)))
	}
	b, err := New(Meta{Name: "checkout", Exercise: "checkout", Environment: "local", Commit: "abc1234", Recorded: "2026-11-21", Host: Host{CPU: "test", Cores: 2, OS: "linux", Arch: "amd64"}}, all)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// through writes and reads a baseline, as git does between two sessions.
func through(t testing.TB, b *Baseline) *Baseline {
	t.Helper()
	text, err := Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Parse(text)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return again
}

func TestTextIsStableAndSmall(t *testing.T) {
	t.Parallel()
	text, err := Marshal(clean0().baseline(t, 5))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join("testdata", "checkout.yaml")
	if *update {
		if err := os.WriteFile(file, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(text)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	again, err := Marshal(through(t, clean0().baseline(t, 5)))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(text), string(again)); diff != "" {
		t.Errorf("written, read and written again (-first +second):\n%s", diff)
	}
}

// TestFindings changes one thing at a time. Everything that changed is found, and nothing else.
func TestFindings(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change  func(*shop)
		verdict traffic.Verdict
		kinds   string // of the findings that failed or are open
		says    string
	}{
		"nothing":      {func(s *shop) { s.seed = 2 }, traffic.Pass, "", "is as before"},
		"slower":       {func(s *shop) { s.base *= 1.2 }, traffic.Fail, "latency", "got slower: 29.8 ms → 36.3 ms, +22.3 %"},
		"faster":       {func(s *shop) { s.base *= 0.7 }, traffic.Pass, "", "got faster"},
		"an N+1":       {func(s *shop) { s.perCall = 3 }, traffic.Fail, "calls", "makes up to 3 calls of frontend -> catalogue:8080 GET /items, and made exactly 1 each time"},
		"fewer calls":  {func(s *shop) { s.perCall = 0 }, traffic.Fail, "edge", "is gone"},
		"errors":       {func(s *shop) { s.failing = 3 }, traffic.Fail, "status", "ends with 503, which it never did in 200 calls: now 3 of 40 calls"},
		"retries":      {func(s *shop) { s.retried = 2 }, traffic.Fail, "retry", "2 of 40 calls are retries"},
		"a header":     {func(s *shop) { s.header = "Set-Cookie" }, traffic.Fail, "header", "response header set-cookie is new"},
		"a field":      {func(s *shop) { s.body = `{"items":[{"id":"a","price":3.5,"vat":1}],"next":null}` }, traffic.Fail, "field", "response field items[].vat: number is new"},
		"a field less": {func(s *shop) { s.body = `{"items":[{"id":"a"}],"next":null}` }, traffic.Fail, "field", "response field items[].price: number is gone"},
		"a type":       {func(s *shop) { s.body = `{"items":[{"id":"a","price":"3.5"}],"next":null}` }, traffic.Fail, "field", "items[].price changed its type from number to string"},
		"egress":       {func(s *shop) { s.egress = true }, traffic.Fail, "edge", "is a new way out of the system"},
		"keep-alive":   {func(s *shop) { s.fresh = true }, traffic.Fail, "reuse", "finds its connections open for 0 % of the calls, and did for 97.5 %"},
		"a token":      {func(s *shop) { s.forwarded = true }, traffic.Fail, "credential", "credential bearer in request.header:authorization is new"},
		"loss":         {func(s *shop) { s.loss = 3 }, traffic.Inconclusive, "", ""},
		"a clock step": {func(s *shop) { s.stepped = true }, traffic.Pass, "", "its latency is not compared"},
		"one call":     {func(s *shop) { s.calls = 1 }, traffic.Pass, "", "its latency is not compared: 1 call beside 60 of the baseline cannot show anything at alpha 0.01: need 1 more"},
		"few calls":    {func(s *shop) { s.calls, s.base = 3, 33 }, traffic.Inconclusive, "latency", "which does not tell whether it is slower by the 13.9 % that count: need "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			changed := clean0()
			c.change(&changed)
			r := Compare(through(t, clean0().baseline(t, 5)), changed.baseline(t, 1), Options{})
			var kinds []string
			all := ""
			for _, f := range r.Findings {
				all += fmt.Sprintln(f.Verdict, f.Kind, f.Where, f.What)
				if (f.Verdict == traffic.Fail || f.Verdict == traffic.Inconclusive) && !strings.Contains(strings.Join(kinds, " "), f.Kind) {
					kinds = append(kinds, f.Kind)
				}
			}
			if r.Verdict != c.verdict || strings.Join(kinds, " ") != c.kinds || !strings.Contains(all, c.says) {
				t.Errorf("%s by %q, want %s by %q, with %q:\n%s%v", r.Verdict, kinds, c.verdict, c.kinds, c.says, all, r.Notes)
			}
		})
	}
}

// TestBadInput gives each kind of unfit baseline its sentence and, where it can be read, its verdict.
func TestBadInput(t *testing.T) {
	t.Parallel()
	data, err := Marshal(clean0().baseline(t, 5))
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	for name, c := range map[string]struct{ text, says string }{
		"empty":            {"", "no version"},
		"no baseline":      {"a: 1\n", "no version"},
		"another schema":   {strings.Replace(text, "version: 1", "version: 7", 1), "its form is version 7, and this devloop knows version 1"},
		"a merge conflict": {strings.Replace(text, "endpoints:", "<<<<<<< HEAD\nendpoints:\n=======\nendpoints:\n>>>>>>> main", 1), "begins an unresolved merge conflict"},
		"truncated":        {text[:len(text)*2/3], "its end is missing"},
		"cut at a line":    {text[:strings.LastIndex(text, "\n  - call")+1], "its end is missing"},
		"not YAML":         {strings.Replace(text, "endpoints:", "endpoints: [", 1), "read the baseline: yaml:"},
		"an unknown key":   {strings.Replace(text, "runs: 5", "runs: 5\nowner: me", 1), "field owner not found"},
		"no runs":          {strings.Replace(text, "\nruns: 5", "\nruns: 0", 1), "runs is 0"},
		"no time":          {strings.Replace(text, "medians: [", "medians: [-1, ", 1), "read the baseline: the call"},
		"bad counts":       {strings.Replace(text, "40 x5", "forty", 1), "are no counts"},
		"too much":         {strings.Repeat("#", MostText+1), "larger than 16 MiB"},
		"two documents":    {strings.Replace(text, tail, "---\nversion: 1\n"+tail, 1), "more than one document"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := Parse([]byte(c.text))
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v, want %q", err, c.says)
			}
		})
	}
}

func TestUnfitSides(t *testing.T) {
	t.Parallel()
	old := clean0().baseline(t, 5)
	elsewhere := clean0().baseline(t, 1)
	elsewhere.Host.CPU = "another"
	slower := clean0()
	slower.base, slower.seed = 60, 3
	slowElsewhere := slower.baseline(t, 1)
	slowElsewhere.Host.Cores = 64
	same := clean0()
	same.spread = 0
	empty := clean0()
	empty.calls = 0
	wide := clean0()
	wide.spread, wide.calls = 0.9, 600 // medians are steady, calls are not
	soon := clean0()                   // 0.08 ms
	soon.base, soon.seed = 0.08, 5
	sooner := soon
	sooner.base = 0.13
	wider := wide
	wider.seed++
	lame := clean0()
	lame.slow = 8
	coarse := old
	for name, c := range map[string]struct {
		old, new *Baseline
		verdict  traffic.Verdict
		says     string
	}{
		"another host":               {old, elsewhere, traffic.Pass, "latencies are not compared: the baseline is of another host (processor \"test\" there, \"another\" here)"},
		"another host, and slower":   {old, slowElsewhere, traffic.Pass, "latencies are not compared"},
		"zero samples now":           {old, empty.baseline(t, 1), traffic.Fail, "is gone"},
		"zero samples on both sides": {empty.baseline(t, 3), empty.baseline(t, 1), traffic.NoData, ""},
		"all equal":                  {same.baseline(t, 5), same.baseline(t, 1), traffic.Pass, "is as before"},
		"one run against one":        {clean0().baseline(t, 1), slower.baseline(t, 1), traffic.Inconclusive, "how much runs of the same code differ is not known from one run"},
		"ties":                       {tied(t, coarse, 10), tied(t, old, 10), traffic.Pass, "is as before"},
		"less than counts":           {soon.baseline(t, 5), sooner.baseline(t, 5), traffic.Pass, "less than the 253.4 % that count"},
		"calls too unlike":           {through(t, wide.baseline(t, 10)), wider.baseline(t, 2), traffic.Inconclusive, "no number of calls would tell; whole runs may: need 4 more runs"},
		"calls too unlike, few runs": {through(t, wide.baseline(t, 3)), wider.baseline(t, 2), traffic.Inconclusive, "no number of calls would tell; record 3 more runs of the baseline, so that whole runs can be compared"},
		"slow calls in one run":      {old, lame.baseline(t, 1), traffic.Inconclusive, "1 run does not tell: need 1 more"},
		"slow calls in two runs":     {old, lame.baseline(t, 2), traffic.Fail, "its slow calls got slower: 20 % take longer than"},
		"seven runs a side, by run":  {clean0().baseline(t, 8), slower.baseline(t, 8), traffic.Fail, "got slower"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := Compare(c.old, c.new, Options{})
			all := ""
			for _, f := range r.Findings {
				all += fmt.Sprintln(f.Verdict, f.Kind, f.Where, f.What, f.Basis)
			}
			if r.Verdict != c.verdict || !strings.Contains(all, c.says) {
				t.Errorf("%s, want %s with %q:\n%s%v", r.Verdict, c.verdict, c.says, all, r.Notes)
			}
			if name == "seven runs a side, by run" && !strings.Contains(all, "runs\n") {
				t.Errorf("runs do not count once each:\n%s", all)
			}
		})
	}
}

// tied rounds every latency, as a coarse clock does.
func tied(t *testing.T, b *Baseline, step float64) *Baseline {
	t.Helper()
	c := through(t, b)
	for i := range c.Endpoints {
		for _, list := range []Numbers{c.Endpoints[i].Latency.Sample, c.Endpoints[i].Latency.Medians} {
			for j := range list {
				list[j] = max(step, math.Round(list[j]/step)*step)
			}
		}
	}
	return c
}

// The same code on both sides is no change, whatever it looks like.
func TestSameCodePasses(t *testing.T) {
	t.Parallel()
	for seed := range uint64(30) {
		s := clean0()
		s.seed, s.spread = seed*2+10, 0.5
		other := s
		other.seed++
		if r := Compare(s.baseline(t, 5), other.baseline(t, 2), Options{}); r.Verdict == traffic.Fail {
			t.Errorf("seed %d: %+v", seed, r.Findings[0])
		}
	}
}

// FuzzParse looks for text that the parser cannot bear, or that it reads and cannot write back.
func FuzzParse(f *testing.F) {
	text, err := Marshal(clean0().baseline(f, 3))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(text))
	f.Add("version: 1\nruns: 1\nentries: \"1\"\nedges: []\nendpoints: []\n" + tail)
	f.Add("version: 1\nruns: 2\nedges:\n  - {edge: a, calls: 1 x2, reused: 0 x2}\n" + tail)
	now := clean0().baseline(f, 1)
	f.Fuzz(func(t *testing.T, text string) {
		b, err := Parse([]byte(text))
		if err != nil {
			return
		}
		if again, err := Marshal(b); err != nil {
			t.Errorf("what was read cannot be written: %v", err)
		} else if _, err := Parse(again); err != nil {
			t.Errorf("what was written cannot be read: %v\n%s", err, again)
		}
		Compare(b, now, Options{AnyHost: true})
		Compare(now, b, Options{AnyHost: true})
	})
}

func FuzzFields(f *testing.F) {
	f.Add([]byte(`{"a":[1,{"b":null}],"00000000-0000-4000-8000-000000000000":{}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		fields, _ := jsonFields(body, false, []traffic.Header{{Name: "content-type", Value: "application/json"}})
		if len(fields) > mostFields {
			t.Errorf("%d fields", len(fields))
		}
	})
}

// What is accepted is no finding any more, and what did not differ stays as it was, byte for byte.
func TestAccept(t *testing.T) {
	t.Parallel()
	changed := clean0()
	changed.base, changed.egress, changed.perCall = 60, true, 2
	old, now := clean0().baseline(t, 5), changed.baseline(t, 5)
	before, err := Marshal(old)
	if err != nil {
		t.Fatal(err)
	}
	if !Accept(old, now, Compare(old, now, Options{}), "prices are asked for twice", "2026-11-22") {
		t.Fatal("nothing was accepted")
	}
	again := through(t, old)
	if r := Compare(again, now, Options{}); r.Verdict != traffic.Pass {
		t.Errorf("%s after it was accepted: %+v", r.Verdict, r.Findings)
	}
	if Accept(again, now, Compare(again, now, Options{}), "no reason", "2026-11-23") {
		t.Error("what does not differ was accepted")
	}
	text, err := Marshal(again)
	if err != nil {
		t.Fatal(err)
	}
	if head, _, _ := strings.Cut(string(before), "entries:"); !strings.HasPrefix(string(text), head) {
		t.Error("the head changed")
	}
	if r := Compare(again, clean0().baseline(t, 1), Options{}); r.Verdict != traffic.Fail {
		t.Errorf("%s: going back is a change too", r.Verdict)
	}
}
