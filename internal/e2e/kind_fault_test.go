//go:build linux

package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/devloop-io/devloop/internal/control"
	"github.com/devloop-io/devloop/traffic"
)

const edgeInKind = `version: 1
services:
  checkout:
    go: ./cmd/edge
    ports: {http: 8080}
    env: {LISTEN: ":8080", NEXT: "http://payment:8080/"}
    ready: {http: {path: /healthz}}
    depends_on: [payment]
  payment:
    go: ./cmd/edge
    ports: {http: 8080}
    env: {LISTEN: ":8080"}
    ready: {http: {path: /healthz}}
exercises:
  buy:
    default: true
    steps:
      - http: {url: "http://checkout:8080/buy", repeat: 6}
environment:
  default: kind
  kind: {name: CLUSTER, namespace: NAMESPACE}
checks: ["*.netcheck.yaml"]
`

// TestKindFaults has every kind of fault on an edge between pods show on the wire, and to the client, as it does on one between local
// services.
func TestKindFaults(t *testing.T) {
	w := inKind(t)
	w.write("devloop.yaml", strings.NewReplacer("CLUSTER", w.c.Name, "NAMESPACE", w.namespace).Replace(edgeInKind))
	if err := os.Remove(filepath.Join(w.dir, "echo.netcheck.yaml")); err != nil {
		t.Fatal(err)
	}
	w.write("a.netcheck.yaml", "checks:\n  - name: payment answers\n    on: http && src.service.name == \"checkout\"\n    expect: none(status_code >= 500)\n")
	if err := os.MkdirAll(filepath.Join(w.dir, "cmd", "edge"), 0o755); err != nil {
		t.Fatal(err)
	}
	w.write("cmd/edge/main.go", edgeSource)
	clean := w.run()
	if clean.Verdict != traffic.Pass || len(w.asked(clean)) != 6 {
		t.Fatalf("without a fault: %s, failure %+v, %d calls\n%s", clean.Verdict, clean.Failure, len(w.asked(clean)), explain(clean.Checks))
	}
	for _, kind := range []string{"latency", "status", "refuse", "reset", "stall", "truncate", "drop"} {
		t.Run(kind, func(t *testing.T) {
			w.says(0, []string{kind}, "fault", "set", "--from", "checkout", "--to", "payment:http", "--kind", kind, "--delay", "150ms", "--rate", rates[kind])
			w.says(0, []string{"warning: fault", "checkout → payment:8080"}, "status")
			w.says(2, []string{"clear it first"}, "fault", "set", "--from", "checkout", "--to", "payment", "--kind", kind)
			it := w.run()
			if !strings.Contains(strings.Join(it.Warnings, "\n"), "checkout → payment:8080: "+kind) {
				t.Errorf("the iteration does not warn of the fault: %q", it.Warnings)
			}
			if said := shows[kind](w.asked(it), w.told(it)); said != "" {
				t.Errorf("%s\n%v\n%v", said, w.asked(it), w.told(it))
			}
			w.says(0, []string{"cleared"}, "fault", "clear", "--all")
		})
	}
	after := w.passes("after the faults")
	if n := len(w.asked(after)); n != 6 {
		t.Errorf("after the faults: %d calls", n)
	}
	w.says(2, []string{"no service is called"}, "fault", "set", "--from", "checkout", "--to", "nobody", "--kind", "reset")
	w.says(0, nil, "fault", "set", "--from", "exercise", "--to", "checkout", "--kind", "reset", "--for", "300ms")
	eventually(t, "the fault ends by itself", func() bool {
		_, stdout, _ := w.devloop("fault", "list", "-o", "json")
		var a control.FaultsAnswer
		if err := json.Unmarshal([]byte(stdout), &a); err != nil {
			t.Fatal(err)
		}
		return a.Faults[len(a.Faults)-1].EndedNS != 0
	})
	w.passes("after a fault that ended by itself")
	// One whose daemon is gone ends with the agents.
	w.says(0, nil, "fault", "set", "--from", "exercise", "--to", "checkout", "--kind", "stall")
	w.says(0, nil, "down", "--keep-cluster")
	w.leavesNothing()
}
