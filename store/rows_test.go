package store

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/parquet-go/parquet-go"

	"github.com/devloop-io/devloop/traffic"
)

var sameAddrs = cmpopts.EquateComparable(netip.Addr{}, netip.AddrPort{})

// filled sets every field of v to something other than its zero value, so that a column that is forgotten shows.
func filled(v reflect.Value, n *int) {
	*n++
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		filled(v.Elem(), n)
	case reflect.Struct:
		switch v.Interface().(type) {
		case netip.Addr:
			v.Set(reflect.ValueOf(netip.AddrFrom4([4]byte{10, 0, 0, byte(*n)})))
			return
		case netip.AddrPort:
			v.Set(reflect.ValueOf(netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(*n)}), uint16(*n))))
			return
		}
		for i := range v.NumField() {
			filled(v.Field(i), n)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range 2 {
			filled(v.Index(i), n)
		}
	case reflect.Map:
		v.Set(reflect.ValueOf(map[string]string{fmt.Sprint("k", *n): "v"}))
	case reflect.String:
		v.SetString(fmt.Sprint("s", *n))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Float64:
		v.SetFloat(float64(*n) + .25)
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(*n))
	case reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uint8:
		v.SetUint(uint64(*n % 250))
	default:
		panic(v.Kind())
	}
}

func sampleCalls() []*traffic.Call {
	n := 0
	full := &traffic.Call{}
	filled(reflect.ValueOf(full).Elem(), &n)
	return []*traffic.Call{
		full, {}, {HTTP: &traffic.HTTP{}, DNS: &traffic.DNS{}, TLS: &traffic.TLS{}, Retry: &traffic.Retry{}},
		{ConnID: 1<<53 - 1, FlowID: 1<<64 - 1, Src: traffic.Endpoint{IP: netip.MustParseAddr("fe80::1%eth0"), Port: 65535}, Start: -1},
		{HTTP: &traffic.HTTP{RequestHeaders: []traffic.Header{}, RequestBody: []byte{}, ResponseBody: []byte{0, 255, 0xfe}}, Credentials: []traffic.Credential{}},
		{Path: "/a\xff", HTTP: &traffic.HTTP{Host: "ok", RequestHeaders: []traffic.Header{{Name: "X", Value: "\xc3("}}, RequestBody: []byte("x")}},
		{DNS: &traffic.DNS{Questions: []traffic.DNSRecord{{Name: "\x80.example", Type: "A"}}}},
		{WebSocket: &traffic.WebSocket{}}, {HTTP: &traffic.HTTP{EventStream: true, Events: 3, FirstEvent: 1_700_000_000e9, IdleGap: 5e9}},
		{Protocol: traffic.ProtoWS, WebSocket: &traffic.WebSocket{Opcode: "close", FromServer: true, Payload: []byte("go\xff"),
			PayloadCut: true, Length: 70000, Fragments: 3, CloseCode: 1001, Compressed: true, Error: "bytes are missing"}},
		{Redis: &traffic.Redis{}}, {Redis: &traffic.Redis{Command: "SET", Args: []string{"k", "\xff\x00"}, Reply: "OK"}},
		{HTTP: &traffic.HTTP{Query: "a=<b>&\u2028\u0000", RequestHeaders: []traffic.Header{{Name: "q", Value: "\u2028<\x00"}}}},
	}
}

func sampleConnections() []*traffic.Connection {
	n := 0
	full := &traffic.Connection{}
	filled(reflect.ValueOf(full).Elem(), &n)
	return []*traffic.Connection{full, {}, {TCP: &traffic.TCPMetrics{}, Points: []string{}}, {SNI: "\xff", ID: 1<<53 - 1, FlowID: 1<<64 - 1}}
}

func create(t testing.TB, path string) *os.File {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestTablesAreLossless(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	calls, conns := filepath.Join(dir, "calls"), filepath.Join(dir, "conns")
	if err := WriteCalls(create(t, calls), seq(sampleCalls())); err != nil {
		t.Fatal(err)
	}
	if err := WriteConnections(create(t, conns), seq(sampleConnections())); err != nil {
		t.Fatal(err)
	}
	var gotCalls []*traffic.Call
	for c, err := range ReadCalls(calls) {
		if err != nil {
			t.Fatal(err)
		}
		gotCalls = append(gotCalls, c)
	}
	if diff := cmp.Diff(sampleCalls(), gotCalls, sameAddrs); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
	var gotConns []*traffic.Connection
	for c, err := range ReadConnections(conns) {
		if err != nil {
			t.Fatal(err)
		}
		gotConns = append(gotConns, c)
	}
	if diff := cmp.Diff(sampleConnections(), gotConns, sameAddrs); diff != "" {
		t.Errorf("connections (-want +got):\n%s", diff)
	}
}

// TestOtherEngines reads columns by the file's own schema, as an engine does that knows nothing of our types.
func TestOtherEngines(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "calls")
	c := sampleCalls()[0]
	if err := WriteCalls(create(t, path), seq([]*traffic.Call{c, {Path: "/a\xff"}})); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	r := parquet.NewGenericReader[struct {
		Path    string `parquet:"path"`
		Status  int32  `parquet:"status"`
		Svc     string `parquet:"src_svc"`
		Headers string `parquet:"req_headers"`
	}](bytes.NewReader(raw))
	defer r.Close()
	rows := make([]struct {
		Path    string `parquet:"path"`
		Status  int32  `parquet:"status"`
		Svc     string `parquet:"src_svc"`
		Headers string `parquet:"req_headers"`
	}, 2)
	if n, _ := r.Read(rows); n != 2 {
		t.Fatalf("read %d rows, want 2", n)
	}
	if rows[0].Path != c.Path || int(rows[0].Status) != c.Status || rows[0].Svc != c.Src.Service || rows[0].Headers != toJSON(c.HTTP.RequestHeaders) {
		t.Errorf("read %+v of %+v", rows[0], c)
	}
	if rows[1].Path != "/a\uFFFD" {
		t.Errorf("path is %q, want text that other engines accept", rows[1].Path)
	}
}

func TestRowGroupsAreBounded(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "calls")
	const n = 1100
	body := bytes.Repeat([]byte("x"), 64<<10)
	numbered := func(i int) []byte { return append([]byte(fmt.Sprint(i)), body...) }
	calls := func(yield func(*traffic.Call) bool) {
		for i := range n {
			if !yield(&traffic.Call{Index: i, HTTP: &traffic.HTTP{ResponseBody: numbered(i)}}) {
				return
			}
		}
	}
	if err := WriteCalls(create(t, path), calls); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, _ := f.Stat()
	pf, err := parquet.OpenFile(f, info.Size())
	if err != nil {
		t.Fatal(err)
	}
	if groups := len(pf.RowGroups()); groups < 2 {
		t.Errorf("%d row groups for %d MB of bodies, want several", groups, n*len(body)>>20)
	}
	i := 0
	for c, err := range ReadCalls(path) {
		if err != nil || c.Index != i || !bytes.Equal(c.HTTP.ResponseBody, numbered(i)) {
			t.Fatalf("row %d: %v, %d bytes, %v", i, c.Index, len(c.HTTP.ResponseBody), err)
		}
		i++
	}
	if i != n {
		t.Errorf("read %d calls, want %d", i, n)
	}
}

func BenchmarkWriteCalls(b *testing.B) {
	var list []*traffic.Call
	for i := range 1000 {
		c := *sampleCalls()[0]
		c.ID, c.Start = fmt.Sprint("local/abc/", i), int64(i)*1e6
		list = append(list, &c)
	}
	for b.Loop() {
		if err := WriteCalls(create(b, filepath.Join(b.TempDir(), "calls")), seq(list)); err != nil {
			b.Fatal(err)
		}
	}
}
