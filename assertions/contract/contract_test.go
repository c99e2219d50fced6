package contract

import (
	"encoding/binary"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/devloop-io/devloop/traffic"
)

// folder is a workspace with files.
func folder(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const document = `openapi: 3.0.3
info: {title: orders, version: "1"}
paths:
  /orders:
    post:
      security: [{key: []}]
      requestBody:
        required: true
        content:
          application/json: {schema: {$ref: 'schemas/order.yaml'}}
      responses:
        "201":
          description: made
          headers: {Location: {required: true, schema: {type: string}}}
          content:
            application/json: {schema: {type: object, required: [id], properties: {id: {type: integer}}}}
        4XX: {description: refused}
  /orders/{id}:
    get:
      parameters: [{name: id, in: path, required: true, schema: {type: integer, minimum: 1}}]
      responses: {default: {description: it}}
components:
  securitySchemes: {key: {type: apiKey, in: header, name: X-Key}}
`

const order = `type: object
required: [sku, quantity]
properties: {sku: {type: string}, quantity: {type: integer, minimum: 1}}
`

func call(change func(c *traffic.Call)) *traffic.Call {
	c := &traffic.Call{Protocol: traffic.ProtoHTTP, Method: "POST", Path: "/orders", Status: 201, State: traffic.StateComplete, HTTP: &traffic.HTTP{
		Version: "1.1", Host: "orders:8080",
		RequestHeaders:  []traffic.Header{{Name: "content-type", Value: "application/json"}, {Name: "x-key", Value: "[redacted key 12 ab]"}},
		RequestBody:     []byte(`{"sku":"a","quantity":2}`),
		ResponseHeaders: []traffic.Header{{Name: "Content-Type", Value: "application/json; charset=utf-8"}, {Name: "Location", Value: "/orders/7"}},
		ResponseBody:    []byte(`{"id":7}`),
	}}
	change(c)
	return c
}

func TestOpenAPI(t *testing.T) {
	t.Parallel()
	c, err := Load(t.Context(), Below(folder(t, map[string]string{"api/openapi.yaml": document, "api/schemas/order.yaml": order})), "api/openapi.yaml", Response)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		name   string
		change func(c *traffic.Call)
		want   Conformance
		reason string
	}{
		{"as documented", func(*traffic.Call) {}, Conforms, ""},
		{"a range of statuses", func(c *traffic.Call) { c.Status, c.HTTP.ResponseBody, c.HTTP.ResponseHeaders = 409, nil, nil }, Conforms, ""},
		{"the default", func(c *traffic.Call) { c.Method, c.Path, c.HTTP.RequestBody, c.Status = "GET", "/orders/7", nil, 418 }, Conforms, ""},
		{"a status", func(c *traffic.Call) { c.Status = 500 }, Breaks, "POST /orders 500: status is not supported"},
		{"a path", func(c *traffic.Call) { c.Path = "/order" }, Breaks, "POST /order: not in the document"},
		{"a method", func(c *traffic.Call) { c.Method = "PUT" }, Breaks, "PUT /orders: not in the document"},
		{"a body's field", func(c *traffic.Call) { c.HTTP.RequestBody = []byte(`{"sku":"a"}`) }, Breaks, `request body at /quantity: property "quantity" is missing`},
		{"a field's bound", func(c *traffic.Call) { c.HTTP.RequestBody = []byte(`{"sku":"a","quantity":0}`) }, Breaks, "request body at /quantity"},
		{"a response's type", func(c *traffic.Call) { c.HTTP.ResponseBody = []byte(`{"id":"seven"}`) }, Breaks, "201: response body at /id: value must be an integer"},
		{"a response's header", func(c *traffic.Call) { c.HTTP.ResponseHeaders = c.HTTP.ResponseHeaders[:1] }, Breaks, "Location"},
		{"a content type", func(c *traffic.Call) { c.HTTP.RequestHeaders[0].Value = "text/plain" }, Breaks, "Content-Type"},
		{"no JSON", func(c *traffic.Call) { c.HTTP.ResponseBody = []byte(`{"id":`) }, Breaks, "cannot be read as its content type says"},
		{"no credential", func(c *traffic.Call) { c.HTTP.RequestHeaders = c.HTTP.RequestHeaders[:1] }, Breaks, "header X-Key is missing, which key asks for"},
		{"a path's parameter", func(c *traffic.Call) { c.Method, c.Path, c.HTTP.RequestBody = "GET", "/orders/none", nil }, Breaks, "path parameter id"},
		{"redacted", func(c *traffic.Call) { c.HTTP.ResponseBody = []byte(`{"id":"[redacted card 19 ab12]"}`) }, Open, "redaction"},
		{"a body that was cut", func(c *traffic.Call) { c.HTTP.ResponseBody, c.HTTP.ResponseBodyCut = []byte(`{"i`), true }, Open, "was not seen whole"},
		{"a body that was cut, and a wrong request", func(c *traffic.Call) {
			c.HTTP.ResponseBody, c.HTTP.ResponseBodyCut, c.HTTP.RequestBody = nil, true, []byte(`{}`)
		}, Breaks, "sku"},
		{"no answer", func(c *traffic.Call) { c.State = traffic.StateUnanswered }, Open, "the response was not seen whole"},
		{"another protocol", func(c *traffic.Call) { c.HTTP = nil }, Other, ""},
	} {
		got, reasons := c.Check(call(x.change))
		if text := strings.Join(reasons, "\n"); got != x.want || !strings.Contains(text, x.reason) {
			t.Errorf("%s: %d %q, want %d %q", x.name, got, text, x.want, x.reason)
		}
	}
}

// What a contract refers to is read from below its folder, and from nowhere else.
func TestReferences(t *testing.T) {
	t.Parallel()
	dir := folder(t, map[string]string{
		"ws/web.yaml":     strings.Replace(document, "schemas/order.yaml", "http://127.0.0.1:9/order.yaml", 1),
		"ws/up.yaml":      strings.Replace(document, "schemas/order.yaml", "../order.yaml", 1),
		"ws/schema.json":  `{"$ref": "file:///etc/hostname"}`,
		"ws/far.json":     `{"$ref": "https://example.com/s.json"}`,
		"ws/swagger.yaml": "swagger: '2.0'\n",
		"ws/broken.yaml":  "openapi: [\n",
		"ws/bare.yaml":    "openapi: 3.0.0\n",
		"ws/bad.proto":    "message {",
		"ws/far.proto":    `syntax = "proto3"; import "../order.proto";`,
		"ws/large.json":   strings.Repeat(" ", maxFile) + "{}",
		"order.yaml":      order,
	})
	if err := os.Symlink("../order.yaml", filepath.Join(dir, "ws", "link.yaml")); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"web.yaml": "is not a file below the folder", "up.yaml": "lies outside of the workspace", "schema.json": "hostname", "far.json": "is not a file below the folder", "swagger.yaml": "Swagger 2",
		"broken.yaml": "read contract broken.yaml", "bare.yaml": "no valid OpenAPI document", "bad.proto": "read contract bad.proto", "far.proto": "lies outside of the workspace", "link.yaml": "escapes",
		"../order.yaml": "outside of the workspace", "/etc/hostname": "outside of the workspace", "none.yaml": "file does not exist", ".": "not a regular file", "large.json": "larger than 8 MiB",
	} {
		if _, err := Load(t.Context(), Below(filepath.Join(dir, "ws")), name, Response); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", name, err, want)
		}
	}
}

func TestJSONSchema(t *testing.T) {
	t.Parallel()
	dir := folder(t, map[string]string{"order.yaml": order})
	request, err := Load(t.Context(), Below(dir), "order.yaml", Request)
	if err != nil {
		t.Fatal(err)
	}
	for body, want := range map[string]Conformance{
		`{"sku":"a","quantity":2}`: Conforms, `{"sku":"a"}`: Breaks, `{"sku":`: Breaks, `{"sku":"a","quantity":"[redacted n 2 ab]"}`: Open,
	} {
		if got, reasons := request.Check(call(func(c *traffic.Call) { c.HTTP.RequestBody = []byte(body) })); got != want {
			t.Errorf("%s: %d %q, want %d", body, got, reasons, want)
		}
	}
	if got, _ := request.Check(call(func(c *traffic.Call) { c.HTTP.RequestHeaders = nil })); got != Other {
		t.Errorf("a body that is not called JSON: %d", got)
	}
}

// What was read of a workspace is enough to read the contract again without it.
func TestRecorded(t *testing.T) {
	t.Parallel()
	all := map[string]string{
		"api/openapi.yaml": document, "api/schemas/order.yaml": order, "api/unused.yaml": order,
		"list.json":                 `{"type": "array", "items": {"$ref": "api/schemas/order.yaml"}}`,
		"proto/shop/v1/stock.proto": strings.Replace(service, "message Order", "import \"shop/v1/line.proto\"; message Order", 1),
		"proto/shop/v1/line.proto":  `syntax = "proto3"; package shop.v1; message Unused {}`,
	}
	dir := folder(t, all)
	for file, want := range map[string][]string{
		"api/openapi.yaml": {"api/openapi.yaml", "api/schemas/order.yaml"}, "list.json": {"api/schemas/order.yaml", "list.json"},
		"proto/shop/v1/stock.proto": {"proto/shop/v1/line.proto", "proto/shop/v1/stock.proto"},
	} {
		r := NewRecorder(Below(dir))
		if _, err := Load(t.Context(), r.Read, file, Response); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, slices.Sorted(maps.Keys(r.Files()))); diff != "" {
			t.Errorf("%s reads (-want +got):\n%s", file, diff)
		}
		if _, err := Load(t.Context(), Kept(r.Files()), file, Response); err != nil {
			t.Error(err)
		}
		delete(r.Files(), want[0])
		if _, err := Load(t.Context(), Kept(r.Files()), file, Response); err == nil || !strings.Contains(err.Error(), "file does not exist") {
			t.Errorf("%s without %s: %v", file, want[0], err)
		}
	}
}

const service = `syntax = "proto3"; package shop.v1;
service Stock { rpc Reserve(Order) returns (Reserved); }
message Order { string sku = 1; repeated Line lines = 2; }
message Line { int32 count = 1; }
message Reserved { bool done = 1; }
`

func framed(message []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message))), message...)
}

func TestProtobuf(t *testing.T) {
	t.Parallel()
	c, err := Load(t.Context(), Below(folder(t, map[string]string{"shop.proto": service})), "shop.proto", Response)
	if err != nil {
		t.Fatal(err)
	}
	content := []traffic.Header{{Name: "content-type", Value: "application/grpc"}}
	line := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 3)
	strange := protowire.AppendVarint(protowire.AppendTag(line, 9, protowire.VarintType), 1)
	lines := func(b []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(nil, 2, protowire.BytesType), b)
	}
	for _, x := range []struct {
		name    string
		method  string
		request []byte
		count   int
		want    Conformance
		reason  string
	}{
		{"as defined", "Reserve", framed(lines(line)), 1, Conforms, ""},
		{"another method", "Release", framed(lines(line)), 1, Breaks, "shop.v1.Stock/Release: the method is not defined"},
		{"a field deep down", "Reserve", framed(lines(strange)), 1, Breaks, "request message has field 9, which shop.v1.Line lacks"},
		{"no such message", "Reserve", framed([]byte{0xff}), 1, Breaks, "request message is no shop.v1.Order"},
		{"cut", "Reserve", framed(lines(line))[:7], 1, Open, "not seen whole"},
		{"dropped by redaction", "Reserve", nil, 1, Open, "not seen whole"},
	} {
		got, reasons := c.Check(&traffic.Call{GRPC: &traffic.GRPC{Service: "shop.v1.Stock", Method: x.method, RequestMessages: x.count, ResponseMessages: 1},
			HTTP: &traffic.HTTP{RequestHeaders: content, ResponseHeaders: content, RequestBody: x.request, ResponseBody: framed([]byte{8, 1})}})
		if text := strings.Join(reasons, "\n"); got != x.want || !strings.Contains(text, x.reason) {
			t.Errorf("%s: %d %q, want %d %q", x.name, got, text, x.want, x.reason)
		}
	}
	if got, _ := c.Check(call(func(*traffic.Call) {})); got != Other {
		t.Errorf("a call of HTTP: %d", got)
	}
}

func FuzzOpenAPI(f *testing.F) {
	c, err := Load(f.Context(), Below(folder(f, map[string]string{"api/openapi.yaml": document, "api/schemas/order.yaml": order})), "api/openapi.yaml", Response)
	if err != nil {
		f.Fatal(err)
	}
	f.Add("POST", "/orders", "", "application/json", []byte(`{"sku":"a","quantity":2}`), 201)
	f.Add("GET", "/orders/%zz", "a=%", "multipart/form-data; boundary=x", []byte("--x\r\n"), 999)
	f.Fuzz(func(t *testing.T, method, path, query, content string, body []byte, status int) {
		c.Check(call(func(c *traffic.Call) {
			c.Method, c.Path, c.HTTP.Query, c.Status, c.HTTP.RequestBody, c.HTTP.ResponseBody = method, path, query, status, body, body
			c.HTTP.RequestHeaders[0].Value, c.HTTP.ResponseHeaders[0].Value = content, content
		}))
	})
}
