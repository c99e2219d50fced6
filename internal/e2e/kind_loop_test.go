//go:build linux

package e2e

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/devloop-io/devloop/internal/testenv"
	"github.com/devloop-io/devloop/kindenv/cluster"
	"github.com/devloop-io/devloop/traffic"
)

// kindShop is the shop in a cluster that devloop makes for it, of a number of nodes: the first `devloop run` makes it, and
// PostgreSQL and Redis, which nothing can pull here, are loaded as soon as it is there.
func kindShop(t testing.TB, nodes int) (w *workspace, it *traffic.Iteration) {
	t.Helper()
	k := testenv.NeedsKind(t)
	w = copied(t)
	name := shopCluster(nodes)
	w.edit("devloop.yaml", "    name: shop\n", "    name: "+name+"\n    config: kind.yaml\n")
	copyFile(t, k.Bare, filepath.Join(w.dir, "kind.yaml"))
	ctx, cancel := context.WithTimeout(context.Background(), commandTimeout)
	defer cancel()
	loaded := make(chan error, 1)
	go func() { loaded <- w.serversWhenThere(ctx, name) }()
	began := time.Now()
	it = w.run("--env", "kind", "--node-image", k.Image, "--nodes", strconv.Itoa(nodes))
	phases(t, fmt.Sprintf("first run, %.1f s with the making of %d nodes", time.Since(began).Seconds(), nodes), it)
	if err := <-loaded; err != nil {
		t.Fatal(err)
	}
	if it.Failure != nil && it.Failure.Phase == "start" { // it looked for the servers' images before they were loaded
		t.Logf("first run: %s", it.Failure.What)
		it = w.run("--env", "kind")
	}
	return w, it
}

// serversWhenThere waits until a cluster is there and loads the servers.
func (w *workspace) serversWhenThere(ctx context.Context, name string) error {
	home, err := cluster.Home()
	if err != nil {
		return err
	}
	for tick := time.NewTicker(200 * time.Millisecond); ; {
		c, err := home.Attach(ctx, name)
		if err == nil {
			err = load(ctx, c) // a cluster that is half made refuses
		}
		if err == nil {
			tick.Stop()
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		}
	}
}

// phases prints where an iteration's time went.
func phases(t testing.TB, what string, it *traffic.Iteration) {
	var b strings.Builder
	for _, p := range it.Ledger {
		fmt.Fprintf(&b, " %s %.2f", p.Phase, float64(p.NS)/1e9)
	}
	t.Logf("%s: %s, seconds:%s", what, it.Verdict, b.String())
}

// shopCluster is the cluster that [kindShop] makes.
func shopCluster(nodes int) string { return fmt.Sprintf("devloop-test-shop-%d", nodes) }

// shopVerdicts runs the shop clean and with faults, and wants of each the verdict that it has locally; on several nodes also
// with two pods of a service.
func shopVerdicts(t *testing.T, nodes int) {
	w, it := kindShop(t, nodes)
	phases(t, "clean, first", it)
	clean := func(t *testing.T, it *traffic.Iteration) {
		t.Helper()
		if it.Verdict != traffic.Pass || it.ExitCode != 0 {
			t.Fatalf("clean: %s, exit %d, failure %+v\n%s", it.Verdict, it.ExitCode, it.Failure, explain(not(it, traffic.Pass)))
		}
		judged := 0
		for _, c := range it.Checks {
			if c.Verdict == traffic.Pass && !c.Builtin {
				judged++
			}
		}
		t.Logf("%d checks of the shop's own pass, %d in all", judged, len(it.Checks))
	}
	clean(t, it)
	faulty := func(t *testing.T, f fault) {
		w.write("faults.env", "FAULTS="+f.Fault+"\n")
		it := w.run("--env", "kind")
		phases(t, f.Fault, it)
		caught(t, it, f)
	}
	for _, f := range faults(t) {
		t.Run(f.Fault, func(t *testing.T) { faulty(t, f) })
	}
	w.write("faults.env", "FAULTS=\n")
	it = w.run("--env", "kind")
	phases(t, "clean again", it)
	clean(t, it)
	if nodes == 1 {
		return
	}
	t.Run("every way is one call", func(t *testing.T) { everyWay(t, shopCluster(nodes)) })
	w.edit("deploy/payment.yaml", "replicas: 1", "replicas: 2")
	w.says(0, nil, "down", "--keep-cluster") // manifests are read when the environment begins
	t.Run("two pods", func(t *testing.T) {
		it := w.run("--env", "kind")
		phases(t, "clean", it)
		clean(t, it)
		pods := map[string]bool{}
		for _, ifc := range it.Account.Interfaces {
			if ifc.Workload != nil && ifc.Workload.Service == "payment" && ifc.Packets > 0 {
				pods[ifc.Workload.Pod] = true
			}
		}
		if len(pods) != 2 {
			t.Errorf("payment was seen in pods %v, want two", pods)
		}
	})
	for _, f := range faults(t) {
		if slices.Contains(f.Services, "payment") {
			t.Run("two pods "+f.Fault, func(t *testing.T) { faulty(t, f) })
		}
	}
}

// TestKindShop has the shop judged in clusters that devloop makes, of one node and of three: clean and with every fault
// the verdicts are those of the local environment.
func TestKindShop(t *testing.T) {
	testenv.NeedsFull(t)
	for _, nodes := range []int{1, 3} {
		t.Run(fmt.Sprintf("%d-nodes", nodes), func(t *testing.T) { shopVerdicts(t, nodes) })
	}
}
