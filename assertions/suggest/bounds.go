package suggest

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/devloop-io/devloop/assertions/baseline"
	"github.com/devloop-io/devloop/assertions/stat"
	"github.com/devloop-io/devloop/traffic"
)

// confidence is that of estimates: checks' default.
const confidence = 0.95

// latencies bounds how long answers take: the quantile's own interval, and room above it for what runs, loads and machines
// differ by.
func latencies(o *observed) []draft {
	var drafts []draft
	for _, protocols := range [][]string{{traffic.ProtoHTTP, protoGRPC}, {traffic.ProtoPostgreSQL, traffic.ProtoRedis}} {
		all := o.of(protocols...)
		for _, p := range all {
			name, q, every := quantileFor(o.least(p))
			if name == "" {
				continue
			}
			upper := 0.0
			for _, calls := range o.within(p) {
				upper = max(upper, upperQuantile(calls, q))
			}
			if upper <= 0 || math.IsInf(upper, 1) {
				continue
			}
			bound := float64(latencyStep(time.Duration(max(2.5*upper, upper+75e6))))
			d := draft{kind: "latency", promise: fmt.Sprintf("%.0f %% of answers take less than %s", q*100, shortDuration(time.Duration(bound))), base: p.proto, places: []place{p}, all: all,
				expect: name + " < " + durationText(bound), by: `src.name + " → " + dst.name`, faults: []fault{slower(int64(2*bound)/1e6, every)}, extra: answeredWell(o, p), softly: true}
			if d.all = o.of(p.proto); p.proto == traffic.ProtoHTTP || p.proto == protoGRPC {
				d.all = all
				d.base, d.by = "http", `src.name + " → " + dst.name + " " + method + " " + route`
			}
			drafts = append(drafts, d)
		}
	}
	return drafts
}

// latencySteps are what bounds of latencies are rounded up to: few, so that places say the same.
var latencySteps = []time.Duration{100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond, time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second, 30 * time.Second, time.Minute, 5 * time.Minute, time.Hour}

func latencyStep(d time.Duration) time.Duration {
	for _, s := range latencySteps {
		if d <= s {
			return s
		}
	}
	return d
}

// answeredWell leaves out failures where there are some: they are fast or slow for other reasons.
func answeredWell(o *observed, p place) string {
	if p.proto == traffic.ProtoHTTP && !o.all(p, succeeded) {
		return "status_code < 400"
	}
	return ""
}

// quantileFor is the highest quantile that so many calls can bound although a few of them stray, with what part of them has
// to be slow for it to show: every second, every fourth.
func quantileFor(n int) (name string, q float64, every int) {
	for _, c := range []struct {
		name  string
		q     float64
		every int
	}{{"p95(latency)", 0.95, 4}, {"p90(latency)", 0.90, 4}, {"percentile(latency, 0.75)", 0.75, 2}, {"p50(latency)", 0.50, 1}} {
		if _, high := stat.QuantileRanks(n, c.q, confidence); high <= n-strays {
			return c.name, c.q, c.every
		}
	}
	return "", 0, 0
}

// strays is how many slow calls a bound on a quantile bears.
const strays = 2

// upperQuantile is the upper bound of a quantile's interval, in nanoseconds.
func upperQuantile(calls []*traffic.Call, q float64) float64 {
	var xs []float64
	for _, c := range calls {
		if c.State == traffic.StateComplete && c.ResponseStart != 0 && c.Status < 400 {
			xs = append(xs, float64(c.Latency()))
		}
	}
	_, high := stat.QuantileRanks(len(xs), q, confidence)
	if high > len(xs) || len(xs) == 0 {
		return math.Inf(1)
	}
	slices.Sort(xs)
	return xs[high-1]
}

// shareBound is a bound that a share of rows keeps with room to spare: three times the upper end of its interval, in every run. 0 where there
// are too few rows to show it.
func shareBound(byRun [][]*traffic.Call, hits []int) float64 {
	bound := 0.0
	for i, calls := range byRun {
		if len(calls) < 29 {
			return 0
		}
		_, high := stat.Proportion(hits[i], len(calls), confidence)
		bound = max(bound, 1.5*high, high+0.05)
	}
	if bound = math.Ceil(bound*20) / 20; bound > 0.5 {
		return 0
	}
	return bound
}

// steps are the figures that bounds are rounded to, so that places with nearly the same say the same.
var steps = []float64{1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10}

func niceDown(ns float64) float64 {
	scale := math.Pow(10, math.Floor(math.Log10(ns)))
	best := scale
	for _, s := range steps {
		if x := s * scale; x <= ns*(1+1e-9) {
			best = x
		}
	}
	return best
}

func durationText(ns float64) string {
	return "duration(" + strconv.Quote(shortDuration(time.Duration(math.Round(ns)))) + ")"
}

func shortDuration(d time.Duration) string {
	if d < time.Second {
		return strconv.FormatFloat(float64(d)/1e6, 'f', -1, 64) + "ms"
	}
	return strconv.FormatFloat(d.Seconds(), 'f', -1, 64) + "s"
}

// quote quotes a text for an expression.
func quote(s string) string { return strconv.Quote(s) }

func requestHeaderFacts(f *baseline.EndpointFacts) baseline.SetFacts  { return f.RequestHeaders }
func responseHeaderFacts(f *baseline.EndpointFacts) baseline.SetFacts { return f.ResponseHeaders }
func responseFieldFacts(f *baseline.EndpointFacts) baseline.SetFacts  { return f.ResponseFields }

// Headers that clients, libraries and exercises send of themselves: that they are there is no service's promise.
var common = map[string]bool{"accept": true, "accept-encoding": true, "accept-language": true, "user-agent": true, "content-type": true, "origin": true, "referer": true, "cache-control": true,
	"pragma": true, "host": true, "upgrade-insecure-requests": true, "dnt": true, "priority": true, "via": true, "baggage": true, "tracestate": true, "devloop-iteration": true}

func commonRequestHeader(h string) bool {
	return common[h] || strings.HasPrefix(h, "sec-") || strings.HasPrefix(h, "x-forwarded-") || strings.HasPrefix(h, "if-")
}

// Headers of answers that somebody decided on.
var meant = map[string]bool{"cache-control": true, "etag": true, "strict-transport-security": true, "content-security-policy": true, "x-content-type-options": true, "x-frame-options": true,
	"referrer-policy": true, "permissions-policy": true, "access-control-allow-origin": true, "deprecation": true, "sunset": true, "www-authenticate": true}

func meantHeader(h string) bool {
	return meant[h] || strings.HasPrefix(h, "x-ratelimit") || strings.HasSuffix(h, "-id")
}

const mostFieldsNamed = 5

// topFields picks a few fields that hold values, the shallowest first, as names and as paths.
func topFields(always []string) (names, paths []string) {
	slices.SortStableFunc(always, func(a, b string) int { return strings.Count(a, ".") - strings.Count(b, ".") })
	for _, f := range always {
		name, kind, _ := strings.Cut(f, ": ")
		if kind == "object" || kind == "array" || kind == "null" || len(names) == mostFieldsNamed {
			continue
		}
		if path, ok := pathOf(name); ok {
			names, paths = append(names, name), append(paths, path)
		}
	}
	return names, paths
}

// pathOf writes items[].price as $.items[*].price. Names that need quotes are left out.
func pathOf(name string) (string, bool) {
	for _, r := range name {
		if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("_.[]", r) {
			return "", false
		}
	}
	if name == "" || strings.HasSuffix(name, "[]") {
		return "", false
	}
	path := strings.ReplaceAll(name, "[]", "[*]")
	if strings.HasPrefix(path, "[") {
		return "$" + path, true
	}
	return "$." + path, true
}
