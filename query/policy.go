package query

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/devloop-io/devloop/store"
	"github.com/devloop-io/devloop/traffic"
)

// ExportPolicy makes Kubernetes network policies that allow the connections that were seen and nothing else. With a name
// they are also written to a file in the store's folder for exports.
func ExportPolicy(ctx context.Context, db *Database, r PolicyRequest, st *store.Store) (*PolicyAnswer, error) {
	v, err := openSurvey(ctx, db, r.Selection)
	if err != nil {
		return nil, err
	}
	g := policies{request: &r, of: map[policyKey]*policySums{}, caveats: map[string]bool{}}
	for c, err := range v.connections() {
		if err != nil {
			return nil, err
		}
		g.add(c)
	}
	a := &PolicyAnswer{Caveats: g.warnings(), Edges: g.edges}
	found := v.found
	v.found = g.edges
	a.Reading = v.reading("connections")
	if a.Why == "" && g.edges == 0 {
		a.Why = fmt.Sprintf("none of these %d connections has an end that a policy could be for", found)
	}
	if a.YAML, a.Policies, err = g.yaml(&a.Reading); err != nil {
		return nil, err
	}
	if r.File == "" {
		return a, nil
	}
	file, err := export(st, r.File, r.Overwrite, func(w io.Writer) error {
		_, err := io.WriteString(w, a.YAML)
		return err
	})
	if err != nil {
		return nil, err
	}
	a.Path, a.SHA256 = file.File, file.SHA256
	return a, nil
}

// The parts of networking.k8s.io/v1 that are needed here.
type networkPolicy struct {
	APIVersion string     `yaml:"apiVersion"`
	Kind       string     `yaml:"kind"`
	Metadata   policyMeta `yaml:"metadata"`
	Spec       policySpec `yaml:"spec"`
}

type policyMeta struct {
	Name      string `yaml:"name"`
	Namespace string `yaml:"namespace,omitempty"`
}

type policySpec struct {
	PodSelector labelSelector `yaml:"podSelector"`
	PolicyTypes []string      `yaml:"policyTypes"`
	Ingress     []policyRule  `yaml:"ingress,omitempty"`
	Egress      []policyRule  `yaml:"egress,omitempty"`
}

type labelSelector struct {
	MatchLabels map[string]string `yaml:"matchLabels,omitempty"`
}

type policyRule struct {
	From  []policyPeer `yaml:"from,omitempty"`
	To    []policyPeer `yaml:"to,omitempty"`
	Ports []policyPort `yaml:"ports"`
}

type policyPeer struct {
	PodSelector       *labelSelector `yaml:"podSelector,omitempty"`
	NamespaceSelector *labelSelector `yaml:"namespaceSelector,omitempty"`
	IPBlock           *ipBlock       `yaml:"ipBlock,omitempty"`
}

type ipBlock struct {
	CIDR string `yaml:"cidr"`
}

type policyPort struct {
	Protocol string `yaml:"protocol"`
	Port     int    `yaml:"port"`
}

// nameLabel is what pods carry that devloop's own objects make, and most charts.
const nameLabel = "app.kubernetes.io/name"

type policyKey struct{ namespace, name string }

// policySums are what was seen of one workload.
type policySums struct {
	labels  map[string]string
	ingress map[ruleKey]bool
	egress  map[ruleKey]bool
	dns     bool
}

// ruleKey is one peer at one port; without peer and address it is anybody.
type ruleKey struct {
	peer     policyKey
	address  netip.Addr
	protocol string
	port     int
}

type policies struct {
	request *PolicyRequest
	of      map[policyKey]*policySums
	caveats map[string]bool
	edges   int
}

// add allows what a connection shows. One that came to nothing shows nothing.
func (g *policies) add(c *traffic.Connection) {
	if c.State == traffic.StateRefused || c.State == traffic.StateInProgress || c.Proto == "tcp" && c.ServerPackets == 0 {
		return
	}
	proto := strings.ToUpper(c.Proto)
	src, inside := g.workload(&c.Src)
	dst, own := g.workload(&c.Dst)
	if inside && (c.L7 == traffic.ProtoDNS || c.Dst.Port == 53) {
		g.sums(src, &c.Src).dns = true
		g.edges++
		return
	}
	key := ruleKey{protocol: proto, port: int(c.Dst.Port)}
	if inside {
		k := key
		if own {
			k.peer = dst
		} else {
			k.address = c.Dst.IP.Unmap()
			g.caveat("egress to addresses outside is allowed by address, as policies know no names: %s is %s now", k.address, labelOf(&c.Dst, "", c.SNI).name)
		}
		g.allow(&g.sums(src, &c.Src).egress, k)
	}
	if own {
		k := key
		switch {
		case inside:
			k.peer = src
		case c.Src.HostNetwork && c.Src.Pod == "":
			g.caveat("probes of a pod's own node need no rule and have none")
			return
		default:
			g.caveat("%s port %d is open to everybody: clients from outside asked for it (%s)", dst.name, key.port, nameOf(&c.Src))
		}
		g.allow(&g.sums(dst, &c.Dst).ingress, k)
	}
}

func (g *policies) allow(rules *map[ruleKey]bool, k ruleKey) {
	if *rules == nil {
		*rules = map[ruleKey]bool{}
	}
	if !(*rules)[k] && len(*rules) < maxGroups {
		(*rules)[k] = true
		g.edges++
	}
}

func (g *policies) caveat(format string, args ...any) {
	if len(g.caveats) < 100 {
		g.caveats[fmt.Sprintf(format, args...)] = true
	}
}

// workload is what a policy can be for: pods and services that are part of the system.
func (g *policies) workload(e *traffic.Endpoint) (policyKey, bool) {
	if e.Outside || e.Kind == traffic.KindExternal || e.Kind == traffic.KindExercise || e.HostNetwork || e.Pod == "" {
		return policyKey{}, false
	}
	namespace := e.Namespace
	if namespace == "local" {
		namespace = ""
		g.caveat("these services ran as local processes: the policies take it that their pods have the label %s, as those of devloop.yaml have", nameLabel)
	}
	return policyKey{namespace, cmp.Or(e.Owner, e.Service, e.Pod)}, true
}

func (g *policies) sums(k policyKey, e *traffic.Endpoint) *policySums {
	s := g.of[k]
	if s == nil {
		s = &policySums{labels: selecting(e.Labels, k.name)}
		g.of[k] = s
	}
	return s
}

// selecting are the labels that tell a workload's pods from others: those that name it where there are such, else all that
// its controller did not make up.
func selecting(labels map[string]string, name string) map[string]string {
	for _, key := range []string{nameLabel, "app", "k8s-app"} {
		if v := labels[key]; v != "" {
			out := map[string]string{key: v}
			for _, more := range []string{"app.kubernetes.io/instance", "app.kubernetes.io/component"} {
				if v := labels[more]; v != "" && key == nameLabel {
					out[more] = v
				}
			}
			return out
		}
	}
	out := maps.Clone(labels)
	maps.DeleteFunc(out, func(k, _ string) bool {
		return strings.HasSuffix(k, "-hash") || strings.HasPrefix(k, "statefulset.kubernetes.io/") || strings.HasPrefix(k, "batch.kubernetes.io/") || k == "controller-uid" || k == "job-name" || strings.HasSuffix(k, "/pod-index")
	})
	if len(out) == 0 {
		return map[string]string{nameLabel: name}
	}
	return out
}

func (g *policies) warnings() []string {
	g.caveat("what was not seen is not allowed: look at a span of traffic that has every kind of request, start-up and nightly jobs included")
	return slices.Sorted(maps.Keys(g.caveats))
}

// yaml are the policies as one file.
func (g *policies) yaml(r *Reading) (string, int, error) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# Allows what was seen in %s from %s to %s, and nothing else.\n", r.DB, clock(r.Start*1e6), clock(r.End*1e6))
	if r.Incomplete != "" {
		fmt.Fprintf(&b, "# %s\n", r.Incomplete)
	}
	n := 0
	for _, k := range slices.SortedFunc(maps.Keys(g.of), compareKeys) {
		if g.request.Namespace != "" && k.namespace != g.request.Namespace || g.request.Service != "" && k.name != g.request.Service {
			continue
		}
		var one bytes.Buffer
		e := yaml.NewEncoder(&one)
		e.SetIndent(2)
		if err := e.Encode(g.policy(k)); err != nil {
			return "", 0, fmt.Errorf("encode the policy of %s: %w", k.name, err)
		}
		fmt.Fprintf(&b, "---\n%s", one.Bytes())
		n++
	}
	if n == 0 {
		return "", 0, nil
	}
	return b.String(), n, nil
}

func compareKeys(a, b policyKey) int {
	return cmp.Or(cmp.Compare(a.namespace, b.namespace), cmp.Compare(a.name, b.name))
}

func (g *policies) policy(k policyKey) networkPolicy {
	s := g.of[k]
	p := networkPolicy{APIVersion: "networking.k8s.io/v1", Kind: "NetworkPolicy", Metadata: policyMeta{"observed-" + dnsLabel(k.name), k.namespace},
		Spec: policySpec{PodSelector: labelSelector{s.labels}, PolicyTypes: []string{"Ingress", "Egress"}}}
	for _, rule := range g.rules(k, s.ingress) {
		p.Spec.Ingress = append(p.Spec.Ingress, policyRule{From: rule.peers, Ports: rule.ports})
	}
	for _, rule := range g.rules(k, s.egress) {
		p.Spec.Egress = append(p.Spec.Egress, policyRule{To: rule.peers, Ports: rule.ports})
	}
	if s.dns {
		p.Spec.Egress = append(p.Spec.Egress, policyRule{
			To: []policyPeer{{
				PodSelector:       &labelSelector{map[string]string{"k8s-app": "kube-dns"}},
				NamespaceSelector: &labelSelector{map[string]string{"kubernetes.io/metadata.name": "kube-system"}},
			}},
			Ports: []policyPort{{"UDP", 53}, {"TCP", 53}},
		})
	}
	return p
}

// portRule is who may speak at some ports.
type portRule struct {
	ports []policyPort
	peers []policyPeer
}

// rules gather the peers of each port; a port that is open to everybody needs no list.
func (g *policies) rules(of policyKey, seen map[ruleKey]bool) []portRule {
	byPort := map[policyPort][]ruleKey{}
	for k := range seen {
		port := policyPort{k.protocol, k.port}
		byPort[port] = append(byPort[port], k)
	}
	var rules []portRule
	for _, port := range slices.SortedFunc(maps.Keys(byPort), func(a, b policyPort) int {
		return cmp.Or(cmp.Compare(a.Port, b.Port), cmp.Compare(a.Protocol, b.Protocol))
	}) {
		list := byPort[port]
		slices.SortFunc(list, func(a, b ruleKey) int {
			return cmp.Or(compareKeys(a.peer, b.peer), a.address.Compare(b.address))
		})
		rule := portRule{ports: []policyPort{port}}
		for _, k := range list {
			if k.peer == (policyKey{}) && !k.address.IsValid() {
				rule.peers = nil
				break
			}
			rule.peers = append(rule.peers, g.peer(of, k))
		}
		rules = append(rules, rule)
	}
	return rules
}

func (g *policies) peer(of policyKey, k ruleKey) policyPeer {
	if k.address.IsValid() {
		return policyPeer{IPBlock: &ipBlock{netip.PrefixFrom(k.address, k.address.BitLen()).String()}}
	}
	labels := selecting(nil, k.peer.name)
	if s := g.of[k.peer]; s != nil {
		labels = s.labels
	}
	p := policyPeer{PodSelector: &labelSelector{labels}}
	if k.peer.namespace != of.namespace {
		p.NamespaceSelector = &labelSelector{map[string]string{"kubernetes.io/metadata.name": k.peer.namespace}}
	}
	return p
}

// dnsLabel makes a name one of an object (RFC 1123).
func dnsLabel(s string) string {
	s = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(s))
	return strings.Trim(s[:min(len(s), 54)], "-")
}
