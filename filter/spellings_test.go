package filter

import (
	"os"
	"strings"
	"testing"
)

func TestTmp(t *testing.T) {
	b, _ := os.ReadFile("/work/shared/reference/kfl-spellings.txt")
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	lines = append(lines, `a and b or not c`, `not (http or dns) and tls`, `path == r"^/x" `, `!path contains "x"`, `not http`, `status_code == "500"`, `latency > 5`, `stauts_code == 1`, `src.service.nmae == "x" && http`, `path.startswith("x")`, `foo(1)`, `http &&`, `http = 1`, `path == "abc`, `a ? `, `dst.service.name`, `src.pod.name.contain("x")`, `httpp && dns`, `http
  && statuscode > 3`, `(http`, `http)`, `http http`, `dns_questions == "x"`, `path matches "["`, `src.pod.name.contains(dst.pdo.name)`, `status_code && http`, `request.header["x"] == 5`, `http and not dns`, `path + "x" contains method`, `request.headers.host == "x"`, `has(src.pod)`, `has(request.headers.x)`, `src.pod.nam == "x"`, `http.response.header["x"]=="" and dns`, `[1,2].exists(x, x == 1 and http or dns)`)
	for _, l := range lines {
		f, err := Compile(l)
		if err != nil {
			t.Log(l, "ERR", err)
			continue
		}
		t.Log(l, "=>", f.Rewritten(), f.Warnings())
	}
}
