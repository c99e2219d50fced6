//go:build linux

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/devloop-io/devloop/traffic"
)

const (
	teaProto = `syntax = "proto3";
package shop.v1;
message Item { string item = 1; }
message Answer { string said = 1; }
service Cart { rpc Add(Item) returns (Answer); }
`
	teaChecks = `checks:
  - name: the message has the names of its fields
    on: grpc && grpc_method == "Add"
    expect: all(request.body.contains("\"item\":\"tea\""))
`
)

// TestProtos: what devloop.yaml says of messages is used by checks and by what is shown, is read anew when it was saved, and a
// mistake in it is told with its place.
func TestProtos(t *testing.T) {
	w := tiny(t)
	if err := os.Mkdir(filepath.Join(w.dir, "proto"), 0o755); err != nil {
		t.Fatal(err)
	}
	w.write("proto/cart.proto", teaProto)
	w.write("echo.netcheck.yaml", teaChecks)
	w.edit("devloop.yaml", "checks:", "protos: [proto]\nchecks:")
	w.edit("devloop.yaml", `{url: "http://echo:8080/", repeat: 3, expect_status: 200}`,
		`{method: POST, url: "http://echo:8080/shop.v1.Cart/Add", headers: {Content-Type: application/grpc-web+proto}, body: "\0\0\0\0\x05\n\x03tea"}`)
	if it := w.run(); it.Verdict != traffic.Pass {
		t.Errorf("the verdict is %s, %+v\n%s", it.Verdict, it.Failure, explain(it.Checks))
	}
	w.says(0, []string{`{\"item\":\"tea\"}`}, "calls", "--full", "-o", "json", "grpc")

	w.edit("proto/cart.proto", "string item = 1", "string thing = 1")
	if it := w.run(); it.Verdict != traffic.Fail {
		t.Errorf("with another name of the field the verdict is %s, %+v", it.Verdict, it.Failure)
	}
	w.says(0, []string{`{\"thing\":\"tea\"}`}, "calls", "--full", "-o", "json", "grpc")

	w.edit("proto/cart.proto", "message Item", "mesage Item")
	it := w.run()
	if it.ExitCode != 2 || it.Failure == nil || it.Failure.Phase != "dissect" || !strings.Contains(it.Failure.What, "cart.proto:3:1") {
		t.Errorf("with a mistake: exit %d, %+v", it.ExitCode, it.Failure)
	}
}
