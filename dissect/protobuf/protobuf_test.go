package protobuf

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bufbuild/protocompile"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/devloop-io/devloop/traffic"
)

// files are a service whose messages lie in a package of their own.
var files = map[string]string{
	"shop/v1/cart.proto": `syntax = "proto3"; package shop.v1; import "shop/v1/types.proto"; import "google/protobuf/any.proto";
		service Cart { rpc Add(AddRequest) returns (stream Item); }
		message AddRequest { Item item = 1; repeated int64 counts = 2; map<string, string> labels = 3; google.protobuf.Any any = 4; Kind kind = 5; string password = 6; }
		enum Kind { KIND_UNSPECIFIED = 0; KIND_GIFT = 1; }`,
	"shop/v1/types.proto": `syntax = "proto3"; package shop.v1; message Item { string name = 1; double price = 2; bytes raw = 3; }`,
}

func write(t *testing.T) string {
	dir := t.TempDir()
	for name, text := range files {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	c := protocompile.Compiler{Resolver: protocompile.WithStandardImports(&protocompile.SourceResolver{ImportPaths: []string{dir}})}
	all, err := c.Compile(t.Context(), "shop/v1/types.proto", "google/protobuf/any.proto", "shop/v1/cart.proto")
	if err != nil {
		t.Fatal(err)
	}
	set := &descriptorpb.FileDescriptorSet{}
	for _, f := range all {
		set.File = append(set.File, protodesc.ToFileDescriptorProto(f))
	}
	b, err := proto.Marshal(set)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "set.binpb"), b, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// item is shop.v1.Item{name: "tea", price: 2.5}.
var item = append([]byte("\x0a\x03tea\x11"), binary.LittleEndian.AppendUint64(nil, 0x4004000000000000)...)

// request is an AddRequest with everything in it.
func request() []byte {
	b := protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), item)
	b = protowire.AppendBytes(protowire.AppendTag(b, 2, protowire.BytesType), []byte{1, 2, 3})
	b = append(b, "\x1a\x06\x0a\x01k\x12\x01v"...)
	inner := append(protowire.AppendString([]byte{0x0a}, "type.googleapis.com/shop.v1.Item"), "\x12\x05\x0a\x03any"...)
	b = protowire.AppendBytes(append(b, 0x22), inner)
	return append(b, "\x28\x01\x32\x07hunter2"...)
}

func framed(flags byte, b []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{flags}, uint32(len(b))), b...)
}

func TestDescribe(t *testing.T) {
	dir := write(t)
	for name, paths := range map[string][]string{
		"file": {filepath.Join(dir, "shop", "v1", "cart.proto")}, "folder": {dir}, "set": {filepath.Join(dir, "set.binpb")},
		"wire": nil,
	} {
		types, err := Load(t.Context(), paths...)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var packed bytes.Buffer
		z := gzip.NewWriter(&packed)
		z.Write(item)
		z.Close()
		answers := append(append(framed(0, item), framed(1, packed.Bytes())...), framed(0, item)[:9]...)
		c := &traffic.Call{GRPC: &traffic.GRPC{Service: "shop.v1.Cart", Method: "Add"}, HTTP: &traffic.HTTP{
			RequestHeaders: []traffic.Header{{Name: "content-type", Value: "application/grpc-web-text"}}, RequestBody: []byte(base64.StdEncoding.EncodeToString(framed(0, request()))),
			ResponseHeaders: []traffic.Header{{Name: "content-type", Value: "application/grpc+proto"}, {Name: "grpc-encoding", Value: "gzip"}}, ResponseBody: answers}}
		Describe(c, types, 64<<10)
		wantRequest := `{"item":{"name":"tea","price":2.5},"counts":["1","2","3"],"labels":{"k":"v"},"any":{"@type":"type.googleapis.com/shop.v1.Item","name":"any"},"kind":"KIND_GIFT","password":"hunter2"}`
		wantAnswer := `{"name":"tea","price":2.5}`
		if name == "wire" {
			wantRequest = `{"1":{"1":"tea","2":2.5},"2":"\u0001\u0002\u0003","3":{"1":"k","2":"v"},"4":{"1":"type.googleapis.com/shop.v1.Item","2":{"1":"any"}},"5":1,"6":"hunter2"}`
			wantAnswer = `{"1":"tea","2":2.5}`
		}
		if c.GRPC.RequestJSON != wantRequest || c.GRPC.ResponseJSON != wantAnswer+"\n"+wantAnswer {
			t.Errorf("%s:\n%s\n%s", name, c.GRPC.RequestJSON, c.GRPC.ResponseJSON)
		}
	}
}

func TestWire(t *testing.T) {
	for in, want := range map[string]string{
		"":                 `{}`,
		"\x08\x96\x01":     `{"1":150}`,
		"\x08\x01\x08\x02": `{"1":[1,2]}`,
		"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01": `{"1":-1}`,
		"\x0d\x00\x00\x80\x3f":                         `{"1":1}`,
		"\x0b\x10\x05\x0c":                             `{"1":{"2":5}}`,
		"\x0a\x02\xff\xfe":                             `{"1":"base64://4="}`,
		"\x0a\x0bhello\nworld":                         `{"1":"hello\nworld"}`,
		"\x0a":                                         ``,
		"plain text":                                   ``,
	} {
		if got := string(Wire([]byte(in), 1000)); got != want {
			t.Errorf("%q: %s, not %s", in, got, want)
		}
	}
	if got := Wire(bytes.Repeat([]byte("\x08\x01"), 900), 100); got != nil {
		t.Errorf("more than there was room for: %s", got)
	}
	if got := Wire([]byte(strings.Repeat("\x0b", 40)+strings.Repeat("\x0c", 40)), 1000); got != nil {
		t.Errorf("deep groups: %s", got)
	}
}

func TestLoadFails(t *testing.T) {
	dir := write(t)
	bad := filepath.Join(dir, "bad.proto")
	if err := os.WriteFile(bad, []byte("message {"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{bad, filepath.Join(dir, "missing.proto"), t.TempDir(), os.Args[0]} {
		if _, err := Load(t.Context(), p); err == nil || !strings.Contains(err.Error(), p) {
			t.Errorf("%s: %v", p, err)
		}
	}
}

// FuzzDescribe reads any bodies: what comes out is JSON within its limit.
func FuzzDescribe(f *testing.F) {
	f.Add(framed(0, request()), "application/grpc", "")
	f.Add([]byte(base64.StdEncoding.EncodeToString(framed(0, item))), "application/grpc-web-text", "gzip")
	f.Add(framed(0, []byte(`{"a": 1}`)), "application/grpc+json", "")
	dir := f.TempDir()
	file := filepath.Join(dir, "x.proto")
	if err := os.WriteFile(file, []byte(`syntax = "proto3"; message M { M m = 1; repeated sint32 n = 2; map<int32, M> k = 3; } service S { rpc R(M) returns (M); }`), 0o644); err != nil {
		f.Fatal(err)
	}
	types, err := Load(f.Context(), file)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte, content, encoding string) {
		h := []traffic.Header{{Name: "content-type", Value: content}, {Name: "grpc-encoding", Value: encoding}}
		for _, known := range []*Types{nil, types} {
			c := &traffic.Call{GRPC: &traffic.GRPC{Service: "S", Method: "R"}, HTTP: &traffic.HTTP{RequestHeaders: h, RequestBody: body}}
			Describe(c, known, 4096)
			if len(c.GRPC.RequestJSON) > 4096+maxMessages {
				t.Fatalf("%d bytes", len(c.GRPC.RequestJSON))
			}
			for line := range strings.Lines(c.GRPC.RequestJSON) {
				if !json.Valid([]byte(line)) {
					t.Fatalf("no JSON: %q", line)
				}
			}
		}
	})
}
