package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"

	"github.com/devloop-io/devloop/assertions/baseline"
	"github.com/devloop-io/devloop/assertions/stat"
	"github.com/devloop-io/devloop/traffic"
)

// allowed is how many of 200 comparisons of the same code may call something a regression.
const allowed = 5

// sameCode compares runs of one and the same code: each time some of the recorded runs, drawn without replacement, are the
// baseline and others are new.
func sameCode(out *strings.Builder, runs []*baseline.Run, rounds int) (broken []string) {
	fmt.Fprintf(out, "### The same code on both sides\n\n%d runs of the shop's exercise `checkout-rush`, recorded once (%d endpoints, %d edges), resampled: some runs are the baseline, "+
		"written and read as text, others are new. Family-wise alpha 0.01.\n\n", len(runs), len(runs[0].Endpoints), len(runs[0].Edges))
	out.WriteString("| baseline runs | new runs | comparisons | false regressions | rate with its exact 95 % interval | inconclusive | pass |\n|---|---|---|---|---|---|---|\n")
	for _, sizes := range [][2]int{{5, 1}, {10, 1}, {10, 2}, {10, 3}, {10, 10}} {
		var wrong, open int
		for i := range rounds {
			order := rand.New(rand.NewPCG(uint64(sizes[0]*100+sizes[1]), uint64(i))).Perm(len(runs))
			pick := func(from, n int) *baseline.Baseline {
				var some []*baseline.Run
				for _, j := range order[from : from+n] {
					some = append(some, runs[j])
				}
				return together(some)
			}
			r := baseline.Compare(asText(pick(0, sizes[0])), pick(sizes[0], sizes[1]), baseline.Options{})
			switch {
			case failed(r):
				wrong++
			case r.Verdict == traffic.Inconclusive:
				open++
			}
		}
		low, high := stat.Proportion(wrong, rounds, 0.975)
		fmt.Fprintf(out, "| %d | %d | %d | %d | %s (%s to %s) | %d | %d |\n", sizes[0], sizes[1], rounds, wrong, percent(float64(wrong)/float64(rounds)), percent(low), percent(high), open, rounds-wrong-open)
		if wrong*200 > allowed*rounds {
			broken = append(broken, fmt.Sprintf("%d of %d comparisons of the same code failed", wrong, rounds))
		}
	}
	where, err := os.ReadFile(filepath.FromSlash(machine))
	if err != nil {
		return append(broken, err.Error())
	}
	fmt.Fprintf(out, "\nThese runs were recorded on %s. False regressions come from runs that are disturbed much more than the others. How far up the interval of the noise is taken (95 %%) was chosen on runs recorded on "+
		"2 cores with a load average of about 20: at 80 %% there were 7 in 200 with 5 runs. Other machines may show other rates.\n\n", strings.TrimSpace(string(where)))
	return broken
}

func together(runs []*baseline.Run) *baseline.Baseline {
	b, err := baseline.New(baseline.Meta{Name: "eval"}, runs)
	if err != nil {
		panic(err) // there always is a run
	}
	return b
}

// asText writes and reads, as git does between two sessions.
func asText(b *baseline.Baseline) *baseline.Baseline {
	text, err := baseline.Marshal(b)
	if err != nil {
		panic(err)
	}
	again, err := baseline.Parse(text)
	if err != nil {
		panic(err)
	}
	return again
}

// The simulated endpoint: 30 ms, with latencies whose logarithm has a standard deviation of 10 % from call to call and of 1 %
// from run to run, and some slow calls.
const (
	base    = 30.0
	perCall = 0.10
	perRun  = 0.01
	slow    = 0.02 // of the calls take three times as long
)

// simulate makes one run.
func simulate(r *rand.Rand, n int, shift, errors float64) *baseline.Run {
	e := &baseline.Endpoint{Edge: "a -> b:80", Calls: n, Outcomes: map[string]int{}}
	own := base * (1 + shift) * math.Exp(r.NormFloat64()*perRun)
	for range n {
		l := own * math.Exp(r.NormFloat64()*perCall)
		if r.Float64() < slow {
			l *= 3
		}
		e.Latencies = append(e.Latencies, l)
		if r.Float64() < errors {
			e.Outcomes["503"]++
			e.Errors++
		} else {
			e.Outcomes["200"]++
		}
	}
	sort.Float64s(e.Latencies)
	return &baseline.Run{Entries: n, Edges: map[string]*baseline.Edge{"a -> b:80": {Calls: n, Reused: n}}, Endpoints: map[string]*baseline.Endpoint{"a -> b:80 GET /": e}}
}

// curve is the share of comparisons that found a shift, by the number of calls.
type curve struct {
	name   string
	ns     []int
	shares []float64
}

var sizes = []int{5, 10, 20, 40, 80, 160, 320}

// power says how often shifts are found.
func power(out *strings.Builder, rounds int) []curve {
	fmt.Fprintf(out, "### Slower endpoints: found, against the number of calls\n\nA simulated endpoint of 30 ms: latencies vary by 10 %% from call to call, 2 %% of them take three times as long, and runs of the same code differ by 1 %%. "+
		"The baseline has 10 runs of n calls, the new code one run of n calls; %d comparisons each. Each cell: called slower / open / shown to be as before.\n\n", rounds)
	out.WriteString("| slower by |")
	for _, n := range sizes {
		fmt.Fprintf(out, " n = %d |", n)
	}
	out.WriteString("\n|---|" + strings.Repeat("---|", len(sizes)) + "\n")
	var curves []curve
	for _, shift := range []float64{0, 0.05, 0.10, 0.20, 0.50} {
		c := curve{name: fmt.Sprintf("%.0f %%", shift*100)}
		fmt.Fprintf(out, "| %s |", c.name)
		for _, n := range sizes {
			slower, same := 0, 0
			for i := range rounds {
				r := rand.New(rand.NewPCG(uint64(n), uint64(i)*1000+uint64(shift*1000)))
				f := latencyOf(baseline.Compare(asText(together(several(r, 10, n))), together([]*baseline.Run{simulate(r, n, shift, 0)}), baseline.Options{}))
				switch {
				case f.Verdict == traffic.Fail:
					slower++
				case f.Verdict == traffic.Pass:
					same++
				}
			}
			c.ns, c.shares = append(c.ns, n), append(c.shares, float64(slower)/float64(rounds))
			fmt.Fprintf(out, " %d / %d / %d %% |", 100*slower/rounds, 100*(rounds-slower-same)/rounds, 100*same/rounds)
		}
		out.WriteString("\n")
		curves = append(curves, c)
	}
	out.WriteString("\n![the share of comparisons that call an endpoint slower, by the number of calls, for four shifts](images/power.svg)\n\nShifts of 5 % and 10 % do not exceed the least effect that counts (10 %, or three times the noise), so they are hardly ever called slower, however many calls there are.\n\n")
	return curves
}

func several(r *rand.Rand, k, n int) []*baseline.Run {
	var runs []*baseline.Run
	for range k {
		runs = append(runs, simulate(r, n, 0, 0))
	}
	return runs
}

func latencyOf(r *baseline.Report) traffic.Finding {
	i := slices.IndexFunc(r.Findings, func(f traffic.Finding) bool { return f.Kind == traffic.FindingLatency })
	if i < 0 {
		return traffic.Finding{}
	}
	return r.Findings[i]
}

// errorRates says how often errors that were never seen before are found.
func errorRates(out *strings.Builder, rounds int) {
	counts := []int{40, 80, 160, 320, 640, 1280}
	fmt.Fprintf(out, "### Errors that were never there: found, against the number of calls\n\nThe baseline has 5 runs of n calls without an error; the new code has one run of n calls. One call that ends as none ever did is a finding, so the share is "+
		"1 - (1 - rate)^n; what is counted, over %d comparisons, agrees.\n\n| error rate |", rounds)
	for _, n := range counts {
		fmt.Fprintf(out, " n = %d |", n)
	}
	out.WriteString("\n|---|" + strings.Repeat("---|", len(counts)) + "\n")
	for _, rate := range []float64{0.001, 0.005, 0.02} {
		fmt.Fprintf(out, "| %s |", percent(rate))
		for _, n := range counts {
			r := rand.New(rand.NewPCG(uint64(n), uint64(rate*1e6)))
			old := asText(together(several(r, 5, n)))
			found := 0
			for range rounds {
				report := baseline.Compare(old, together([]*baseline.Run{simulate(r, n, 0, rate)}), baseline.Options{})
				if slices.ContainsFunc(report.Findings, func(f traffic.Finding) bool { return f.Kind == traffic.FindingStatus && f.Verdict == traffic.Fail }) {
					found++
				}
			}
			fmt.Fprintf(out, " %s |", percent(float64(found)/float64(rounds)))
		}
		out.WriteString("\n")
	}
	out.WriteString("\n")
}
