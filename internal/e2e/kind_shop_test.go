//go:build linux

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/devloop-io/devloop/internal/config"
	"github.com/devloop-io/devloop/internal/testimages"
	"github.com/devloop-io/devloop/kindenv"
	"github.com/devloop-io/devloop/kindenv/cluster"
	"github.com/devloop-io/devloop/kindenv/clustertest"
	"github.com/devloop-io/devloop/kindenv/image"
)

// load brings PostgreSQL and Redis into a cluster under the names that the shop's devloop.yaml gives, as nothing can be
// pulled here. Where they are already it does nothing.
func load(ctx context.Context, c *cluster.Cluster) error {
	cfg, err := config.Load(filepath.Join(root(), "examples", "shop"))
	if err != nil {
		return err
	}
	arch, err := image.Arch(ctx, c)
	if err != nil {
		return err
	}
	postgres, err := testimages.Postgres(ctx, cfg.Dependencies["catalogue-db"].Image, arch)
	if err != nil {
		return err
	}
	redis, err := testimages.Redis(ctx, cfg.Dependencies["cache"].Image, arch)
	if err != nil {
		return err
	}
	_, err = image.Load(ctx, c, postgres, redis)
	return err
}

// compiled builds packages of this module for the cluster's nodes: one into a file, several into a folder.
func compiled(ctx context.Context, pkg, arch, out string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-o", out, pkg)
	cmd.Dir, cmd.Env = root(), append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch)
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", pkg, err, text)
	}
	return nil
}

// TestKindShopServes runs the shop in a cluster without the loop: its services, its manifests, PostgreSQL and Redis, and
// one purchase from log-in to checkout.
func TestKindShopServes(t *testing.T) {
	c := clustertest.Shared(t)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	if err := load(ctx, c); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(root(), "examples", "shop")
	cfg, err := config.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Environment.Kind.Name, cfg.Environment.Kind.Namespace = c.Name, "shop-in-pods"
	tools := t.TempDir()
	e, err := kindenv.New(ctx, kindenv.Options{
		Workspace: dir, StateDir: filepath.Join(tools, "state"), Config: cfg, Where: kindenv.Kind, Hash: "5b0951b0", Say: func(s string) { t.Log(s) },
		Tool: func(ctx context.Context, name, arch string) ([]byte, error) {
			out := filepath.Join(tools, name)
			if err := compiled(ctx, "./cmd/"+name, arch, out); err != nil {
				return nil, err
			}
			return os.ReadFile(out)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		late, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := e.Down(late, false); err != nil {
			t.Error(err)
		}
	})
	began := time.Now()
	if err := e.StartDependencies(ctx); err != nil {
		t.Fatal(err)
	}
	t.Logf("dependencies in %.1f s", time.Since(began).Seconds())
	began = time.Now()
	programs := filepath.Join(tools, "services") + "/"
	if err := compiled(ctx, "./examples/shop/cmd/...", e.Arch(), programs); err != nil {
		t.Fatal(err)
	}
	t.Logf("services compiled in %.1f s", time.Since(began).Seconds())
	began = time.Now()
	var wg sync.WaitGroup
	for name, s := range cfg.Services {
		wg.Go(func() {
			if err := e.Start(ctx, name, kindenv.Build{ID: "1", Program: programs + name, Env: s.Env}); err != nil {
				t.Errorf("start %s: %v", name, err)
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
	t.Logf("services started in %.1f s", time.Since(began).Seconds())
	proxy, err := e.Proxy()
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(proxy)}, Timeout: 20 * time.Second}
	defer client.CloseIdleConnections()
	send := func(method, path, token, body string, want int) []byte {
		t.Helper()
		r, err := http.NewRequestWithContext(ctx, method, "http://frontend"+path, bytes.NewReader([]byte(body)))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Authorization", "Bearer "+token)
		res, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		answer, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode != want {
			t.Errorf("%s %s: %s, %v\n%s", method, path, res.Status, err, answer)
		}
		return answer
	}
	var login struct {
		Token string `json:"access_token"`
	}
	if err := json.Unmarshal(send("POST", "/api/v1/login", "", `{"user":"ada","password":"lovelace"}`, 200), &login); err != nil {
		t.Fatal(err)
	}
	send("GET", "/api/v1/catalogue", login.Token, "", 200)
	send("POST", "/api/v1/cart", login.Token, `{"cart":"1","items":[1,2,3,4,5]}`, 200)
	send("POST", "/api/v1/checkout", login.Token, `{"cart":"1"}`, 201)
}
