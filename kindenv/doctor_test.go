package kindenv_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/devloop-io/devloop/internal/config"
	"github.com/devloop-io/devloop/kindenv"
	"github.com/devloop-io/devloop/kindenv/clustertest"
)

func fact(facts []kindenv.Fact, name string) kindenv.Fact {
	if i := slices.IndexFunc(facts, func(f kindenv.Fact) bool { return f.Name == name }); i >= 0 {
		return facts[i]
	}
	return kindenv.Fact{}
}

// TestExamine looks at a cluster as its administrator, and as an account that may look and nothing else.
func TestExamine(t *testing.T) {
	c := clustertest.Shared(t)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cfg := &config.Config{}
	cfg.Environment.Kind.Name = c.Name
	o := kindenv.Options{Workspace: t.TempDir(), Config: cfg, Where: kindenv.Kind, Hash: "0d0c0d0c"}
	facts := kindenv.Examine(ctx, o)
	for _, name := range []string{"container engine", "kind cluster", "rights", "node agents"} {
		if f := fact(facts, name); !f.OK {
			t.Errorf("%s: %+v of %+v", name, f, facts)
		}
	}
	cfg.Environment.Kind.Name = "no-such-cluster"
	facts = kindenv.Examine(ctx, o)
	if f := fact(facts, "kind cluster"); !f.OK || !strings.Contains(f.Detail, "a run makes it") || fact(facts, "node image").Detail == "" {
		t.Errorf("%+v", facts)
	}

	// An account of its own in a namespace of its own, which may list pods there.
	client, err := c.Client()
	must(t, err)
	ns := clustertest.Namespace(t, c)
	_, err = client.CoreV1().ServiceAccounts(ns).Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "looker"}}, metav1.CreateOptions{})
	must(t, err)
	_, err = client.RbacV1().RoleBindings(ns).Create(ctx, &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "looker"},
		RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "view"},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Name: "looker", Namespace: ns}}}, metav1.CreateOptions{})
	must(t, err)
	token, err := client.CoreV1().ServiceAccounts(ns).CreateToken(ctx, "looker", &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	must(t, err)
	rest := c.REST()
	file := filepath.Join(t.TempDir(), "kubeconfig")
	must(t, clientcmd.WriteToFile(clientcmdapi.Config{
		CurrentContext: "looker", Contexts: map[string]*clientcmdapi.Context{"looker": {Cluster: "c", AuthInfo: "looker"}},
		Clusters:  map[string]*clientcmdapi.Cluster{"c": {Server: rest.Host, CertificateAuthorityData: rest.CAData}},
		AuthInfos: map[string]*clientcmdapi.AuthInfo{"looker": {Token: token.Status.Token}},
	}, file))
	must(t, os.Chmod(file, 0o600))
	cfg.Environment.Cluster.Kubeconfig, cfg.Environment.Cluster.Namespace, cfg.Environment.Cluster.AllowContexts = file, ns, []string{"looker"}
	o.Where = kindenv.Cluster
	facts = kindenv.Examine(ctx, o)
	if f := fact(facts, "kubeconfig context"); !f.OK {
		t.Errorf("%+v", f)
	}
	for _, name := range []string{"create pods/exec", "create pods/portforward", "create namespaces", "patch daemonsets"} {
		if f := fact(facts, "right to "+name); f.OK || !strings.Contains(f.Fix, "kubectl auth can-i "+name+" --context looker") {
			t.Errorf("%s: %+v of %+v", name, f, facts)
		}
	}
	cfg.Environment.Cluster.Context = "nobody"
	if facts = kindenv.Examine(ctx, o); len(facts) != 1 || facts[0].OK || facts[0].Fix == "" {
		t.Errorf("%+v", facts)
	}
}
