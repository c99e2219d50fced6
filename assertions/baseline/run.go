package baseline

import (
	"cmp"
	"crypto/tls"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/devloop-io/devloop/traffic"
)

// Run is what one window of traffic showed.
type Run struct {
	ID        string               `json:"id"`             // of the iteration
	Entries   int                  `json:"entries"`        // calls that nothing inside of the system caused
	Loss      string               `json:"loss,omitempty"` // what the capture lacks; empty when it is complete
	Edges     map[string]*Edge     `json:"edges"`          // by "cart -> catalogue:8080"
	Endpoints map[string]*Endpoint `json:"endpoints"`      // by edge and what is asked: "cart -> catalogue:8080 GET /items/{id}"
}

// Edge is one workload that speaks to a port of another.
type Edge struct {
	Calls   int  `json:"calls"`
	Reused  int  `json:"reused"` // calls that found their connection open
	Outside bool `json:"outside,omitempty"`
	TLS     Set  `json:"tls,omitzero"` // of handshakes: version, protocol, whether a server name was sent
}

// Endpoint is one kind of request on an edge.
type Endpoint struct {
	Edge      string            `json:"edge"`
	Calls     int               `json:"calls"`
	Outcomes  map[string]int    `json:"outcomes"`           // status → calls
	Errors    int               `json:"errors"`             // calls without an answer, or with one that says that the server failed
	Retries   int               `json:"retries"`            // attempts beyond the first
	Skewed    int               `json:"skewed,omitempty"`   // answered calls whose times make no sense: the clock was set meanwhile
	Latencies []float64         `json:"latencies"`          // of whole answers, milliseconds, sorted
	Sizes     []float64         `json:"sizes,omitempty"`    // of response bodies, bytes, sorted
	Sets      [sets]Set         `json:"sets"`               // by the constants below
	Children  map[string]*Child `json:"children,omitempty"` // calls that serving this one caused, by endpoint
}

// The set-like facts of an endpoint.
const (
	requestHeaders = iota
	responseHeaders
	requestFields
	responseFields
	credentials
	retryWaits
	sets
)

// Set counts in how many of some calls each of some names was there.
type Set struct {
	Of    int            `json:"of"` // calls that could have had them
	Items map[string]int `json:"items,omitempty"`
}

// Child is how often serving a call caused another, where it is known which call caused which.
type Child struct {
	Calls  int `json:"calls"`            // known to be caused by one of the parents
	Unsure int `json:"unsure,omitempty"` // that several calls could have caused
	Least  int `json:"least"`            // by one parent
	Most   int `json:"most"`
}

// What is taken of a window at most. More is left out, and Loss says so.
const (
	mostEndpoints = 2000
	mostEdges     = 1000
	mostItems     = 400 // names of one set
)

// Summarize reads a window. Background calls are left out, and so are TLS handshakes and look-ups of names that exist as endpoints: which
// names are spoken to shows in the edges, as does how TLS is spoken. The dissection is the caller's, and is not changed.
func Summarize(id string, d *traffic.Dissection) *Run {
	r := &Run{ID: id, Edges: map[string]*Edge{}, Endpoints: map[string]*Endpoint{}}
	if d == nil {
		r.Loss = "nothing was captured"
		return r
	}
	r.Loss = lossOf(&d.Account)
	opened := map[uint64]bool{}
	for _, c := range d.Connections {
		if c == nil || c.Background || c.Proto == "udp" && c.L7 == traffic.ProtoDNS {
			continue
		}
		opened[c.ID] = c.Opened
		if !c.Opened {
			continue // what idles in a pool, and is looked at or closed now and then, makes no edge; its calls do
		}
		r.edge(&c.Src, &c.Dst, c.SNI)
	}
	byID := map[string]string{}
	for _, c := range d.Calls {
		if c == nil || c.Background || !c.Asked() || setsUp(c) {
			continue
		}
		if c.Protocol == traffic.ProtoDNS {
			r.lookup(c)
			continue
		}
		if c.Protocol == traffic.ProtoTLS {
			r.handshake(c)
			continue
		}
		name, edge := r.edge(&c.Src, &c.Dst, "")
		if edge == nil {
			continue
		}
		edge.Calls++
		if reused, known := opened[c.ConnID]; c.Index > 0 || known && !reused {
			edge.Reused++
		}
		if c.Parent == "" {
			r.Entries++
		}
		key := NameOf(c)
		e := r.Endpoints[key]
		if e == nil {
			if len(r.Endpoints) >= mostEndpoints {
				r.Loss = "there are more than " + strconv.Itoa(mostEndpoints) + " endpoints"
				continue
			}
			e = &Endpoint{Edge: name, Outcomes: map[string]int{}, Children: map[string]*Child{}}
			r.Endpoints[key] = e
		}
		e.add(c)
		byID[c.ID] = key
	}
	r.children(d.Calls, byID)
	for _, e := range r.Endpoints {
		slices.Sort(e.Latencies)
		slices.Sort(e.Sizes)
	}
	return r
}

// handshake notes how an edge's TLS is spoken.
func (r *Run) handshake(c *traffic.Call) {
	if c.TLS == nil || c.TLS.Version == 0 {
		return
	}
	_, edge := r.edge(&c.Src, &c.Dst, c.TLS.SNI)
	if edge == nil {
		return
	}
	facts := []string{tls.VersionName(c.TLS.Version), "server name"}
	if c.TLS.SNI == "" {
		facts[1] = "no server name"
	}
	edge.TLS.add(facts)
}

// lookup notes a look-up of a name that does not exist, or that a server could not answer, as an endpoint of its client: which names are
// spoken to shows in the edges, and how often they are looked up follows from caches.
func (r *Run) lookup(c *traffic.Call) {
	if c.DNS == nil || c.DNS.RCode == "" || c.DNS.RCode == "NOERROR" || len(r.Endpoints) >= mostEndpoints {
		return
	}
	key := endName(&c.Src, "") + " -> DNS " + clean(c.DNS.RCode)
	e := r.Endpoints[key]
	if e == nil {
		e = &Endpoint{Edge: endName(&c.Src, "") + " -> DNS", Outcomes: map[string]int{}}
		r.Endpoints[key] = e
	}
	e.Calls++
	e.Outcomes[clean(c.DNS.RCode)]++
}

// setsUp reports whether a call readies a connection and asks for nothing: how many there are says how long ago services were
// started.
func setsUp(c *traffic.Call) bool {
	switch {
	case c.PostgreSQL != nil:
		switch c.PostgreSQL.Command {
		case "Startup", "Parse", "EMPTY": // a pool asks an empty query to see whether a connection lives
			return true
		}
	case c.Redis != nil:
		switch c.Redis.Command {
		case "HELLO", "AUTH", "SELECT", "CLIENT", "PING":
			return true
		}
	}
	return false
}

// lossOf says what a capture lacks.
func lossOf(a *traffic.Account) string {
	switch {
	case a.Dropped > 0:
		return strconv.FormatUint(a.Dropped, 10) + " packets were lost by the capture"
	case a.FileTruncated:
		return "the capture file is cut off"
	case a.Missing > 0:
		return strconv.FormatUint(a.Missing, 10) + " bytes are missing from the streams"
	}
	return ""
}

// edge finds or makes the edge between two ends.
func (r *Run) edge(src, dst *traffic.Endpoint, sni string) (string, *Edge) {
	name := EdgeOf(src, dst, sni)
	e := r.Edges[name]
	if e == nil {
		if len(r.Edges) >= mostEdges {
			r.Loss = "there are more than " + strconv.Itoa(mostEdges) + " edges"
			return name, nil
		}
		e = &Edge{Outside: dst.Outside}
		r.Edges[name] = e
	}
	return name, e
}

// EdgeOf is the name of the edge between two ends. sni is the name that a TLS handshake asked for, if there was one.
func EdgeOf(src, dst *traffic.Endpoint, sni string) string {
	return endName(src, "") + " -> " + endName(dst, sni) + ":" + strconv.Itoa(int(dst.Port))
}

// NameOf is the name of the endpoint that a call asks.
func NameOf(c *traffic.Call) string { return EdgeOf(&c.Src, &c.Dst, "") + " " + asked(c) }

// KnowsOutcome reports whether a call of an endpoint that the baseline knows ended in a way that it knows; calls of other
// endpoints are not asked.
func (b *Baseline) KnowsOutcome(c *traffic.Call) bool {
	e, known := b.Endpoint(NameOf(c))
	if !known {
		return true
	}
	outcome, _ := outcomeOf(c)
	_, seen := e.Outcomes[outcome]
	return seen || outcome == "open"
}

// NewFields are the fields of a call's JSON bodies that the endpoint never had.
func (e *EndpointFacts) NewFields(c *traffic.Call) []string {
	if c.HTTP == nil {
		return nil
	}
	var fresh []string
	look := func(known SetFacts, body []byte, cut bool, headers []traffic.Header) {
		fields, ok := jsonFields(body, cut, headers)
		if !ok || known.IsZero() {
			return
		}
		for _, f := range fields {
			if _, seen := known.Items[f]; !seen {
				fresh = append(fresh, f)
			}
		}
	}
	look(e.RequestFields, c.HTTP.RequestBody, c.HTTP.RequestBodyCut, c.HTTP.RequestHeaders)
	if c.Answered() && c.Status < 400 {
		look(e.ResponseFields, c.HTTP.ResponseBody, c.HTTP.ResponseBodyCut, c.HTTP.ResponseHeaders)
	}
	return fresh
}

// endName is what an end is called from run to run: never by pod or port of a client. An address counts only where nothing
// better is known.
func endName(e *traffic.Endpoint, sni string) string {
	switch {
	case e.Kind == traffic.KindExercise:
		return "exercise"
	case e.Outside && e.DNS != "":
		return clean(e.DNS)
	case e.Service != "":
		return clean(e.Service)
	case e.Owner != "":
		return clean(e.Owner)
	case e.DNS != "":
		return clean(e.DNS)
	case e.Pod != "":
		return clean(e.Pod)
	case sni != "":
		return clean(sni)
	case e.IP.IsValid():
		return e.IP.Unmap().String()
	}
	return clean(cmp.Or(e.Process, "unknown"))
}

// asked is what a call asks for, without what differs from call to call.
func asked(c *traffic.Call) string {
	switch {
	case c.GRPC != nil:
		return "grpc " + clean(c.Path)
	case c.GraphQL != nil && c.GraphQL.Operation != "":
		return clean(c.Method + " " + cmp.Or(c.Route, c.Path) + " " + c.GraphQL.Operation + " " + c.GraphQL.Name)
	case c.PostgreSQL != nil:
		return "sql " + clean(cmp.Or(c.PostgreSQL.Fingerprint, c.PostgreSQL.Command))
	case c.Redis != nil:
		return "redis " + clean(c.Redis.Command)
	case c.WebSocket != nil:
		return "ws " + clean(c.Method)
	}
	return clean(c.Method + " " + cmp.Or(c.Route, c.Path))
}

const longestName = 160

// clean makes one line of text from the wire, without what terminals and YAML take for more than text.
func clean(s string) string {
	var b strings.Builder
	space := false
	for _, r := range s {
		if r <= ' ' || r == 0x7f || r == 0xfffd || r >= 0x80 && r < 0xa0 || r == 0x2028 || r == 0x2029 || r == 0xfeff {
			space = b.Len() > 0
			continue
		}
		if space {
			b.WriteByte(' ')
			space = false
		}
		if b.Len() > longestName {
			b.WriteString("…")
			break
		}
		b.WriteRune(r)
	}
	return b.String()
}

// add counts one call.
func (e *Endpoint) add(c *traffic.Call) {
	e.Calls++
	outcome, bad := outcomeOf(c)
	e.Outcomes[outcome]++
	if bad {
		e.Errors++
	}
	if c.Retry != nil && c.Retry.Attempt > 1 {
		e.Retries++
	}
	if c.State == traffic.StateComplete && c.ResponseStart != 0 {
		if l := c.Latency(); l > 0 {
			e.Latencies = append(e.Latencies, float64(l)/1e6)
		} else {
			e.Skewed++
		}
		e.Sizes = append(e.Sizes, float64(c.ResponseSize))
	}
	e.Sets[credentials].add(credentialNames(c))
	if waits := waitsOf(c.Retry); len(waits) > 0 {
		e.Sets[retryWaits].add(waits)
	}
	h := c.HTTP
	if h == nil {
		return
	}
	if !h.RequestHeadersCut {
		e.Sets[requestHeaders].add(headerNames(h.RequestHeaders))
	}
	if fields, ok := jsonFields(h.RequestBody, h.RequestBodyCut, h.RequestHeaders); ok {
		e.Sets[requestFields].add(fields)
	}
	if bad || c.Status >= 400 || !c.Answered() { // answers that say that something went wrong look otherwise
		return
	}
	if !h.ResponseHeadersCut {
		e.Sets[responseHeaders].add(headerNames(h.ResponseHeaders))
	}
	if fields, ok := jsonFields(h.ResponseBody, h.ResponseBodyCut, h.ResponseHeaders); ok {
		e.Sets[responseFields].add(fields)
	}
}

// How a client waits before it tries again.
const (
	shortestWait = 5 * time.Millisecond // less is no wait
	leastGrowth  = 1.3                  // of each wait over the one before, on average, that is back-off: jitter is taken into account
)

// waitsOf says how a client waited before it tried again, where it is certain that it did. Likeness alone does not make it so: calls that merely
// follow each other have any distance.
func waitsOf(r *traffic.Retry) []string {
	if r == nil || r.Attempt < 2 || r.Confidence != "exact" {
		return nil
	}
	first := "after a wait"
	if r.DelayNS < int64(shortestWait) {
		first = "at once"
	}
	waits := []string{first}
	if r.Factor > 0 && r.Attempt == r.Attempts {
		if r.Factor >= leastGrowth {
			return append(waits, "after growing waits")
		}
		return append(waits, "without growing waits")
	}
	return waits
}

// add counts the names of one call.
func (s *Set) add(names []string) {
	s.Of++
	if s.Items == nil && len(names) > 0 {
		s.Items = map[string]int{}
	}
	for _, n := range names {
		if _, ok := s.Items[n]; ok || len(s.Items) < mostItems {
			s.Items[n]++
		}
	}
}

// outcomeOf is how a call ended, and whether that is the server's failure or no answer.
func outcomeOf(c *traffic.Call) (outcome string, bad bool) {
	switch {
	case c.State == traffic.StateOpen:
		return "open", false
	case !c.Answered() || c.State == traffic.StateTruncated:
		return clean(cmp.Or(c.Error, string(c.State))), true
	case c.GRPC != nil:
		return "grpc-status " + strconv.Itoa(c.GRPC.Status), c.GRPC.Status != 0
	case c.PostgreSQL != nil:
		return clean(cmp.Or(c.PostgreSQL.SQLState, "ok")), c.PostgreSQL.SQLState != ""
	case c.Redis != nil:
		word, _, _ := strings.Cut(c.Redis.Error, " ")
		return clean(cmp.Or(word, "ok")), word != ""
	case c.HTTP != nil:
		return strconv.Itoa(c.Status), c.Status >= 500
	}
	return "ok", false
}

// framing are headers that say how a message is packed, which follows from its size and the connection.
var framing = map[string]bool{"connection": true, "keep-alive": true, "transfer-encoding": true, "content-length": true, "te": true,
	"trailer": true, "upgrade": true, "proxy-connection": true, "date": true}

func headerNames(headers []traffic.Header) []string {
	var names []string
	for _, h := range headers {
		name := clean(strings.ToLower(h.Name))
		if name == "" || framing[name] || strings.HasPrefix(name, ":") || strings.HasPrefix(name, "x-devloop-") {
			continue
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func credentialNames(c *traffic.Call) []string {
	var names []string
	for _, x := range c.Credentials {
		names = append(names, clean(x.Kind+" in "+x.Place))
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// children counts which endpoints' calls each endpoint's calls cause.
func (r *Run) children(calls []*traffic.Call, byID map[string]string) {
	type pair struct{ parent, child string }
	counts := map[pair]int{} // parent is a call, child an endpoint
	parents := map[string]map[string]bool{}
	for _, c := range calls {
		if c == nil {
			continue
		}
		child, ok := byID[c.ID]
		parent, known := byID[c.Parent]
		if !ok || !known {
			continue
		}
		e := r.Endpoints[parent]
		x := e.Children[child]
		if x == nil {
			x = &Child{}
			e.Children[child] = x
		}
		if c.ParentCandidates > 1 {
			x.Unsure++
			continue
		}
		x.Calls++
		counts[pair{c.Parent, child}]++
		if parents[parent+"\x00"+child] == nil {
			parents[parent+"\x00"+child] = map[string]bool{}
		}
		parents[parent+"\x00"+child][c.Parent] = true
	}
	least := map[string]int{}
	for p, n := range counts {
		key := byID[p.parent] + "\x00" + p.child
		x := r.Endpoints[byID[p.parent]].Children[p.child]
		x.Most = max(x.Most, n)
		if have, ok := least[key]; !ok || n < have {
			least[key] = n
		}
	}
	for parent, e := range r.Endpoints {
		for child, x := range e.Children {
			key := parent + "\x00" + child
			if len(parents[key]) == e.Calls { // else some parent caused none
				x.Least = least[key]
			}
		}
	}
}
