package kindenv

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/devloop-io/devloop/capture/agent"
	"github.com/devloop-io/devloop/fault"
)

// faults are those of the workspace's edges. The agents make them (internal/nodeagent): each is told of all faults that there are to
// be, with the client's pods and where these find the server, again whenever pods come or go.
type faults struct {
	mu      sync.Mutex
	there   map[string]*placed
	history fault.History
	relays  []netip.Addr // the agents' addresses; none: they have not been asked
}

// placed is a fault that is there.
type placed struct {
	fault.Fault
	timer *time.Timer
	pods  map[string][]netip.Addr // of the client, by node
	to    []netip.AddrPort
}

// tellBound is how long the agents may take to make a fault.
const tellBound = 20 * time.Second

// SetFault begins a fault, which ends by itself after a time.
func (e *Env) SetFault(ctx context.Context, f fault.Fault, port string, lasts time.Duration) (fault.Fault, error) {
	if err := f.Check(lasts); err != nil {
		return fault.Fault{}, err
	}
	if err := e.edge(&f, port); err != nil {
		return fault.Fault{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, tellBound)
	defer cancel()
	e.faults.mu.Lock()
	defer e.faults.mu.Unlock()
	for _, other := range e.faults.there {
		if other.Edge() == f.Edge() {
			return fault.Fault{}, fmt.Errorf("%s has fault %s (%s) already; clear it first", f.Edge(), other.ID, other.What())
		}
	}
	e.faults.history.Begin(&f, lasts)
	p := &placed{Fault: f}
	e.faults.there[f.ID] = p
	if err := e.tellFaults(ctx); err != nil {
		delete(e.faults.there, f.ID)
		return fault.Fault{}, errors.Join(fmt.Errorf("set fault on %s: %w", f.Edge(), err), e.tellFaults(e.ctx))
	}
	if f.Kind != fault.Drop {
		e.endConnections(ctx, p)
	}
	p.timer = time.AfterFunc(lasts, func() {
		if _, err := e.ClearFault(f.ID); err != nil && e.ctx.Err() == nil {
			e.o.Log.Error("a fault did not end", "fault", f.ID, "err", err)
		}
	})
	return f, nil
}

// edge checks both names and finds the port.
func (e *Env) edge(f *fault.Fault, port string) error {
	cfg := e.o.Config
	names := slices.Sorted(maps.Keys(cfg.Services))
	names = append(names, slices.Sorted(maps.Keys(cfg.Dependencies))...)
	if !slices.Contains(names, f.From) && f.From != ExerciseName {
		return fmt.Errorf("no service is called %q; there are %s", f.From, strings.Join(append(names, ExerciseName), ", "))
	}
	if !slices.Contains(names, f.To) {
		return fmt.Errorf("no service is called %q; there are %s", f.To, strings.Join(names, ", "))
	}
	if f.From == f.To {
		return fmt.Errorf("%s does not go over the network to reach itself", f.From)
	}
	declared := cfg.Services[f.To].Ports
	if d, ok := cfg.Dependencies[f.To]; ok {
		declared = d.Ports
	}
	var err error
	f.Port, err = fault.PortOf(f.To, declared, port)
	return err
}

// tellFaults tells all agents which faults there are to be. The caller holds the lock.
func (e *Env) tellFaults(ctx context.Context) error {
	e.mu.Lock()
	n := e.nodes
	e.mu.Unlock()
	if n == nil {
		return errors.New("there is no agent yet that could make it")
	}
	if e.faults.relays == nil {
		if err := e.findRelays(ctx, n); err != nil {
			return err
		}
		// Every agent knows whose words are not to be recorded, before there are any.
		if _, err := e.putFaults(ctx, n, func(p *placed) bool { return p.timer != nil }); err != nil {
			return err
		}
	}
	states, err := e.putFaults(ctx, n, func(*placed) bool { return true })
	if err != nil {
		return err
	}
	e.count(states)
	for node, s := range states {
		for _, x := range s.Faults {
			if x.Problem != "" && e.faults.there[x.ID] != nil {
				return fmt.Errorf("node %s: %s", node, x.Problem)
			}
		}
	}
	return nil
}

// putFaults tells all agents that the chosen faults are to be there.
func (e *Env) putFaults(ctx context.Context, n *nodes, chosen func(*placed) bool) (map[string]agent.FaultStates, error) {
	want := agent.Faults{Relays: e.faults.relays, Faults: []agent.Fault{}}
	for _, id := range slices.Sorted(maps.Keys(e.faults.there)) {
		p := e.faults.there[id]
		lasts := time.Until(p.Until)
		if lasts <= 0 || !chosen(p) {
			continue
		}
		uids, err := e.locate(ctx, p)
		if err != nil {
			return nil, err
		}
		want.Faults = append(want.Faults, agent.Fault{
			ID: p.ID, Kind: p.Kind, Rate: p.Rate, Delay: p.Delay, Status: p.Status, Seed: p.Seed, Lasts: lasts, Pods: uids, To: p.to,
		})
	}
	return n.faults(ctx, func(ctx context.Context, c *agent.Client) (agent.FaultStates, error) { return c.SetFaults(ctx, want) })
}

// findRelays learns the agents' addresses.
func (e *Env) findRelays(ctx context.Context, n *nodes) error {
	states, err := n.faults(ctx, func(ctx context.Context, c *agent.Client) (agent.FaultStates, error) { return c.Faults(ctx) })
	if err != nil {
		return err
	}
	e.faults.relays = []netip.Addr{}
	for _, s := range states {
		if s.Address.IsValid() {
			e.faults.relays = append(e.faults.relays, s.Address)
		}
	}
	slices.SortFunc(e.faults.relays, netip.Addr.Compare)
	return nil
}

// faults asks all agents the same, and answers by node.
func (n *nodes) faults(ctx context.Context, ask func(context.Context, *agent.Client) (agent.FaultStates, error)) (map[string]agent.FaultStates, error) {
	var (
		wg     sync.WaitGroup
		mu     sync.Mutex
		states = map[string]agent.FaultStates{}
		errs   = make([]error, len(n.sources))
	)
	for i, s := range n.sources {
		wg.Go(func() {
			st, err := ask(ctx, s.Client())
			if err != nil {
				errs[i] = fmt.Errorf("the agent of node %s: %w", s.Node(), err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			states[s.Node()] = st
		})
	}
	wg.Wait()
	return states, errors.Join(errs...)
}

// count sums what the agents counted.
func (e *Env) count(states map[string]agent.FaultStates) {
	for id, p := range e.faults.there {
		seen, hit, unfit := 0, 0, 0
		for _, s := range states {
			for _, x := range s.Faults {
				if x.ID == id {
					seen, hit, unfit = seen+x.Seen, hit+x.Hit, unfit+x.Unfit
				}
			}
		}
		p.Seen, p.Hit, p.Unfit = max(p.Seen, seen), max(p.Hit, hit), max(p.Unfit, unfit) // an agent that was restarted begins anew
	}
}

// locate finds the client's pods and where they find the server.
func (e *Env) locate(ctx context.Context, p *placed) (uids []string, err error) {
	p.pods = map[string][]netip.Addr{}
	for _, pod := range e.ids.Pods() {
		if pod.Namespace != e.Namespace() || e.serviceOf(pod) != p.From {
			continue
		}
		uids = append(uids, string(pod.UID))
		if ip, err := netip.ParseAddr(pod.Status.PodIP); err == nil {
			p.pods[pod.Spec.NodeName] = append(p.pods[pod.Spec.NodeName], ip)
		}
	}
	if len(uids) == 0 {
		return nil, fmt.Errorf("%s has no pods yet", p.From)
	}
	slices.Sort(uids)
	if p.to, err = e.addressesOf(ctx, p.To, p.Port); err == nil && len(p.to) == 0 {
		err = fmt.Errorf("%s has no IPv4 address in the cluster yet", p.To)
	}
	return uids, err
}

// serviceOf is a pod's service of devloop.yaml.
func (e *Env) serviceOf(pod *corev1.Pod) string {
	w, _ := e.ids.Container(string(pod.UID), "")
	return w.Service
}

// addressesOf are a server's Service and its endpoints.
func (e *Env) addressesOf(ctx context.Context, name string, port int) (all []netip.AddrPort, err error) {
	add := func(ip string, port int32) {
		a, err := netip.ParseAddr(ip)
		if at := netip.AddrPortFrom(a, uint16(port)); err == nil && a.Is4() && port > 0 && len(all) < agent.MaxDestinations && !slices.Contains(all, at) {
			all = append(all, at)
		}
	}
	svc, err := e.client.CoreV1().Services(e.Namespace()).Get(ctx, name, metav1.GetOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("find the addresses of %s: %w", name, err)
	}
	meant := map[string]bool{} // names of the Service's ports
	if err == nil {
		for _, sp := range svc.Spec.Ports {
			if sp.Protocol != corev1.ProtocolUDP && (int(sp.Port) == port || sp.TargetPort == intstr.FromInt(port)) {
				meant[sp.Name] = true
				for _, ip := range svc.Spec.ClusterIPs {
					add(ip, sp.Port)
				}
			}
		}
	}
	slicesOf, err := e.client.DiscoveryV1().EndpointSlices(e.Namespace()).List(ctx, metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=" + name})
	if err != nil {
		return nil, fmt.Errorf("find the endpoints of %s: %w", name, err)
	}
	for _, s := range slicesOf.Items {
		for _, sp := range s.Ports {
			if sp.Port == nil || sp.Name == nil || !meant[*sp.Name] {
				continue
			}
			for _, end := range s.Endpoints {
				for _, ip := range end.Addresses {
					add(ip, *sp.Port)
				}
			}
		}
	}
	return all, nil
}

// endConnections ends those that the client has open to the server. What connects anew meets the fault, or no longer does. An agent may
// not enter the pods' network namespaces; on the nodes of a kind cluster, which are containers of this machine, we may.
func (e *Env) endConnections(ctx context.Context, p *placed) {
	if e.o.Where != Kind {
		e.warn("connections of %s that were open before a fault go around it until they close: only in kind clusters can devloop end them", p.From)
		return
	}
	for node, ips := range p.pods {
		if len(ips) == 0 {
			continue
		}
		args := []string{"find", "/run/netns", "-name", "cni-*", "-exec", "nsenter", "--net={}", "ss", "--kill", "--tcp", "("}
		for i, ip := range ips {
			args = append(args, either(i)...)
			args = append(args, "src", ip.String())
		}
		args = append(args, ")", "and", "(")
		for i, to := range p.to {
			args = append(args, either(i)...)
			args = append(args, "(", "dst", to.Addr().String(), "and", "dport", "=", fmt.Sprintf(":%d", to.Port()), ")")
		}
		if _, err := e.cluster.NodeExec(ctx, node, nil, append(args, ")", ";")...); err != nil {
			e.warn("connections of %s on node %s that were open before a fault go around it until they close: %v", p.From, node, err)
		}
	}
}

func either(i int) []string {
	if i == 0 {
		return nil
	}
	return []string{"or"}
}

// Faults are those that are there, and those that ended since a time, in the order in which they began.
func (e *Env) Faults(since time.Time) []fault.Fault {
	e.faults.mu.Lock()
	defer e.faults.mu.Unlock()
	if len(e.faults.there) > 0 {
		if err := e.askCounts(); err != nil {
			e.o.Log.Debug("the agents do not say what faults met", "err", err)
		}
	}
	var there []fault.Fault
	for _, p := range e.faults.there {
		there = append(there, p.Fault)
	}
	return e.faults.history.Since(since, there)
}

// askCounts asks the agents what the faults met. The caller holds the lock.
func (e *Env) askCounts() error {
	e.mu.Lock()
	n := e.nodes
	e.mu.Unlock()
	if n == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(e.ctx, 2*time.Second)
	defer cancel()
	states, err := n.faults(ctx, func(ctx context.Context, c *agent.Client) (agent.FaultStates, error) { return c.Faults(ctx) })
	e.count(states)
	return err
}

// ClearFault ends a fault, or all of them when no ID is given. The agents ask their kernels whether anything of it is left.
func (e *Env) ClearFault(id string) ([]fault.Fault, error) {
	ctx, cancel := context.WithTimeout(e.ctx, tellBound)
	defer cancel()
	e.faults.mu.Lock()
	defer e.faults.mu.Unlock()
	if id != "" && e.faults.there[id] == nil {
		return nil, e.faults.history.Absent(id)
	}
	if len(e.faults.there) == 0 {
		return nil, nil
	}
	if err := e.askCounts(); err != nil {
		e.o.Log.Debug("the agents do not say what faults met", "err", err)
	}
	var cleared []*placed
	var list []fault.Fault
	for _, p := range e.faults.there {
		if id == "" || p.ID == id {
			p.timer.Stop()
			delete(e.faults.there, p.ID)
			cleared, list = append(cleared, p), append(list, p.Fault)
		}
	}
	list = e.faults.history.End(list)
	err := e.tellFaults(ctx)
	if err == nil {
		err = e.gone(ctx, cleared)
	}
	for _, p := range cleared {
		if p.Kind == fault.Drop { // what waits for a packet again would bring its calls into later windows
			e.endConnections(ctx, p)
		}
	}
	return list, err
}

// gone asks the agents whether they could take the faults away.
func (e *Env) gone(ctx context.Context, cleared []*placed) error {
	e.mu.Lock()
	n := e.nodes
	e.mu.Unlock()
	states, err := n.faults(ctx, func(ctx context.Context, c *agent.Client) (agent.FaultStates, error) { return c.Faults(ctx) })
	if err != nil {
		return err
	}
	for node, s := range states {
		for _, x := range s.Faults {
			ours := slices.ContainsFunc(cleared, func(p *placed) bool { return p.ID == x.ID })
			if ours && (!x.Over || x.Problem != "") {
				return fmt.Errorf("clear fault %s: it is still there on node %s: %s", x.ID, node, x.Problem)
			}
		}
	}
	return nil
}

// follow has the agents told again of the faults, when pods came or went, or an agent began anew.
func (f *faults) follow(ctx context.Context, e *Env, anew bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if anew {
		f.relays = nil
	}
	if len(f.there) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, tellBound)
	defer cancel()
	return e.tellFaults(ctx)
}
