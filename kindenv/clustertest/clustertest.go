package clustertest

import (
	"context"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/lockedfile"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/devloop-io/devloop/internal/testenv"
	"github.com/devloop-io/devloop/kindenv/cluster"
)

// Name is the cluster that all tests of a machine share. scripts/test.sh deletes it at its end.
const Name = "devloop-test"

// Shared returns the cluster that all tests share, of one node; the first test makes it, which takes about 20 seconds. It skips
// where no cluster can be made. Tests leave it as they found it: each works in a namespace of its own, see [Namespace].
func Shared(t testing.TB) *cluster.Cluster {
	t.Helper()
	return Named(t, Name, 1)
}

// Named returns a cluster of a number of nodes that tests share by its name. Whoever asks for one that [Shared] is not says in
// the test why, and deletes it with [Delete] when its last test has ended.
func Named(t testing.TB, name string, nodes int) *cluster.Cluster {
	t.Helper()
	k := testenv.NeedsKind(t)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	home, err := cluster.Home()
	if err != nil {
		t.Fatal(err)
	}
	// Between looking and making nobody else may make it. Create has a lock of its own, inside of this one.
	unlock, err := lockedfile.MutexAt(filepath.Join(filepath.Dir(string(home)), name+".test-lock")).Lock()
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	c, err := home.Attach(ctx, name)
	if err == nil {
		return c
	}
	if !cluster.Is(err, cluster.NotFound) { // half of one, of a run that was killed
		t.Logf("cluster %s is made again: %v", name, err)
		if err := home.Delete(ctx, name, true); err != nil {
			t.Fatal(err)
		}
	}
	c, err = home.Create(ctx, cluster.CreateOptions{Name: name, Nodes: nodes, NodeImage: k.Image, Config: k.Bare, Wait: 3 * time.Minute, System: true,
		Progress: func(s cluster.Step) {
			if s.Done {
				t.Logf("%s: %s, %.1f s", name, s.Name, s.Took.Seconds())
			}
		}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Delete takes a cluster of [Named] away when the test ends.
func Delete(t testing.TB, name string) {
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		home, err := cluster.Home()
		if err == nil {
			err = home.Delete(ctx, name, false)
		}
		if err != nil && !cluster.Is(err, cluster.NotFound) {
			t.Error(err)
		}
	})
}

var notLabel = regexp.MustCompile(`[^a-z0-9]+`)

// Namespace makes a namespace for a test, which goes when the test ends. It does not wait for the end: names are not used twice.
func Namespace(t testing.TB, c *cluster.Cluster) string {
	t.Helper()
	client, err := c.Client()
	if err != nil {
		t.Fatal(err)
	}
	name := strings.Trim(notLabel.ReplaceAllString(strings.ToLower(t.Name()), "-"), "-")
	name = fmt.Sprintf("%.40s-%d", name, time.Now().UnixNano()%1e9)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if _, err := client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := client.CoreV1().Namespaces().Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
			t.Errorf("delete namespace %s: %v", name, err)
		}
	})
	return name
}
