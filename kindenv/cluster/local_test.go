package cluster

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLooksLocal(t *testing.T) {
	t.Parallel()
	bridges := []netip.Prefix{netip.MustParsePrefix("172.18.0.0/16")}
	for _, c := range []struct {
		context, server string
		local           bool
	}{
		{"kind-shop", "https://127.0.0.1:41203", true},
		{"kind-shop", "https://[::1]:41203", true},
		{"kind-shop", "https://0.0.0.0:41203", true},
		{"kind-shop", "https://192.168.1.20:6443", true}, // an engine in a virtual machine
		{"kind-shop", "https://203.0.113.9:6443", false},
		{"kind-shop", "https://kind.example.com", false},
		{"kindergarten", "https://203.0.113.9:6443", false},
		{"k3d-shop", "https://0.0.0.0:6550", true},
		{"minikube", "https://192.168.49.2:8443", true},
		{"minikube-of-the-team", "https://192.168.49.2:8443", false},
		{"docker-desktop", "https://kubernetes.docker.internal:6443", true},
		{"docker-desktop", "https://127.0.0.1:6443", true},
		{"rancher-desktop", "https://127.0.0.1:6443", true},
		{"colima", "https://127.0.0.1:6443", true},
		{"colima-work", "https://127.0.0.1:6443", true},
		{"orbstack", "https://127.0.0.1:26443", true},
		{"orbstack", "https://k8s.orb.local:26443", true},
		{"microk8s", "https://192.168.1.20:16443", true},
		{"shop", "https://localhost:6443", true},
		{"shop", "https://172.18.0.3:6443", true},      // a container of this machine
		{"shop", "https://172.20.0.3:6443", false},     // not of a bridge that is here
		{"shop", "https://10.0.0.5:6443", false},       // an office
		{"shop", "https://[::ffff:127.0.0.1]:1", true}, // IPv4 in IPv6
		{"shop-prod", "https://127.0.0.1:6443", false}, // a tunnel
		{"Staging", "https://localhost:6443", false},
		{"gke_acme_europe-west1_shop", "https://127.0.0.1:6443", false},
		{"arn:aws:eks:eu-west-1:1234:cluster/shop", "https://127.0.0.1:6443", false},
		{"arn:aws:eks:eu-west-1:1234:cluster/shop", "https://ABC.eks.amazonaws.com", false},
		{"shop", "", false},
		{"shop", "://", false},
		{"shop", "https://localhost.example.com", false},
	} {
		local, why := LooksLocal(c.context, c.server, bridges)
		if local != c.local {
			t.Errorf("LooksLocal(%q, %q) = %v (%s), want %v", c.context, c.server, local, why, c.local)
		}
		if !local && why == "" {
			t.Errorf("LooksLocal(%q, %q) refuses without a reason", c.context, c.server)
		}
	}
}

const kubeconfigs = `apiVersion: v1
kind: Config
current-context: office
clusters:
- {name: office, cluster: {server: "https://203.0.113.9:6443"}}
- {name: dead, cluster: {server: "https://127.0.0.1:9"}}
contexts:
- {name: office, context: {cluster: office, user: me}}
- {name: dead, context: {cluster: dead, user: me}}
- {name: orphan, context: {cluster: none, user: me}}
users:
- {name: me, user: {token: x}}
`

func TestOpenRefused(t *testing.T) {
	dir := t.TempDir()
	file, broken, empty := filepath.Join(dir, "config"), filepath.Join(dir, "broken"), filepath.Join(dir, "empty")
	for path, text := range map[string]string{file: kubeconfigs, broken: "\tnot yaml", empty: ""} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name   string
		o      OpenOptions
		reason Reason
		want   string
	}{
		{"current context is remote", OpenOptions{Kubeconfig: file}, NotLocal, "its server is 203.0.113.9"},
		{"another is allowed", OpenOptions{Kubeconfig: file, AllowContexts: []string{"of*"}, Context: "dead"}, Unreachable, "127.0.0.1:9"},
		{"no such context", OpenOptions{Kubeconfig: file, Context: "offic"}, NotFound, "it has: dead, office, orphan"},
		{"context without cluster", OpenOptions{Kubeconfig: file, Context: "orphan"}, NotFound, `names a cluster "none"`},
		{"no file", OpenOptions{Kubeconfig: filepath.Join(dir, "nowhere")}, NotFound, "no such file"},
		{"broken file", OpenOptions{Kubeconfig: broken}, NotFound, "kubeconfig"},
		{"empty file", OpenOptions{Kubeconfig: empty}, NotFound, "no current context"},
	} {
		_, err := Open(t.Context(), c.o)
		if !Is(err, c.reason) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s with %q", c.name, err, c.reason, c.want)
		}
	}
	if data, err := os.ReadFile(file); err != nil || string(data) != kubeconfigs {
		t.Error("the kubeconfig has been changed")
	}
}

func TestAllowed(t *testing.T) {
	t.Parallel()
	const eks = "arn:aws:eks:eu-west-1:1234:cluster/shop"
	for _, c := range []struct {
		patterns []string
		name     string
		want     bool
	}{
		{nil, "office", false},
		{[]string{"office"}, "office", true},
		{[]string{"office"}, "office-2", false},
		{[]string{"office*"}, "office-2", true},
		{[]string{eks}, eks, true},
		{[]string{"["}, "[", true},
	} {
		if got := allowed(c.patterns, c.name); got != c.want {
			t.Errorf("allowed(%q, %q) = %v", c.patterns, c.name, got)
		}
	}
}
