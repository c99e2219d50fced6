package kindenv_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/devloop-io/devloop/internal/config"
	"github.com/devloop-io/devloop/kindenv"
	"github.com/devloop-io/devloop/kindenv/clustertest"
	"github.com/devloop-io/devloop/kindenv/image"
)

const jobs = `
apiVersion: batch/v1
kind: Job
metadata: {name: seed}   # asks a service until it answers
spec: {template: {spec: {restartPolicy: Never, containers: [{name: seed, image: IMAGE, imagePullPolicy: Never, args: ["http://back:8080/answer"]}]}}}
---
apiVersion: batch/v1
kind: Job
metadata: {name: told, annotations: {devloop.dev/wait: services}}
spec: {template: {spec: {restartPolicy: Never, containers: [{name: told, image: IMAGE, imagePullPolicy: Never, args: ["http://back:8080/answer"]}]}}}
---
apiVersion: batch/v1
kind: Job
metadata: {name: forever, annotations: {devloop.dev/wait: "false"}}
spec: {template: {spec: {restartPolicy: Never, containers: [{name: forever, image: IMAGE, imagePullPolicy: Never, args: ["http://nobody:1/"]}]}}}
`

// TestJobsThatNeedAService: Jobs of the manifests that ask a service hold nothing up, and all has come to its end when the
// services serve.
func TestJobsThatNeedAService(t *testing.T) {
	c := clustertest.Shared(t)
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	dir := t.TempDir()
	must(t, os.CopyFS(dir, os.DirFS("testdata/pair")))
	const asker = "devloop-test/asker:1"
	must(t, os.WriteFile(filepath.Join(dir, "jobs.yaml"), []byte(strings.ReplaceAll(jobs, "IMAGE", asker)), 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "devloop.yaml"), []byte("version: 1\nservices:\n  back: {go: ./cmd/back, ports: {http: 8080}, ready: {http: {path: /healthz}}}\nenvironment: {kind: {manifests: [jobs.yaml]}}\n"), 0o600))
	cfg, err := config.Load(dir)
	must(t, err)
	cfg.Environment.Kind.Name, cfg.Environment.Kind.Namespace = c.Name, "jobs"
	var mu sync.Mutex
	var said []string
	e, err := kindenv.New(ctx, kindenv.Options{Workspace: dir, Config: cfg, Where: kindenv.Kind, Hash: "0badf00e", Tool: tool, Say: func(s string) {
		mu.Lock()
		defer mu.Unlock()
		said = append(said, s)
	}})
	must(t, err)
	t.Cleanup(func() {
		late, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := e.Down(late, true); err != nil {
			t.Error(err)
		}
	})
	program := filepath.Join(dir, "asker")
	must(t, compile(ctx, "./testdata/asker", e.Arch(), program))
	img, err := image.Assemble(image.Spec{Name: asker, Arch: e.Arch(), Entrypoint: []string{"/asker"}, Files: []image.File{{Path: "/asker", From: program, Mode: 0o755}}})
	must(t, err)
	_, err = image.Load(ctx, c, img)
	must(t, err)

	began := time.Now()
	must(t, e.StartDependencies(ctx))
	t.Logf("the services may start after %s", time.Since(began))
	if took := time.Since(began); took > 45*time.Second {
		t.Errorf("the services were held up for %s", took)
	}
	mu.Lock()
	text := strings.Join(said, "\n")
	mu.Unlock()
	if !strings.Contains(text, "job/seed: it runs and is not complete: the services are started meanwhile, it may need one of them") {
		t.Errorf("said: %s", text)
	}
	back := filepath.Join(dir, "back")
	must(t, compile(ctx, "./testdata/pair/cmd/back", e.Arch(), back))
	must(t, e.Start(ctx, "back", kindenv.Build{ID: "b1", Program: back, Env: map[string]string{"BUILD": "b1"}}))
	client, err := c.Client()
	must(t, err)
	for name, want := range map[string]int32{"seed": 1, "told": 1, "forever": 0} {
		job, err := client.BatchV1().Jobs("jobs").Get(ctx, name, metav1.GetOptions{})
		must(t, err)
		if job.Status.Succeeded != want {
			t.Errorf("job %s has succeeded %d times, want %d", name, job.Status.Succeeded, want)
		}
	}
}
