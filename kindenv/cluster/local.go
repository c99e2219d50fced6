package cluster

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// localNames are the contexts that local clusters make for themselves; those that end in a hyphen are beginnings of names.
var localNames = []string{
	"kind-", "k3d-", "minikube", "docker-desktop", "docker-for-desktop", "rancher-desktop", "colima", "colima-", "orbstack", "microk8s", "microk8s-",
	"k3s-default", "podman-desktop", "lima-", "vcluster-docker_",
}

// remoteNames are beginnings of contexts that cloud tools make: one of these on a loopback address is a tunnel.
var remoteNames = []string{"arn:aws", "gke_", "aks-", "do-", "teleport"}

// localHosts are names of this machine that container engines and local clusters use; those that begin with a dot are ends.
var localHosts = []string{"localhost", ".localhost", "kubernetes.docker.internal", "host.docker.internal", "k8s.orb.local", ".orb.local", "control-plane.minikube.internal"}

// LooksLocal judges by a context's name and its server's address whether the cluster is one of this machine, and says why
// not. bridges are the subnets of this machine's container bridges.
//
//	server            named like a local cluster   named otherwise
//	loopback          local                        local, unless named by a cloud's tool or after production
//	container bridge  local                        local, likewise
//	private network   local                        not local: offices have clusters too
//	anything else     not local                    not local
func LooksLocal(context, server string, bridges []netip.Prefix) (local bool, why string) {
	host, err := serverHost(server)
	if err != nil {
		return false, fmt.Sprintf("its server %q is not understood: %v", server, err)
	}
	named := nameIn(localNames, context)
	addr, err := netip.ParseAddr(host)
	if err != nil && !hostIn(localHosts, host) {
		return false, fmt.Sprintf("its server is %s", host)
	}
	addr = addr.Unmap()
	here := err != nil || addr.IsLoopback() || addr.IsUnspecified()
	bridged := slices.ContainsFunc(bridges, func(p netip.Prefix) bool { return p.Contains(addr) })
	switch {
	case named && (here || bridged || addr.IsPrivate() || addr.IsLinkLocalUnicast()):
		return true, ""
	case named:
		return false, fmt.Sprintf("it is named like a local cluster, but its server %s is not on this machine", host)
	case !here && !bridged:
		return false, fmt.Sprintf("its server is %s", host)
	case nameIn(remoteNames, context):
		return false, fmt.Sprintf("its server %s is on this machine, but it is named as clouds name their clusters: a tunnel?", host)
	case strings.Contains(strings.ToLower(context), "prod") || strings.Contains(strings.ToLower(context), "staging"):
		return false, fmt.Sprintf("its server %s is on this machine, but its name speaks of production: a tunnel?", host)
	default:
		return true, ""
	}
}

func serverHost(server string) (string, error) {
	u, err := url.Parse(server)
	if err != nil {
		return "", err
	}
	if u.Hostname() == "" {
		return "", errNoHost
	}
	return strings.ToLower(u.Hostname()), nil
}

func nameIn(names []string, name string) bool {
	return slices.ContainsFunc(names, func(n string) bool {
		return n == name || (strings.HasSuffix(n, "-") || strings.HasSuffix(n, "_") || strings.HasSuffix(n, ":") || n == "arn:aws") && strings.HasPrefix(name, n)
	})
}

func hostIn(hosts []string, host string) bool {
	return slices.ContainsFunc(hosts, func(h string) bool { return h == host || strings.HasPrefix(h, ".") && strings.HasSuffix(host, h) })
}

// bridges are the subnets of this machine's container bridges: docker0, br-… of Docker's own networks, podman and cni.
func bridges() []netip.Prefix {
	interfaces, err := net.Interfaces()
	if err != nil {
		return nil
	}
	var found []netip.Prefix
	for _, i := range interfaces {
		if !slices.ContainsFunc([]string{"docker", "br-", "podman", "cni"}, func(p string) bool { return strings.HasPrefix(i.Name, p) }) {
			continue
		}
		addrs, err := i.Addrs()
		if err != nil {
			continue
		}
		for _, a := range addrs {
			if p, err := netip.ParsePrefix(a.String()); err == nil {
				found = append(found, p.Masked())
			}
		}
	}
	return found
}
