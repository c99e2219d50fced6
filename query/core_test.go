package query

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/devloop-io/devloop/traffic"
)

// What cannot be meant is refused with what can, and a cursor goes on with its own question alone.
func TestMistakesAreToldWithWhatIsRight(t *testing.T) {
	t.Parallel()
	calls := someCalls(rand.New(rand.NewPCG(1, 1)), 300)
	db := inMemory(calls, nil)
	db.Filters = &Filters{}
	ctx := context.Background()
	first, err := ListAPICalls(ctx, db, CallsRequest{Limit: 10})
	if err != nil || first.Cursor == "" || len(first.Calls) != 10 {
		t.Fatalf("%v, %+v", err, first)
	}
	for want, ask := range map[string]func() error{
		"another question": func() error {
			_, err := ListAPICalls(ctx, db, CallsRequest{Cursor: first.Cursor, Order: "oldest"})
			return err
		},
		"is none":   func() error { _, err := ListAPICalls(ctx, db, CallsRequest{Cursor: "!"}); return err },
		"newest":    func() error { _, err := ListAPICalls(ctx, db, CallsRequest{Order: "sideways"}); return err },
		"compact":   func() error { _, err := ListL4Flows(ctx, db, FlowsRequest{Format: "long"}); return err },
		"endpoint":  func() error { _, err := GetAPIStats(ctx, db, StatsRequest{GroupBy: "colour"}); return err },
		"1 to 1000": func() error { _, err := ListAPICalls(ctx, db, CallsRequest{Limit: 1001}); return err },
		"after start": func() error {
			_, err := GetServiceMap(ctx, db, MapRequest{Selection: Selection{Scope: Scope{Start: 5, End: 4}}})
			return err
		},
		"apply_filter": func() error {
			_, err := ListAPICalls(ctx, db, CallsRequest{Selection: Selection{FilterID: "f9"}})
			return err
		},
		"of node n1": func() error { _, err := GetAPICall(ctx, db, CallRequest{ID: "n1/0/0", NodeID: "n2"}, nil); return err },
		"no call":    func() error { _, err := GetAPICall(ctx, db, CallRequest{ID: "n1/zz/0"}, nil); return err },
		"name_regex": func() error { _, err := ListWorkloads(ctx, db, WorkloadsRequest{NameRegex: "("}); return err },
		"bucket_ms":  func() error { _, err := GetAPIStats(ctx, db, StatsRequest{BucketMS: -1}); return err },
	} {
		var m *Error
		if err := ask(); !errors.As(err, &m) || !strings.Contains(m.What+" "+m.Hint, want) || m.Hint == "" {
			t.Errorf("want a mistake about %q with a hint, got %v", want, err)
		}
	}
	named, err := db.Filters.ApplyFilter(FilterRequest{KFL: "http and response.status == 503"})
	if err != nil || named.KFL != "http && status_code == 503" {
		t.Fatalf("%v, %+v", err, named)
	}
	narrowed, err := ListAPICalls(ctx, db, CallsRequest{Selection: Selection{FilterID: named.FilterID, KFL: "grpc || !grpc"}})
	if err != nil {
		t.Fatal(err)
	}
	plain, err := ListAPICalls(ctx, db, CallsRequest{Selection: Selection{KFL: "http && status_code == 503"}})
	if err != nil || narrowed.Total != plain.Total || plain.Total == 0 {
		t.Errorf("a named filter finds %d calls, the same filter %d, %v", narrowed.Total, plain.Total, err)
	}
}

// Percentiles are exact while values are few, and within the bound beyond, whatever the order of merging.
func TestDigest(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 2, 3, 100, maxExact, 3 * maxExact} {
		r := rand.New(rand.NewPCG(uint64(n), 1))
		var parts [3]digest
		var values []int64
		for range n {
			v := 1 + int64(r.ExpFloat64()*1e7)
			values = append(values, v)
			parts[r.IntN(3)].add(v)
		}
		var a, b digest
		for i := range parts {
			a.merge(&parts[i])
			b.merge(&parts[2-i])
		}
		slices.Sort(values)
		got, other := a.at(50, 90, 99), b.at(50, 90, 99)
		if !slices.Equal(got, other) || (a.approximate() != "") != (n > maxExact) {
			t.Errorf("%d values: %v in one order, %v in the other; %q", n, got, other, a.approximate())
		}
		for i, p := range []int{50, 90, 99} {
			want := values[max(0, (n*p+99)/100-1)]
			if n <= maxExact && got[i] != want/1000*1000 || float64(got[i]) < (1-relativeError)*float64(want)-1000 || float64(got[i]) > (1+relativeError)*float64(want) {
				t.Errorf("p%d of %d values: got %d, want %d", p, n, got[i], want)
			}
		}
	}
}

// An address belongs to whom it did at the time.
func TestWorkloadsAtATime(t *testing.T) {
	t.Parallel()
	pod := func(name string) traffic.Workload {
		return traffic.Workload{Kind: "pod", Namespace: "shop", Service: "cart", Pod: name, Node: "n1", NodeIP: "172.18.0.2", Owner: "cart", OwnerKind: "Deployment", Labels: map[string]string{"app": "cart"}}
	}
	ip := netip.MustParseAddr("10.0.0.7")
	calls := someCalls(rand.New(rand.NewPCG(1, 1)), 10)
	db := inMemory(calls, nil)
	db.Identities = []traffic.Identity{{IP: ip, From: 1e9, To: 5e9, Workload: pod("cart-a")}, {IP: ip, From: 5e9, Workload: pod("cart-b")}}
	for at, want := range map[int64]string{2000: "cart-a", 6000: "cart-b"} {
		w, err := ListWorkloads(t.Context(), db, WorkloadsRequest{Type: "pod", Timestamp: at, Labels: map[string]string{"app": "cart"}, NameRegex: "^cart"})
		if err != nil || w.Total != 1 || w.Workloads[0].Name != want || w.Workloads[0].IPs[0].IP != "10.0.0.7" || w.Workloads[0].Owner != "Deployment/cart" {
			t.Errorf("at %d: %v, %+v", at, err, w)
		}
		a, err := ListIPs(t.Context(), db, IPsRequest{IP: "10.0.0.7", Timestamp: at})
		if err != nil || a.Total != 1 || fmt.Sprint(a.IPs[0].Records[0].Name) != want {
			t.Errorf("at %d: %v, %+v", at, err, a)
		}
	}
	nodes, err := ListWorkloads(t.Context(), db, WorkloadsRequest{Type: "node"})
	if err != nil || nodes.Total != 1 || nodes.Workloads[0].IPs[0].IP != "172.18.0.2" {
		t.Errorf("%v, %+v", err, nodes)
	}
	none, err := ListWorkloads(t.Context(), db, WorkloadsRequest{Name: "nobody"})
	if err != nil || none.Total != 0 || none.Why == "" {
		t.Errorf("%v, %+v", err, none)
	}
}
