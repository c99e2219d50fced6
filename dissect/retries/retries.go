package retries

import (
	"cmp"
	"hash/maphash"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/devloop-io/devloop/traffic"
)

// Window is the longest time between the end of an attempt and the start of the next one, in nanoseconds.
const Window = int64(10e9)

// lag is how much earlier than the end of a cancelled attempt the next one may begin: the client gives up first, and
// closes the connection a little later.
const lag = int64(5e6)

// Values of [traffic.Retry.Confidence].
const (
	Exact    = "exact"    // the attempts carry the same idempotency key, request id or parent span
	Inferred = "inferred" // they look the same, and the one before had failed
)

// Group fills Retry of every call that is an attempt of a request made more than once; other calls get nil. A call is
// an attempt after another only when that one had failed: two successful GETs of one path are two requests.
//
// Calls may come in any order, and redacted or not: equal secrets are redacted to equal text. Refused are connections,
// or nil: a refused one never became a call, but still counts as an attempt of the request that its client sent next.
func Group(calls []*traffic.Call, refused []*traffic.Connection) {
	g := grouping{seed: maphash.MakeSeed(), ids: map[string]int{}, groups: map[uint64][]attempt{}}
	for _, c := range calls {
		c.Retry = nil
		g.ids[c.TraceID]++
		g.ids[requestID(c)]++
	}
	for _, c := range calls {
		if c.Protocol != traffic.ProtoTLS && c.State != traffic.StateHalf {
			h := g.key(c)
			g.groups[h] = append(g.groups[h], attempt{call: c, start: c.Start, end: ended(c), failed: Failed(c)})
		}
	}
	g.addRefused(calls, refused)
	for _, same := range g.groups {
		for _, chain := range chains(same) {
			describe(chain)
		}
	}
}

// Failed reports whether a call ended in a way that its client may try again: no whole answer, a server error, or a
// status that asks to come back. A call that is still open has not failed.
func Failed(c *traffic.Call) bool {
	switch c.State {
	case traffic.StateUnanswered, traffic.StateTruncated:
		return true
	case traffic.StateComplete:
		if c.Protocol == traffic.ProtoDNS {
			return c.Status == 2 // SERVFAIL
		}
		if p := c.PostgreSQL; p != nil {
			return transient(p.SQLState)
		}
		return c.Status >= 500 || c.Status == 429 || c.Status == 408 || c.Status == 425
	}
	return false
}

// transient reports whether a SQLSTATE asks to try again: serialization failures and deadlocks (class 40), too few
// resources (53), a server that stops or starts (57P0x), a broken connection (08).
func transient(state string) bool {
	for _, class := range []string{"40", "53", "57P0", "08"} {
		if strings.HasPrefix(state, class) {
			return true
		}
	}
	return false
}

type grouping struct {
	seed   maphash.Seed
	ids    map[string]int // how many calls carry a trace or request id
	groups map[uint64][]attempt
}

// attempt is a call, or a refused connection that was to carry one.
type attempt struct {
	call       *traffic.Call // nil for a refused connection
	start, end int64
	failed     bool
}

// key is equal for calls that may be attempts of one request.
func (g *grouping) key(c *traffic.Call) uint64 {
	parts := []string{client(&c.Src), server(c), c.Protocol, c.Method, c.Path, strconv.FormatBool(c.Background)}
	idempotency := header(c, "idempotency-key")
	switch id := requestID(c); {
	case idempotency != "":
		return g.hash(append(parts, "idempotency", idempotency), nil)
	case g.trusted(c, c.TraceID):
		parts = append(parts, "trace", c.TraceID)
	case g.trusted(c, id): // handed on through the services, it covers all calls of one user's request
		parts = append(parts, "id", id)
	}
	if p := c.PostgreSQL; p != nil {
		return g.hash(append(append(parts, p.Query), p.Arguments...), nil)
	}
	if c.Redis != nil {
		return g.hash(append(parts, c.Redis.Args...), nil)
	}
	if c.HTTP == nil {
		return g.hash(parts, nil)
	}
	return g.hash(append(parts, c.HTTP.Query), c.HTTP.RequestBody)
}

// trusted reports whether an id tells one request from another. One that stands on a single call may be made anew for
// each attempt, unless the exercise, which makes one for each request, sent it.
func (g *grouping) trusted(c *traffic.Call, id string) bool {
	return id != "" && (g.ids[id] > 1 || c.Src.Kind == traffic.KindExercise)
}

func (g *grouping) hash(parts []string, body []byte) uint64 {
	var h maphash.Hash
	h.SetSeed(g.seed)
	for _, p := range parts {
		h.WriteString(p)
		h.WriteByte(0)
	}
	h.Write(body)
	return h.Sum64()
}

// client tells processes apart, as far as they are known.
func client(e *traffic.Endpoint) string {
	if name := e.Name(); name != "" {
		return e.Namespace + "/" + name + "/" + strconv.FormatUint(uint64(e.PID), 10)
	}
	return e.IP.String()
}

// server is what the client meant to reach: another replica of it is no other server.
func server(c *traffic.Call) string {
	if c.Protocol == traffic.ProtoDNS {
		return "" // resolvers ask their next server
	}
	if name := c.Dst.Name(); name != "" {
		return c.Dst.Namespace + "/" + name + ":" + strconv.Itoa(int(c.Dst.Port))
	}
	if c.HTTP != nil && c.HTTP.Host != "" {
		return c.HTTP.Host
	}
	return c.Dst.Addr().String()
}

func requestID(c *traffic.Call) string {
	if id := header(c, "x-request-id"); id != "" {
		return id
	}
	return header(c, "x-correlation-id")
}

func header(c *traffic.Call, name string) string {
	if c.HTTP == nil {
		return ""
	}
	for i := range c.HTTP.RequestHeaders {
		if h := &c.HTTP.RequestHeaders[i]; len(h.Name) == len(name) && strings.EqualFold(h.Name, name) {
			return h.Value
		}
	}
	return ""
}

// ended is when the client knew how the attempt went; its start, when that was not seen.
func ended(c *traffic.Call) int64 { return max(c.Start, c.End) }

// addRefused puts each refused connection before the call that its client sent next to the same server.
func (g *grouping) addRefused(calls []*traffic.Call, refused []*traffic.Connection) {
	next := map[string][]*traffic.Call{}
	for _, r := range refused {
		if r.State == traffic.StateRefused {
			next[client(&r.Src)+reached(&r.Dst)] = nil
		}
	}
	if len(next) == 0 {
		return
	}
	for _, c := range calls {
		k := client(&c.Src) + reached(&c.Dst)
		if _, ok := next[k]; ok {
			next[k] = append(next[k], c)
		}
	}
	for _, cs := range next {
		slices.SortFunc(cs, func(a, b *traffic.Call) int { return cmp.Compare(a.Start, b.Start) })
	}
	for _, r := range refused {
		if r.State != traffic.StateRefused {
			continue
		}
		cs := next[client(&r.Src)+reached(&r.Dst)]
		i, _ := slices.BinarySearchFunc(cs, r.End, func(c *traffic.Call, at int64) int { return cmp.Compare(c.Start, at) })
		if i < len(cs) && cs[i].Start-r.End <= Window {
			k := g.key(cs[i])
			g.groups[k] = append(g.groups[k], attempt{start: r.Start, end: r.End, failed: true})
		}
	}
}

func reached(e *traffic.Endpoint) string {
	if name := e.Name(); name != "" {
		return " " + name + ":" + strconv.Itoa(int(e.Port))
	}
	return " " + e.Addr().String()
}

// chains splits calls that look alike into requests: each attempt follows the failed one that ended last before it and
// that nothing follows yet.
func chains(same []attempt) [][]attempt {
	if len(same) < 2 {
		return nil
	}
	slices.SortStableFunc(same, func(a, b attempt) int { return cmp.Compare(a.start, b.start) })
	var out [][]attempt
	for _, a := range same {
		best := -1
		for i := len(out) - 1; i >= 0 && len(out)-i <= 256; i-- {
			if last := out[i][len(out[i])-1]; follows(last, a) && (best < 0 || last.end > out[best][len(out[best])-1].end) {
				best = i
			}
		}
		if best < 0 {
			out = append(out, []attempt{a})
			continue
		}
		out[best] = append(out[best], a)
	}
	return out
}

func follows(last, a attempt) bool {
	if !last.failed {
		return false
	}
	slack := int64(0)
	if last.call != nil && (last.call.Error == traffic.ErrorCancelled || last.call.Error == traffic.ErrorTimeout) {
		slack = lag
	}
	return a.start >= last.end-slack && a.start > last.start && a.start-last.end <= Window
}

// describe fills Retry of the attempts of one request.
func describe(chain []attempt) {
	first := slices.IndexFunc(chain, func(a attempt) bool { return a.call != nil })
	if len(chain) < 2 || first < 0 {
		return
	}
	delays := make([]float64, 0, len(chain)-1)
	for i := 1; i < len(chain); i++ {
		delays = append(delays, float64(max(0, chain[i].start-chain[i-1].end)))
	}
	common := traffic.Retry{
		Group: chain[first].call.ID, Attempts: len(chain), Factor: factor(delays), Jitter: jitter(delays), Confidence: confidence(chain),
	}
	for i, a := range chain {
		if a.call == nil {
			continue
		}
		r := common
		r.Attempt = i + 1
		if i > 0 {
			r.DelayNS = int64(delays[i-1])
		}
		a.call.Retry = &r
	}
}

// confidence is exact when all attempts carry one id.
func confidence(chain []attempt) string {
	for _, id := range []func(*traffic.Call) string{
		func(c *traffic.Call) string { return header(c, "idempotency-key") },
		requestID,
		func(c *traffic.Call) string { return c.SpanID },
	} {
		first, same := "", true
		for _, a := range chain {
			if a.call == nil {
				continue
			}
			v := id(a.call)
			if first == "" {
				first = v
			}
			same = same && v != "" && v == first
		}
		if same {
			return Exact
		}
	}
	return Inferred
}

// factor is the mean growth from one delay to the next: the geometric mean, so that 100, 200, 400 ms give 2. It is 0
// with fewer than two delays.
func factor(delays []float64) float64 {
	if len(delays) < 2 {
		return 0
	}
	return math.Pow(positive(delays[len(delays)-1])/positive(delays[0]), 1/float64(len(delays)-1))
}

// positive keeps delays below the clock's use from making ratios infinite.
func positive(d float64) float64 { return max(d, 1000) }

// jitter is the coefficient of variation of the delays around the exponential that fits them best (least squares of
// their logarithms); 0 with fewer than three delays, which one curve always fits.
func jitter(delays []float64) float64 {
	n := float64(len(delays))
	if n < 3 {
		return 0
	}
	var sx, sy, sxx, sxy float64
	for i, d := range delays {
		x, y := float64(i), math.Log(positive(d))
		sx, sy, sxx, sxy = sx+x, sy+y, sxx+x*x, sxy+x*y
	}
	slope := (n*sxy - sx*sy) / (n*sxx - sx*sx)
	start := (sy - slope*sx) / n
	var sum, squares float64
	for i, d := range delays {
		r := positive(d) / math.Exp(start+slope*float64(i))
		sum, squares = sum+r, squares+r*r
	}
	mean := sum / n
	return math.Sqrt(max(0, squares/n-mean*mean)) / mean
}
