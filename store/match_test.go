package store

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/traits"

	"github.com/devloop-io/devloop/filter"
	"github.com/devloop-io/devloop/traffic"
)

var randomFilters = flag.Int("filters", 150, "how many random filters the column and row back ends are compared on")

// words are what random calls consist of: few, so that filters meet them.
var words = []string{"", "a", "cart", "frontend", "GET", "/api/v1", "sku-12345", "x%31y", "two words", "é\u2028<&>\"", "local", "bad\xff", "10.0.0.1"}

// random fills a value with few distinct values, many of them zero.
func random(r *rand.Rand, v reflect.Value, clean bool) {
	switch v.Kind() {
	case reflect.Pointer:
		if r.IntN(2) == 0 {
			v.Set(reflect.New(v.Type().Elem()))
			random(r, v.Elem(), clean)
		}
	case reflect.Struct:
		if _, ok := v.Interface().(netip.Addr); ok {
			v.Set(reflect.ValueOf(netip.AddrFrom4([4]byte{[]byte{10, 93}[r.IntN(2)], 0, 0, byte(r.IntN(3))})))
			return
		}
		for i := range v.NumField() {
			random(r, v.Field(i), clean)
		}
	case reflect.Slice:
		n := r.IntN(3)
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			random(r, v.Index(i), clean)
		}
		if v.Type().Elem().Kind() == reflect.Uint8 {
			v.SetBytes([]byte([]string{`{"id":7,"sku":"A1"}`, "", "text sku-12345", "\xff\x00"}[r.IntN(4)]))
		}
	case reflect.Map:
		if r.IntN(2) == 0 {
			v.Set(reflect.ValueOf(map[string]string{"app": words[r.IntN(4)]}))
		}
	case reflect.String:
		s := words[r.IntN(len(words))]
		if clean && strings.Contains(s, "\xff") {
			s = "ok"
		}
		v.SetString(s)
	case reflect.Bool:
		v.SetBool(r.IntN(2) == 0)
	case reflect.Float64:
		v.SetFloat(float64(r.IntN(4)) / 2)
	case reflect.Int, reflect.Int64, reflect.Int32:
		v.SetInt([]int64{0, 1, 2, 200, 503, 1e6, 2e8, -1}[r.IntN(8)])
	default:
		v.SetUint([]uint64{0, 1, 2, 80, 200, 771}[r.IntN(6)] % 250)
	}
}

func randomCall(r *rand.Rand) *traffic.Call {
	c := &traffic.Call{}
	random(r, reflect.ValueOf(c).Elem(), r.IntN(20) != 0)
	c.State = []traffic.State{traffic.StateComplete, traffic.StateComplete, traffic.StateOpen, traffic.StateUnanswered, traffic.StateTruncated, traffic.StateHalf}[r.IntN(6)]
	c.Protocol = []string{"http", "http", "dns", "tls", "redis", "postgresql", "ws", "other"}[r.IntN(8)]
	if c.HTTP != nil {
		c.HTTP.Version = []string{"1.1", "2"}[r.IntN(2)]
	}
	return c
}

// question makes a random filter over one field, with a constant that some call holds, or nearly.
func question(r *rand.Rand, f *filter.Field, calls []*traffic.Call) string {
	value, _ := f.Get(&filter.Row{Call: calls[r.IntN(len(calls))]})
	pick := func(list ...string) string { return list[r.IntN(len(list))] }
	compare := pick("==", "!=", "<", "<=", ">", ">=")
	if r.IntN(8) == 0 {
		return "has(" + f.Name + ")"
	}
	switch f.Type.Kind() {
	case types.BoolKind:
		return pick(f.Name, "!"+f.Name, f.Name+" == true", "false != "+f.Name)
	case types.IntKind:
		n := value.(types.Int)
		return pick(fmt.Sprintf("%s %s %d", f.Name, compare, n), fmt.Sprintf("%d %s %s", n, compare, f.Name), fmt.Sprintf("%s %s %d.5", f.Name, pick("<", "<=", ">", ">="), max(n, 0)),
			fmt.Sprintf("%s in [%d, 7]", f.Name, n), fmt.Sprintf("%s + 1 > %d", f.Name, n))
	case types.DoubleKind:
		return pick(f.Name+" * 1.0 > 0.5", fmt.Sprintf("%s %s %.3f", f.Name, compare, float64(value.(types.Double))), f.Name+" > 1")
	case types.DurationKind:
		return fmt.Sprintf("%s%s %s duration(%q)", f.Name, pick("", ` + duration("0s")`), compare, value.(types.Duration).String())
	case types.TimestampKind:
		return fmt.Sprintf("%s %s %s", f.Name, compare, pick(fmt.Sprintf("timestamp(%q)", value.(types.Timestamp).Format(time.RFC3339Nano)), `now() - duration("1s")`))
	case types.StringKind:
		s := celText(string(value.(types.String)))
		return pick(fmt.Sprintf("%s %s %s", f.Name, compare, s), fmt.Sprintf("%s.contains(%s)", f.Name, celText(words[r.IntN(len(words))])), fmt.Sprintf("%s.startsWith(%s)", f.Name, s),
			fmt.Sprintf("%s.endsWith(%s)", f.Name, s), f.Name+`.matches("[a-z]+t")`, fmt.Sprintf("%s in [%s, \"cart\"]", f.Name, s), fmt.Sprintf("%s == dst.name", f.Name),
			fmt.Sprintf("%s.json(\"id\") == \"7\"", f.Name), fmt.Sprintf("size(%s) > 3", f.Name))
	case types.ListKind:
		s := words[r.IntN(len(words))]
		if it := value.(traits.Lister).Iterator(); it.HasNext() == types.True {
			s = string(it.Next().(types.String))
		}
		return pick(fmt.Sprintf("%s in %s", celText(s), f.Name), fmt.Sprintf("size(%s) > 1", f.Name), fmt.Sprintf("%s.exists(x, x.contains(%s))", f.Name, celText(s)),
			fmt.Sprintf("mentions(%s)", celText(s)))
	case types.MapKind:
		k, v := "app", words[r.IntN(len(words))]
		if it := value.(traits.Mapper).Iterator(); it.HasNext() == types.True {
			key := it.Next()
			k, v = string(key.(types.String)), string(value.(traits.Mapper).Get(key).(types.String))
		}
		return pick(fmt.Sprintf("%s[%s] == %s", f.Name, celText(k), celText(v)), fmt.Sprintf("%s in %s", celText(k), f.Name),
			fmt.Sprintf("%s[%s].contains(%s)", f.Name, celText(k), celText(v)), fmt.Sprintf("%s[%s] != %s", f.Name, celText(k), celText(v)))
	}
	return "has(" + f.Name + ")"
}

// celText writes what CEL can: text that is not UTF-8 loses what is not.
func celText(s string) string { return strconv.QuoteToASCII(strings.ToValidUTF8(s, "")) }

func tree(r *rand.Rand, depth int, leaf func() string) string {
	if depth == 0 || r.IntN(3) == 0 {
		return leaf()
	}
	switch r.IntN(3) {
	case 0:
		return "!(" + tree(r, depth-1, leaf) + ")"
	case 1:
		return "(" + tree(r, depth-1, leaf) + " && " + tree(r, depth-1, leaf) + ")"
	}
	return "(" + tree(r, depth-1, leaf) + " || " + tree(r, depth-1, leaf) + ")"
}

// randomFile writes random calls and reads them back, as row-wise filters see them.
func randomFile(t testing.TB, r *rand.Rand, n int) (string, []*traffic.Call) {
	t.Helper()
	path := filepath.Join(t.TempDir(), callsName)
	var calls, stored []*traffic.Call
	for range n {
		calls = append(calls, randomCall(r))
	}
	if err := WriteCalls(create(t, path), seq(calls)); err != nil {
		t.Fatal(err)
	}
	for c, err := range ReadCalls(path) {
		if err != nil {
			t.Fatal(err)
		}
		stored = append(stored, c)
	}
	return path, stored
}

// agree runs a filter over the file's columns and over its rows.
func agree(t *testing.T, path string, calls []*traffic.Call, conns map[uint64]*traffic.Connection, src string) (matched, asked int) {
	t.Helper()
	f, err := filter.Compile(src, filter.Now(time.Unix(1, 0)))
	if err != nil {
		t.Fatalf("%s: %v", src, err)
	}
	conn := func(id uint64) *traffic.Connection { return conns[id] }
	got, err := MatchCalls(t.Context(), path, f, conn)
	if err != nil {
		t.Fatalf("%s: %v", src, err)
	}
	var want []int64
	for i, c := range calls {
		if ok, err := f.Match(&filter.Row{Call: c, Conn: conns[c.ConnID]}); ok && err == nil {
			want = append(want, int64(i))
		}
	}
	if rows := slices.Collect(got.Rows()); !slices.Equal(rows, want) {
		t.Errorf("%s: columns select %d of %d rows, rows %d: %s", src, len(rows), len(calls), len(want), firstDifference(rows, want))
	}
	return len(want), int(got.Asked)
}

func firstDifference(got, want []int64) string {
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || got[i] != want[i] {
			return fmt.Sprintf("differ from place %d: %v and %v", i, got[i:min(i+3, len(got))], want[i:min(i+3, len(want))])
		}
	}
	return ""
}

// The columns say of every field what the rows say, missing values included, and of random filters over them too.
func TestColumnsAgreeWithRows(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	path, calls := randomFile(t, r, 120)
	conns := map[uint64]*traffic.Connection{1: {ID: 1, Proto: "tcp", State: traffic.StateReset, Opened: true, HandshakeClientNS: 5}}
	fields := filter.Fields()
	filters, selective := 0, 0
	run := func(src string) {
		n, _ := agree(t, path, calls, conns, src)
		if filters++; n > 0 && n < len(calls) {
			selective++
		}
	}
	for i := range fields {
		if fields[i].Stub && r.IntN(8) != 0 { // all alike
			continue
		}
		run(question(r, &fields[i], calls))
	}
	for range *randomFilters {
		run(tree(r, 3, func() string { return question(r, &fields[r.IntN(len(fields))], calls) }))
	}
	if selective*4 < filters {
		t.Errorf("only %d of %d filters select some rows and not all: the test asks too little", selective, filters)
	}
}

// What is no table, or is not waited for, is an error.
func TestMatchCallsFails(t *testing.T) {
	t.Parallel()
	f, err := filter.Compile("http")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	broken := filepath.Join(dir, "broken")
	if err := os.WriteFile(broken, []byte("PAR1 this is none PAR1"), 0o600); err != nil {
		t.Fatal(err)
	}
	conns := filepath.Join(dir, connectionsName)
	if err := WriteConnections(create(t, conns), seq(sampleConnections())); err != nil {
		t.Fatal(err)
	}
	calls := filepath.Join(dir, callsName)
	if err := WriteCalls(create(t, calls), seq(sampleCalls())); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{filepath.Join(dir, "none"), broken, conns} {
		if path == conns {
			if f, err = filter.Compile(`path == "/"`); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := MatchCalls(t.Context(), path, f, nil); err == nil || !strings.Contains(err.Error(), filepath.Base(path)) {
			t.Errorf("%s: want an error that names it, got %v", path, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := MatchCalls(ctx, calls, f, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("want %v, got %v", context.Canceled, err)
	}
}

// A field whose columns are known is judged by them alone where the rows are text.
func TestColumnsSuffice(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 1))
	path := filepath.Join(t.TempDir(), callsName)
	var calls []*traffic.Call
	for len(calls) < 100 {
		if c := randomCall(r); callIsText(c, false) {
			calls = append(calls, c)
		}
	}
	if err := WriteCalls(create(t, path), seq(calls)); err != nil {
		t.Fatal(err)
	}
	for src, wantColumns := range map[string]string{
		`http && status_code >= 500`:                            "proto raw state status",
		`http && dst.service.name == "cart"`:                    "dst_svc proto raw",
		`latency > duration("100ms") && !http`:                  "latency_ns proto raw state",
		`request.body.contains("sku")`:                          "grpc_request_json http raw req_body",
		`src.pod.name in ["cart", "frontend"]`:                  "raw src_pod src_svc",
		`redis && redis_key.startsWith("s") || ws`:              "proto raw redis redis_key",
		`timestamp > now() + duration("24h")`:                   "raw",
		`tcp_conn || kafka`:                                     "raw",
		`http && status_code > 300000000 && path.contains("a")`: "proto raw",
	} {
		f, err := filter.Compile(src, filter.Now(time.Unix(1e9, 0)))
		if err != nil {
			t.Fatal(err)
		}
		got, err := MatchCalls(t.Context(), path, f, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got.Asked != 0 || strings.Join(got.Columns, " ") != wantColumns {
			t.Errorf("%s: read %v and asked %d rows one by one, want %s and none", src, got.Columns, got.Asked, wantColumns)
		}
	}
}
