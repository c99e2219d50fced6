package main

import (
	"bytes"
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/devloop-io/devloop/internal/control"
	"github.com/devloop-io/devloop/traffic"
)

func TestPrintTrace(t *testing.T) {
	t.Parallel()
	ok := traffic.StateComplete
	tree := &control.TraceAnswer{Omitted: 2, Root: &traffic.TraceNode{Call: "local/a/0", Service: "frontend", Method: "POST", Path: "/orders/17", Route: "/orders/{id}", Status: 201,
		State: ok, Latency: 100, Self: 20, Critical: true, Asked: true, Children: []*traffic.TraceNode{
			{Call: "local/b/0", Service: "orders", Method: "GET", Path: "/x", Route: "/x", Status: 503, State: ok, Start: 10, Latency: 5, ParentBy: "trace", Candidates: 1, Critical: true,
				Children: []*traffic.TraceNode{{Call: "local/c/0", Service: "db", Method: "SELECT", Path: "SELECT\nitem\x1b[31m", State: ok, Start: 11, Latency: 1, ParentBy: "nesting", Candidates: 3}}},
			{Call: "local/b/1", Service: "orders", Method: "GET", Path: "/x", State: traffic.StateUnanswered, Error: "timeout", Start: 20, Latency: 60, Attempt: 2, ParentBy: "trace", Candidates: 1},
		}}}
	var out bytes.Buffer
	if err := printTrace(&root{out: &out, err: io.Discard}, tree); err != nil {
		t.Fatal(err)
	}
	want := `
CALL                                STATUS              START     LATENCY   SELF     PARENT BY   ID
* frontend POST /orders/{id}        201                 +0.0 ms   100.0 ms  20.0 ms  -           local/a/0  ←
* ├─ orders GET /x                  503                 +10.0 ms  5.0 ms    0.0 ms   trace       local/b/0
  │  └─ db SELECT SELECT�item�[31m  0                   +11.0 ms  1.0 ms    0.0 ms   nesting(3)  local/c/0
  └─ orders GET /x (attempt 2)      unanswered timeout  +20.0 ms  60.0 ms   -        trace       local/b/1
`
	if diff := cmp.Diff(want, "\n"+out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
