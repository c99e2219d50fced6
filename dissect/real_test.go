package dissect_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/devloop-io/devloop/traffic"
)

// realClient is a capture of Go's own HTTP client and server; its README says how it was made.
var realClient = filepath.Join("testdata", "real_client", "input.pcapng")

// TestRealClient dissects it: the golden is beside it, the shapes are here to be read.
func TestRealClient(t *testing.T) {
	calls, conns, err := dissectFile(realClient)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for _, c := range calls {
		fmt.Fprintln(&out, shapeOf(c))
	}
	for _, c := range conns {
		fmt.Fprintln(&out, "connection", c.State, c.ResetBy, "calls", c.Calls, "missing", c.Missing, "undecoded", c.Undecoded)
	}
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	for _, c := range calls {
		if err := e.Encode(c); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(filepath.Dir(realClient), "want.txt")
	if *update {
		if err := os.WriteFile(file, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(out.String(), "\n")); diff != "" {
		t.Errorf("rows of %s (-want +got):\n%s", realClient, diff)
	}
}

// shapeOf is what a call is, in a line.
func shapeOf(c *traffic.Call) string {
	h := c.HTTP
	s := fmt.Sprintf("%s %s %d %s %s sizes %d/%d bodies %d/%d", c.Method, c.Path, c.Status, c.State, c.Error, c.RequestSize, c.ResponseSize, len(h.RequestBody), len(h.ResponseBody))
	for _, x := range []struct {
		on   bool
		name string
	}{{h.KeptAlive, "kept alive"}, {h.Continued, "continued"}, {h.Upgrade != "", "upgrade " + h.Upgrade}, {h.BodyError != "", h.BodyError}} {
		if x.on {
			s += ", " + x.name
		}
	}
	for _, f := range append(h.RequestHeaders, h.ResponseHeaders...) {
		if f.Name == "X-Sum" {
			s += ", trailer " + f.Value
		}
	}
	return s
}
