package assertions

import (
	"fmt"
	"slices"
	"strings"

	"github.com/devloop-io/devloop/assertions/baseline"
	"github.com/devloop-io/devloop/filter"
	"github.com/devloop-io/devloop/traffic"
)

// authHeaders are the request headers by which callers show who they are. Cookies are not among them: most say nothing of it.
var authHeaders = []string{"authorization", "x-api-key", "x-auth-token"}

var authMissing = builtin{
	name: "builtin/auth-missing", on: `http`, unit: "calls", agent: true, compares: true,
	expect: "no endpoint that is asked with authorization answers 2xx without",
	doc: "No endpoint that is otherwise asked with an Authorization header (or " + strings.Join(authHeaders[1:], ", ") + ") answers 2xx without one. " +
		"Otherwise is: in the runs of the last revision that passed or the baseline, where all calls of the endpoint carried one or were answered 401 or 403; " +
		"in this window, where these do not know the endpoint. What lies behind mutual TLS or a cookie alone is not judged.",
	next: "ask for the header again where the endpoint is served, or send it; an endpoint that is meant to be open is known as such once a run of it has passed",
	find: func(w *world, rows []filter.Row) finding {
		f := finding{nodata: "no endpoint is asked with an Authorization header"}
		calls := callsOf(rows)
		endpoints := map[string][]int{}
		cut := 0
		for i, c := range calls {
			switch {
			case c.HTTP == nil || c.Dst.Outside || !c.Asked():
			case c.HTTP.RequestHeadersCut && !authorized(c):
				cut++
			default:
				name := serverOf(baseline.NameOf(c))
				endpoints[name] = append(endpoints[name], i)
			}
		}
		before := w.authorizedBefore()
		var sentences []string
		judged := 0
		for _, name := range sortedKeys(endpoints) {
			asked := endpoints[name]
			with := 0
			var without []int
			for _, i := range asked {
				if authorized(calls[i]) {
					with++
				} else if succeeded(calls[i]) {
					without = append(without, i)
				}
			}
			required, known := before[name]
			if known && !required || !known && with == 0 {
				continue
			}
			judged++
			f.looked += len(asked)
			f.examples = append(f.examples, asked...)
			if len(without) == 0 {
				continue
			}
			how := fmt.Sprintf("%d were sent with it", with)
			if known {
				how = "before, all carried it or were refused"
			}
			sentences = append(sentences, fmt.Sprintf("%s answered %d of %d without it (%s)", name, len(without), len(asked), how))
			f.hits = append(f.hits, without...)
		}
		if cut > 0 {
			f.open = fmt.Sprintf("the headers of %s were not captured whole", quantify(uint64(cut), "call"))
		}
		f.reason = "authorization is missing: " + strings.Join(sentences, "; ")
		f.kept = fmt.Sprintf("authorization is asked for at %s, with %s: none was answered 2xx without", quantify(uint64(judged), "endpoint"), quantify(uint64(f.looked), "call"))
		return f
	},
}

// serverOf is the server's part of the name of an endpoint.
func serverOf(endpoint string) string {
	_, to, _ := strings.Cut(endpoint, " -> ")
	return to
}

func authorized(c *traffic.Call) bool {
	return slices.ContainsFunc(c.HTTP.RequestHeaders, func(h traffic.Header) bool { return slices.Contains(authHeaders, strings.ToLower(h.Name)) })
}

// succeeded reports whether a call was answered with success.
func succeeded(c *traffic.Call) bool {
	return c.Answered() && c.Status >= 200 && c.Status < 300 && (c.GRPC == nil || c.GRPC.Status == 0)
}

// authorizedBefore says of the endpoints that are known from before whether they asked for authorization: some calls carried it, and
// those that did not were refused.
func (w *world) authorizedBefore() map[string]bool {
	type sums struct{ of, with, refused int }
	all := map[string]*sums{}
	for _, b := range w.before() {
		for i := range b.Endpoints {
			e := &b.Endpoints[i]
			if e.RequestHeaders.IsZero() {
				continue
			}
			name := serverOf(e.Name)
			if all[name] == nil {
				all[name] = &sums{}
			}
			s, with := all[name], 0
			for _, h := range authHeaders {
				with = max(with, e.RequestHeaders.Items[h].Calls)
			}
			s.of, s.with = s.of+e.RequestHeaders.Of.Calls, s.with+with
			for _, refusal := range []string{"401", "403", "grpc-status 16", "grpc-status 7"} {
				s.refused += e.Outcomes[refusal].Calls
			}
		}
	}
	required := map[string]bool{}
	for name, s := range all {
		required[name] = s.with > 0 && s.of-s.with <= s.refused
	}
	return required
}
