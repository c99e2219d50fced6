package dissect_test

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/devloop-io/devloop/traffic"
)

var record = flag.Bool("record", false, "capture testdata/real_client anew, as root")

// TestRealClientRecord captures Go's own client and server anew and finds what the committed capture holds; with -record
// the new capture takes its place.
func TestRealClientRecord(t *testing.T) {
	file := filepath.Join(t.TempDir(), "input.pcapng")
	if *record {
		file = realClient
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	child(t, "shapes", file)
	fresh, _, err := dissectFile(file)
	if err != nil {
		t.Fatal(err)
	}
	kept, _, err := dissectFile(realClient)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(shapesOf(kept), shapesOf(fresh)); diff != "" {
		t.Errorf("calls (-committed +captured now):\n%s", diff)
	}
}

// shapesOf leaves times and ports out. Two sides that end a connection at once do so in either order.
func shapesOf(calls []*traffic.Call) (all []string) {
	for _, c := range calls {
		all = append(all, shapeOf(c))
	}
	slices.Sort(all)
	return all
}
