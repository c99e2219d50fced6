package kindenv

import (
	"context"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	authv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/devloop-io/devloop/internal/agentbin"
	"github.com/devloop-io/devloop/internal/config"
	"github.com/devloop-io/devloop/kindenv/clustertest"
	"github.com/devloop-io/devloop/kindenv/deploy"
	"github.com/devloop-io/devloop/kindenv/fastpath"
)

// TestRoll: whoever may not run commands in pods has programs rolled out in images. Only the pushes are made as somebody with
// fewer rights here; all else is done with the cluster's own.
func TestRoll(t *testing.T) {
	c := clustertest.Shared(t)
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	defer cancel()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("testdata/pair")); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Environment.Kind.Name, cfg.Environment.Kind.Namespace = c.Name, "roll"
	e, err := New(ctx, Options{Workspace: dir, Config: cfg, Where: Kind, Hash: "0badf00d", Tool: agentbin.Binary})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		late, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := e.Down(late, true); err != nil {
			t.Error(err)
		}
	})
	if err := e.StartDependencies(ctx); err != nil {
		t.Fatal(err)
	}
	accounts := e.client.CoreV1().ServiceAccounts("roll")
	if _, err := accounts.Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "nobody"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	token, err := accounts.CreateToken(ctx, "nobody", &authv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	few := e.cluster.REST()
	few.BearerToken, few.CertData, few.KeyData, few.CertFile, few.KeyFile = token.Status.Token, nil, nil, "", ""
	if e.fast, err = fastpath.New(few); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "back")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", program, "./testdata/pair/cmd/back")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+e.arch)
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	proxy, err := e.Proxy()
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(proxy), DisableKeepAlives: true}, Timeout: 10 * time.Second}
	for _, build := range []string{"one", "two"} {
		began := time.Now()
		if err := e.Start(ctx, "back", Build{ID: build, Program: program, Env: map[string]string{"BUILD": build, "LINGER": "1s"}}); err != nil {
			t.Fatal(err)
		}
		t.Logf("build %s is rolled out in %s", build, time.Since(began))
		pods, err := e.client.CoreV1().Pods("roll").List(ctx, metav1.ListOptions{LabelSelector: deploy.LabelService + "=back"})
		if err != nil {
			t.Fatal(err)
		}
		for _, pod := range pods.Items { // it could still answer
			if pod.DeletionTimestamp != nil && pod.Status.ContainerStatuses[0].State.Running != nil {
				t.Errorf("build %s: a pod of the build before still runs", build)
			}
		}
		res, err := client.Get("http://back:8080/answer")
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || string(text) != "build "+build+"\n" {
			t.Errorf("answered %q, %v", text, err)
		}
		named := false
		for _, id := range e.Identities() {
			named = named || id.Workload.Service == "back" && id.Workload.Build == build && id.To == 0
		}
		if !named {
			t.Errorf("no address is of build %s", build)
		}
	}
	if w := strings.Join(e.Warnings(), "; "); !strings.Contains(w, "rolled out") || !strings.Contains(w, "pods/exec") && !strings.Contains(w, "forbidden") {
		t.Errorf("warnings %q", w)
	}
}
