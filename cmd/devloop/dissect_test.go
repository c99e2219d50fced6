package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/devloop-io/devloop/store"
	"github.com/devloop-io/devloop/traffic"
)

// TestDissectWritesParquet reads back what `dissect -o parquet` writes: the rows are those of a snapshot's tables.
func TestDissectWritesParquet(t *testing.T) {
	dir := t.TempDir()
	const capture = "../../dissect/testdata/get/input.pcapng"
	run := func(args ...string) string {
		t.Helper()
		var out, errs bytes.Buffer
		r := &root{out: &out, err: &errs}
		if err := r.command(t.Context(), append([]string{"dissect", capture, "-o", "parquet"}, args...)); err != nil {
			t.Fatalf("%v\n%s", err, errs.String())
		}
		path := filepath.Join(dir, "rows.parquet")
		if err := os.WriteFile(path, out.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	var calls []*traffic.Call
	for c, err := range store.ReadCalls(run()) {
		if err != nil {
			t.Fatal(err)
		}
		calls = append(calls, c)
	}
	if len(calls) != 1 || calls[0].Path != "/items" || calls[0].Status != 200 || string(calls[0].HTTP.ResponseBody) != "hello" {
		t.Errorf("calls: %+v", calls)
	}
	connections := 0
	for c, err := range store.ReadConnections(run("--connections")) {
		if err != nil {
			t.Fatal(err)
		}
		if connections++; c.Calls != 1 || c.TCP == nil {
			t.Errorf("connection: %+v", c)
		}
	}
	if connections != 1 {
		t.Errorf("%d connections", connections)
	}
}
