package assertions

import (
	"fmt"
	"strings"

	"github.com/devloop-io/devloop/filter"
	"github.com/devloop-io/devloop/traffic"
)

var credentialToThirdParty = builtin{
	name: "builtin/credential-to-third-party", on: `http`, unit: "calls",
	expect: "no credential that is used inside the system is sent to a destination outside of it",
	doc: "A credential, recognised by its keyed hash, that calls inside of the system carry is never sent to a destination outside of it. " +
		"A destination gets its own credentials back: what it issued first in a response does not count.",
	find: func(w *world, rows []filter.Row) finding {
		calls := callsOf(rows)
		f := finding{nodata: "no call leaves the system"}
		inside, issuer := credentialUse(calls)
		edges := &selection{rows: rows}
		kinds := map[string]int{}
		for i, c := range calls {
			if !c.Dst.Outside {
				continue
			}
			f.looked++
			f.examples = append(f.examples, i)
			for _, x := range c.Credentials {
				if inRequest(x) && inside[x.Hash] > 0 && issuer[x.Hash] != destinationKey(c) {
					f.hits = append(f.hits, i)
					kinds[x.Kind+" "+x.Hash]++
				}
			}
		}
		f.hits = unique(f.hits)
		f.reason = fmt.Sprintf("%d of %s out of the system (%s) with a credential that is used inside: %s", len(f.hits),
			quantify(uint64(f.looked), "call"), edges.edgesOf(f.hits), strings.Join(sortedKeys(kinds), ", "))
		f.kept = fmt.Sprintf("%s out of the system, none with a credential that is used inside", quantify(uint64(f.looked), "call"))
		return f
	},
}

// credentialUse counts the calls inside that carry each credential, and says which destination outside issued it: the first
// sighting is in a response from there.
func credentialUse(calls []*traffic.Call) (inside map[string]int, issuer map[string]string) {
	inside, issuer = map[string]int{}, map[string]string{}
	seen := map[string]bool{}
	for _, c := range calls {
		for _, x := range c.Credentials {
			if x.Hash == "" {
				continue
			}
			if !c.Dst.Outside {
				inside[x.Hash]++
			} else if !inRequest(x) && !seen[x.Hash] {
				issuer[x.Hash] = destinationKey(c)
			}
			seen[x.Hash] = true
		}
	}
	return inside, issuer
}

func inRequest(x traffic.Credential) bool { return !strings.HasPrefix(x.Place, "response") }

func destinationKey(c *traffic.Call) string { return fmt.Sprintf("%s:%d", endName(&c.Dst), c.Dst.Port) }
