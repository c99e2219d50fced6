package cluster

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
	"sigs.k8s.io/kind/pkg/apis/config/v1alpha4"
)

var update = flag.Bool("update", false, "rewrite the expected parts of testdata")

// Every testdata/config-*.txtar holds a sentence, a kind configuration, and what reading it must say (nothing: it is fine).
func TestParseConfig(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/config-*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no testdata: %v", err)
	}
	for _, file := range files {
		a, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if _, err := ParseConfig(a.Files[0].Name, a.Files[0].Data); err != nil {
			got = err.Error() + "\n"
			if !Is(err, BadConfig) {
				t.Errorf("%s: %#v is no bad configuration", file, err)
			}
		}
		if *update {
			a.Files = append(a.Files[:1], txtar.File{Name: "errors", Data: []byte(got)})
			if err := os.WriteFile(file, txtar.Format(a), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if diff := cmp.Diff(string(a.Files[1].Data), got); diff != "" {
			t.Errorf("errors of %s (-want +got):\n%s", file, diff)
		}
	}
}

func TestReadConfig(t *testing.T) {
	t.Parallel()
	big := filepath.Join(t.TempDir(), "big.yaml")
	if err := os.WriteFile(big, []byte(strings.Repeat("#", maxConfig+1)), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{big: "larger than 1 MiB", "nowhere.yaml": "no such file", "/": "is a directory"} {
		if _, err := ReadConfig(path); !Is(err, BadConfig) || !strings.Contains(err.Error(), want) {
			t.Errorf("ReadConfig(%s): %v, want %q", path, err, want)
		}
	}
}

func TestMerge(t *testing.T) {
	t.Parallel()
	const ours = "kind: KubeProxyConfiguration\niptables:\n  minSyncPeriod: 10ms\n"
	const theirs = "kind: KubeProxyConfiguration\niptables:\n  minSyncPeriod: 5s\n"
	plane, worker := v1alpha4.Node{Role: v1alpha4.ControlPlaneRole}, v1alpha4.Node{Role: v1alpha4.WorkerRole}
	for _, c := range []struct {
		name    string
		file    v1alpha4.Cluster
		nodes   int
		want    []v1alpha4.Node
		patches []string
	}{
		{"nothing said", v1alpha4.Cluster{}, 0, []v1alpha4.Node{plane}, []string{ours}},
		{"three nodes", v1alpha4.Cluster{}, 3, []v1alpha4.Node{plane, worker, worker}, []string{ours}},
		{"the file's nodes win", v1alpha4.Cluster{Nodes: []v1alpha4.Node{{Image: "x"}, worker}}, 5, []v1alpha4.Node{{Image: "x"}, worker}, []string{ours}},
		{"the user's patches stay and come last", v1alpha4.Cluster{KubeadmConfigPatches: []string{theirs}}, 1, []v1alpha4.Node{plane}, []string{ours, theirs}},
		{"nftables", v1alpha4.Cluster{Networking: v1alpha4.Networking{KubeProxyMode: v1alpha4.NFTablesProxyMode}}, 1, []v1alpha4.Node{plane},
			[]string{"kind: KubeProxyConfiguration\nnftables:\n  minSyncPeriod: 10ms\n"}},
	} {
		before := *c.file.DeepCopy()
		got, err := Merge(&c.file, "shop", c.nodes)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if diff := cmp.Diff(c.want, got.Nodes); diff != "" {
			t.Errorf("%s: nodes (-want +got):\n%s", c.name, diff)
		}
		if diff := cmp.Diff(c.patches, got.KubeadmConfigPatches); diff != "" {
			t.Errorf("%s: patches (-want +got):\n%s", c.name, diff)
		}
		if diff := cmp.Diff(before, c.file); diff != "" {
			t.Errorf("%s: the file's own value changed:\n%s", c.name, diff)
		}
		if got.Name != "shop" {
			t.Errorf("%s: name %q", c.name, got.Name)
		}
	}
	for _, nodes := range []int{-1, 21} {
		if _, err := Merge(&v1alpha4.Cluster{}, "shop", nodes); !Is(err, BadConfig) {
			t.Errorf("%d nodes: %v", nodes, err)
		}
	}
}

func TestCheckName(t *testing.T) {
	t.Parallel()
	for name, fine := range map[string]bool{"shop": true, "a.b-c1": true, "": false, "Shop": false, "-x": false, "../x": false, "a/b": false, strings.Repeat("x", 51): false} {
		if err := checkName(name); (err == nil) != fine {
			t.Errorf("checkName(%q): %v", name, err)
		}
	}
}

func FuzzParseConfig(f *testing.F) {
	files, _ := filepath.Glob("testdata/config-*.txtar")
	for _, file := range files {
		if a, err := txtar.ParseFile(file); err == nil {
			f.Add(a.Files[0].Data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := ParseConfig("kind.yaml", data)
		if err != nil {
			if !Is(err, BadConfig) {
				t.Fatalf("%v is no bad configuration", err)
			}
			return
		}
		if _, err := Merge(c, "shop", 1); err != nil {
			t.Fatal(err)
		}
	})
}
