package retries

import (
	"cmp"
	"math"
	"slices"

	"github.com/devloop-io/devloop/dissect/facts"
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
	w := facts.Of(calls, refused)
	Find(w)
	i := 0
	for f := range w.All() {
		calls[i].Retry = f.Retry
		i++
	}
}

// Failed reports whether a call ended in a way that its client may try again, as [facts.Failed] says.
func Failed(c *traffic.Call) bool { return facts.Failed(c) }

// Find fills Retry of facts, as [Group] says.
func Find(w *facts.Window) {
	g := grouping{w: w, traces: map[uint64]uint8{}, keeps: map[uint32]bool{}}
	ids := map[carried]uint8{}
	for f := range w.All() {
		f.Retry = nil
		if f.Trace != 0 && g.traces[f.Trace] < 2 {
			g.traces[f.Trace]++
		}
		if f.Request != 0 {
			g.keep(ids, carried{f.Src.Home(), f.Request}, asked)
			g.keep(ids, carried{f.Dst.Home(), f.Request}, served)
		}
	}
	attempts := make([]attempt, 0, w.Len())
	for f := range w.All() {
		if !f.TLS && !f.Half {
			attempts = append(attempts, attempt{key: g.key(f), call: f, start: f.Start, end: f.End})
		}
	}
	attempts = append(attempts, g.refused()...)
	slices.SortStableFunc(attempts, compare)
	for from := 0; from < len(attempts); {
		to := from + 1
		for to < len(attempts) && attempts[to].key == attempts[from].key {
			to++
		}
		for _, chain := range chains(attempts[from:to]) {
			describe(chain)
		}
		from = to
	}
}

// compare puts attempts of one request together, in the order in which they began, and among equals calls before connections.
func compare(a, b attempt) int {
	switch c := cmp.Or(cmp.Compare(a.key, b.key), cmp.Compare(a.start, b.start)); {
	case c != 0 || a.call == nil && b.call == nil:
		return c
	case a.call == nil:
		return 1
	case b.call == nil:
		return -1
	}
	return cmp.Or(cmp.Compare(a.call.Conn, b.call.Conn), cmp.Compare(a.call.Index, b.call.Index))
}

type grouping struct {
	w      *facts.Window
	traces map[uint64]uint8 // how many calls are of a trace; 2 are many
	keeps  map[uint32]bool  // ends whose request ids outlive a call: they hand on what they were given, or ask twice with one
}

// carried is a request id on a call of an end, and asked and served are how.
type carried struct {
	home uint32
	id   uint64
}

const (
	served uint8 = 1 << iota
	asked
	askedTwice
)

// keep notes that an end carries an id.
func (g *grouping) keep(ids map[carried]uint8, c carried, how uint8) {
	was := ids[c]
	if how == asked && was&asked != 0 {
		how = askedTwice
	}
	now := was | how
	if now != was {
		ids[c] = now
	}
	if now&askedTwice != 0 || now == asked|served {
		g.keeps[c.home] = true
	}
}

// attempt is a call, or a refused connection that was to carry one.
type attempt struct {
	key        uint64
	call       *facts.Fact // nil for a refused connection
	start, end int64       // end is when the client knew how it went; start, when that was not seen
}

func (a *attempt) failed() bool { return a.call == nil || a.call.Failed }

// request is equal for calls that may be attempts of one.
type request struct {
	client  client
	server  server
	content uint64
	by      string // what kind of id tells
	id      uint64
}

// client tells processes apart, as far as they are known.
type client struct {
	home uint32
	pid  uint32
}

func clientOf(e *facts.End) client {
	if e.Workload == 0 {
		return client{home: e.Address}
	}
	return client{e.Workload, e.PID}
}

// server is what the client meant to reach: another replica of it is no other server.
type server struct {
	home uint32
	port uint16
	host uint64
}

func serverOf(f *facts.Fact) server {
	switch {
	case f.DNS: // resolvers ask their next server
		return server{}
	case f.Dst.Workload == 0 && f.Host != 0:
		return server{host: f.Host}
	}
	return server{home: f.Dst.Home(), port: f.Port}
}

// key is equal for calls that may be attempts of one request. Calls with different request ids are different requests, however
// alike they look, when their client is seen to keep ids: services hand on the one that they were given, and Envoy keeps its own
// when it tries again. Of a client that is not, each id may be made anew for each attempt, and tells nothing.
func (g *grouping) key(f *facts.Fact) uint64 {
	r := request{client: clientOf(f.Src), server: serverOf(f), content: f.Content}
	switch {
	case f.Idempotency != 0:
		r.by, r.id = "idempotency", f.Idempotency
	case g.traced(f):
		r.by, r.id = "trace", f.Trace
	case f.Request != 0 && (g.keeps[f.Src.Home()] || f.Src.Exercise):
		r.by, r.id = "id", f.Request
	}
	return facts.Hash(g.w, r)
}

// traced reports whether a call's trace tells its request from another. One of a single call may be made anew for each attempt,
// unless the exercise, which makes one for each request, sent it.
func (g *grouping) traced(f *facts.Fact) bool {
	return f.Trace != 0 && (g.traces[f.Trace] > 1 || f.Src.Exercise)
}

// edge is from a client to what it reached.
type edge struct {
	client client
	name   string
	addr   uint32 // without a name
	port   uint16
}

func edgeOf(src, dst *facts.End, port uint16) edge {
	e := edge{client: clientOf(src), name: dst.Name, port: port}
	if e.name == "" {
		e.addr = dst.Address
	}
	return e
}

// refused gives each refused connection the request that its client sent next to the same server.
func (g *grouping) refused() (attempts []attempt) {
	next := map[edge][]*facts.Fact{}
	for i := range g.w.Refused {
		r := &g.w.Refused[i]
		next[edgeOf(r.Src, r.Dst, r.Port)] = nil
	}
	if len(next) == 0 {
		return nil
	}
	for f := range g.w.All() {
		k := edgeOf(f.Src, f.Dst, f.Port)
		if _, ok := next[k]; ok {
			next[k] = append(next[k], f)
		}
	}
	for _, fs := range next {
		slices.SortFunc(fs, func(a, b *facts.Fact) int { return cmp.Compare(a.Start, b.Start) })
	}
	for i := range g.w.Refused {
		r := &g.w.Refused[i]
		fs := next[edgeOf(r.Src, r.Dst, r.Port)]
		k, _ := slices.BinarySearchFunc(fs, r.End, func(f *facts.Fact, at int64) int { return cmp.Compare(f.Start, at) })
		if k < len(fs) && fs[k].Start-r.End <= Window {
			attempts = append(attempts, attempt{key: g.key(fs[k]), start: r.Start, end: r.End})
		}
	}
	return attempts
}

// chains splits calls that look alike into requests: each attempt follows the failed one that ended last before it and
// that nothing follows yet. They come in the order in which they began.
func chains(same []attempt) [][]attempt {
	if len(same) < 2 {
		return nil
	}
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
	if !last.failed() {
		return false
	}
	slack := int64(0)
	if last.call != nil && last.call.GaveUp {
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
	for _, id := range []func(*facts.Fact) uint64{
		func(f *facts.Fact) uint64 { return f.Idempotency },
		func(f *facts.Fact) uint64 { return f.Request },
		func(f *facts.Fact) uint64 { return f.Span },
	} {
		first, same := uint64(0), true
		for _, a := range chain {
			if a.call == nil {
				continue
			}
			v := id(a.call)
			if first == 0 {
				first = v
			}
			same = same && v != 0 && v == first
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
