package assertions

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/devloop-io/devloop/assertions/example"
	"github.com/devloop-io/devloop/traffic"
)

// kleene is the strong three-valued logic of Kleene, written down apart: 0 false, 1 unknown, 2 true.
func kleene(v ref.Val) int {
	switch {
	case v == types.False:
		return 0
	case v == types.True:
		return 2
	}
	return 1
}

// Whatever three comparisons say, && || ! and ?: of CEL over them follow Kleene.
func TestComparisonsFollowKleene(t *testing.T) {
	t.Parallel()
	outer, err := outerEnv()
	if err != nil {
		t.Fatal(err)
	}
	env, err := outer.Extend(cel.Variable("a", estimateInt), cel.Variable("b", estimateInt))
	if err != nil {
		t.Fatal(err)
	}
	program := func(text string) cel.Program {
		checked, issues := env.Compile(text)
		if issues.Err() != nil {
			t.Fatal(issues.Err())
		}
		p, err := env.Program(checked, cel.EvalOptions(cel.OptOptimize))
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	and, or, not := program("a < 5 && 5 > b"), program("a < 5 || b < 5"), program("!(a < 5)")
	values := map[int]*estimate{0: {typ: estimateInt, low: 7, high: 9}, 1: {typ: estimateInt, low: 3, high: 9}, 2: {typ: estimateInt, low: 1, high: 2}}
	for x, a := range values {
		for y, b := range values {
			for name, want := range map[string]int{"and": min(x, y), "or": max(x, y), "not": 2 - x} {
				p := map[string]cel.Program{"and": and, "or": or, "not": not}[name]
				out, _, err := p.Eval(map[string]any{"a": a, "b": b})
				if err != nil || kleene(out) != want {
					t.Errorf("%s of %d and %d is %v (%v), want %d", name, x, y, out, err, want)
				}
			}
		}
	}
}

// A comparison that decides must decide as every pair of numbers inside the two intervals would.
func TestComparisonsAreSound(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	point := map[string]func(a, b float64) bool{
		"<": func(a, b float64) bool { return a < b }, "<=": func(a, b float64) bool { return a <= b },
		">": func(a, b float64) bool { return a > b }, ">=": func(a, b float64) bool { return a >= b },
		"==": func(a, b float64) bool { return a == b }, "!=": func(a, b float64) bool { return a != b },
	}
	interval := func() *estimate {
		low := float64(r.IntN(6))
		e := &estimate{typ: estimateDouble, low: low, high: low + float64(r.IntN(4))}
		if r.IntN(6) == 0 {
			e.high = math.Inf(1)
		}
		if r.IntN(6) == 0 {
			e.low = math.Inf(-1)
		}
		return e
	}
	inside := func(e *estimate) []float64 {
		low, high := math.Max(e.low, -3), math.Min(e.high, 12)
		return []float64{low, high, (low + high) / 2}
	}
	for range 5000 {
		a, b := interval(), interval()
		for operator, holds := range point {
			got := decide(operator, a, b)
			for _, x := range inside(a) {
				for _, y := range inside(b) {
					if got == types.True && !holds(x, y) || got == types.False && holds(x, y) {
						t.Fatalf("[%v,%v] %s [%v,%v] is %v, but %v and %v lie inside", a.low, a.high, operator, b.low, b.high, got, x, y)
					}
				}
			}
		}
		for _, operator := range []string{"+", "-", "*", "/"} {
			out, ok := arithmetic(operator, estimateDouble, a, b).(*estimate)
			if !ok {
				continue
			}
			for _, x := range inside(a) {
				for _, y := range inside(b) {
					if v := operation(operator)(x, y); v < out.low-1e-9 || v > out.high+1e-9 {
						t.Fatalf("[%v,%v] %s [%v,%v] = [%v,%v] lacks %v", a.low, a.high, operator, b.low, b.high, out.low, out.high, v)
					}
				}
			}
		}
	}
}

// What a check says with less known must not contradict what it says with all known: answers are taken away call by call,
// and a verdict that was reached may turn inconclusive but never from pass to fail or back.
func TestUnknownNeverContradicts(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 4))
	expectations := []string{
		`none(status_code >= 500)`, `all(status_code < 500)`, `any(status_code == 200)`, `count(status_code == 200) >= 5`,
		`max(latency) < duration("80ms")`, `min(latency) > duration("10ms")`, `p50(latency) < duration("60ms")`,
		`ratio(status_code >= 500) < 0.4`, `sum(status_code) < 4000`, `distinct(status_code) <= 2`,
		`max(count_by(status_code)) <= 9`, `before(status_code == 200, status_code == 503)`,
		`then(status_code == 503, status_code == 200, duration("1s"))`, `never_after(status_code == 503, status_code == 503, duration("5s"))`,
		`!(max(latency) < duration("80ms")) || count() > 100`, `mean(latency) < duration("1s")`,
	}
	reached := map[traffic.Verdict]int{}
	for round := range 60 {
		var calls []*traffic.Call
		for i := range 5 + r.IntN(12) {
			status := 200
			if r.IntN(6) == 0 {
				status = 503
			}
			calls = append(calls, example.One(example.Call{From: "a", To: "b", At: float64(i * 200), MS: float64(5 + r.IntN(90)), Status: status, Conn: uint64(i + 1)}, 0))
			calls[i].ID = fmt.Sprint("c", i)
		}
		full := Input{Dissection: &traffic.Dissection{Calls: calls}, WindowStart: example.At(0), WindowEnd: example.At(60_000)}
		var less []*traffic.Call
		for _, c := range calls {
			x := *c
			if r.IntN(4) == 0 {
				x.State, x.ResponseStart, x.Status = traffic.StateUnanswered, 0, 0
				x.End = x.Start + r.Int64N(c.End-c.Start+1) // it waited no longer than the answer would have taken
			}
			less = append(less, &x)
		}
		part := Input{Dissection: &traffic.Dissection{Calls: less}, WindowStart: example.At(0), WindowEnd: example.At(60_000)}
		lossy := part
		lossy.Dissection = &traffic.Dissection{Calls: less, Account: traffic.Account{Dropped: 1}}
		for _, expect := range expectations {
			verdicts := []traffic.Verdict{}
			for _, in := range []Input{full, part, lossy} {
				result, err := CheckExpression("http", expect, in)
				if err != nil {
					t.Fatal(err)
				}
				verdicts = append(verdicts, result.Verdict)
			}
			for i := range verdicts {
				reached[verdicts[i]]++
				for j := range i {
					if a, b := verdicts[j], verdicts[i]; a == traffic.Pass && b == traffic.Fail || a == traffic.Fail && b == traffic.Pass {
						t.Errorf("round %d: %s says %v as less and less is known", round, expect, verdicts)
					}
				}
			}
		}
	}
	for _, v := range []traffic.Verdict{traffic.Pass, traffic.Fail, traffic.Inconclusive} {
		if reached[v] < 100 {
			t.Errorf("only %d of the verdicts are %s: the property is hardly tried", reached[v], v)
		}
	}
}

func FuzzLoad(f *testing.F) {
	f.Add("checks:\n- name: a\n  on: http\n  expect: none(status_code >= 500)\n")
	f.Add("exercise: x\nbuiltin: {keepalive-lost: y}\nchecks:\n- name: a\n  on: |\n    http && path == \"/é\"\n  by: path\n  expect: >\n    p95(latency) < 5\n    && true\n")
	f.Add("checks:\n- &a {name: x, on: 'a''b', expect: \"\\\"\"}\n- *a\n")
	f.Add("checks: [{name: a, on: http, expect: !none(x)}]")
	f.Add("checks:\n- name: a\n  on: http\n  expect: max(count_by(path, trace_id)) <= 3 || [1].all(x, count() > x)\n")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := Parse("f", []byte(text))
		if err != nil {
			_ = err.Error()
			return
		}
		s.Check(Input{Dissection: &traffic.Dissection{}}, CheckOptions{})
	})
}

func TestSummary(t *testing.T) {
	t.Parallel()
	result := func(v traffic.Verdict, severity string) traffic.CheckResult {
		return traffic.CheckResult{Verdict: v, Severity: severity}
	}
	for name, c := range map[string]struct {
		results []traffic.CheckResult
		allow   bool
		verdict traffic.Verdict
		code    int
	}{
		"pass":                   {[]traffic.CheckResult{result(traffic.Pass, SeverityError), result(traffic.Skipped, SeverityError)}, false, traffic.Pass, 0},
		"fail outweighs":         {[]traffic.CheckResult{result(traffic.Inconclusive, SeverityError), result(traffic.Fail, SeverityError)}, true, traffic.Fail, 1},
		"warnings do not gate":   {[]traffic.CheckResult{result(traffic.Fail, SeverityWarning)}, false, traffic.Pass, 0},
		"nodata":                 {[]traffic.CheckResult{result(traffic.Pass, SeverityError), result(traffic.NoData, SeverityError)}, false, traffic.NoData, 4},
		"inconclusive, allowed":  {[]traffic.CheckResult{result(traffic.Inconclusive, SeverityError)}, true, traffic.Inconclusive, 0},
		"error":                  {[]traffic.CheckResult{result(traffic.Error, SeverityError), result(traffic.NoData, SeverityError)}, false, traffic.Error, 4},
		"nothing judged":         {[]traffic.CheckResult{result(traffic.Skipped, SeverityError)}, false, traffic.Skipped, 0},
		"no results of any kind": {nil, false, traffic.Skipped, 0},
	} {
		if v, code := Summary(c.results, c.allow); v != c.verdict || code != c.code {
			t.Errorf("%s: %s, exit %d; want %s, exit %d", name, v, code, c.verdict, c.code)
		}
	}
}
