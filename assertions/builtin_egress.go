package assertions

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/devloop-io/devloop/assertions/baseline"
	"github.com/devloop-io/devloop/filter"
	"github.com/devloop-io/devloop/traffic"
)

// noReference is why what asks for something new has nothing to say.
const noReference = "there is nothing to compare with: no run of the same exercise has passed before, and it has no baseline (devloop baseline record)"

var newEgress = builtin{
	name: "builtin/new-egress", on: `conn && egress && src.kind != "exercise"`, unit: "connections", agent: true, compares: true, wire: true,
	expect: "every edge out of the system is one of the last revision that passed, or of the baseline",
	doc: "No service speaks to a destination outside of the system that it did not speak to in the runs of the last revision that passed or in the exercise's baseline. " +
		"A connection that was refused counts; asking a name server does not. Skipped where there is neither of the two.",
	next: "remove the call, or take the destination over with devloop baseline record, or accept",
	find: func(w *world, rows []filter.Row) finding {
		f := finding{nodata: "nothing leaves the system"}
		before := w.before()
		if len(before) == 0 {
			f.nodata, f.skip = noReference, true
			return f
		}
		known := map[string]bool{}
		for _, b := range before {
			for i := range b.Edges {
				known[b.Edges[i].Name] = true
			}
		}
		fresh := map[string]bool{}
		for i := range rows {
			c := rows[i].Conn
			if asksNames(c) || !c.Opened && c.WindowCalls == 0 { // what idles in a pool is nobody's doing
				continue
			}
			f.looked++
			f.examples = append(f.examples, i)
			if edge := baseline.EdgeOf(&c.Src, &c.Dst, c.SNI); !known[edge] && !known[baseline.EdgeOf(&c.Src, &c.Dst, "")] {
				fresh[edge] = true
				f.hits = append(f.hits, i)
			}
		}
		f.reason = fmt.Sprintf("%d of %s out of the system on edges that neither the last revision that passed nor a baseline has: %s", len(f.hits),
			quantify(uint64(f.looked), "connection"), strings.ReplaceAll(strings.Join(sortedKeys(fresh), ", "), " -> ", " → "))
		f.kept = fmt.Sprintf("%s out of the system, none on an edge that is new", quantify(uint64(f.looked), "connection"))
		return f
	},
}

// before is what to call new is measured by: the runs that passed last, and the baseline.
func (w *world) before() []*baseline.Baseline {
	return slices.DeleteFunc([]*baseline.Baseline{w.input.Passed, w.input.Baseline.Baseline}, func(b *baseline.Baseline) bool { return b == nil })
}

// asksNames reports whether a connection is to a name server. Which names are spoken to shows in the connections that follow.
func asksNames(c *traffic.Connection) bool { return c.L7 == traffic.ProtoDNS || c.Dst.Port == 53 }

// Where clouds tell machines who they are and hand out their credentials.
var metadataAddresses = []netip.Addr{
	netip.MustParseAddr("169.254.169.254"), // AWS, Azure, Google Cloud, Oracle, DigitalOcean, OpenStack
	netip.MustParseAddr("fd00:ec2::254"),   // AWS
	netip.MustParseAddr("fd20:ce::254"),    // Google Cloud
	netip.MustParseAddr("169.254.170.2"),   // AWS: credentials of ECS tasks
	netip.MustParseAddr("169.254.170.23"),  // AWS: credentials of EKS pods
	netip.MustParseAddr("fd00:ec2::23"),    //
	netip.MustParseAddr("100.100.100.200"), // Alibaba Cloud
}

// metadataNames are what these addresses answer to.
var metadataNames = []string{"metadata.google.internal", "metadata.goog", "instance-data.ec2.internal"}

var metadataAddress = builtin{
	name: "builtin/metadata-address", on: `conn && src.kind != "exercise"`, unit: "connections", agent: true, wire: true,
	expect: "no connection to a cloud's metadata service",
	doc: "Nothing speaks to the metadata service of a cloud, which hands out credentials: " + addresses(metadataAddresses) + ", " +
		strings.Join(metadataNames, ", ") + ". A connection that nobody answered counts; a name server at such an address (port 53) does not.",
	next: "find who asks for it (an SDK that looks for credentials is given its own, or told not to look)",
	find: func(w *world, rows []filter.Row) finding {
		f := finding{looked: len(rows), nodata: "no connections were seen", examples: everyIndex(len(rows))}
		named := map[uint64]bool{}
		for _, c := range w.calls {
			if c.HTTP != nil && isMetadataName(c.HTTP.Host) {
				named[c.ConnID] = true
			}
		}
		for i := range rows {
			c := rows[i].Conn
			if named[c.ID] || isMetadataName(c.Dst.DNS) || isMetadataName(c.SNI) ||
				!asksNames(c) && isMetadataAddress(c.Dst.IP) {
				f.hits = append(f.hits, i)
			}
		}
		edges := &selection{rows: rows}
		f.reason = fmt.Sprintf("%d of %s (%s) to the metadata service of a cloud", len(f.hits), quantify(uint64(len(rows)), "connection"), edges.edgesOf(f.hits))
		f.kept = fmt.Sprintf("none of %s is to the metadata service of a cloud", quantify(uint64(len(rows)), "connection"))
		return f
	},
}

func addresses(all []netip.Addr) string {
	var texts []string
	for _, a := range all {
		texts = append(texts, a.String())
	}
	return strings.Join(texts, ", ")
}

func isMetadataAddress(ip netip.Addr) bool {
	return slices.Contains(metadataAddresses, ip.Unmap().WithZone(""))
}

// isMetadataName reports whether a name or an address as text, perhaps with a port, is one of a metadata service.
func isMetadataName(host string) bool {
	name := strings.ToLower(host)
	if bare, _, err := net.SplitHostPort(name); err == nil {
		name = bare
	}
	if ip, err := netip.ParseAddr(strings.Trim(name, "[]")); err == nil {
		return isMetadataAddress(ip)
	}
	return slices.Contains(metadataNames, strings.TrimSuffix(name, "."))
}

var plaintextOutside = builtin{
	name: "builtin/plaintext-outside", on: `egress && src.kind != "exercise" && protocol != "dns"`, unit: "calls", agent: true,
	expect: "none(plaintext) of what leaves the system",
	doc: "What leaves the system is encrypted: HTTP and any other protocol that is read in the clear, to a public address or to somebody else's service, " +
		"fails, with or without a credential; those with one come first. Loopback, private addresses and workloads of the system are inside. Asking a name server does not count.",
	next: "use TLS (https://)",
	find: func(w *world, rows []filter.Row) finding {
		f := finding{looked: len(rows), nodata: "no call leaves the system", examples: everyIndex(len(rows)), ordered: true}
		kinds := map[string]int{}
		var others []int
		for i := range rows {
			if c := rows[i].Call; isTrue("plaintext", &rows[i]) {
				if credentials := sentWith(c); len(credentials) > 0 {
					f.hits = append(f.hits, i)
					for _, x := range credentials {
						kinds[x.Kind+" "+x.Hash]++
					}
					continue
				}
				others = append(others, i)
			}
		}
		with := len(f.hits)
		f.hits = append(f.hits, others...)
		edges := &selection{rows: rows}
		f.reason = fmt.Sprintf("%d of %s out of the system (%s) in the clear, %d of them with a credential", len(f.hits),
			quantify(uint64(len(rows)), "call"), edges.edgesOf(f.hits), with)
		if with > 0 {
			f.reason += ": " + strings.Join(sortedKeys(kinds), ", ")
		}
		f.kept = fmt.Sprintf("%s out of the system, none in the clear", quantify(uint64(len(rows)), "call"))
		return f
	},
}

// isTrue reports whether a flag of the filter language is set on a row.
func isTrue(flag string, r *filter.Row) bool {
	f, known := filter.Lookup(flag)
	if !known {
		return false
	}
	v, ok := f.Get(r)
	is, _ := v.Value().(bool)
	return ok && is
}

// sentWith are the credentials of a call's request.
func sentWith(c *traffic.Call) []traffic.Credential {
	return slices.DeleteFunc(slices.Clone(c.Credentials), func(x traffic.Credential) bool { return x.Hash == "" || !inRequest(x) })
}
