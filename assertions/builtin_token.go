package assertions

import (
	"fmt"
	"strings"

	"github.com/devloop-io/devloop/assertions/baseline"
	"github.com/devloop-io/devloop/filter"
	"github.com/devloop-io/devloop/traffic"
)

var tokenForwarded = builtin{
	name: "builtin/token-forwarded", on: `http`, unit: "calls", agent: true, compares: true,
	expect: "no service passes a token that it was given on to a host that did not get one before",
	doc: "No service passes on a token, in a header or cookie, that came with a request to it, recognised by its keyed hash: to nobody outside of the system " +
		"(but to who issued it), and inside to no service that it did not send one of the kind to in the runs of the last revision that passed or in the " +
		"baseline. Where there is neither of the two, only what leaves the system is judged.",
	next: "send the other side a credential of its own, or take the call over with devloop baseline record, or accept, when it is meant to have this one",
	find: func(w *world, rows []filter.Row) finding {
		f := finding{nodata: "no service that was given a token calls another"}
		calls := callsOf(rows)
		_, issuer := credentialUse(calls)
		before, passed := w.passedOn()
		given := map[string]map[string]bool{} // service → hashes that came with requests to it
		to := map[string]int{}
		unknown := 0              // passed on inside, with nothing to compare with
		for i, c := range calls { // in the order in which they began
			from, server := givenTo(&c.Src), givenTo(&c.Dst)
			leaves := isTrue("egress", &rows[i])
			hit, doubt := false, false
			for _, x := range sentWith(c) {
				if !isToken(x) {
					continue
				}
				if given[from][x.Hash] && server != from {
					switch {
					case leaves:
						hit = hit || issuer[x.Hash] != destinationKey(c)
					case !before:
						doubt = true
					default:
						hit = hit || !passed[edgeToken(baseline.EdgeOf(&c.Src, &c.Dst, ""), x.Kind)]
					}
				}
				if !leaves && server != "" {
					if given[server] == nil {
						given[server] = map[string]bool{}
					}
					given[server][x.Hash] = true
				}
			}
			switch {
			case hit:
				f.hits = append(f.hits, i)
				to[edgeName(&c.Src, &c.Dst)]++
			case doubt:
				unknown++
				continue
			}
			if len(given[from]) > 0 {
				f.looked++
				f.examples = append(f.examples, i)
			}
		}
		if f.looked == 0 && unknown > 0 {
			f.nodata = fmt.Sprintf("a token is passed on inside of the system in %s, and %s", quantify(uint64(unknown), "call"), noReference)
		}
		edges := &selection{rows: rows}
		f.reason = fmt.Sprintf("%d of %s by services that were given a token hand it to a host that did not get it before (%s)", len(f.hits),
			quantify(uint64(f.looked), "call"), edges.edgesOf(f.hits))
		f.kept = fmt.Sprintf("%s by services that were given a token: none passes it on to a host that did not get it before", quantify(uint64(f.looked), "call"))
		return f
	},
}

// givenTo is the service at an end, empty for the exercise and for whoever is not known: nothing is given to them to be passed on.
func givenTo(e *traffic.Endpoint) string {
	if !isService(e) {
		return ""
	}
	return e.Namespace + "/" + e.Workload.Name()
}

// isToken reports whether a credential stands where callers show who they are.
func isToken(x traffic.Credential) bool {
	return strings.HasPrefix(x.Place, "request.header:") || strings.HasPrefix(x.Place, "request.cookie")
}

// passedOn are the edges on which tokens went before, with their kinds, and whether anything is known of before.
func (w *world) passedOn() (known bool, edges map[string]bool) {
	edges = map[string]bool{}
	for _, b := range w.before() {
		known = true
		for i := range b.Endpoints {
			for what := range b.Endpoints[i].Credentials.Items { // "bearer in request.header:authorization"
				kind, place, _ := strings.Cut(what, " in ")
				if isToken(traffic.Credential{Place: place}) {
					edges[edgeToken(b.Endpoints[i].Edge, kind)] = true
				}
			}
		}
	}
	return known, edges
}

func edgeToken(edge, kind string) string { return edge + "\x00" + kind }

var secretInURL = builtin{
	name: "builtin/secret-in-url", on: `http`, unit: "calls", agent: true,
	expect: "no secret in path or query",
	doc: "No URL has a secret in its path or query, as redaction finds them: URLs end up in logs, histories and Referer headers. " +
		"The kind, the place and the keyed hash are told, never the value.",
	next: "send it in a header, or in the body",
	find: func(w *world, rows []filter.Row) finding {
		f := finding{looked: len(rows), nodata: "no HTTP calls were seen", examples: everyIndex(len(rows))}
		kinds := map[string]int{}
		for i, c := range callsOf(rows) {
			for _, x := range c.Credentials {
				if x.InURL() {
					f.hits = append(f.hits, i)
					kinds[fmt.Sprintf("%s %s in %s", x.Kind, x.Hash, clean(strings.TrimPrefix(x.Place, "request."), 64))]++
				}
			}
		}
		f.hits = unique(f.hits)
		edges := &selection{rows: rows}
		const shown = 3
		told := sortedKeys(kinds)
		if more := len(told) - shown; more > 0 {
			told = append(told[:shown], fmt.Sprintf("and %d more", more))
		}
		f.reason = fmt.Sprintf("%d of %s (%s) with a secret in their URL: %s", len(f.hits), quantify(uint64(len(rows)), "call"), edges.edgesOf(f.hits), strings.Join(told, ", "))
		f.kept = fmt.Sprintf("none of %s has a secret in its URL", quantify(uint64(len(rows)), "call"))
		return f
	},
}
