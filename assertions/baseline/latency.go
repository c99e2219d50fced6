package baseline

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/devloop-io/devloop/assertions/stat"
	"github.com/devloop-io/devloop/traffic"
)

// latencies compares how long answers take, endpoint by endpoint.
func (c *comparison) latencies() {
	if c.old.Host != c.new.Host && !c.o.AnyHost && !c.o.Describe {
		c.facts = append(c.facts, traffic.Finding{Kind: traffic.FindingLatency, Where: "all endpoints", Verdict: traffic.Skipped, Old: c.old.Host.String(), New: c.new.Host.String(), Basis: "exact",
			What: "latencies are not compared: the baseline is of another host (" + difference(c.old.Host, c.new.Host) + "); --against git:merge-base measures both sides here, or record again here"})
		c.report.Notes = append(c.report.Notes, "latencies were not compared: the baseline is of another host")
		return
	}
	var judged []*EndpointFacts
	for i := range c.new.Endpoints {
		e := &c.new.Endpoints[i]
		if before, known := c.old.Endpoint(e.Name); known && c.timed(before, e) {
			judged = append(judged, e)
		}
	}
	perRun := stat.RunsNeeded(c.o.Alpha / float64(max(1, len(judged)+len(c.tests))))
	for _, e := range judged {
		before, _ := c.old.Endpoint(e.Name)
		c.latency(before, e, perRun)
		c.tail(before, e)
	}
}

// timed reports whether there are latencies enough on both sides to ask; where there never can be, it says so.
func (c *comparison) timed(old, new *EndpointFacts) bool {
	if new.Latency.Skewed > 0 {
		c.report.Notes = append(c.report.Notes, fmt.Sprintf("%s: %s end before they begin, because the clock was set meanwhile; their latencies are left out", new.Name, many(new.Latency.Skewed, "call")))
	}
	a, b := len(old.Latency.Sample), len(new.Latency.Sample)
	if a == 0 || b == 0 {
		if a != b {
			c.facts = append(c.facts, traffic.Finding{Kind: traffic.FindingLatency, Where: new.Name, Verdict: traffic.Skipped, OldN: a, NewN: b,
				What: fmt.Sprintf("its latency is not compared: the baseline has %s with an answer, and now there are %d", many(old.Latency.Calls, "call"), new.Latency.Calls)})
		}
		return false
	}
	if stat.LeastP(a, b) > c.o.Alpha && !c.o.Describe {
		c.facts = append(c.facts, traffic.Finding{Kind: traffic.FindingLatency, Where: new.Name, Verdict: traffic.Skipped, OldN: a, NewN: b, NeedMore: moreFor(a, c.o.Alpha) - b,
			What: fmt.Sprintf("its latency is not compared: %s beside %d of the baseline cannot show anything at alpha %v: need %d more", many(b, "call"), a, c.o.Alpha, moreFor(a, c.o.Alpha)-b)})
		return false
	}
	if runs := stat.RunsNeeded(c.o.Alpha); stat.Median(floats(old.Calls)) < leastCalls && min(c.old.Runs, c.new.Runs) < runs && !c.o.Describe {
		c.facts = append(c.facts, traffic.Finding{Kind: traffic.FindingLatency, Where: new.Name, Verdict: traffic.Skipped, OldN: a, NewN: b,
			What: fmt.Sprintf("its latency is not compared: with fewer than %d calls in a run only whole runs can be compared, and that takes %d on each side", leastCalls, runs)})
		return false
	}
	return stat.LeastP(a, b) <= c.o.Alpha
}

// leastCalls is how many calls a run has to have for its calls to be compared one by one: fewer are mostly the first ones, which
// find everything cold.
const leastCalls = 5

func floats(c Counts) []float64 {
	out := make([]float64, len(c))
	for i, n := range c {
		out[i] = float64(n)
	}
	return out
}

// moreFor is how many new values are needed beside a old ones for a p of alpha.
func moreFor(a int, alpha float64) int {
	n := 1
	for n < stat.Never && stat.LeastP(a, n) > alpha {
		n++
	}
	return n
}

// leastShift is the least shift that counts, in milliseconds, whatever its share: below it a latency tells of the machine's scheduler.
const leastShift = 0.2

// latency compares one endpoint: Mann and Whitney's test, Hodges and Lehmann's ratio with its interval, and the noise that runs of
// the same code have. Worse is a ratio that is significantly and wholly beyond what noise does; as before is one that is wholly
// below it; all else is open.
func (c *comparison) latency(old, new *EndpointFacts, perRun int) {
	a, b, basis := old.Latency.Sample, new.Latency.Sample, "requests"
	if len(old.Latency.Medians) >= perRun && len(new.Latency.Medians) >= perRun {
		a, b, basis = old.Latency.Medians, new.Latency.Medians, "runs"
	}
	s, err := stat.Compare(a, b, 1-c.o.Alpha)
	if err != nil {
		return // Parse and Summarize let nothing else through
	}
	noise := stat.Noise([][]float64{logarithms(old.Latency.Medians), logarithms(new.Latency.Medians)}, max(1, len(old.Latency.Medians)), max(1, len(new.Latency.Medians)))
	effect := max(math.Expm1(noiseFactor*noise), c.o.MinEffect)
	if math.IsNaN(noise) {
		effect = c.o.MinEffect
	}
	before, now := stat.Median(old.Latency.Sample), stat.Median(new.Latency.Sample)
	effect = max(effect, leastShift/before)
	f := traffic.Finding{Kind: traffic.FindingLatency, Where: new.Name, Old: milliseconds(before), New: milliseconds(now), Effect: s.Ratio - 1, Low: s.Low - 1, High: finite(s.High - 1),
		P: s.P, OldN: s.N1, NewN: s.N2, Basis: basis}
	size := fmt.Sprintf("%s → %s, %s (%s to %s)", f.Old, f.New, signed(s.Ratio-1), signed(s.Low-1), signed(s.High-1))
	bound := percent(effect)
	c.test(f, func(f *traffic.Finding, significant bool) {
		switch {
		case significant && s.Low > 1+effect && (c.o.Describe || !math.IsNaN(noise)):
			f.Verdict, f.What = traffic.Fail, "got slower: "+size+", beyond the "+bound+" that count"
		case significant && s.High < 1/(1+effect):
			f.Verdict, f.Improved, f.What = traffic.Pass, true, "got faster: "+size
		case c.o.Describe:
			f.Verdict = ""
		case math.IsNaN(noise):
			f.Verdict, f.NeedMore = traffic.Inconclusive, learntRuns-1
			f.What = size + "; how much runs of the same code differ is not known from one run: record 2 more"
		case s.High < 1+effect:
			f.Verdict, f.What = traffic.Pass, "is as before: "+size+", less than the "+bound+" that count"
		default:
			f.Verdict, f.What = traffic.Inconclusive, size+", which does not tell whether it is slower by the "+bound+" that count"
			f.NeedMore = more(s, effect, basis, f, perRun-len(old.Latency.Medians), perRun-len(new.Latency.Medians))
		}
	})
}

// What a tail is, and when it has grown: a tenth of the calls of every new run have to take twice as long as a tenth of those of the slowest
// old one did, because tails differ much from run to run for no reason.
const (
	tailQuantile = 0.9
	tailCalls    = 20
	tailFactor   = 2
	tailRuns     = 2 // new ones
)

// tail compares the slow calls of an endpoint: the middle may stay as it is while some calls get much slower.
func (c *comparison) tail(old, new *EndpointFacts) {
	if c.o.Describe || len(old.Latency.Tails) < learntRuns || len(new.Latency.Tails) < len(new.Calls) || len(new.Latency.Tails) == 0 {
		return
	}
	noise := stat.Noise([][]float64{logarithms(old.Latency.Tails)}, len(old.Latency.Tails), len(new.Latency.Tails))
	bound := slices.Max(old.Latency.Tails) * max(tailFactor, math.Exp(noiseFactor*noise))
	if !(slices.Min(new.Latency.Tails) > bound) { // also where the noise is not known
		return
	}
	k1, k2 := above(old.Latency.Sample, bound), above(new.Latency.Sample, bound)
	a, b := float64(k1)/float64(len(old.Latency.Sample)), float64(k2)/float64(len(new.Latency.Sample))
	c.test(traffic.Finding{Kind: traffic.FindingLatency, Where: new.Name, OldN: len(old.Latency.Sample), NewN: len(new.Latency.Sample), Basis: "requests",
		Old: percent(a), New: percent(b), Effect: b - a, P: stat.Fisher(k1, len(old.Latency.Sample), k2, len(new.Latency.Sample)),
		What: fmt.Sprintf("its slow calls got slower: %s take longer than %s, and %s did", percent(b), milliseconds(bound), percent(a))},
		func(f *traffic.Finding, significant bool) {
			switch {
			case significant && len(new.Latency.Tails) >= tailRuns:
				f.Verdict = traffic.Fail
			case significant: // a busy neighbour does as much to one run
				f.Verdict, f.NeedMore = traffic.Inconclusive, tailRuns-len(new.Latency.Tails)
				f.What += fmt.Sprintf("; %s does not tell: need %d more", many(len(new.Latency.Tails), "run"), f.NeedMore)
			}
		})
}

// above counts the values above a bound.
func above(xs []float64, bound float64) int {
	n := 0
	for _, x := range xs {
		if x > bound {
			n++
		}
	}
	return n
}

// more is how many more calls, or runs, would decide; the sentence says so. Where calls differ so much among themselves that no number
// of them does, whole runs may: oldRuns and newRuns are how many each side lacks for that.
func more(s stat.Shift, effect float64, basis string, f *traffic.Finding, oldRuns, newRuns int) int {
	unit := "call"
	if basis == "runs" {
		unit = "run"
	}
	n := stat.ShiftNeeds(s, 1+effect)
	switch {
	case n < stat.Never:
		f.What += ": need " + many(n, unit) + " more"
		return n
	case oldRuns > 0:
		f.What += ": no number of calls would tell; record " + many(oldRuns, "more run") + " of the baseline, so that whole runs can be compared"
		return 0
	case newRuns > 0:
		f.What += ": no number of calls would tell; whole runs may: need " + many(newRuns, "more run")
		return newRuns
	}
	f.What += ": more of the new code alone would not tell; record more runs of the baseline"
	return 0
}

func logarithms(xs []float64) []float64 {
	out := make([]float64, len(xs))
	for i, x := range xs {
		out[i] = math.Log(x)
	}
	return out
}

// finite is a number that JSON can hold.
func finite(x float64) float64 {
	if math.IsInf(x, 0) || math.IsNaN(x) {
		return 0
	}
	return x
}

func signed(x float64) string {
	switch {
	case math.IsInf(x, 1):
		return "any"
	case x >= 0:
		return "+" + percent(x)
	}
	return percent(x)
}

func milliseconds(x float64) string {
	switch {
	case math.IsNaN(x):
		return "unknown"
	case x >= 1000:
		return fmt.Sprintf("%.2f s", x/1000)
	case x >= 100:
		return fmt.Sprintf("%.0f ms", x)
	case x >= 10:
		return fmt.Sprintf("%.1f ms", x)
	}
	return fmt.Sprintf("%.2f ms", x)
}

// difference names what two hosts differ in.
func difference(a, b Host) string {
	var parts []string
	add := func(what, x, y string) {
		if x != y {
			parts = append(parts, fmt.Sprintf("%s %q there, %q here", what, x, y))
		}
	}
	add("processor", a.CPU, b.CPU)
	add("cores", fmt.Sprint(a.Cores), fmt.Sprint(b.Cores))
	add("system", a.OS+"/"+a.Arch, b.OS+"/"+b.Arch)
	add("kernel", a.Kernel, b.Kernel)
	add("virtualisation", a.Virtual, b.Virtual)
	return strings.Join(parts, ", ")
}
