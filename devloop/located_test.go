package devloop

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/devloop-io/devloop/traffic"
)

const difference = `diff --git cart/main.go cart/main.go
index 1..2 100644
--- cart/main.go
+++ cart/main.go
@@ -10,0 +11,2 @@ func main() {
+++ counter
+	sleep(1)
@@ -30 +32 @@ func price() {
-	ask(catalogue, "/items")
+	ask(catalogue, "/items?again")
diff --git old.go old.go
deleted file mode 100644
--- old.go
+++ /dev/null
@@ -1,3 +0,0 @@
-package old
diff --git catalogue/a b.go catalogue/a b.go
--- catalogue/a b.go	
+++ catalogue/a b.go	
@@ -1 +0,0 @@
-x
`

func TestReadHunks(t *testing.T) {
	got := readHunks(strings.NewReader(difference))
	want := []hunk{
		{"cart/main.go", 11, "++ counter\n\tsleep(1)\n"},
		{"cart/main.go", 32, "\task(catalogue, \"/items\")\n\task(catalogue, \"/items?again\")\n"},
		{"catalogue/a b.go", 1, "x\n"},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(hunk{})); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestBlamed(t *testing.T) {
	hunks := readHunks(strings.NewReader(difference))
	cart, catalogue := hunks[:2], hunks[2:]
	const where = "cart -> catalogue:8080 GET /items/{id}"
	for _, c := range []struct {
		name    string
		finding traffic.Finding
		touched map[string][]hunk
		file    string
		line    int
	}{
		{"retries are the client's, at the place that speaks of it", traffic.Finding{Kind: traffic.FindingRetry, Where: where}, map[string][]hunk{"cart": cart, "catalogue": catalogue}, "cart/main.go", 32},
		{"latency is the server's", traffic.Finding{Kind: traffic.FindingLatency, Where: where}, map[string][]hunk{"cart": cart, "catalogue": catalogue}, "catalogue/a b.go", 1},
		{"unless only the client changed", traffic.Finding{Kind: traffic.FindingLatency, Where: where}, map[string][]hunk{"cart": cart}, "cart/main.go", 32},
		{"the only service that changed", traffic.Finding{Kind: traffic.FindingLatency, Where: "exercise -> frontend:80 GET /"}, map[string][]hunk{"cart": cart}, "cart/main.go", 11},
		{"nobody of several others", traffic.Finding{Kind: traffic.FindingLatency, Where: "exercise -> frontend:80 GET /"}, map[string][]hunk{"cart": cart, "catalogue": catalogue}, "", 0},
		{"nothing changed", traffic.Finding{Kind: traffic.FindingRetry, Where: where}, nil, "", 0},
	} {
		if h, _ := blamed(&c.finding, c.touched); h.file != c.file || h.line != c.line {
			t.Errorf("%s: %s:%d, want %s:%d", c.name, h.file, h.line, c.file, c.line)
		}
	}
}
