package suggest

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/devloop-io/devloop/assertions"
	"github.com/devloop-io/devloop/traffic"
)

// draft is a check before it was tried.
type draft struct {
	kind     string // of promise: one drafter's name
	promise  string // in words, without the place
	base     string // which rows, without the place: http
	extra    string // what else selects them: status_code < 400
	places   []place
	all      []place // among which places are told apart
	expect   string
	by       string
	empty    bool // selects violators, or what may be absent
	warnOnly bool // a run may lack such rows by chance
	softly   bool // chance may leave it undecided
	facts    bool // speaks of runs as a whole, not of each row
	faults   []fault
	severity string // warning where what is seldom may be legitimate; error otherwise
	general  bool   // may be told as all but some
	nowhere  bool   // speaks of no place
	explicit bool   // names its places, though it could do without
}

// drafter drafts the checks of one kind.
type drafter struct {
	kind  string
	draft func(o *observed) []draft
}

// drafters is the list of kinds. Where several kinds are equally strong, the earlier comes first.
var drafters = []drafter{
	{"egress", egress}, {"token forwarded", forwardedTokens}, {"secrets in URLs", secretsInURLs}, {"edges", internalEdges}, {"encryption", encryption}, {"statuses", statuses}, {"answers", answers},
	{"gRPC", grpc}, {"databases", databases}, {"caches", caches}, {"request headers", requestHeaders}, {"calls per request", callsPerRequest}, {"retries", retries},
	{"connections", connections}, {"latency", latencies}, {"response headers", responseHeaders}, {"names", nameLookups}, {"fields", fields},
}

// merge puts drafts together that say the same of several places.
func merge(drafts []draft) []draft {
	type key struct{ kind, promise, base, extra, expect, by, fault string }
	at := map[key]int{}
	var out []draft
	for _, d := range drafts {
		k := key{d.kind, d.promise, d.base, d.extra, d.expect, d.by, faultsText(d.faults)}
		if i, ok := at[k]; ok {
			out[i].places = append(out[i].places, d.places...)
			out[i].warnOnly = out[i].warnOnly || d.warnOnly
			continue
		}
		at[k] = len(out)
		out = append(out, d)
	}
	return out
}

func faultsText(faults []fault) string {
	var texts []string
	for _, f := range faults {
		if !slices.Contains(texts, f.what) {
			texts = append(texts, f.what)
		}
	}
	return strings.Join(texts, "; or when ")
}

// check is the draft as a check.
func (d *draft) check() assertions.Check {
	c := assertions.Check{Name: d.name(), On: d.base, Expect: d.expect, By: d.by, AllowEmpty: d.empty, Severity: d.severity}
	if !d.nowhere {
		if c.On = selects(d.base, d.places, d.all, d.general); d.explicit {
			c.On = base(d.base, clausesOf(collapse(d.places, d.all)))
		}
	}
	if d.extra != "" {
		c.On += " && " + d.extra
	}
	if d.warnOnly {
		c.OnNoData = assertions.OnWarn
	}
	if d.warnOnly || d.softly {
		c.OnInconclusive = assertions.OnWarn
	}
	return c
}

// named places are told by name in a check's name; more are counted.
const namedPlaces = 2

func (d *draft) name() string {
	some := collapse(d.places, d.all)
	if d.nowhere {
		return d.promise
	}
	if slices.Equal(some, edgesOf(d.all)) && len(some) != 1 {
		return d.promise
	}
	var names []string
	for _, p := range some {
		if name := p.String(); len(names) < namedPlaces && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	where := strings.Join(names, ", ")
	if more := len(some) - len(names); more > 0 {
		where += fmt.Sprintf(" and %d more", more)
	}
	return d.promise + ": " + where
}

// httpBase selects HTTP calls that are not gRPC.
func httpBase(o *observed) string {
	if len(o.of(protoGRPC)) > 0 {
		return "http && !grpc"
	}
	return "http"
}

func statuses(o *observed) []draft {
	var drafts []draft
	all := o.of(traffic.ProtoHTTP)
	for _, p := range all {
		worst, failed := 0, make([]int, len(o.runs))
		byRun := o.within(p)
		for i, calls := range byRun {
			for _, c := range calls {
				worst = max(worst, c.Status)
				if c.Status >= 500 {
					failed[i]++
				}
			}
		}
		d := draft{kind: "statuses", base: httpBase(o), places: []place{p}, all: all, faults: []fault{answers500}, general: true}
		switch {
		case worst == 0:
			continue
		case worst < 400:
			d.promise, d.expect = "every answer is a success", "all(status_code < 400)"
		case worst < 500:
			d.promise, d.expect = "no answer is a 5xx", "none(status_code >= 500)"
		default:
			bound := shareBound(byRun, failed)
			if bound == 0 {
				continue
			}
			d.promise, d.expect, d.faults = "answers with 5xx stay rare", fmt.Sprintf("ratio(status_code >= 500) < %g", bound), []fault{failing}
		}
		drafts = append(drafts, d)
	}
	return drafts
}

// spoken are the protocols whose calls ask and are answered.
var spoken = []string{traffic.ProtoHTTP, protoGRPC, traffic.ProtoRedis, traffic.ProtoPostgreSQL}

// anySpoken selects what is spoken of them.
func anySpoken(o *observed) string {
	var words []string
	for _, w := range []string{traffic.ProtoHTTP, traffic.ProtoRedis, traffic.ProtoPostgreSQL} {
		if len(o.of(w)) > 0 || w == traffic.ProtoHTTP && len(o.of(protoGRPC)) > 0 {
			words = append(words, w)
		}
	}
	if len(words) == 1 {
		return words[0]
	}
	return "(" + strings.Join(words, " || ") + ")"
}

func answers(o *observed) []draft {
	var drafts []draft
	all := o.of(spoken...)
	for _, p := range all {
		if o.all(p, func(c *traffic.Call) bool {
			return c.State != traffic.StateUnanswered && c.State != traffic.StateTruncated
		}) {
			drafts = append(drafts, draft{kind: "answers", promise: "every call is answered", base: anySpoken(o), places: []place{p}, all: all,
				expect: `none(state in ["unanswered", "truncated"])`, faults: []fault{cutOff}, general: true})
		}
	}
	return drafts
}

// anyProtocol is an edge whatever is spoken on it.
func anyProtocol(p place) place {
	p = p.edge()
	p.proto = ""
	return p
}

func anyProtocols(all []place) []place {
	out := make([]place, len(all))
	for i, p := range all {
		out[i] = anyProtocol(p)
	}
	slices.SortFunc(out, comparePlaces)
	return slices.Compact(out)
}

func grpc(o *observed) []draft {
	var drafts []draft
	all := o.of(protoGRPC)
	for _, p := range all {
		d := draft{kind: "gRPC", base: "grpc", places: []place{p}, all: all}
		well := o.all(p, func(c *traffic.Call) bool { return c.GRPC.Status == 0 })
		bounded := o.all(p, func(c *traffic.Call) bool { return c.GRPC.TimeoutNS > 0 })
		switch {
		case well && bounded:
			d.promise, d.expect, d.faults = "every gRPC call has a deadline and ends with OK", `all(grpc_timeout > duration("0s")) && all(grpc_status == 0)`, []fault{noDeadline, grpcUnavailable}
		case well:
			d.promise, d.expect, d.faults = "every gRPC call ends with OK", "all(grpc_status == 0)", []fault{grpcUnavailable}
		case bounded:
			d.promise, d.expect, d.faults = "every gRPC call has a deadline", `all(grpc_timeout > duration("0s"))`, []fault{noDeadline}
		default:
			continue
		}
		drafts = append(drafts, d)
	}
	return drafts
}

func databases(o *observed) []draft {
	var drafts []draft
	all := o.of(traffic.ProtoPostgreSQL)
	for _, p := range all {
		if o.all(p, func(c *traffic.Call) bool { return c.PostgreSQL.SQLState == "" }) {
			drafts = append(drafts, draft{kind: "databases", promise: "the database accepts every query", base: "postgresql", places: []place{p}, all: all,
				expect: `none(postgresql_error_code != "")`, faults: []fault{sqlErrors}})
		}
	}
	return drafts
}

// walks are commands that look at every key or delete all: each of them keeps everybody else waiting.
var walks = []string{"KEYS", "FLUSHALL", "FLUSHDB"}

func caches(o *observed) []draft {
	var drafts []draft
	all := o.of(traffic.ProtoRedis)
	for _, p := range all {
		d := draft{kind: "caches", base: "redis", places: []place{p}, all: all}
		well := o.all(p, func(c *traffic.Call) bool { return c.Redis.Error == "" })
		quick := o.all(p, func(c *traffic.Call) bool { return !slices.Contains(walks, c.Redis.Command) })
		switch {
		case well && quick:
			d.promise, d.faults = "the cache accepts every command, and nobody walks through all of it", []fault{redisErrors, redisWalks}
			d.expect = `none(redis_error != "") && none(redis_command in ` + list(walks) + ")"
			drafts = append(drafts, d)
		case well:
			d.promise, d.expect, d.faults = "the cache accepts every command", `none(redis_error != "")`, []fault{redisErrors}
			drafts = append(drafts, d)
		}
		byRun, missed := o.within(p), make([]int, len(o.runs))
		for i, calls := range byRun {
			byRun[i] = slices.DeleteFunc(slices.Clone(calls), func(c *traffic.Call) bool { return c.Redis.Command != "GET" })
			for _, c := range byRun[i] {
				if c.Redis.Type == "null" {
					missed[i]++
				}
			}
		}
		if bound := shareBound(byRun, missed); bound > 0 && bound <= 0.4 {
			d.promise, d.extra, d.faults = "keys are found in the cache", `redis_command == "GET"`, []fault{redisMisses}
			d.expect = fmt.Sprintf(`ratio(redis_reply_type == "null") < %g`, bound)
			drafts = append(drafts, d)
		}
	}
	return drafts
}

func encryption(o *observed) []draft {
	var drafts []draft
	all := o.of(traffic.ProtoTLS)
	for _, p := range all {
		d := draft{kind: "encryption", promise: "handshakes name their server and agree on TLS 1.2 or newer", base: "tls", places: []place{p}, all: all, empty: true, faults: []fault{oldTLS, noServerName}}
		names := map[string]bool{}
		named := o.all(p, func(c *traffic.Call) bool { names[c.TLS.SNI] = true; return c.TLS.SNI != "" })
		d.expect = `all(tls.version >= "1.2") && all(tlsx_sni != "")`
		switch {
		case !named:
			d.promise, d.expect, d.faults = "handshakes agree on TLS 1.2 or newer", `all(tls.version >= "1.2")`, []fault{oldTLS}
		case len(names) == 1:
			for n := range names {
				d.expect = `all(tls.version >= "1.2") && all(tlsx_sni == ` + quote(n) + ")"
			}
		}
		if o.all(p, func(c *traffic.Call) bool { return c.TLS != nil && c.TLS.Version >= 0x0303 }) {
			drafts = append(drafts, d)
		}
		if o.encrypted(p) {
			drafts = append(drafts, draft{kind: "encryption", promise: "connections stay encrypted", base: "tcp_conn", places: []place{anyProtocol(p)}, all: o.connected(),
				expect: "none(plaintext)", faults: []fault{inTheClear}})
		}
	}
	return drafts
}

// mostHeaders is how many headers one check speaks of.
const mostHeaders = 4

// requestHeaders says which headers requests always carry. Headers that are there in the same places make one check.
func requestHeaders(o *observed) []draft {
	all := o.of(traffic.ProtoHTTP)
	in := map[string][]place{}
	for _, p := range all {
		if o.driven(p) { // what the exercise sends is not the services' promise
			continue
		}
		for _, h := range o.always(p, requestHeaderFacts) {
			if !commonRequestHeader(h) {
				in[h] = append(in[h], p)
			}
		}
	}
	together := map[string][]string{} // by where they are
	var wheres []string
	for _, h := range slices.Sorted(maps.Keys(in)) {
		where := fmt.Sprint(in[h])
		if together[where] == nil {
			wheres = append(wheres, where)
		}
		if len(together[where]) < mostHeaders {
			together[where] = append(together[where], h)
		}
	}
	var drafts []draft
	for _, where := range wheres {
		headers := together[where]
		d := draft{kind: "request headers", promise: "requests carry " + strings.Join(headers, ", "), base: httpBase(o), places: in[headers[0]], all: all}
		for _, h := range headers {
			if d.expect != "" {
				d.expect += " && "
			}
			d.expect += "all(" + quote(h) + " in request.headers)"
			d.faults = append(d.faults, lostRequestHeader(h))
		}
		drafts = append(drafts, d)
	}
	return drafts
}

func responseHeaders(o *observed) []draft {
	all := o.of(traffic.ProtoHTTP)
	var drafts []draft
	for _, p := range all {
		for _, h := range o.always(p, responseHeaderFacts) {
			if meantHeader(h) {
				d := draft{kind: "response headers", promise: "answers carry " + h, base: httpBase(o), places: []place{p}, all: all,
					expect: "all(" + quote(h) + " in response.headers)", faults: []fault{lostResponseHeader(h)}}
				if !o.all(p, succeeded) {
					d.extra = "status_code < 400"
				}
				drafts = append(drafts, d)
			}
		}
	}
	return mostPlacesFirst(drafts)
}

func succeeded(c *traffic.Call) bool { return c.Answered() && c.Status < 400 }

// mostPlacesFirst orders drafts by how many places say the same.
func mostPlacesFirst(drafts []draft) []draft {
	n := map[string]int{}
	for _, d := range drafts {
		n[d.promise]++
	}
	slices.SortStableFunc(drafts, func(a, b draft) int { return cmp.Compare(n[b.promise], n[a.promise]) })
	return drafts
}

func forwardedTokens(o *observed) []draft {
	var drafts []draft
	all := o.of(traffic.ProtoHTTP)
	for _, p := range all {
		if o.egress(p) && o.all(p, func(c *traffic.Call) bool { return len(requestCredentials(c)) == 0 }) {
			drafts = append(drafts, draft{kind: "token forwarded", promise: "no credential leaves the system", base: httpBase(o), places: []place{p}, all: all,
				expect: "none(auth.present)", empty: true, faults: []fault{tokenForwarded}})
		}
	}
	return drafts
}

// secretsInURLs: URLs end up in logs, histories and Referer headers. What the exercise asks is not the services' promise.
func secretsInURLs(o *observed) []draft {
	var drafts []draft
	all := slices.DeleteFunc(o.of(traffic.ProtoHTTP), o.driven)
	for _, p := range all {
		if o.all(p, func(c *traffic.Call) bool { return !slices.ContainsFunc(c.Credentials, traffic.Credential.InURL) }) {
			drafts = append(drafts, draft{kind: "secrets in URLs", promise: "no URL holds a secret", base: httpBase(o) + ` && src.kind != "exercise"`, places: []place{p}, all: all,
				expect: `none(credential_places.exists(p, p.startsWith("request.query:") || p.startsWith("request.path")))`, empty: true, general: true, faults: []fault{secretInURL}})
		}
	}
	return drafts
}

func requestCredentials(c *traffic.Call) []traffic.Credential {
	return slices.DeleteFunc(slices.Clone(c.Credentials), func(x traffic.Credential) bool { return strings.HasPrefix(x.Place, "response") })
}

// retries are judged where somebody retries, and bounded where nobody does.
func retries(o *observed) []draft {
	var drafts []draft
	all := slices.DeleteFunc(o.edges(traffic.ProtoHTTP, protoGRPC), o.driven) // what the exercise repeats is meant to be
	for _, p := range all {
		var attempts int
		least, factor := int64(0), 0.0
		for _, calls := range o.within(p) {
			for _, c := range calls {
				if r := c.Retry; r != nil {
					attempts = max(attempts, r.Attempts)
					if r.Attempt > 1 && (least == 0 || r.DelayNS < least) {
						least = max(r.DelayNS, 1)
					}
					if r.Factor > 0 && (factor == 0 || r.Factor < factor) {
						factor = r.Factor
					}
				}
			}
		}
		d := draft{kind: "retries", base: `http && src.kind != "exercise"`, places: []place{anyProtocol(p)}, all: anyProtocols(all), general: true}
		if attempts <= 5 {
			d.promise, d.expect, d.faults = "nothing is tried more than a few times", fmt.Sprintf("max(retry.attempts) <= %d", max(3, attempts)), []fault{storm}
			drafts = append(drafts, d)
		}
		pause := "min(retry.delay) >= " + durationText(niceDown(float64(least)/3))
		grow := fmt.Sprintf("min(retry.backoff_factor) >= %.2g", min(1.5, 1+(factor-1)/2))
		d.extra, d.warnOnly = "retry.attempt > 1", true
		switch {
		case least >= 20e6 && factor >= 1.4:
			d.promise, d.expect, d.faults = "a pause comes before each retry, and pauses grow", pause+" && "+grow, []fault{storm, noBackoff}
		case least >= 20e6:
			d.promise, d.expect, d.faults = "a pause comes before each retry", pause, []fault{storm}
		default:
			continue
		}
		drafts = append(drafts, d)
	}
	return drafts
}

// mostFieldTerms is how many kinds of answers one check about fields speaks of.
const mostFieldTerms = 8

// fields says which fields answers always have: of the endpoints with the most calls, those with the same fields together.
func fields(o *observed) []draft {
	all := o.of(traffic.ProtoHTTP)
	d := draft{kind: "fields", promise: "answers keep their fields", base: httpBase(o), extra: "status_code < 400", all: all}
	with := map[string][]place{} // by term
	var terms []string
	for _, p := range all {
		names, paths := topFields(o.always(p, responseFieldFacts))
		if len(names) == 0 {
			continue
		}
		has := make([]string, len(paths))
		for i, path := range paths {
			has[i] = "response.body.json_has(" + quote(path) + ")"
		}
		term := strings.Join(has, " && ")
		if with[term] == nil {
			terms = append(terms, term)
		}
		with[term] = append(with[term], p)
		f := renamed(names[len(names)-1])
		f.only = p
		d.faults = append(d.faults, f)
	}
	calls := func(term string) (n int) {
		for _, p := range with[term] {
			n += o.count(p)
		}
		return n
	}
	slices.SortStableFunc(terms, func(a, b string) int { return cmp.Compare(calls(b), calls(a)) })
	var lines []string
	for _, term := range terms[:min(len(terms), mostFieldTerms)] {
		d.places = append(d.places, with[term]...)
		where := strings.Join(clausesOf(collapse(with[term], all)), " || ")
		lines = append(lines, "all(!("+where+") || "+term+")")
	}
	if len(lines) == 0 {
		return nil
	}
	slices.SortFunc(d.places, comparePlaces)
	d.expect = strings.Join(lines, " &&\n")
	return []draft{d}
}

// nameLookups bounds look-ups of names that are not there.
func nameLookups(o *observed) []draft {
	most := 0
	for i := range o.runs {
		n := 0
		for _, p := range o.of(traffic.ProtoDNS) {
			for _, c := range o.calls[p][i] {
				if c.DNS != nil && c.DNS.RCode == "NXDOMAIN" {
					n++
				}
			}
		}
		most = max(most, n)
	}
	asked := o.of(traffic.ProtoHTTP, protoGRPC)
	if len(asked) == 0 {
		return nil
	}
	busiest := slices.MaxFunc(asked, func(a, b place) int { return cmp.Compare(o.count(a), o.count(b)) })
	return []draft{{kind: "names", promise: "names that are not there are not asked for again and again", base: `dns && dns_rcode == "NXDOMAIN"`,
		places: []place{busiest}, all: []place{busiest}, expect: fmt.Sprintf("count() <= %d", max(3*most, 10)), empty: true, facts: true, nowhere: true, faults: []fault{lookups}}}
}
