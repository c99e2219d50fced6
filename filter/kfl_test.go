package filter_test

import (
	"strings"
	"testing"

	"github.com/devloop-io/devloop/filter"
	"github.com/devloop-io/devloop/traffic"
)

// The operators and functions of KFL2.
func TestFunctionsOfKFL2(t *testing.T) {
	t.Parallel()
	row := filter.Row{Call: &traffic.Call{Protocol: "http", State: traffic.StateComplete, Method: "POST", Path: "/api/v1/orders", Status: 503, Start: 1_700_000_000e9,
		ResponseStart: 1_700_000_001e9, End: 1_700_000_002e9, HTTP: &traffic.HTTP{Host: "cart", Query: "page=2", RequestBody: []byte(`{"sku":"A1","n":[1,2]}`),
			RequestHeaders: []traffic.Header{{Name: "X-Tenant", Value: "t1"}}}, Src: traffic.Endpoint{Workload: traffic.Workload{Namespace: "shop", Labels: map[string]string{"app": "web"}}}}}
	for src, want := range map[string]bool{
		`status_code == 503 && status_code != 200 && status_code >= 503 && status_code <= 503 && status_code > 502 && status_code < 504`: true,
		`!(status_code == 200) || dns`: true, `status_code + 1 - 1 * 2 / 2 % 7 == 503`: true, `(http ? status_code : 0) == 503`: true,
		`path.contains("v1") && path.startsWith("/api") && path.endsWith("orders") && path.matches("^/api/v[0-9]+/") && path.size() == 14 && size(path) == 14`:  true,
		`"X-Tenant" in request.headers && request.headers["x-tenant"] == "t1" && map_get(request.headers, "none", "d") == "d" && request.headers["none"] == ""`: true,
		`"shop" in namespaces && namespaces.exists(x, x == "shop") && namespaces.all(x, x != "") && size(namespaces) == 1`:                                      true, `local_labels["app"] == "web"`: true,
		`timestamp == timestamp("2023-11-14T22:13:20Z") && timestamp < now() - duration("5m")`: true, `query_string["page"] == "2"`: true, `elapsed_time == 2000000`: true,
		`request.body.contains("A1") && request.body.json("sku") == "A1" && request.body.json_number("n[1]") == 2.0`: true, `mentions("A1") && mentions("t1") && mentions("orders")`: true,
		`mentions("nowhere")`: false, `kafka || mongodb || icmp`: false, `status_code in [500, 503]`: true, `method in ["GET"]`: false,
	} {
		f, err := filter.Compile(src)
		if err != nil {
			t.Error(err)
			continue
		}
		if got, err := f.Match(&row); got != want || err != nil {
			t.Errorf("%s: want %v, got %v, %v", src, want, got, err)
		}
	}
}

// A mistake is told with its place and the nearest name.
func TestMistakesNameTheNearest(t *testing.T) {
	t.Parallel()
	for src, want := range map[string]string{
		"http && statuscode == 500": "status_code", `dst.service.nam == "cart"`: "dst.service.name", "grpc_statu != 0": "grpc_status", `request.header["a"] == "b"`: "", "redis_keyy == \"a\"": "redis_key",
	} {
		_, err := filter.Compile(src)
		if want == "" {
			if err != nil {
				t.Errorf("%s: %v", src, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "1:") {
			t.Errorf("%s: want the place and %s, got %v", src, want, err)
		}
	}
}
