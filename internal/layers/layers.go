package layers

import (
	"fmt"
	"slices"
	"strings"
)

// Module is the prefix of our own packages.
const Module = "github.com/devloop-io/devloop"

// Package is a package with what its non-test files import, on any platform. Paths of our own packages are relative to
// the module: "traffic", "cmd/devloop".
type Package struct {
	Path    string
	Imports []string
}

// Rule forbids imports.
type Rule struct {
	Name   string
	Reason string
	// From selects packages by pattern: "dissect/..." is dissect and all below, "..." all of ours.
	From []string
	// Except takes packages out of From.
	Except []string
	// Forbid selects the imports that these packages must not have. "std" is the standard library, "others" all that
	// is neither that nor ours.
	Forbid []string
	// Allow takes imports out of Forbid.
	Allow []string
	// Deep forbids them also through other packages of ours.
	Deep bool
}

// storeys are the rooms from the bottom up. A room imports its own and lower storeys; internal/… packages are plumbing and lie on the
// storey that their rules say.
var storeys = [][]string{
	{"traffic/..."},
	{"filter/...", "capture/...", "dissect/...", "fault/..."},
	{"store/..."},
	{"assertions/...", "query/...", "kindenv/...", "localenv/..."},
	{"devloop/..."},
	{"mcp/...", "lsp/...", "dashboard/..."},
	{"internal/daemon/..."},
	{"cmd/..."},
}

// Rules is the list.
func Rules() []Rule {
	rules := []Rule{
		{Name: "traffic is plain data", From: []string{"traffic"}, Forbid: []string{"others", "..."}, Allow: []string{"traffic/..."},
			Reason: "every room shares these types; what they import, everything imports, the node agent included"},
		{Name: "keylog needs nothing", From: []string{"keylog"}, Forbid: []string{"others", "..."}, Deep: true,
			Reason: "programs under test import it: it must not bring anything along"},
		{Name: "dissect runs on any packets", From: []string{"dissect/..."}, Forbid: []string{"capture/...", "kindenv/...", "localenv/..."}, Deep: true,
			Reason: "a file from anywhere must dissect to the same calls as a live capture, on any platform"},
		{Name: "faces do not know each other", From: []string{"mcp/...", "lsp/...", "dashboard/..."}, Forbid: []string{"mcp/...", "lsp/...", "dashboard/..."}, Allow: []string{"lsp/routes"},
			Reason: "each translates one protocol to the daemon's API; what two of them need belongs below"},
		{Name: "only capture and fault load eBPF", From: []string{"..."}, Except: []string{"capture/...", "fault/detour"}, Forbid: []string{"github.com/cilium/ebpf/..."},
			Reason: "kernel features, rights and fallbacks are handled and explained in one place"},
		{Name: "only devloop/watch watches files", From: []string{"..."}, Except: []string{"devloop/watch"}, Forbid: []string{"github.com/fsnotify/fsnotify/..."},
			Reason: "inotify instances are few per user, and overflows and races are easy to get wrong twice"},
		{Name: "only kindenv speaks to clusters", From: []string{"..."}, Except: []string{"kindenv/..."}, Forbid: []string{"sigs.k8s.io/kind/...", "k8s.io/client-go/..."},
			Reason: "they are heavy, and the rules about contexts that must not be touched are kept there"},
		{Name: "test clusters are for tests", From: []string{"..."}, Except: []string{"kindenv/clustertest", "internal/testenv"},
			Forbid: []string{"kindenv/clustertest", "internal/testenv", "internal/testimages"},
			Reason: "they import testing, and make clusters and images that a user did not ask for"},
		{Name: "the node agent stays small", From: []string{"cmd/devloop-agent"}, Deep: true,
			Forbid: []string{"cel.dev/cel-go/...", "github.com/google/cel-go/...", "github.com/modelcontextprotocol/...", "sigs.k8s.io/kind/...", "k8s.io/client-go/...", "lsp/...", "mcp/..."},
			Reason: "it runs on every node: it captures and dissects, and judges nothing"},
		{Name: "only the agent's program is a node's agent", From: []string{"..."}, Except: []string{"cmd/devloop-agent", "internal/nodeagent/..."}, Forbid: []string{"internal/nodeagent/..."},
			Allow:  []string{"internal/nodeagent/proxy"}, // the proxy on the developer's machine is the same one
			Reason: "capture/agent is how everybody else speaks to it; what runs on nodes is not linked into the daemon"},
		{Name: "the agent's server knows capture and faults only", From: []string{"internal/nodeagent/..."}, Deep: true, Forbid: slices.Concat(storeys[1:]...), Allow: []string{"capture/...", "fault/..."},
			Reason: "it names pods by number and judges nothing: names, rules about rows and verdicts are the daemon's"},
		{Name: "packages do not read the example", From: []string{"..."}, Except: []string{"examples/..."}, Forbid: []string{"examples/..."},
			Reason: "the shop is a system under test like any other"},
		{Name: "configuration lies below the rooms", From: []string{"internal/config/...", "internal/glob", "internal/logfield", "internal/buildinfo", "internal/screen"},
			Forbid: slices.Concat(storeys[1:]...),
			Reason: "every room reads its settings from it"},
	}
	for i, storey := range storeys {
		var above []string
		for _, s := range storeys[i+1:] {
			above = append(above, s...)
		}
		if len(above) > 0 {
			rules = append(rules, Rule{Name: "imports of " + strings.Join(storey, ", ") + " go down", From: storey, Forbid: above,
				Reason: "the way from packet to verdict reads in one direction, and each room runs alone from a file"})
		}
	}
	return rules
}

// Violation is one import that a rule forbids.
type Violation struct {
	Rule   Rule
	Path   []string // from the package to the import
	Import string
}

// String says who imports what, by which way, and why not.
func (v Violation) String() string {
	return fmt.Sprintf("%s must not import %s (%s): %s\n\tvia %s", v.Path[0], v.Import, v.Rule.Name, v.Rule.Reason, strings.Join(v.Path, " → "))
}

// Check returns all violations, in the order of rules and packages.
func Check(rules []Rule, packages []Package) []Violation {
	byPath := map[string]Package{}
	for _, p := range packages {
		byPath[p.Path] = p
	}
	var found []Violation
	for _, r := range rules {
		for _, p := range packages {
			if matchAny(r.From, p.Path) && !matchAny(r.Except, p.Path) {
				found = append(found, r.check(p, byPath, []string{p.Path}, map[string]bool{})...)
			}
		}
	}
	return found
}

func (r Rule) check(p Package, byPath map[string]Package, way []string, seen map[string]bool) []Violation {
	var found []Violation
	for _, imported := range p.Imports {
		if seen[imported] {
			continue
		}
		seen[imported] = true
		next := append(slices.Clone(way), imported)
		switch inner, ours := byPath[imported]; {
		case r.forbids(way[0], imported, ours):
			found = append(found, Violation{r, next, imported})
		case ours && r.Deep:
			found = append(found, r.check(inner, byPath, next, seen)...)
		}
	}
	return found
}

// forbids leaves a room free to import its own packages.
func (r Rule) forbids(from, imported string, ours bool) bool {
	if matchAny(r.Allow, imported) || ours && room(from) == room(imported) {
		return false
	}
	for _, f := range r.Forbid {
		switch {
		case f == "std" && !ours && isStandard(imported), f == "others" && !ours && !isStandard(imported):
			return true
		case f == "..." && !ours:
			continue
		case match(f, imported):
			return true
		}
	}
	return false
}

func room(path string) string {
	first, rest, _ := strings.Cut(path, "/")
	if first == "internal" || first == "cmd" || first == "examples" {
		second, _, _ := strings.Cut(rest, "/")
		return first + "/" + second
	}
	return first
}

func isStandard(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return !strings.Contains(first, ".")
}

func matchAny(patterns []string, path string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return match(p, path) })
}

func match(pattern, path string) bool {
	if pattern == "..." {
		return true
	}
	base, below := strings.CutSuffix(pattern, "/...")
	return path == base || below && strings.HasPrefix(path, base+"/")
}
